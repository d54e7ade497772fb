//! Carries out the node's outputs for the loop.

use bytes::Bytes;
use rumormill_core::link::Frames;
use rumormill_core::{
    DialId, LinkId, LoadId, Seq, TableId, Token,
    errors::RequestError,
    io::{HaltReason, HangupReason, Input, Lane, Response, StoreOp},
};
use rumormill_kit::handle::Commands;
use rumormill_kit::store::{StoreHandle, push_batch, push_load};

use crate::links::Links;
use crate::runtime::Runtime;

/// One turn's view of the loop, as the node's outputs see it.
pub(crate) struct Outputs<'a, R: Runtime> {
    pub(crate) links: &'a mut Links<R>,
    pub(crate) store: Option<&'a StoreHandle>,
    pub(crate) commands: &'a mut Commands,
    /// Outputs that could not be carried out, as inputs of the next turn.
    pub(crate) inputs: &'a mut Vec<Input>,
    pub(crate) changed: &'a mut Vec<TableId>,
    pub(crate) halted: &'a mut Option<HaltReason>,
}

impl<R: Runtime> rumormill_kit::Driver for Outputs<'_, R> {
    fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames) {
        self.links.send(link, lane, frames);
    }

    fn dial(&mut self, dial: DialId, addr: String) {
        self.links.dial(dial, addr);
    }

    fn hangup(&mut self, link: LinkId, why: HangupReason) {
        self.links.hangup(link, why);
    }

    fn store(&mut self, seq: Seq, batch: Vec<StoreOp>, sync: bool) {
        self.inputs.extend(push_batch(self.store, seq, batch, sync));
    }

    fn load(&mut self, load: LoadId, query: Bytes) {
        self.inputs.extend(push_load(self.store, load, query));
    }

    fn reply(&mut self, token: Token, result: Result<Response, RequestError>) {
        if self.commands.reply(token, result).is_err() {
            tracing::debug!(%token, "no caller waits for this reply");
        }
    }

    fn changed(&mut self, table: TableId) {
        self.changed.push(table);
    }

    fn halt(&mut self, why: HaltReason) {
        *self.halted = Some(why);
    }
}
