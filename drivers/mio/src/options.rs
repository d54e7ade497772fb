//! Where a driver listens, and its patience and caps.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rumormill_kit::QueueLimits;
use rumormill_kit::client_session::ClientOutput;
use rumormill_kit::links::why_not_listening;

/// Where a driver listens, and its patience and caps. [`Options::new`] gives every field its default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Where peers dial; port 0 takes any free one.
    pub peers: SocketAddr,
    /// Where Redis clients dial, `None` to serve none.
    pub redis: Option<SocketAddr>,
    /// Most connections accepted from peers at once; 4,096.
    pub max_accepted: usize,
    /// Most clients; 10,000.
    pub max_clients: usize,
    /// Watches of other threads that may wait for a change; 10,000.
    pub watches: usize,
    /// How long one address may take to connect, and a name to be resolved before that; 3 s.
    pub connect_timeout: Duration,
    /// How long a handshake may take; 5 s.
    pub handshake_timeout: Duration,
    /// A link that takes no byte for this long while some wait is given up; 30 s.
    pub stall_timeout: Duration,
    /// A client that takes no byte for this long while some wait is given up; 5 minutes.
    pub client_stall_timeout: Duration,
    /// How many bytes of replies clients may leave unread.
    pub client_output: ClientOutput,
    /// How long [`Handle::leave`](crate::Handle::leave) may take; 5 s.
    pub leave_timeout: Duration,
    /// How long [`Handle::shutdown`](crate::Handle::shutdown) may wait for the last batch to be synced; 5 s.
    pub stop_timeout: Duration,
    /// The bounds of each link's write queue.
    pub queue: QueueLimits,
}

impl Options {
    /// Listens for peers at `peers` and serves no clients.
    pub fn new(peers: SocketAddr) -> Self {
        Options {
            peers,
            redis: None,
            max_accepted: 4_096,
            max_clients: 10_000,
            watches: 10_000,
            connect_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            client_stall_timeout: Duration::from_secs(300),
            client_output: ClientOutput::default(),
            leave_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(5),
            queue: QueueLimits::default(),
        }
    }
}

/// Why a driver could not be made. It listens nowhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address could not be listened on.
    #[error("cannot listen for {listener} on {addr}: {}", why_not_listening(.source))]
    Listen {
        /// The listener's name: `peers` or `redis`.
        listener: &'static str,
        /// The address.
        addr: SocketAddr,
        /// The reason; [`io::ErrorKind::AddrInUse`] when it is taken.
        source: io::Error,
    },
    /// The system gave no event queue or thread.
    #[error("cannot start the event loop: {0}")]
    System(#[from] io::Error),
}
