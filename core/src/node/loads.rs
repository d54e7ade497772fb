//! Values that are only in the store: the waiters for each, and their continuation when it comes.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use crate::config::Limits;
use crate::error::{ReadError, RequestError};
use crate::id::{LinkId, LoadId, NodeId, Token};
use crate::io::{Event, Request};
use crate::marks::Mark;
use crate::table::gossip::{Loaded, Place, Reunion, Thawed, VersionKey};

/// One value on its way.
#[derive(Default)]
struct Pending {
    /// The version it was asked for.
    issued: VersionKey,
    /// Requests on the key, in order.
    waiters: Vec<(Token, Request)>,
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
    /// What the queue may hold: the limit, or what it held when a smaller one came.
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

    /// Another limit of the queue holds from now on; what waits already stays.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.held = limit.max(self.queue.len());
    }

    /// Whether requests wait for the value of this row, so that later ones have to wait behind them.
    pub(crate) fn is_awaited(&self, place: &Place) -> bool {
        let pending = self.pending.get(place);
        pending.is_some_and(|pending| !pending.waiters.is_empty())
    }

    /// Asks for a value, unless it is on its way.
    fn want(&mut self, place: &Place) -> Result<&mut Pending, ReadError> {
        if !self.pending.contains_key(place) {
            if self.queue.len() >= self.limit {
                return Err(ReadError::Busy { limit: self.limit });
            }
            self.queue.push_back(place.clone());
        }
        Ok(self.pending.entry(place.clone()).or_default())
    }

    /// Asks for a value that no request waits for, unless it is on its way; whether there was room.
    pub(crate) fn wants(&mut self, place: &Place) -> bool {
        self.want(place).is_ok()
    }

    /// Puts a request behind those that wait for the value of this row.
    fn wait(&mut self, place: &Place, token: Token, request: Request) -> Result<(), ReadError> {
        let limit = self.limit;
        let pending = self.want(place)?;
        if pending.waiters.len() >= limit {
            return Err(ReadError::Busy { limit });
        }
        pending.waiters.push((token, request));
        Ok(())
    }

    /// The next value to load, when another load may be in flight.
    fn next(&mut self) -> Option<Place> {
        if self.in_flight.len() >= self.at_once {
            return None;
        }
        self.queue.pop_front()
    }

    fn issue(&mut self, place: Place, version: VersionKey) -> LoadId {
        self.last = LoadId(self.last.0 + 1);
        self.pending.entry(place.clone()).or_default().issued = version;
        self.in_flight.insert(self.last, place);
        self.last
    }

    /// A load has ended: whose it was, and for which version it was issued.
    fn arrived(&mut self, load: LoadId) -> Option<(Place, VersionKey)> {
        let place = self.in_flight.remove(&load)?;
        let issued = self.pending.get(&place)?.issued;
        Some((place, issued))
    }

    /// Ends the wait for a value; the requests that waited.
    fn finish(&mut self, place: &Place) -> Vec<(Token, Request)> {
        self.pending.remove(place).unwrap_or_default().waiters
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

/// A reunion that waits for values of this node's own rows.
pub(crate) struct Reuniting {
    pub(crate) link: LinkId,
    with: NodeId,
    reunion: Reunion,
    /// Values to ask for, and values asked for.
    todo: VecDeque<Place>,
    wanted: BTreeSet<Place>,
}

impl Node {
    /// Lets a request wait for the value of a row, behind others on the same key.
    pub(super) fn await_value(
        &mut self,
        place: &Place,
        token: Token,
        deadline: Option<crate::Instant>,
        request: Request,
    ) {
        match self.loads.wait(place, token, request) {
            Ok(()) => {
                self.fx.mark(Mark::RequestWaitsForLoad);
                self.wait_for_load(token, deadline);
            }
            Err(error) => self.fx.reply(token, Err(RequestError::Read(error))),
        }
    }

    /// Asks for what sessions and a reunion want, and issues what may be in flight.
    pub(super) fn loads_due(&mut self) {
        loop {
            while let Some(place) = self.gossip.next_wanted() {
                if let Err(error) = self.loads.want(&place).map(|_| ()) {
                    let busy = Err(error);
                    self.gossip.serve_loaded(&mut self.fx, &place, Some(&busy));
                }
            }
            self.ask_for_reunion();
            let Some(place) = self.loads.next() else {
                return;
            };
            match self.gossip.cold_version(&place) {
                Some(version) => {
                    let query = self.gossip.record_key(&place);
                    let load = self.loads.issue(place, version);
                    self.fx.load(load, query);
                }
                None => self.load_ended(place, None),
            }
        }
    }

    pub(super) fn loaded(&mut self, load: crate::LoadId, result: Result<Option<Bytes>, String>) {
        let Some((place, issued)) = self.loads.arrived(load) else {
            self.fx.mark(Mark::LoadUnknown);
            return;
        };
        match self.gossip.thaw(&place, issued, result) {
            Thawed::Needless => {
                self.fx.mark(Mark::LoadNeedless);
                self.load_ended(place, None);
            }
            Thawed::Stale => {
                self.fx.mark(Mark::LoadAgain);
                self.loads.queue.push_front(place);
            }
            Thawed::Value(loaded) => self.load_ended(place, Some(Ok(loaded))),
            Thawed::Failed(error) => {
                self.fx.mark(Mark::LoadFailed);
                self.fx.event(Event::Unreadable {
                    table: place.0,
                    key: place.1.clone(),
                    why: error.clone(),
                });
                self.load_ended(place, Some(Err(error)));
            }
        }
    }

    /// Lets all waiters for a value go on, requests in their order. `None`: the row is no longer cold.
    fn load_ended(&mut self, place: Place, loaded: Option<Result<Loaded, ReadError>>) {
        let waiters = self.loads.finish(&place);
        self.gossip
            .serve_loaded(&mut self.fx, &place, loaded.as_ref());
        self.renewal_loaded(&place, loaded.as_ref());
        let value = loaded.as_ref().and_then(|loaded| loaded.as_ref().ok());
        self.gossip.stray_loaded(&mut self.fx, &place, value);
        for (token, request) in waiters {
            if let Some(deadline) = self.stop_waiting(token) {
                self.carry_out(token, deadline, request, loaded.as_ref());
            }
        }
        if let Some(reuniting) = &mut self.reuniting
            && reuniting.wanted.remove(&place)
        {
            reuniting.reunion.loaded(place, loaded);
            self.reunite_if_complete();
        }
    }

    /// Everything that a member holds has arrived: it is compared with this node's rows once their values are here too.
    pub(super) fn reunite(&mut self, link: LinkId, with: NodeId, reunion: Reunion) {
        self.reuniting = Some(Reuniting {
            link,
            with,
            reunion,
            todo: VecDeque::new(),
            wanted: BTreeSet::new(),
        });
        self.reunite_if_complete();
    }

    /// As many values are asked for as there is room for; the rest when some have come.
    fn ask_for_reunion(&mut self) {
        let Some(reuniting) = &mut self.reuniting else {
            return;
        };
        while let Some(place) = reuniting.todo.front() {
            if self.loads.want(place).is_err() {
                return;
            }
            reuniting.wanted.extend(reuniting.todo.pop_front());
        }
    }

    fn reunite_if_complete(&mut self) {
        let Some(mut reuniting) = self.reuniting.take() else {
            return;
        };
        if reuniting.todo.is_empty() && reuniting.wanted.is_empty() {
            // Rows may have been written, and have left memory, while others were loaded.
            reuniting.todo = self.gossip.cold_proposals(&self.fx, &reuniting.reunion);
            if reuniting.todo.is_empty() {
                return self.finish_reunion(reuniting);
            }
            self.fx.mark(Mark::ReunionWaitsForLoads);
        }
        self.reuniting = Some(reuniting);
    }

    fn finish_reunion(&mut self, reuniting: Reuniting) {
        let Reuniting {
            link,
            with,
            reunion,
            ..
        } = reuniting;
        let (dropped, proposed) = self.gossip.reunite(&mut self.fx, reunion);
        self.take_sys_changes();
        self.fx.mark(Mark::Reunited);
        self.fx.event(Event::Reunited {
            with,
            dropped,
            proposed,
        });
        self.joined(link, with);
    }
}
