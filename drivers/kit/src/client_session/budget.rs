//! The memory that the replies of all clients of a driver may take together, and the line in which large replies wait for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::REPLIES_MARK;

/// Bytes of replies that every client may have, however little is left for all.
const LEAST_MARK: usize = 16 << 10;

/// How many bytes of replies clients may leave unread. [`ClientOutput::default`] gives every field its default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientOutput {
    /// Bytes of replies of one client beyond which it is not read; 1 MiB. One reply may exceed it by one value.
    pub client: usize,
    /// Bytes that unread replies, snapshots, unfinished and waiting commands and transactions of all clients take together; 512 MiB.
    pub all: usize,
    /// How long a client may take next to nothing, or send next to nothing of what it has begun, while all of that is used, or others wait in
    /// line for it; 10 s.
    pub patience: Duration,
}

impl Default for ClientOutput {
    fn default() -> Self {
        ClientOutput {
            client: REPLIES_MARK,
            all: 512 << 20,
            patience: Duration::from_secs(10),
        }
    }
}

/// The bytes that all clients of a driver take together. Clones are the same budget.
///
/// The driver books what each client holds with [`Budget::book`]; a client session asks for the [mark](Budget::mark) of its replies, and
/// takes a place in the [line](Budget::stand) before it builds a reply that is larger than the mark.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: ClientOutput,
    used: AtomicUsize,
    /// Whether the front of the line has stopped for want of room.
    starved: AtomicUsize,
    line: Mutex<VecDeque<u64>>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget::new(ClientOutput::default())
    }
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(limits: ClientOutput) -> Self {
        Budget(Arc::new(Inner {
            limits,
            used: AtomicUsize::new(0),
            starved: AtomicUsize::new(0),
            line: Mutex::default(),
        }))
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &ClientOutput {
        &self.0.limits
    }

    /// Bytes that are booked.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// For drivers: a client that held `before` bytes holds `now`.
    pub fn book(&self, before: usize, now: usize) {
        if now >= before {
            self.0.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.0.used.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Bytes of replies beyond which a client is not read. It shrinks as the budget is used up, so that clients that do not read
    /// leave something to those that do.
    pub fn mark(&self) -> usize {
        let limits = &self.0.limits;
        let left = limits.all.saturating_sub(self.used());
        (left / 64).clamp(LEAST_MARK.min(limits.client), limits.client)
    }

    /// Whether all is used, or the front of the line has no room: clients that do not read are closed after
    /// [`ClientOutput::patience`].
    pub fn is_short(&self) -> bool {
        self.used() >= self.0.limits.all || self.0.starved.load(Ordering::Relaxed) != 0
    }

    /// Whether so much more than all is used that clients that do not read are closed within a quarter of a second.
    pub fn is_exceeded(&self) -> bool {
        let all = self.0.limits.all;
        self.used() > all.saturating_add(all / 4)
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<u64>> {
        // A queue of numbers cannot be left half changed.
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a client at the end of the line. Only its front builds a large reply, so that two of them never wait for each other's room.
    pub fn stand(&self, client: u64) -> Place {
        self.line().push_back(client);
        Place {
            client,
            budget: self.clone(),
        }
    }

    /// For drivers, once a turn: the client to be resumed because it has come to the front, or has room again.
    pub fn due(&self) -> Option<u64> {
        let front = self.line().front().copied()?;
        (self.used() < self.0.limits.all).then_some(front)
    }
}

/// A place in the line of a [`Budget`]; dropping it leaves the line.
#[derive(Debug)]
pub struct Place {
    client: u64,
    budget: Budget,
}

/// The permission of the holder of a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Others are before it.
    Later,
    /// It is its turn, and there is no room at present.
    NoRoom,
    /// It is its turn.
    Now,
}

impl Place {
    /// Returns the permission of its holder, when the reply it builds has `own` bytes that may be booked already.
    pub fn turn(&self, own: usize) -> Turn {
        if self.budget.line().front() != Some(&self.client) {
            return Turn::Later;
        }
        let inner = &self.budget.0;
        let others = self.budget.used().saturating_sub(own);
        let room = others + own < inner.limits.all;
        inner.starved.store(usize::from(!room), Ordering::Relaxed);
        if room { Turn::Now } else { Turn::NoRoom }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.budget.line();
        if line.front() == Some(&self.client) {
            self.budget.0.starved.store(0, Ordering::Relaxed);
        }
        line.retain(|client| *client != self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Budget {
        Budget::new(ClientOutput {
            client: 1 << 20,
            all: 8 << 20,
            patience: Duration::from_secs(1),
        })
    }

    #[test]
    fn the_mark_shrinks_as_the_budget_is_used_up() {
        let budget = Budget::default();
        assert_eq!(budget.mark(), 1 << 20);
        budget.book(0, 480 << 20);
        assert_eq!(budget.mark(), 512 << 10);
        budget.book(0, 40 << 20);
        assert_eq!(budget.mark(), LEAST_MARK);
        assert!(budget.is_short() && !budget.is_exceeded());
        budget.book(520 << 20, 700 << 20);
        assert!(budget.is_exceeded());
        budget.book(700 << 20, 0);
        assert_eq!((budget.used(), budget.is_short()), (0, false));
    }

    #[test]
    fn the_front_of_the_line_builds_and_the_rest_waits() {
        let budget = small();
        let first = budget.stand(1);
        let second = budget.stand(2);
        assert_eq!((first.turn(0), second.turn(0)), (Turn::Now, Turn::Later));
        assert_eq!(budget.due(), Some(1));
        budget.book(0, 8 << 20);
        assert_eq!(first.turn(0), Turn::NoRoom);
        assert_eq!((budget.due(), budget.is_short()), (None, true));
        drop(first);
        budget.book(8 << 20, 0);
        assert_eq!((budget.due(), second.turn(0)), (Some(2), Turn::Now));
        assert!(!budget.is_short());
        drop(second);
        assert_eq!(budget.due(), None);
    }
}
