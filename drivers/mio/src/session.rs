//! The client protocol on the loop. The trait is the kit's, so that every driver serves the same gateways: see
//! `drivers/kit/src/session.rs` for its rules, and implement `rumormill_kit::session::{Session, Clients}`.

pub use rumormill_kit::session::{Clients, Flow, REPLIES_MARK, Replies, Session};
