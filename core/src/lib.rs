//! A distributed key-value store as one state machine, without I/O, clocks, threads or global randomness.
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod config;
mod detector;
mod effects;
mod error;
mod id;
mod io;
pub mod link;
mod membership;
mod node;
mod recovery;
mod rng;
mod store;
mod table;
mod time;
pub mod wire;

pub use config::{Config, Limits, MAX_ROW_BYTES, Storage, Timing};
pub use error::{Lagged, RecoverError, RequestError, TableError, WriteError};
pub use id::{Actor, ClusterId, DialId, LinkId, NodeId, Seq, TableId, Token};
pub use io::{
    Deadline, Event, HaltReason, HangupReason, Input, Lane, LinkError, Links, Output, Record,
    Request, Response, StoreOp, Timer,
};
pub use membership::{MemberInfo, MemberState};
pub use node::{Node, NodeStatus};
pub use recovery::Recovery;
pub use rng::Seed;
pub use table::{
    Accepted, Change, ChangeKind, Changes, Conflict, Context, Cursor, Domain, Durability, Found,
    Hlc, Namespace, RowRef, Runs, Scan, ScanRange, TableInfo, TableName, TableOptions, Version,
    View, Write,
};
pub use time::{Instant, Now, Wall};
