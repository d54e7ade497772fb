//! A bound driver: its addresses are known and nothing is served yet.

use std::net::SocketAddr;
use std::sync::Arc;

use mio::{Poll, Waker};
use rumormill_core::{Node, Now};
use rumormill_kit::client_session::Clients;
use rumormill_kit::counters::Counters;
use rumormill_kit::handle::{CommandLimits, Commands, Ring};
use rumormill_kit::resolver::{self, Resolver};
use rumormill_kit::store::StoreHandle;
use rumormill_kit::{Clock, Exit};

use crate::handle::{Handle, wake};
use crate::listener::Listener;
use crate::options::{BindError, Options};
use crate::turns::{Loop, PEERS, Parts, REDIS, WAKER};

/// A bound driver: its addresses are known and nothing is served yet.
pub struct Driver {
    parts: Parts,
    handle: Handle,
}

impl Driver {
    /// Binds the listeners.
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    pub fn bind(options: Options) -> Result<Driver, BindError> {
        let poll = Poll::new()?;
        let peers = Listener::bind(&poll, "peers", options.peers, PEERS)?;
        let redis = options
            .redis
            .map(|addr| Listener::bind(&poll, "redis", addr, REDIS))
            .transpose()?;
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(WAKER))?);
        let wake_for_names = {
            let waker = Arc::clone(&waker);
            move || wake(&waker)
        };
        let resolver = Resolver::spawn(wake_for_names, options.connect_timeout, resolver::system)?;
        let mut limits = CommandLimits::default();
        limits.watches = options.watches;
        limits.leave_timeout = options.leave_timeout;
        limits.stop_timeout = options.stop_timeout;
        let ring: Ring = Arc::new(move || wake(&waker));
        let (handle, commands) = Commands::new(limits, ring);
        let parts = Parts {
            options,
            poll,
            clock: Clock::start(),
            peers,
            redis,
            commands,
            counters: Arc::default(),
            resolver,
        };
        let handle = Handle(handle);
        Ok(Driver { parts, handle })
    }

    /// Where peers dial.
    pub fn peers_addr(&self) -> SocketAddr {
        self.parts.peers.addr
    }

    /// Where Redis clients dial.
    pub fn redis_addr(&self) -> Option<SocketAddr> {
        self.parts.redis.as_ref().map(|listener| listener.addr)
    }

    /// A handle for other threads. What it is told before [`Driver::run`] waits for it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns the counters of the driver.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.parts.counters)
    }

    /// The time as the loop will tell it: for the node's recovery.
    pub fn now(&self) -> Now {
        self.parts.clock.now()
    }

    /// Serves `node` until it leaves, halts or is told to end. A node with storage needs the `store`, whose
    /// `notify` is the handle's [`Handle::notifier`]. What the node emitted is stored when this returns.
    pub fn run<C: Clients>(self, node: Node, store: Option<StoreHandle>, clients: C) -> Exit {
        match Loop::new(self.parts, node, store, clients) {
            Ok(mut turning) => {
                let exit = turning.run();
                turning.close(exit)
            }
            Err(error) => Exit::System(error),
        }
    }
}
