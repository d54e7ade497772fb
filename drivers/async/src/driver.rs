//! A bound driver: its address is known and nothing is served yet.

use std::net::SocketAddr;
use std::sync::Arc;

use rumormill_core::{Node, Now};
use rumormill_kit::counters::Counters;
use rumormill_kit::store::StoreHandle;
use rumormill_kit::{Clock, Exit};

use crate::handle::Handle;
use crate::inbox::{Inbox, inbox};
use crate::office::{Headquarters, Office};
use crate::options::{BindError, Options};
use crate::runtime::Runtime;
use crate::turns::Loop;

/// A bound driver: its address is known and nothing is served yet.
pub struct Driver<R: Runtime> {
    addr: SocketAddr,
    listener: R::Listener,
    clock: Clock,
    handle: Handle,
    inbox: Inbox,
    office: Arc<Office<R>>,
    headquarters: Headquarters<R>,
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
        let (outside, inbox) = inbox(options.commands);
        let bell = Arc::clone(&inbox.bell);
        let (office, headquarters) = Office::open(runtime, options, bell);
        Ok(Driver {
            addr,
            listener,
            clock: Clock::start(),
            handle: Handle::new(outside),
            inbox,
            office,
            headquarters,
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

    /// What the driver counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.office.counters)
    }

    /// The time as the loop will tell it: for the node's recovery.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Serves `node` until it leaves, halts or is told to end. A node with storage needs the `store`, whose `notify` is the
    /// handle's [`Handle::notifier`]. When this returns, everything that the node emitted is stored, everybody who waits
    /// is answered, and what it told its peers is written, or a second was not enough for that. Dropped before, the
    /// node ends as in a crash: links close, handles get [`Error::Closed`](crate::Error::Closed).
    pub async fn run(self, node: Node, store: Option<StoreHandle>) -> Exit {
        let Driver {
            addr: _,
            listener,
            clock,
            handle: _,
            inbox,
            office,
            headquarters,
        } = self;
        office.runtime.spawn(Arc::clone(&office).accept(listener));
        let turning = Loop::new(office, headquarters, inbox, clock, node, store);
        turning.run().await
    }
}
