//! The part of the gateway that all handlers share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rumormill_core::Limits;

use crate::backend::Calls;
use crate::traffic::HttpMetrics;
use crate::upkeep::Upkeep;
use crate::watch::Hub;

/// The settings of the interface.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest value, in bytes: the node's [`Limits::value_bytes`] at the start, which a setting may change.
    pub value_bytes: usize,
    /// How long a request body may take to arrive.
    pub body_timeout: Duration,
    /// How long another node may take to answer when it is added through `POST /peers`.
    pub peer_timeout: Duration,
    /// Bytes that may wait in memory for all clients that watch, 64 MiB: where more would, the client is cut that keeps most of them and
    /// has read nothing for a second.
    pub watch_bytes: usize,
    /// After so long without an event a client that watches is sent a comment with the id to go on from, 15 s.
    pub watch_keep_alive: Duration,
    /// Names under which clients may ask, without ports, besides IP addresses and `localhost`. A request whose `Host` is
    /// another one is refused: a page of a browser whose name was made to lead here sends such a `Host`. `None` answers under any name.
    pub hosts: Option<Arc<[String]>>,
    /// Whether `/readyz` answers 200 while the node is joining or rejoining: it serves what it has.
    pub ready_early: bool,
    /// The store behind the node; without one, its routes answer `no_storage`.
    pub upkeep: Option<Arc<dyn Upkeep>>,
}

impl Settings {
    /// The settings for a node with these limits.
    pub fn new(limits: &Limits) -> Self {
        Settings {
            value_bytes: limits.value_bytes,
            body_timeout: Duration::from_secs(30),
            peer_timeout: Duration::from_secs(5),
            watch_bytes: 64 << 20,
            watch_keep_alive: Duration::from_secs(15),
            hosts: Some(Arc::default()),
            ready_early: false,
            upkeep: None,
        }
    }
}

/// The state that every handler gets.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) calls: Calls,
    pub(crate) settings: Settings,
    /// The longest value, in bytes, as the node last said.
    pub(crate) value_bytes: Arc<AtomicUsize>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) hub: Arc<Hub>,
}
