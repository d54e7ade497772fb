//! The mio event loop around a node: peers over TCP and the Redis protocol.

mod session;

pub use session::{Clients, Flow, REPLIES_MARK, Replies, Session};
