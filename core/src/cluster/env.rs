//! The node as the cluster machine sees it during one call.

use bytes::Bytes;

use crate::config::Config;
use crate::detector::Detector;
use crate::effects::Effects;
use crate::error::RequestError;
use crate::id::{TableId, Token};
use crate::io::Response;
use crate::requests::Requests;
use crate::table::Accepted;
use crate::table::loads::Loads;
use crate::table::modes::Modes;
use crate::table::shared::Shared;

/// The parts of the node that the cluster machine acts on. The store's own tables are gossip tables, so it writes its rows through their door.
pub(crate) struct Env<'a> {
    /// The door to the world.
    pub(crate) fx: &'a mut Effects,
    /// The configuration in force.
    pub(crate) config: &'a Config,
    /// The members that answer.
    pub(crate) detector: &'a mut Detector,
    /// The machines of the tables; members are rows of gossip tables.
    pub(crate) modes: &'a mut Modes,
    /// The tables and changes of all modes.
    pub(crate) shared: &'a mut Shared,
    /// Values that are only in the store.
    pub(crate) loads: &'a mut Loads,
    /// Requests that wait for an answer.
    pub(crate) requests: &'a mut Requests,
}

impl Env<'_> {
    /// Writes a row of one of the store's own tables.
    pub(crate) fn write_sys(
        &mut self,
        table: TableId,
        key: &[u8],
        value: impl Into<Option<Bytes>>,
    ) -> Accepted {
        let mut rows = self.shared.rows(self.fx);
        self.modes.gossip.write_sys(&mut rows, table, key, value)
    }

    /// Answers a request that waited.
    pub(crate) fn answer(&mut self, token: Token, result: Result<Response, RequestError>) {
        self.requests.answer(self.fx, token, result);
    }
}
