//! The requests that wait for an answer, and when each is given up.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::effects::Effects;
use crate::error::RequestError;
use crate::id::{Seq, Token};
use crate::io::Response;
use crate::time::Instant;

/// The thing that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A batch: the reply is held at the gate.
    Durable,
    /// A link.
    Join,
    /// The leave, or the stop.
    Leave,
    /// The eviction of a member.
    Evict,
    /// The mode of a table: a value, the deletes of a flush, or the word of others.
    Table,
}

/// The requests that wait. One that waits costs nothing until it is answered or its deadline comes.
#[derive(Default)]
pub(crate) struct Requests {
    waiting: BTreeMap<Token, (Waits, Option<Instant>)>,
    /// The deadlines of those that have one.
    deadlines: BTreeSet<(Instant, Token)>,
    /// Requests that were looked at to find those whose deadline has come.
    #[cfg(test)]
    looked_at: core::cell::Cell<u64>,
}

impl Requests {
    /// Returns when the first of them is given up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Answers all of them with [`RequestError::Halted`].
    pub(crate) fn fail_all(&mut self, fx: &mut Effects) {
        self.deadlines.clear();
        for token in core::mem::take(&mut self.waiting).into_keys() {
            fx.withdraw(token);
            fx.reply(token, Err(RequestError::Halted));
        }
    }

    /// Lets a request wait.
    pub(crate) fn wait(&mut self, token: Token, what: Waits, deadline: Option<Instant>) {
        self.remove(token);
        self.waiting.insert(token, (what, deadline));
        self.deadlines.extend(deadline.map(|at| (at, token)));
    }

    /// Ends the wait of a request. Returns its reason and deadline, if it still waited.
    pub(crate) fn remove(&mut self, token: Token) -> Option<(Waits, Option<Instant>)> {
        let (what, deadline) = self.waiting.remove(&token)?;
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, token));
        }
        Some((what, deadline))
    }

    /// Returns the requests whose deadline has come.
    #[must_use = "these requests have to be given up"]
    pub(crate) fn due(&self, now: Instant) -> Vec<Token> {
        let due = self.deadlines.iter();
        #[cfg(test)]
        let due = due.inspect(|_| self.looked_at.set(self.looked_at.get() + 1));
        let due = due.take_while(|(at, _)| *at <= now);
        due.map(|(_, token)| *token).collect()
    }

    /// Returns how many requests were looked at to find those whose deadline has come.
    #[cfg(test)]
    pub(crate) fn looked_at(&self) -> u64 {
        self.looked_at.get()
    }

    /// Ends the wait of a request. Returns whether it still waited.
    pub(crate) fn end(&mut self, token: Token) -> bool {
        self.remove(token).is_some()
    }

    /// Returns how many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Replies to a request: once batch `seq` is durable, if that is promised.
    pub(crate) fn reply_safely(
        &mut self,
        fx: &mut Effects,
        (seq, sync): (Seq, bool),
        token: Token,
        deadline: Option<Instant>,
        shown: Result<Response, RequestError>,
    ) {
        if sync && seq > fx.durable() {
            self.wait(token, Waits::Durable, deadline);
            fx.reply_after(seq, token, shown);
        } else {
            fx.reply(token, shown);
        }
    }

    /// Answers once a batch is durable, or refuses at once.
    pub(crate) fn reply_durably(
        &mut self,
        fx: &mut Effects,
        token: Token,
        deadline: Option<Instant>,
        done: Result<(Seq, Response), RequestError>,
    ) {
        match done {
            Ok((seq, response)) => {
                self.reply_safely(fx, (seq, true), token, deadline, Ok(response));
            }
            Err(error) => fx.reply(token, Err(error)),
        }
    }

    /// Answers a request that waited.
    pub(crate) fn answer(
        &mut self,
        fx: &mut Effects,
        token: Token,
        result: Result<Response, RequestError>,
    ) {
        if self.end(token) {
            fx.reply(token, result);
        }
    }
}
