//! Values that are only in the store: asked for, and handed to all that wait for them.

use alloc::string::String;

use bytes::Bytes;

use crate::error::ReadError;
use crate::id::LoadId;
use crate::io::Event;
use crate::marks::Mark;
use crate::table::env::Env;
use crate::table::gossip::Gossip;
use crate::table::gossip::protocol::Rejoined;
use crate::table::gossip::replica::{Loaded, Place, Thawed};

impl Gossip {
    /// Asks for the values that sessions and a rejoin want, and issues what may be in flight. Returns a rejoin that became complete; there
    /// may be more to ask for then.
    #[must_use = "the node has to act on a rejoin that is complete"]
    pub(crate) fn loads_due(&mut self, env: &mut Env<'_>) -> Option<Rejoined> {
        loop {
            while let Some(place) = self.replica.next_wanted() {
                if let Err(error) = env.loads.want(&place).map(|_| ()) {
                    let busy = Err(error);
                    self.replica
                        .serve_loaded(&mut env.rows(), &place, Some(&busy));
                }
            }
            self.ask_for_rejoin(env);
            let place = env.loads.next()?;
            match self.replica.cold_version(&place) {
                Some(version) => {
                    let query = self.replica.record_key(env.catalog, &place);
                    let load = env.loads.issue(place, version);
                    env.fx.load(load, query);
                }
                None => {
                    if let Some(rejoined) = self.load_ended(env, place, None) {
                        return Some(rejoined);
                    }
                }
            }
        }
    }

    /// Takes in a value that the store has read, or why it could not. Returns a rejoin that became complete.
    #[must_use = "the node has to act on a rejoin that is complete"]
    pub(crate) fn loaded(
        &mut self,
        env: &mut Env<'_>,
        load: LoadId,
        result: Result<Option<Bytes>, String>,
    ) -> Option<Rejoined> {
        let Some((place, issued)) = env.loads.arrived(load) else {
            env.fx.mark(Mark::LoadUnknown);
            return None;
        };
        match self.replica.thaw(env.catalog, &place, issued, result) {
            Thawed::Needless => {
                env.fx.mark(Mark::LoadNeedless);
                self.load_ended(env, place, None)
            }
            Thawed::Stale => {
                env.fx.mark(Mark::LoadAgain);
                env.loads.again(place);
                None
            }
            Thawed::Value(loaded) => self.load_ended(env, place, Some(Ok(loaded))),
            Thawed::Failed(error) => {
                env.fx.mark(Mark::LoadFailed);
                env.fx.event(Event::Unreadable {
                    table: place.0,
                    key: place.1.clone(),
                    why: error.clone(),
                });
                self.load_ended(env, place, Some(Err(error)))
            }
        }
    }

    /// Lets all waiters for a value go on, requests in their order. `None`: the row is no longer cold.
    fn load_ended(
        &mut self,
        env: &mut Env<'_>,
        place: Place,
        loaded: Option<Result<Loaded, ReadError>>,
    ) -> Option<Rejoined> {
        let waiters = env.loads.finish(&place);
        self.on_loaded(env, &place, loaded.as_ref());
        for (token, request) in waiters {
            if let Some((_, deadline)) = env.requests.remove(token) {
                self.carry_out(env, token, deadline, request, loaded.as_ref());
            }
        }
        self.rejoin_loaded(env, place, loaded)
    }
}
