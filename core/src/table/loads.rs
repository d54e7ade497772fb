//! Values that are only in the store: the loads under way, and the requests that wait for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::config::Limits;
use crate::error::ReadError;
use crate::id::{LoadId, Token};
use crate::table::TableRequest;
use crate::table::gossip::{Place, VersionKey};

/// One value on its way.
#[derive(Default)]
pub(crate) struct Pending {
    /// The version it was asked for.
    pub(crate) issued: VersionKey,
    /// Requests on the key, in order.
    waiters: Vec<(Token, TableRequest)>,
}

/// The loads under way and those that wait for their turn. All waiters for one value share its load.
pub(crate) struct Loads {
    pending: BTreeMap<Place, Pending>,
    in_flight: BTreeMap<LoadId, Place>,
    queue: VecDeque<Place>,
    last: LoadId,
    /// Most loads in flight.
    at_once: usize,
    /// Most loads in the queue, and most waiters of one load.
    limit: usize,
    /// The most that the queue may hold: the limit, or its length when a smaller limit came.
    held: usize,
}

impl Loads {
    pub(crate) fn new(limits: &Limits) -> Self {
        Loads {
            pending: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            queue: VecDeque::new(),
            last: LoadId(0),
            at_once: limits.loads.max(1),
            limit: limits.load_queue,
            held: limits.load_queue,
        }
    }

    /// Sets the limit of the queue; what waits already stays.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.held = limit.max(self.queue.len());
    }

    /// Returns whether requests wait for the value of this row, so that later ones have to wait behind them.
    pub(crate) fn is_awaited(&self, place: &Place) -> bool {
        let pending = self.pending.get(place);
        pending.is_some_and(|pending| !pending.waiters.is_empty())
    }

    /// Asks for a value, unless it is on its way.
    pub(crate) fn want(&mut self, place: &Place) -> Result<&mut Pending, ReadError> {
        if !self.pending.contains_key(place) {
            if self.queue.len() >= self.limit {
                return Err(ReadError::Busy { limit: self.limit });
            }
            self.queue.push_back(place.clone());
        }
        Ok(self.pending.entry(place.clone()).or_default())
    }

    /// Asks for a value that no request waits for, unless it is on its way; whether there was room.
    #[must_use = "there may be no room"]
    pub(crate) fn wants(&mut self, place: &Place) -> bool {
        self.want(place).is_ok()
    }

    /// Puts a request behind those that wait for the value of this row.
    pub(crate) fn wait(
        &mut self,
        place: &Place,
        token: Token,
        request: TableRequest,
    ) -> Result<(), ReadError> {
        let limit = self.limit;
        let pending = self.want(place)?;
        if pending.waiters.len() >= limit {
            return Err(ReadError::Busy { limit });
        }
        pending.waiters.push((token, request));
        Ok(())
    }

    /// Takes the next value to load, when another load may be in flight.
    #[must_use = "a value that is taken has to be asked for"]
    pub(crate) fn next(&mut self) -> Option<Place> {
        if self.in_flight.len() >= self.at_once {
            return None;
        }
        self.queue.pop_front()
    }

    #[must_use = "the store has to be asked under this number"]
    pub(crate) fn issue(&mut self, place: Place, version: VersionKey) -> LoadId {
        self.last = LoadId(self.last.0 + 1);
        self.pending.entry(place.clone()).or_default().issued = version;
        self.in_flight.insert(self.last, place);
        self.last
    }

    /// Ends a load. Returns the row that it was for, and the version of the row when it was issued.
    #[must_use = "waiters of this row have to go on"]
    pub(crate) fn arrived(&mut self, load: LoadId) -> Option<(Place, VersionKey)> {
        let place = self.in_flight.remove(&load)?;
        let issued = self.pending.get(&place)?.issued;
        Some((place, issued))
    }

    /// Ends the wait for a value; the requests that waited.
    #[must_use = "these requests have to be carried out"]
    pub(crate) fn finish(&mut self, place: &Place) -> Vec<(Token, TableRequest)> {
        self.pending.remove(place).unwrap_or_default().waiters
    }

    /// Puts a value in front of all others: its load has to be issued again.
    pub(crate) fn again(&mut self, place: Place) {
        self.queue.push_front(place);
    }

    /// Asserts that both queues are bounded.
    pub(crate) fn check(&self) {
        assert!(
            self.in_flight.len() <= self.at_once,
            "loads in flight are bounded"
        );
        assert!(
            self.queue.len() <= self.held + self.at_once,
            "loads in the queue are bounded"
        );
    }
}
