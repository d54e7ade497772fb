//! The HTTP interface of a node, served from a thread of its own.
//!
//! The node lives on some driver's loop. This crate reaches it through [`Backend`]: short closures that run on the loop,
//! and requests that are answered later. Everything slow (parsing, JSON, base64, waiting for clients) happens here.
//!
//! [`router`] is the whole interface as a service, without sockets; [`Server`] puts it behind a listener with limits on
//! connections, headers, bodies and slow readers, and keeps some connections for probes.

mod answer;
mod backend;
mod body;
mod bulk;
mod conditions;
mod connection;
mod error;
mod gateway;
mod items;
mod listing;
mod members;
mod metrics;
mod openapi;
mod options;
mod origin;
mod page;
mod patience;
mod peers;
mod phase;
mod place;
mod query;
pub mod report;
mod reserve;
mod router;
mod rows;
mod server;
mod settings;
mod siblings;
mod state;
mod tables;
mod text;
mod traffic;
mod upkeep;
mod watch;

#[cfg(test)]
mod tests;

pub use backend::{Backend, Listener, Unavailable};
pub use gateway::Settings;
pub use openapi::openapi_json;
pub use options::ServerOptions;
pub use router::{Work, router};
pub use server::Server;
pub use upkeep::{Ended, Running, Upkeep, UpkeepError, UpkeepState};
