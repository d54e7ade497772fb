//! Where a driver listens, and its patience and caps.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rumormill_kit::QueueLimits;
use rumormill_kit::links::why_not_listening;

/// Where a driver listens, and its patience and caps. [`Options::new`] gives every field its default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Where peers dial; port 0 takes any free one.
    pub peers: SocketAddr,
    /// Commands of handles that may wait for the loop, at least 1; 4,096. A handle waits for room.
    pub commands: usize,
    /// Watches that may wait for a change; 10,000.
    pub watches: usize,
    /// Most connections accepted from peers at once; 4,096.
    pub max_accepted: usize,
    /// How long one address may take to connect; 3 s.
    pub connect_timeout: Duration,
    /// How long a handshake may take; 5 s.
    pub handshake_timeout: Duration,
    /// A link that takes no byte for this long while some wait is given up; 30 s.
    pub stall_timeout: Duration,
    /// How long [`Handle::leave`](crate::Handle::leave) may take; 5 s.
    pub leave_timeout: Duration,
    /// How long [`Handle::shutdown`](crate::Handle::shutdown) may wait for the last batch to be synced; 5 s.
    pub stop_timeout: Duration,
    /// The bounds of each link's write queue.
    pub queue: QueueLimits,
}

impl Options {
    /// Listens for peers at `peers`.
    pub fn new(peers: SocketAddr) -> Self {
        Options {
            peers,
            commands: 4_096,
            watches: 10_000,
            max_accepted: 4_096,
            connect_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(5),
            queue: QueueLimits::default(),
        }
    }
}

/// The address could not be listened on; the driver was not made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for peers on {addr}: {}", why_not_listening(.source))]
#[non_exhaustive]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// The reason; [`io::ErrorKind::AddrInUse`] when it is taken.
    pub source: io::Error,
}
