//! Values that are only in the store: the waiters for each, and their continuation when it comes.

use alloc::string::String;

use bytes::Bytes;

use super::Node;
use crate::error::{ReadError, RequestError};
use crate::id::Token;
use crate::io::{Event, Request};
use crate::marks::Mark;
use crate::table::gossip::{Loaded, Place, Thawed};

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
            while let Some(place) = self.gossip.replica_mut().next_wanted() {
                if let Err(error) = self.loads.want(&place).map(|_| ()) {
                    let busy = Err(error);
                    self.gossip
                        .replica_mut()
                        .serve_loaded(&mut self.fx, &place, Some(&busy));
                }
            }
            self.gossip_door(|gossip, env| gossip.ask_for_rejoin(env));
            let Some(place) = self.loads.next() else {
                return;
            };
            match self.gossip.replica().cold_version(&place) {
                Some(version) => {
                    let query = self.gossip.replica().record_key(&place);
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
        match self.gossip.replica_mut().thaw(&place, issued, result) {
            Thawed::Needless => {
                self.fx.mark(Mark::LoadNeedless);
                self.load_ended(place, None);
            }
            Thawed::Stale => {
                self.fx.mark(Mark::LoadAgain);
                self.loads.again(place);
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
        self.gossip_door(|gossip, env| gossip.on_loaded(env, &place, loaded.as_ref()));
        for (token, request) in waiters {
            if let Some(deadline) = self.stop_waiting(token) {
                self.carry_out(token, deadline, request, loaded.as_ref());
            }
        }
        let rejoined = self.gossip_door(|gossip, env| gossip.rejoin_loaded(env, place, loaded));
        if let Some(rejoined) = rejoined {
            self.rejoined(rejoined);
        }
    }
}
