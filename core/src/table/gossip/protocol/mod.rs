//! The messages of a node about its gossip tables, and their handlers.

mod anti_entropy;
mod expiry;
mod freeing;
mod loads;
mod push;
mod rejoin;
mod relay;
mod repair;
mod requests;
mod settled;
mod strays;

pub(crate) use anti_entropy::Paged;
pub(crate) use rejoin::PendingRejoin;
pub(crate) use rejoin::Rejoined;
pub(crate) use relay::Relays;
pub(crate) use repair::{Renewals, Repair};
pub(crate) use settled::Settled;
pub use strays::StrayRows;
