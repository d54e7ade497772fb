//! The client protocol on the loop. The trait is the kit's, so that every driver serves the same gateways: see
//! `drivers/kit/src/client_session.rs` for its rules, and implement `rumormill_kit::client_session::{ClientSession, Clients}`.

pub use rumormill_kit::client_session::{
    Ask, Budget, ClientOutput, ClientSession, Clients, Flow, REPLIES_MARK, Replies, Slot, Ticket,
};
use std::net::SocketAddr;

use rumormill_core::{Node, Now};

/// For drivers that serve peers only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoClients;

impl Clients for NoClients {
    type ClientSession = NoClientSession;

    fn accept(&mut self, _id: u64, _peer: SocketAddr, _clients: usize) -> NoClientSession {
        NoClientSession
    }
}

/// Closes at once.
#[derive(Clone, Copy, Debug)]
pub struct NoClientSession;

impl ClientSession for NoClientSession {
    fn receive(&mut self, _: Now, _: &mut Node, _: &[u8], _: &mut Replies) -> Flow {
        Flow::Close
    }

    fn resume(&mut self, _: Now, _: &mut Node, _: &mut Replies) -> Flow {
        Flow::Close
    }
}
