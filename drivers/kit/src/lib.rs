//! The parts that drivers share: links without their sockets and their bounded write queues, output dispatch, the store worker, the trait
//! of client sessions, what handles ask, clocks, counters and the log of events.

pub mod answer;
pub mod channel;
pub mod client_session;
mod clock;
pub mod counters;
mod dispatch;
mod events;
mod exit;
pub mod handle;
pub mod links;
mod queue;
pub mod resolver;
mod seed;
pub mod store;
#[cfg(feature = "typed")]
pub mod typed;

pub use clock::Clock;
pub use dispatch::{Driver, dispatch};
pub use events::log;
pub use exit::Exit;
pub use queue::QueueLimits;
pub use seed::random_seed;
