//! The bytes that wait to be written to one link: bounded, most urgent first.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf, Bytes};
use rumormill_core::io::Lane;
use rumormill_core::link::Frames;

use crate::links::SLICES;

/// The bounds of what waits to be written to one link, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLimits {
    /// From here on the link is congested; 4 MiB.
    pub high: usize,
    /// A congested link has drained when no more than this is left; 1 MiB.
    pub low: usize,
    /// A message that would take the queue above this is dropped, unless the queue is empty; 16 MiB.
    pub max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits {
            high: 4 << 20,
            low: 1 << 20,
            max: 16 << 20,
        }
    }
}

/// A mark that a queue has crossed. The node has to hear of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Above the high mark.
    Congested,
    /// Down at the low mark again.
    Drained,
}

/// The frames that wait for one link. Lanes are emptied in order, and a frame that has begun is finished first, so an
/// urgent frame waits for one frame of a less urgent lane at most. Bytes are shared with the queues of other links.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    limits: QueueLimits,
    /// The rest of the frame that was cut by the last write.
    begun: Bytes,
    lanes: [VecDeque<Frames>; Lane::ALL.len()],
    bytes: usize,
    congested: bool,
    told: bool,
}

impl WriteQueue {
    /// An empty queue; owns no memory.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        WriteQueue {
            limits,
            ..WriteQueue::default()
        }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues bytes of a handshake, in their order and before all frames: the opening, and what
    /// [`LinkEvent::Write`](rumormill_core::link::LinkEvent::Write) brings.
    pub(crate) fn push_handshake(&mut self, bytes: Bytes) {
        debug_assert!(self.lanes.iter().all(VecDeque::is_empty));
        self.bytes += bytes.len();
        self.begun = match self.begun.is_empty() {
            true => bytes,
            false => [&self.begun[..], &bytes].concat().into(),
        };
    }

    /// Queues a message. `false`: it was dropped, because the queue would grow above its bound.
    pub(crate) fn push(&mut self, lane: Lane, frames: Frames) -> bool {
        let size = frames.len();
        if !self.is_empty() && self.bytes + size > self.limits.max {
            return false;
        }
        self.bytes += size;
        self.congested |= self.bytes > self.limits.high;
        self.lanes[lane as usize].push_back(frames);
        true
    }

    /// Forgets all that waits, and which mark was crossed.
    pub(crate) fn clear(&mut self) {
        *self = WriteQueue::new(self.limits);
    }

    /// The mark that was crossed since the last call, if the link's state differs from what was last told.
    pub(crate) fn edge(&mut self) -> Option<Edge> {
        if self.congested == self.told {
            return None;
        }
        self.told = self.congested;
        Some(if self.told {
            Edge::Congested
        } else {
            Edge::Drained
        })
    }

    /// Fills `slices` with what is to be written next and returns how many it used. Nothing may be pushed between this and
    /// the [`WriteQueue::advance`] that follows.
    pub(crate) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let begun = (!self.begun.is_empty()).then_some(&self.begun);
        let waiting = self.lanes.iter().flatten().map(Frames::as_bytes);
        let mut used = 0;
        for (slice, bytes) in slices.iter_mut().zip(begun.into_iter().chain(waiting)) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        used
    }

    /// Writes until all is written or `out` takes no more.
    ///
    /// # Errors
    /// The errors of `out`, but that it would block or was interrupted; the bytes that it took before are gone from the queue.
    pub(crate) fn write_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.fill(&mut slices);
            match out.write_vectored(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes away the first `n` bytes of what [`WriteQueue::fill`] gave: they are written.
    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.bytes);
        let mut left = n.min(self.bytes);
        self.bytes -= left;
        let head = left.min(self.begun.len());
        self.begun.advance(head);
        left -= head;
        for lane in &mut self.lanes {
            while left > 0 {
                let Some(front) = lane.front_mut() else { break };
                if front.len() <= left {
                    left -= front.len();
                    lane.pop_front();
                    continue;
                }
                while left > 0
                    && let Some(frame) = front.next()
                {
                    let cut = left.min(frame.len());
                    self.begun = frame.slice(cut..);
                    left -= cut;
                }
            }
            if lane.is_empty() {
                *lane = VecDeque::new();
            }
        }
        if self.begun.is_empty() {
            self.begun = Bytes::new();
        }
        self.congested &= self.bytes > self.limits.low;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumormill_core::link::{LinkEvent, LinkLimits, encode};
    use rumormill_core::wire::{GossipMessage, Message, Row, RowBatch};
    use rumormill_core::{Config, Now, Recovery, Seed};

    fn push_of(id: u32, size: usize) -> Message {
        let row = Row {
            table: 0,
            actor: 0,
            counter: u64::from(id),
            clock: 1,
            expires: 0,
            key: Bytes::from_static(b"k"),
            value: Some(vec![7; size].into()),
        };
        Message::Gossip(GossipMessage::Push(RowBatch {
            actors: vec![],
            tables: vec![],
            rows: vec![row],
        }))
    }

    fn more(page: u32) -> Message {
        Message::Gossip(GossipMessage::PageAck { session: 9, page })
    }

    /// Writes up to `n` bytes to `wire`.
    fn write(queue: &mut WriteQueue, wire: &mut Vec<u8>, n: usize) {
        let mut slices = [IoSlice::new(&[]); 4];
        let used = queue.fill(&mut slices);
        let all: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let n = n.min(all.len());
        wire.extend_from_slice(&all[..n]);
        queue.advance(n);
    }

    fn read(wire: &[u8]) -> Vec<Message> {
        let config = Config::new("a", "a");
        let mut node = Recovery::new(config, Seed::from_u64(1))
            .finish(Now::default())
            .unwrap();
        let mut ends = [(); 2].map(|()| node.connection(LinkLimits::default()));
        let (mut events, mut proof) = (Vec::new(), Vec::new());
        let [conn, peer] = &mut ends;
        conn.receive(&peer.opening(), &mut events).unwrap();
        peer.receive(&conn.opening(), &mut proof).unwrap();
        let Some(LinkEvent::Write(proof)) = proof.pop() else {
            panic!("no proof");
        };
        conn.receive(&proof, &mut events).unwrap();
        conn.receive(wire, &mut events).unwrap();
        let messages = events.into_iter().filter_map(|event| match event {
            LinkEvent::Message(msg) => Some(msg),
            LinkEvent::Write(_) | LinkEvent::Up(_) => None,
        });
        messages.collect()
    }

    #[test]
    fn a_handshake_goes_out_in_order_and_before_all_frames_however_it_is_cut() {
        for cut in 0..=7 {
            let mut queue = WriteQueue::new(QueueLimits::default());
            let mut wire = Vec::new();
            queue.push_handshake(Bytes::from_static(b"opening"));
            write(&mut queue, &mut wire, cut);
            queue.push_handshake(Bytes::from_static(b"proof"));
            assert_eq!(queue.len(), 12 - cut);
            assert!(queue.push(Lane::Control, encode(&more(1), Lane::Control).unwrap()));
            while !queue.is_empty() {
                write(&mut queue, &mut wire, 5);
            }
            assert!(wire.starts_with(b"openingproof"), "cut at {cut}");
            assert_eq!(read(&wire[12..]), vec![more(1)]);
        }
    }

    #[test]
    fn an_urgent_frame_passes_between_the_frames_of_a_large_message() {
        let mut queue = WriteQueue::new(QueueLimits::default());
        let mut wire = Vec::new();
        assert!(queue.push(
            Lane::Bulk,
            encode(&push_of(2, 100_000), Lane::Bulk).unwrap()
        ));
        write(&mut queue, &mut wire, 20_000);
        assert!(queue.push(Lane::Control, encode(&more(1), Lane::Control).unwrap()));
        let before = wire.len();
        write(&mut queue, &mut wire, usize::MAX);
        assert!(queue.is_empty() && wire.len() > before);
        assert_eq!(read(&wire), vec![more(1), push_of(2, 100_000)]);
    }

    #[test]
    fn any_cutting_of_writes_keeps_lanes_in_order() {
        arbtest::arbtest(|u| {
            let mut queue = WriteQueue::new(QueueLimits {
                high: 50_000,
                low: 5_000,
                max: 80_000,
            });
            let (mut wire, mut page, mut pushed) = (Vec::new(), 0, [const { Vec::new() }; 3]);
            let mut told = false;
            for _ in 0..u.int_in_range(0..=40)? {
                if u.arbitrary()? {
                    let lane = *u.choose(&Lane::ALL)?;
                    page += 1;
                    let msg = if u.ratio(1, 4)? {
                        push_of(page, u.int_in_range(0..=60_000)?)
                    } else {
                        more(page)
                    };
                    let frames = encode(&msg, lane).unwrap();
                    let fits = queue.is_empty() || queue.len() + frames.len() <= 80_000;
                    assert_eq!(queue.push(lane, frames), fits);
                    if fits {
                        pushed[lane as usize].push(msg);
                    }
                } else {
                    write(&mut queue, &mut wire, u.int_in_range(0..=40_000)?);
                }
                match queue.edge() {
                    Some(Edge::Congested) => assert!(!std::mem::replace(&mut told, true)),
                    Some(Edge::Drained) => assert!(std::mem::replace(&mut told, false)),
                    None => assert!(told || queue.len() <= 50_000),
                }
            }
            while !queue.is_empty() {
                write(&mut queue, &mut wire, usize::MAX);
            }
            assert_eq!(queue.edge().is_some(), told);
            let got = read(&wire);
            assert_eq!(got.len(), pushed.iter().map(Vec::len).sum::<usize>());
            for lane in pushed {
                let order: Vec<_> = lane
                    .iter()
                    .map(|msg| got.iter().position(|m| m == msg))
                    .collect();
                assert!(order.iter().all(Option::is_some) && order.is_sorted());
            }
            Ok(())
        });
    }
}
