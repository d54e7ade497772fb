//! Carries out the node's outputs for the loop.

use std::time::Instant;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rumormill_core::link::Frames;
use rumormill_core::{
    DialId, LinkId, LoadId, Seq, TableId, Token,
    errors::RequestError,
    io::{HaltReason, HangupReason, Lane, Response, StoreOp},
};
use rumormill_kit::client_session::Ticket;
use rumormill_kit::handle::Commands;
use rumormill_kit::store::{StoreHandle, push_batch, push_load};

use crate::peers::Peers;

/// The answer to an operation of a client: whose it is, and what that calls it.
pub(crate) type Came = ((usize, Ticket), Result<Response, RequestError>);

/// One turn's view of the loop, as the node's outputs see it.
pub(crate) struct Outputs<'a> {
    pub(crate) now: Instant,
    pub(crate) peers: &'a mut Peers,
    pub(crate) store: Option<&'a StoreHandle>,
    pub(crate) commands: &'a mut Commands,
    pub(crate) awaited: &'a mut HashMap<Token, (usize, Ticket), FixedState>,
    pub(crate) answers: &'a mut Vec<Came>,
    pub(crate) changed: &'a mut Vec<TableId>,
    pub(crate) halted: &'a mut Option<HaltReason>,
}

impl rumormill_kit::Driver for Outputs<'_> {
    fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames) {
        self.peers.send(link, lane, frames);
    }

    fn dial(&mut self, dial: DialId, addr: String) {
        self.peers.dial(self.now, dial, addr);
    }

    fn hangup(&mut self, link: LinkId, why: HangupReason) {
        self.peers.hangup(self.now, link, why);
    }

    fn store(&mut self, seq: Seq, batch: Vec<StoreOp>, sync: bool) {
        self.peers
            .inputs
            .extend(push_batch(self.store, seq, batch, sync));
    }

    fn load(&mut self, load: LoadId, query: Bytes) {
        self.peers.inputs.extend(push_load(self.store, load, query));
    }

    fn reply(&mut self, token: Token, result: Result<Response, RequestError>) {
        let Err(result) = self.commands.reply(token, result) else {
            return;
        };
        if let Some(client) = self.awaited.remove(&token) {
            self.answers.push((client, result));
        }
    }

    fn changed(&mut self, table: TableId) {
        self.changed.push(table);
    }

    fn halt(&mut self, why: HaltReason) {
        *self.halted = Some(why);
    }
}
