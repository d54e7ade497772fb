//! A replicated key-value store as one state machine, without I/O, clocks, threads or global randomness.
//!
//! A [`Node`] takes inputs and gives outputs. The program that embeds it owns sockets, disk and time:
//!
//! - hand in what happened: [`Node::handle`] with an [`Input`](io::Input), always with the time ([`Now`]);
//! - end the turn with [`Input::Tick`](io::Input::Tick), then carry out every [`Output`](io::Output) until [`Node::poll_output`] has none left;
//! - sleep until something arrives or [`Node::next_deadline`] has come.
//!
//! In debug builds a node panics, and names the rule, when turns do not end or outputs are left lying.
//!
//! Reads and writes need no input: [`Node::view`] borrows rows straight from the tables, and [`Node::write`] is accepted at
//! once; the next turn sends it to every member. Two nodes in one process, wired by a vector instead of sockets:
//!
//! ```
//! use bytes::Bytes;
//! use rumormill_core::io::{Input, Output};
//! use rumormill_core::table::Write;
//! use rumormill_core::{Config, Instant, LinkId, Node, Now, Recovery, Seed, TableId, Trace, Wall};
//!
//! let mut now = Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000));
//! let mut nodes = Vec::new();
//! for (name, seed) in [("alpha", 1), ("beta", 2)] {
//!     let mut config = Config::new(name, name);
//!     if name == "beta" {
//!         config.seeds.push("alpha".into()); // the address of any member
//!     }
//!     nodes.push(Recovery::new(config, Seed::from_u64(seed)).finish(now)?);
//! }
//!
//! let write = Write::Put { key: b"greeting", value: Bytes::from_static(b"hello"), expires: None };
//! nodes[0].write(now, TableId::DEFAULT, write)?;
//!
//! // The loop: beta dials alpha, they greet each other, and beta fetches what it lacks.
//! let mut inputs: Vec<(usize, Input)> = Vec::new();
//! for _turn in 0..1_000 {
//!     for (at, input) in std::mem::take(&mut inputs) {
//!         nodes[at].handle(now, input);
//!     }
//!     for at in [0, 1] {
//!         nodes[at].handle(now, Input::Tick);
//!         while let Some(output) = nodes[at].poll_output() {
//!             let peer = 1 - at;
//!             match output {
//!                 // One wire between the two: both ends call it link 1.
//!                 Output::Dial { dial, .. } => {
//!                     let (ours, theirs) = (nodes[at].hello(), nodes[peer].hello());
//!                     inputs.push((at, Input::LinkUp { link: LinkId(1), dial: Some(dial), hello: theirs }));
//!                     inputs.push((peer, Input::LinkUp { link: LinkId(1), dial: None, hello: ours }));
//!                 }
//!                 Output::Send { msg, .. } => {
//!                     inputs.push((peer, Input::Message { link: LinkId(1), msg: (*msg).clone() }));
//!                 }
//!                 Output::Event(event) => println!("{}: {}", nodes[at].config().name, Trace(&event)),
//!                 _ => {} // without storage there is nothing to store; no request was made, so no reply comes
//!             }
//!         }
//!     }
//!     // Nothing sleeps here: time goes to the next deadline.
//!     if inputs.is_empty() {
//!         let next = nodes.iter().filter_map(Node::next_deadline).map(|deadline| deadline.at).min();
//!         now.mono = next.unwrap_or(now.mono).max(now.mono);
//!     }
//! }
//!
//! let found = nodes[1].view(now).get(TableId::DEFAULT, b"greeting");
//! assert_eq!(found.row().expect("it has arrived").value().expect("and is in memory"), "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With [`Storage::Ordered`] the driver also keeps an ordered map of bytes: it applies each [`Output::Store`](io::Output::Store) atomically and
//! in order, answers [`Input::Stored`](io::Input::Stored) after a sync, and hands every record back through [`Recovery`] at the next start.
//! [`Accepted::sync`](table::Accepted::sync) tells whether an acknowledgement has to wait for that. With [`Config::resident_value`] large values are
//! only in that map: it answers [`Output::Load`](io::Output::Load) with [`Input::Loaded`](io::Input::Loaded), and a value is read with [`TableOp::Get`](table::TableOp::Get) where a view
//! says [`Found::Cold`](table::Found::Cold).
//!
//! Inputs, outputs and records are in [`io`], tables and their operations in [`table`], refusals in [`errors`], members and waits in [`members`],
//! what can be set at run time in [`settings`]; the node and its configuration, ids and times are here.
//!
//! Structs and enums that may grow are `#[non_exhaustive]`: options begin with their constructor or default and are then changed field by field.
//! Enums that are not are exhaustive on purpose, and say why. The one type of another crate in these signatures is [`bytes::Bytes`]: keys and
//! values are shared between rows, messages, replies and a driver's buffers without being copied, and a type of our own would have to be
//! converted at each border. What nodes say to each other ([`wire`]) is public for simulators and fuzzers; its form is the protocol's business and
//! may change with any version of it.
//!
//! The page of [`guarantees`] has each promise with its assumptions and what shows it; `ARCHITECTURE.md` is the map, and
//! `core/docs/decisions` has the reasons.
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod cluster;
mod config;
mod crc;
mod detector;
mod effects;
mod error;
#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}
mod id;
pub mod io;
pub mod link;
mod marks;
pub mod mutants;
mod node;
mod recovery;
mod refusals;
mod requests;
mod rng;
mod rules;
pub mod settings;
pub mod store;
pub mod table;
mod time;
mod trace;
pub mod wire;

/// Errors: an enum for each kind of call, and the reasons for which a peer is refused.
pub mod errors {
    pub use crate::error::{
        AnswersLater, ChangesError, CursorError, EvictError, Lagged, LostError, ReadError,
        RecoverError, RequestError, ResumeError, SettingError, TableError, TokenError, WriteError,
    };
    pub use crate::refusals::Refusal;
}

/// Members of the cluster as a node sees them, and the waits of a node that is not counted in yet.
pub mod members {
    pub use crate::cluster::{
        Awaited, Awaits, HoldUp, HoldsUp, MemberInfo, MemberState, NodePhase, SeedState, WrongClock,
    };
    pub use crate::node::ClocksPassed;
}

pub use config::{Config, Limits, MAX_ROW_BYTES, MAX_SIBLING_BYTES, Storage, Timing};
pub use id::{Actor, ClusterId, DialId, FlushId, LinkId, LoadId, NodeId, Seq, TableId, Token};
pub use marks::Mark;
pub use node::{Inspect, Node, NodeStatus};
pub use recovery::Recovery;
pub use rng::Seed;
pub use time::{Instant, Now, Wall};
pub use trace::Trace;

/// The whole public interface, for the core's own tests.
#[cfg(test)]
mod testing {
    pub(crate) use crate::errors::*;
    pub(crate) use crate::io::*;
    pub(crate) use crate::members::*;
    pub(crate) use crate::settings::*;
    pub(crate) use crate::table::*;
    pub(crate) use crate::*;
}
