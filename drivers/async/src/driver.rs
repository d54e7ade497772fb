//! A bound driver: its address is known and nothing is served yet.

use std::net::SocketAddr;
use std::sync::Arc;

use rumormill_core::{Node, Now};
use rumormill_kit::counters::Counters;
use rumormill_kit::handle::{CommandLimits, Commands, Handle, Ring};
use rumormill_kit::store::StoreHandle;
use rumormill_kit::{Clock, Exit};

use crate::bell::Bell;
use crate::options::{BindError, Options};
use crate::runtime::Runtime;
use crate::shared::{Reports, Shared};
use crate::turns::Loop;

/// A bound driver: its address is known and nothing is served yet.
pub struct Driver<R: Runtime> {
    addr: SocketAddr,
    listener: R::Listener,
    clock: Clock,
    handle: Handle,
    commands: Commands,
    shared: Arc<Shared<R>>,
    reports: Reports<R>,
}

impl<R: Runtime> Driver<R> {
    /// Listens for peers.
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    pub async fn bind(runtime: R, options: Options) -> Result<Driver<R>, BindError> {
        let addr = options.peers;
        let bound = runtime.bind(addr).await;
        let (listener, addr) = bound.map_err(|source| BindError { addr, source })?;
        let mut limits = CommandLimits::default();
        limits.commands = options.commands;
        limits.watches = options.watches;
        limits.leave_timeout = options.leave_timeout;
        limits.stop_timeout = options.stop_timeout;
        let bell = Arc::<Bell>::default();
        let ring: Ring = {
            let bell = Arc::clone(&bell);
            Arc::new(move || bell.ring())
        };
        let (handle, commands) = Commands::new(limits, ring);
        let (shared, reports) = Shared::open(runtime, options, bell);
        Ok(Driver {
            addr,
            listener,
            clock: Clock::start(),
            handle,
            commands,
            shared,
            reports,
        })
    }

    /// Where peers dial.
    pub fn peers_addr(&self) -> SocketAddr {
        self.addr
    }

    /// A handle for other tasks and threads. What it is told before [`Driver::run`] waits for it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns the counters of the driver.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// The time as the loop will tell it: for the node's recovery.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Serves `node` until it leaves, halts or is told to end. A node with storage needs the `store`, whose `notify` is the
    /// handle's [`Handle::notifier`]. When this returns, everything that the node emitted is stored, every waiting caller is answered, and
    /// what it told its peers is written, or a second was not enough for that. Dropped before, the
    /// node ends as in a crash: links close, handles get [`Error::Closed`](crate::Error::Closed).
    pub async fn run(self, node: Node, store: Option<StoreHandle>) -> Exit {
        let Driver {
            addr: _,
            listener,
            clock,
            handle: _,
            commands,
            shared,
            reports,
        } = self;
        shared.runtime.spawn(Arc::clone(&shared).accept(listener));
        let turning = Loop::new(shared, reports, commands, clock, node, store);
        turning.run().await
    }
}
