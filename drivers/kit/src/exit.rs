//! How a driver ends.

use std::io;

use rumormill_core::io::{HaltReason, Handover};

/// Why a loop ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Exit {
    /// The node left the cluster; what it leaves behind.
    Left(Handover),
    /// The node was to leave and did not within its driver's `leave_timeout`, or was told twice.
    LeaveCut,
    /// It was told to end at once.
    Shutdown,
    /// The store failed: what was not acknowledged may be lost.
    StoreFailed(String),
    /// The system's event queue failed.
    System(io::Error),
}

impl From<HaltReason> for Exit {
    fn from(why: HaltReason) -> Exit {
        match why {
            HaltReason::Left(handover) => Exit::Left(handover),
            HaltReason::StoreFailed(error) => Exit::StoreFailed(error),
            other => Exit::StoreFailed(format!("{other:?}")),
        }
    }
}
