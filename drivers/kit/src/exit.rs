//! How a driver ends.

use std::io;

use rumormill_core::Seq;
use rumormill_core::io::{HaltReason, Handover};

/// Why a loop ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Exit {
    /// The node left the cluster; what it leaves behind.
    Left(Handover),
    /// The node was to leave and did not within its driver's `leave_timeout`, or was told twice.
    LeaveCut,
    /// The node stopped, as it was told to: everything up to this batch is synced, and the last sync was done. It comes back as the same member.
    Stopped(Seq),
    /// The node was to stop and did not within its driver's `stop_timeout`, or was told twice. The last sync was done all the same.
    StopCut,
    /// The store failed: what was not acknowledged may be lost.
    StoreFailed(String),
    /// The system's event queue failed.
    System(io::Error),
}

impl From<HaltReason> for Exit {
    fn from(why: HaltReason) -> Exit {
        match why {
            HaltReason::Left(handover) => Exit::Left(handover),
            HaltReason::Stopped(seq) => Exit::Stopped(seq),
            HaltReason::StoreFailed(error) => Exit::StoreFailed(error),
            other => Exit::StoreFailed(format!("{other:?}")),
        }
    }
}
