//! The client protocol on the loop. The trait is the kit's, so that every driver serves the same gateways: see
//! `drivers/kit/src/session.rs` for its rules, and implement `rumormill_kit::session::{Session, Clients}`.

pub use rumormill_kit::session::{
    Ask, Budget, ClientOutput, Clients, Flow, REPLIES_MARK, Replies, Session, Slot, Ticket,
};
use std::net::SocketAddr;

use rumormill_core::{Node, Now};

/// For drivers that serve peers only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoClients;

impl Clients for NoClients {
    type Session = NoSession;

    fn accept(&mut self, _id: u64, _peer: SocketAddr, _clients: usize) -> NoSession {
        NoSession
    }
}

/// Closes at once.
#[derive(Clone, Copy, Debug)]
pub struct NoSession;

impl Session for NoSession {
    fn receive(&mut self, _: Now, _: &mut Node, _: &[u8], _: &mut Replies) -> Flow {
        Flow::Close
    }

    fn resume(&mut self, _: Now, _: &mut Node, _: &mut Replies) -> Flow {
        Flow::Close
    }
}
