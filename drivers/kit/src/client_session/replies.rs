//! The replies of one client that are not written yet: a queue of bytes with slots, and which of them wait for the store.

use std::collections::VecDeque;

use rumormill_core::{Seq, table::TableRequest};

use super::Budget;

/// A place in the queue of replies that is filled later. Replies behind it wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u64);

/// The name that a client session gives to an operation it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An operation that a client session asks its driver for, because it cannot be answered at once: the value is only in the store, or the mode of the
/// table answers later.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Handed back with the answer.
    pub ticket: Ticket,
    /// The operation.
    pub request: TableRequest,
}

/// Bytes in a row, and from which place on they wait for which batch.
#[derive(Debug, Default)]
struct Run {
    buf: Vec<u8>,
    /// Bytes of `buf` that are written already.
    written: usize,
    /// From which place in `buf` on replies wait for which batch. Both ascend.
    held: VecDeque<(usize, Seq)>,
}

impl Run {
    fn len(&self) -> usize {
        self.buf.len() - self.written
    }

    fn release(&mut self, durable: Seq) -> Option<Seq> {
        while self.held.front().is_some_and(|&(_, seq)| seq <= durable) {
            self.held.pop_front();
        }
        self.held.front().map(|&(_, seq)| seq)
    }

    fn ready(&self) -> &[u8] {
        let end = self.held.front().map_or(self.buf.len(), |&(from, _)| from);
        &self.buf[self.written..end]
    }

    fn advance(&mut self, n: usize) {
        self.written += n.min(self.ready().len());
        // Moving what is left down costs at most as much as writing what went before it.
        if self.written > 0 && self.written >= self.buf.len() / 2 {
            self.buf.drain(..self.written);
            for (from, _) in &mut self.held {
                *from -= self.written;
            }
            self.written = 0;
        }
    }
}

/// A run that stands before the tail.
#[derive(Debug)]
struct Segment {
    /// The slot that this run is to fill; `None` when nothing more comes here.
    slot: Option<Slot>,
    run: Run,
}

/// The replies of one client that are not written yet, and which of them wait for the store.
///
/// A reply is appended to [`Replies::buf`]. A command that waits takes a [slot](Replies::slot) instead; what is appended after it
/// stays behind it, until [`Replies::fill`] has put the reply there.
#[derive(Debug)]
pub struct Replies {
    tail: Run,
    /// Slots, and what stands between them; empty unless a slot is open or what was behind one is not written.
    front: VecDeque<Segment>,
    /// Bytes in `front`.
    parked: usize,
    last: u64,
    mark: usize,
    commands: u64,
    asks: Vec<Ask>,
    budget: Budget,
}

impl Default for Replies {
    fn default() -> Self {
        Replies::new()
    }
}

impl Replies {
    /// No replies, within a budget of their own.
    pub fn new() -> Self {
        Replies::within(Budget::default())
    }

    /// No replies; owns no memory.
    pub fn within(budget: Budget) -> Self {
        Replies {
            tail: Run::default(),
            front: VecDeque::new(),
            parked: 0,
            last: 0,
            mark: budget.limits().client,
            commands: 0,
            asks: Vec::new(),
            budget,
        }
    }

    /// Returns the budget of the replies of all clients together.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Where replies are appended. Nothing that is in it may be changed.
    pub fn buf(&mut self) -> &mut Vec<u8> {
        &mut self.tail.buf
    }

    /// Withholds all that is appended from now on, or to the slot that is being filled, until `seq` is durable. Call it only for
    /// what is not durable yet.
    pub fn hold(&mut self, seq: Seq) {
        let held = &mut self.tail.held;
        if held.back().is_none_or(|&(_, last)| last < seq) {
            held.push_back((self.tail.buf.len(), seq));
        }
    }

    /// Opens a slot at the end: what is appended from now on is written after the slot is filled.
    pub fn slot(&mut self) -> Slot {
        if !self.tail.buf.is_empty() {
            let run = std::mem::take(&mut self.tail);
            self.parked += run.len();
            self.front.push_back(Segment { slot: None, run });
        }
        self.last += 1;
        let slot = Slot(self.last);
        // Bytes that the store withheld before the slot are withheld in front of it.
        let run = std::mem::take(&mut self.tail);
        self.front.push_back(Segment {
            slot: Some(slot),
            run,
        });
        slot
    }

    /// Has `write` append the reply of a slot, in which [`Replies::buf`] and [`Replies::hold`] are the slot's. It returns whether
    /// the slot is filled; one that is not stays open. Nothing happens when the slot is filled already. O(slots).
    pub fn fill(&mut self, slot: Slot, write: impl FnOnce(&mut Replies) -> bool) {
        let place = self.front.iter().position(|part| part.slot == Some(slot));
        let Some(place) = place else {
            return;
        };
        let swap = |replies: &mut Replies| {
            if let Some(part) = replies.front.get_mut(place) {
                std::mem::swap(&mut replies.tail, &mut part.run);
            }
        };
        let before = self.front[place].run.len();
        swap(self);
        let filled = write(self);
        swap(self);
        if let Some(part) = self.front.get_mut(place) {
            self.parked = self.parked - before + part.run.len();
            if filled {
                part.slot = None;
            }
        }
        self.pop_written();
    }

    /// Whether a slot is not filled yet.
    pub fn waits(&self) -> bool {
        self.front.iter().any(|part| part.slot.is_some())
    }

    /// Bytes not written yet, the withheld ones included.
    pub fn len(&self) -> usize {
        self.parked + self.tail.len()
    }

    /// Whether everything is written, and no slot is open.
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.tail.len() == 0
    }

    /// Whether the [mark](Replies::mark) is reached: a client session finishes the reply at hand, or pauses within it, and returns
    /// [`Flow::Full`](super::Flow::Full).
    pub fn is_full(&self) -> bool {
        self.len() >= self.mark
    }

    /// Bytes of replies at which a client session pauses.
    pub fn mark(&self) -> usize {
        self.mark
    }

    /// Bytes of memory that the replies take.
    pub fn footprint(&self) -> usize {
        let front = self.front.iter().map(|part| part.run.buf.capacity());
        self.tail.buf.capacity() + front.sum::<usize>()
    }

    /// Counts executed commands, for the driver's metrics.
    pub fn count_commands(&mut self, commands: u64) {
        self.commands += commands;
    }

    /// Asks the driver for an operation, whose answer comes with [`ClientSession::answered`](super::ClientSession::answered).
    pub fn ask(&mut self, ask: Ask) {
        self.asks.push(ask);
    }

    /// For drivers: the operations that were asked for since the last call.
    pub fn take_asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// For drivers: takes the mark from the budget, before the client session is called.
    pub fn renew_mark(&mut self) {
        self.mark = self.budget.mark();
    }

    /// For drivers: commands counted since the last call.
    pub fn take_commands(&mut self) -> u64 {
        std::mem::take(&mut self.commands)
    }

    /// For drivers: releases what waited for `durable` or less, and says what the rest waits for, if not for a slot.
    pub fn release(&mut self, durable: Seq) -> Option<Seq> {
        for part in &mut self.front {
            let held = part.run.release(durable);
            if held.is_some() || part.slot.is_some() {
                return held;
            }
        }
        self.tail.release(durable)
    }

    /// For drivers: the bytes that may be written now. When they are written, there may be more.
    pub fn ready(&self) -> &[u8] {
        match self.front.front() {
            None => self.tail.ready(),
            Some(part) if part.slot.is_some() => &[],
            Some(part) => part.run.ready(),
        }
    }

    /// For drivers: the first `n` ready bytes are written.
    pub fn advance(&mut self, n: usize) {
        let Some(part) = self.front.front_mut() else {
            return self.tail.advance(n);
        };
        let before = part.run.len();
        part.run.advance(n);
        self.parked -= before - part.run.len();
        self.pop_written();
    }

    /// Drops runs at the front of which all is written.
    fn pop_written(&mut self) {
        let is_done = |part: &Segment| part.slot.is_none() && part.run.len() == 0;
        while self.front.front().is_some_and(is_done) {
            let Some(mut done) = self.front.pop_front() else {
                return;
            };
            // A later batch may still hold back what is behind.
            if let Some((_, seq)) = done.run.held.pop_back() {
                let next = self.front.front_mut().map(|part| &mut part.run);
                next.unwrap_or(&mut self.tail).held.push_front((0, seq));
            }
        }
    }

    /// For drivers: lends a buffer to replies that own none, so that idle clients hold no memory.
    pub fn lend(&mut self, spare: Vec<u8>) {
        if self.tail.buf.capacity() == 0 {
            self.tail.buf = spare;
        }
    }

    /// For drivers: whether there is a buffer.
    pub fn has_buffer(&self) -> bool {
        self.tail.buf.capacity() > 0
    }

    /// For drivers: takes the buffer back once everything is written.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        let idle = self.front.is_empty() && self.tail.buf.is_empty() && self.tail.held.is_empty();
        (idle && self.has_buffer()).then(|| std::mem::take(&mut self.tail.buf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_replies_keep_their_order_behind_the_store() {
        let mut replies = Replies::new();
        replies.buf().extend_from_slice(b"a");
        replies.hold(Seq(2));
        replies.buf().extend_from_slice(b"b");
        replies.hold(Seq(1));
        replies.buf().extend_from_slice(b"c");
        replies.hold(Seq(3));
        replies.buf().extend_from_slice(b"d");
        assert_eq!(replies.ready(), b"a");
        replies.advance(1);
        assert_eq!(replies.release(Seq(1)), Some(Seq(2)));
        assert_eq!(replies.ready(), b"");
        assert_eq!(replies.release(Seq(2)), Some(Seq(3)));
        assert_eq!(replies.ready(), b"bc");
        replies.advance(2);
        assert_eq!((replies.ready(), replies.len()), (&b""[..], 1));
        assert_eq!(replies.reclaim(), None);
        assert_eq!(replies.release(Seq(3)), None);
        assert_eq!(replies.ready(), b"d");
        replies.advance(1);
        assert!(replies.is_empty() && replies.reclaim().is_some());
    }

    /// Writes all that may be written.
    fn drain(replies: &mut Replies, durable: Seq) -> String {
        let mut said = String::new();
        loop {
            replies.release(durable);
            let ready = replies.ready().to_vec();
            if ready.is_empty() {
                return said;
            }
            said.push_str(std::str::from_utf8(&ready).unwrap());
            replies.advance(ready.len());
        }
    }

    #[test]
    fn replies_behind_a_slot_wait_until_it_is_filled() {
        let mut replies = Replies::new();
        replies.buf().extend_from_slice(b"a");
        let first = replies.slot();
        let second = replies.slot();
        replies.buf().extend_from_slice(b"d");
        assert_eq!(
            (drain(&mut replies, Seq(0)), replies.len()),
            ("a".into(), 1)
        );
        replies.fill(second, |replies| {
            replies.buf().extend_from_slice(b"c");
            true
        });
        assert_eq!((drain(&mut replies, Seq(0)), replies.len()), ("".into(), 2));
        replies.fill(first, |_| false);
        assert!(replies.waits());
        replies.fill(first, |replies| {
            replies.buf().extend_from_slice(b"b");
            true
        });
        replies.fill(first, |_| unreachable!("it is filled"));
        assert_eq!(drain(&mut replies, Seq(0)), "bcd");
        assert!(replies.is_empty() && !replies.waits());
    }

    #[test]
    fn a_slot_is_held_back_by_its_own_batch() {
        let mut replies = Replies::new();
        replies.hold(Seq(1));
        let slot = replies.slot();
        replies.hold(Seq(2));
        replies.buf().extend_from_slice(b"z");
        replies.fill(slot, |replies| {
            replies.hold(Seq(3));
            replies.buf().extend_from_slice(b"y");
            true
        });
        assert_eq!(replies.release(Seq(0)), Some(Seq(1)));
        assert_eq!(drain(&mut replies, Seq(2)), "");
        assert_eq!(replies.release(Seq(2)), Some(Seq(3)));
        assert_eq!(drain(&mut replies, Seq(3)), "yz");
        assert!(replies.is_empty());
    }

    #[test]
    fn slots_filled_in_any_order_give_the_replies_in_theirs() {
        arbtest::arbtest(|u| {
            let mut replies = Replies::new();
            let (mut open, mut expected, mut said) = (Vec::new(), Vec::new(), String::new());
            for n in 0..u.int_in_range(0..=12u32)? {
                let text = format!("{n},");
                if u.arbitrary()? {
                    open.push((replies.slot(), text.clone()));
                } else {
                    if u.arbitrary()? {
                        replies.hold(Seq(u64::from(n)));
                    }
                    replies.buf().extend_from_slice(text.as_bytes());
                }
                expected.push(text);
                if u.arbitrary()? {
                    let next: u64 = u.int_in_range(0..=12)?;
                    said += &drain(&mut replies, Seq(next));
                }
            }
            while !open.is_empty() {
                let (slot, text) = open.swap_remove(u.choose_index(open.len())?);
                replies.fill(slot, |replies| {
                    replies.buf().extend_from_slice(text.as_bytes());
                    true
                });
                said += &drain(&mut replies, Seq(6));
            }
            said += &drain(&mut replies, Seq(20));
            assert_eq!(said, expected.concat());
            assert!(replies.is_empty());
            Ok(())
        });
    }
}
