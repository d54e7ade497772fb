//! What every driver needs: bounded write queues, output dispatch, the store worker, and the trait of client sessions.

mod dispatch;
mod queue;
pub mod session;
pub mod store;

pub use dispatch::{Driver, dispatch};
pub use queue::{Edge, QueueLimits, WriteQueue};
