//! The place of an application on a machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rumormill_core::{Instant, TableId, Token, errors::RequestError, io::Response};

use super::Application;
use crate::rng::{Rng, Stream};

/// An application that is woken more often than this in so many microseconds, by its own timers and changes, will never rest.
const MAX_WAKES: u32 = 1_000;
const WAKES_IN_US: u64 = 10_000;

/// News of a node for its application.
pub(super) enum News {
    Changed(TableId),
    Reply(Token, Result<Response, RequestError>),
}

/// The place of an application on a machine.
pub(crate) struct Slot {
    pub(super) running: Option<Box<dyn Application>>,
    /// When timers are due, by the machine's monotonic clock.
    pub(super) timers: BTreeMap<u64, Instant>,
    /// When the earliest alarm in the queue is due.
    pub(super) alarm_us: Option<u64>,
    /// The tables it has opened.
    pub(super) tables: BTreeSet<TableId>,
    /// Requests without an answer.
    pub(super) requests: BTreeSet<Token>,
    /// The news that the queued event will tell it, if this is not empty.
    pub(super) news: VecDeque<News>,
    /// Messages on their way, of all boots.
    pub(super) in_flight: usize,
    /// Since when wakes are counted, and how many there were.
    wakes: (u64, u32),
    rng: Rng,
}

impl Slot {
    pub(crate) fn new(seed: u64, machine: usize) -> Self {
        Slot {
            running: None,
            timers: BTreeMap::new(),
            alarm_us: None,
            tables: BTreeSet::new(),
            requests: BTreeSet::new(),
            news: VecDeque::new(),
            in_flight: 0,
            wakes: (0, 0),
            rng: Rng::new(seed, Stream::Application, machine as u32),
        }
    }

    pub(crate) fn running(&self) -> Option<&dyn Application> {
        self.running.as_deref()
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub(crate) fn cancel_timer(&mut self, timer: u64) {
        self.timers.remove(&timer);
    }

    /// The process ends. What it has sent is on its way all the same.
    pub(super) fn stop(&mut self) {
        self.running = None;
        self.timers.clear();
        self.alarm_us = None;
        self.tables.clear();
        self.requests.clear();
        self.news.clear();
    }

    /// The timer that is due first, if one is due.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        let due = self.timers.iter().filter(|(_, at)| **at <= now);
        due.min_by_key(|(timer, at)| (**at, **timer))
            .map(|(timer, _)| *timer)
    }

    /// # Panics
    /// If the application never rests: each of its wakes leads to the next.
    pub(super) fn count_wake(&mut self, now_us: u64, machine: usize) {
        if now_us - self.wakes.0 > WAKES_IN_US {
            self.wakes = (now_us, 0);
        }
        self.wakes.1 += 1;
        assert!(
            self.wakes.1 <= MAX_WAKES,
            "the application of n{machine} never rests: its own timers and writes wake it again and again"
        );
    }
}
