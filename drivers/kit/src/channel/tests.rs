use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use rumormill_core::link::{Frames, LinkLimits, Refusal, encode};
use rumormill_core::wire::{GossipMessage, Message, Row, RowBatch};
use rumormill_core::{Config, Now, Recovery, Seed};

use super::*;

const HANDSHAKE: Duration = Duration::from_secs(5);
const STALL: Duration = Duration::from_secs(30);
const LATE: Duration = Duration::from_millis(1);

/// Bytes of the header of a frame, of which four are its length.
const HEADER_BYTES: usize = 9;

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A socket that takes so many bytes and then would block.
struct Socket {
    taken: Vec<u8>,
    room: usize,
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.taken.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A channel, what its node was told, and the time.
struct End {
    channel: Channel,
    inputs: Vec<Input>,
    counters: Arc<Counters>,
    now: Instant,
}

/// The bounds of the write queue.
const QUEUE: QueueLimits = QueueLimits {
    high: 50_000,
    low: 5_000,
    max: 80_000,
};

impl End {
    fn new(cluster_name: &str, dial: Option<u64>) -> End {
        End::within(cluster_name, dial, LinkLimits::default())
    }

    fn within(cluster_name: &str, dial: Option<u64>, limits: LinkLimits) -> End {
        let mut end = End::connecting(cluster_name, dial, limits);
        assert!(!end.channel.reads());
        end.channel.open(end.now);
        end
    }

    /// An end whose socket is not connected yet.
    fn connecting(cluster_name: &str, dial: Option<u64>, limits: LinkLimits) -> End {
        let mut config = Config::new("a", "a");
        config.cluster_name = cluster_name.to_owned();
        let seed = Seed::from_u64(dial.unwrap_or(7));
        let node = Recovery::new(config, seed).finish(Now::default());
        let conn = node.unwrap().connection(limits);
        let counters = Arc::<Counters>::default();
        let terms = Terms {
            patience: Patience {
                handshake: HANDSHAKE,
                stall: STALL,
            },
            queue: QUEUE,
            counters: Arc::clone(&counters),
        };
        let now = Instant::now();
        End {
            channel: Channel::new(LinkId(1), dial.map(DialId), conn, &terms),
            inputs: Vec::new(),
            counters,
            now,
        }
    }

    /// Writes what a socket with so much room takes.
    fn write(&mut self, room: usize) -> Vec<u8> {
        let taken = Vec::new();
        let mut socket = Socket { taken, room };
        let written = self
            .channel
            .write_to(self.now, &mut socket, &mut self.inputs);
        written.unwrap();
        socket.taken
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.channel.receive(bytes, &mut self.inputs)
    }

    fn push(&mut self, lane: Lane, size: usize) {
        let frames = encode(&message(size), lane).unwrap();
        self.channel.push(lane, &frames);
    }

    fn told(&mut self) -> Vec<&'static str> {
        let word = |input| match input {
            Input::LinkUp { .. } => "up",
            Input::Message { .. } => "message",
            Input::Congested { .. } => "congested",
            Input::Drained { .. } => "drained",
            _ => "other",
        };
        self.inputs.drain(..).map(word).collect()
    }

    /// Returns the word for the last input of the node, and its reason.
    fn end(self, why: LinkError) -> Option<(&'static str, LinkError)> {
        match self.channel.end(why, &"a test")? {
            Input::LinkDown { why, .. } => Some(("down", why)),
            Input::DialFailed { why, .. } => Some(("dial failed", why)),
            _ => Some(("other", LinkError::Closed)),
        }
    }
}

fn message(size: usize) -> Message {
    let row = Row {
        table: 0,
        actor: 0,
        counter: 1,
        clock: 1,
        expires: 0,
        key: "k".into(),
        value: Some(vec![7; size].into()),
    };
    Message::Gossip(GossipMessage::Push(RowBatch {
        actors: vec![],
        tables: vec![],
        rows: vec![row],
    }))
}

/// Two ends that are up; the first has dialled.
fn linked() -> (End, End) {
    linked_within(LinkLimits::default())
}

/// The same, where the second end takes nothing beyond these limits.
fn linked_within(limits: LinkLimits) -> (End, End) {
    let mut a = End::new("c", Some(1));
    let mut b = End::within("c", None, limits);
    for _ in 0..2 {
        let (to_b, to_a) = (a.write(usize::MAX), b.write(usize::MAX));
        a.receive(&to_a).unwrap();
        b.receive(&to_b).unwrap();
    }
    assert_eq!((a.told(), b.told()), (vec!["up"], vec!["up"]));
    (a, b)
}

#[test]
fn a_handshake_that_comes_byte_by_byte_brings_the_link_up_once_and_messages_follow() {
    let (mut a, mut b) = (End::new("c", Some(1)), End::new("c", None));
    for _ in 0..2_000 {
        let (to_b, to_a) = (a.write(1), b.write(1));
        a.receive(&to_a).unwrap();
        b.receive(&to_b).unwrap();
    }
    assert_eq!((a.told(), b.told()), (vec!["up"], vec!["up"]));
    assert_eq!(a.channel.next_deadline(), None);
    a.push(Lane::Bulk, 30_000);
    let bytes = a.write(usize::MAX);
    let (head, tail) = bytes.split_at(20_000);
    b.receive(head).unwrap();
    assert_eq!(b.channel.ended(), LinkError::Malformed);
    b.receive(tail).unwrap();
    assert_eq!(b.told(), ["message"]);
    assert_eq!(b.channel.ended(), LinkError::Closed);
    let (sent, got) = (&a.counters.peer_bytes_out, &b.counters.peer_bytes_in);
    assert_eq!(count(sent), count(got));
}

#[test]
fn a_peer_that_never_ends_its_handshake_is_given_up() {
    for dial in [Some(1), None] {
        let mut a = End::new("c", dial);
        let opening = End::new("c", Some(2)).write(usize::MAX);
        a.receive(&opening).unwrap();
        // No message goes out before the proof of the peer has come, and no write puts the end off.
        a.push(Lane::Control, 10);
        a.now += HANDSHAKE - LATE;
        a.write(10);
        assert_eq!(a.channel.expire(a.now), Ok(()));
        a.now += LATE;
        assert_eq!(a.channel.next_deadline(), Some(a.now));
        let why = a.channel.expire(a.now).unwrap_err();
        assert_eq!(why, LinkError::TimedOut);
        let told = dial.map(|_| ("dial failed", why.clone()));
        assert_eq!(a.end(why), told);
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_and_one_that_is_slow_is_not() {
    let (mut a, _) = linked();
    for _ in 0..5 {
        a.push(Lane::Bulk, 20_000);
    }
    assert_eq!(count(&a.counters.dropped_messages), 2);
    a.write(0);
    assert_eq!(a.told(), ["congested"]);
    assert_eq!(a.channel.next_deadline(), Some(a.now + STALL));
    for _ in 0..3 {
        a.now += STALL - LATE;
        assert_eq!(a.write(10).len(), 10);
        assert_eq!(a.channel.next_deadline(), Some(a.now + STALL));
    }
    a.write(usize::MAX);
    assert_eq!(a.told(), ["drained"]);
    assert_eq!(a.channel.next_deadline(), None);
    a.push(Lane::Control, 10);
    a.write(0);
    a.now += STALL - LATE;
    a.write(0);
    assert_eq!(a.channel.expire(a.now), Ok(()));
    a.now += LATE;
    let why = a.channel.expire(a.now).unwrap_err();
    assert_eq!(why, LinkError::TimedOut);
    assert_eq!(a.end(why.clone()), Some(("down", why)));
}

#[test]
fn a_frame_that_is_too_large_ends_the_link_after_what_came_before_it() {
    let (mut a, mut b) = linked();
    a.push(Lane::Control, 10);
    let mut bytes = a.write(usize::MAX);
    let mut large = bytes[..HEADER_BYTES].to_vec();
    large[..4].copy_from_slice(&((64_u32 << 10) + 1).to_le_bytes());
    bytes.extend(large);
    b.push(Lane::Control, 10);
    assert_eq!(b.receive(&bytes), Err(LinkError::Malformed));
    assert_eq!(b.told(), ["message"]);
    // Nothing goes out any more, and nothing comes in.
    assert!(!b.channel.has_output() && !b.channel.reads());
    b.push(Lane::Control, 10);
    assert!(!b.channel.has_output());
    let counters = Arc::clone(&b.counters);
    let why = LinkError::Malformed;
    assert_eq!(b.end(why.clone()), Some(("down", why)));
    assert_eq!(count(&counters.malformed_frames), 1);
}

#[test]
fn what_waits_when_a_link_is_hung_up_is_still_written() {
    let (mut a, mut b) = linked();
    a.push(Lane::Bulk, 100);
    b.push(Lane::Bulk, 100);
    a.receive(&b.write(usize::MAX)[..10]).unwrap();
    a.channel.close(a.now);
    // Nothing more is taken from either side, and nothing that was under way counts as cut.
    a.push(Lane::Bulk, 100);
    assert_eq!(a.receive(b"no frame"), Ok(()));
    assert_eq!(a.channel.ended(), LinkError::Closed);
    assert!(!a.channel.reads() && !a.channel.is_done());
    let mut bytes = a.write(10);
    a.now += PARTING - LATE;
    a.channel.close(a.now);
    assert_eq!(a.channel.expire(a.now), Ok(()));
    assert_eq!(a.channel.expire(a.now + LATE), Err(LinkError::Closed));
    bytes.extend(a.write(usize::MAX));
    assert!(a.channel.is_done());
    b.receive(&bytes).unwrap();
    assert_eq!(b.told(), ["message"]);
    let why = LinkError::Closed;
    assert_eq!(a.end(why.clone()), Some(("down", why)));
}

#[test]
fn a_refused_peer_reads_the_reason_after_the_opening() {
    let (mut a, mut b) = (End::new("c", Some(1)), End::new("another", None));
    let opening = a.write(usize::MAX);
    let why = b.receive(&opening).unwrap_err();
    assert!(matches!(why, LinkError::Refused(_)), "{why:?}");
    let words = b.write(usize::MAX);
    assert!(!b.channel.has_output() && !b.channel.is_done());
    assert_eq!(b.end(why), None);
    let theirs = "another".to_owned();
    let why = LinkError::Refused(Refusal::ClusterName { theirs });
    assert_eq!(a.receive(&words), Err(why.clone()));
    let counters = Arc::clone(&a.counters);
    assert_eq!(a.end(why.clone()), Some(("dial failed", why)));
    assert_eq!(count(&counters.refused_links), 1);
}

/// A message whose frames have so many bytes together.
fn frames_of(bytes: usize) -> Frames {
    let sizes = (0..=bytes).rev().take(200);
    let mut frames = sizes.map(|size| encode(&message(size), Lane::Bulk).unwrap());
    frames.find(|frames| frames.len() == bytes).unwrap()
}

#[test]
fn messages_that_come_byte_by_byte_arrive_once_and_an_end_within_one_is_noticed() {
    let (mut a, mut b) = linked();
    for (lane, size) in [
        (Lane::Control, 0),
        (Lane::Bulk, 40_000),
        (Lane::Control, 300),
    ] {
        a.push(lane, size);
        let bytes = a.write(usize::MAX);
        let (last, before) = bytes.split_last().unwrap();
        for byte in before {
            b.receive(&[*byte]).unwrap();
            assert!(b.inputs.is_empty());
            assert_eq!(b.channel.ended(), LinkError::Malformed);
        }
        b.receive(&[]).unwrap();
        b.receive(&[*last]).unwrap();
        assert_eq!(b.told(), ["message"]);
        assert_eq!(b.channel.ended(), LinkError::Closed);
    }
    // A peer that is slow to send is not given up: only one that takes nothing is.
    assert_eq!(b.channel.next_deadline(), None);
}

#[test]
fn a_frame_or_message_at_the_limit_is_taken_and_one_a_byte_longer_ends_the_link() {
    let frames = encode(&message(1_000), Lane::Bulk).unwrap();
    let pieces = encode(&message(40_000), Lane::Bulk).unwrap();
    let header = |frame: &[u8]| usize::try_from(u32::from_le_bytes(frame[..4].try_into().unwrap()));
    let payload = header(frames.peek().unwrap()).unwrap();
    // A first piece begins with the length of the whole message.
    let first = pieces.peek().unwrap();
    let whole = header(&first[HEADER_BYTES..]).unwrap();
    let within = |limits: LinkLimits, frames: &Frames| {
        let (mut a, mut b) = linked_within(limits);
        a.channel.push(Lane::Bulk, frames);
        let received = b.receive(&a.write(usize::MAX));
        (received, b.told())
    };
    let taken = (Ok(()), vec!["message"]);
    let refused = (Err(LinkError::Malformed), vec![]);
    let mut limits = LinkLimits::default();
    limits.frame_bytes = payload;
    assert_eq!(within(limits, &frames), taken);
    limits.frame_bytes = payload - 1;
    assert_eq!(within(limits, &frames), refused);
    let mut limits = LinkLimits::default();
    limits.message_bytes = whole;
    assert_eq!(within(limits, &pieces), taken);
    limits.message_bytes = whole - 1;
    assert_eq!(within(limits, &pieces), refused);
}

#[test]
fn a_queue_at_its_bound_takes_no_byte_more_and_marks_are_crossed_beyond_them() {
    let (mut a, _) = linked();
    let push = |a: &mut End, bytes| {
        a.channel.push(Lane::Bulk, &frames_of(bytes));
        count(&a.counters.dropped_messages)
    };
    assert_eq!(push(&mut a, QUEUE.high), 0);
    a.write(0);
    assert_eq!(a.told(), [""; 0], "at the high mark");
    assert_eq!(push(&mut a, QUEUE.max - QUEUE.high), 0);
    a.write(0);
    assert_eq!(a.told(), ["congested"]);
    assert_eq!(push(&mut a, 100), 1, "at the bound");
    a.write(99);
    assert_eq!(push(&mut a, 100), 2, "one byte over it");
    a.write(1);
    assert_eq!(push(&mut a, 100), 2);
    assert_eq!(a.write(QUEUE.max - QUEUE.low - 1).len(), 74_999);
    assert_eq!(a.told(), [""; 0], "above the low mark");
    a.write(1);
    assert_eq!(a.told(), ["drained"]);
    a.write(usize::MAX);
    // One message is always taken: else one that is larger than the bound would never go out.
    assert_eq!(push(&mut a, QUEUE.max + 1), 2);
    assert_eq!(push(&mut a, 100), 3);
    assert_eq!(a.write(usize::MAX).len(), QUEUE.max + 1);
}

#[test]
fn a_deadline_that_fires_while_a_write_waits_ends_the_link_unless_a_byte_goes_first() {
    for room in [0, 1] {
        let (mut a, _) = linked();
        a.push(Lane::Bulk, 1_000);
        a.write(10);
        a.now += STALL;
        a.write(room);
        let late = Err(LinkError::TimedOut);
        let expected = if room == 0 { late } else { Ok(()) };
        assert_eq!(a.channel.expire(a.now), expected);
        assert!(a.channel.has_output());
    }
    // The deadline of a handshake is not put off by what the peer takes of it.
    let mut a = End::new("c", None);
    a.now += HANDSHAKE;
    a.write(1);
    assert!(a.channel.has_output());
    assert_eq!(a.channel.expire(a.now), Err(LinkError::TimedOut));
}

#[test]
fn a_link_that_is_hung_up_in_its_handshake_writes_the_rest_and_the_node_never_hears_that_it_is_up()
{
    for dial in [Some(1), None] {
        let (mut a, mut b) = (End::new("c", dial), End::new("c", Some(2)));
        let (opening, theirs) = (a.write(10), b.write(usize::MAX));
        a.receive(&theirs).unwrap();
        a.channel.close(a.now);
        // The proof of the peer would have brought the link up.
        b.receive(&opening).unwrap();
        b.receive(&a.write(usize::MAX)).unwrap();
        assert!(a.channel.is_done());
        let proof = b.write(usize::MAX);
        assert!(!proof.is_empty());
        assert_eq!(a.receive(&proof), Ok(()));
        a.push(Lane::Control, 10);
        assert!(a.told().is_empty() && !a.channel.has_output());
        assert_eq!(a.channel.ended(), LinkError::Closed);
        assert_eq!(a.channel.expire(a.now + PARTING), Err(LinkError::Closed));
        let why = LinkError::Closed;
        let told = dial.map(|_| ("dial failed", why.clone()));
        assert_eq!(a.end(why), told);
    }
}

#[test]
fn a_link_that_is_hung_up_before_its_socket_is_connected_says_nothing() {
    let mut a = End::connecting("c", Some(1), LinkLimits::default());
    a.channel.close(a.now);
    a.channel.open(a.now);
    assert!(a.channel.is_done() && !a.channel.reads());
    assert!(a.write(usize::MAX).is_empty() && a.told().is_empty());
    let why = LinkError::Closed;
    assert_eq!(a.end(why.clone()), Some(("dial failed", why)));
}
