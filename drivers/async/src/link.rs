//! The task of one link: it connects, shakes hands, reads and writes, and says how it ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_lite::{AsyncWriteExt, future};
use rumormill_core::{LinkId, io::LinkError};
use rumormill_kit::links::{ADDRESSES, PARTING, READ_BUDGET};

use crate::runtime::Runtime;
use crate::shared::{Arrival, Ended, Shared};
use crate::shared_channel::SharedChannel;

/// One link, from its first byte or dial on.
pub(crate) struct LinkTask<R: Runtime> {
    pub(crate) link: LinkId,
    pub(crate) is_dialled: bool,
    pub(crate) channel: Arc<SharedChannel>,
    pub(crate) shared: Arc<Shared<R>>,
    /// Whether the loop has taken the first inputs.
    pub(crate) reported: AtomicBool,
}

impl<R: Runtime> LinkTask<R> {
    /// Serves a connection that a peer has made.
    pub(crate) async fn accepted(self, stream: R::Stream) {
        let why = self.serve(stream).await;
        self.end(why).await;
    }

    /// Connects to an address, and serves the connection.
    pub(crate) async fn dialled(self, addr: String) {
        let given_up = async {
            self.shared.stopped().await;
            None
        };
        let connected = future::or(self.connect(&addr), given_up).await;
        let why = match connected {
            Some(stream) => self.serve(stream).await,
            None => LinkError::Unreachable,
        };
        self.end(why).await;
    }

    async fn connect(&self, addr: &str) -> Option<R::Stream> {
        let runtime = &self.shared.runtime;
        let addrs: Vec<SocketAddr> = match addr.parse() {
            Ok(addr) => vec![addr],
            Err(_) => self.in_time(runtime.resolve(addr)).await?,
        };
        for addr in addrs.into_iter().take(ADDRESSES) {
            if let Some(stream) = self.in_time(runtime.connect(addr)).await {
                return Some(stream);
            }
        }
        None
    }

    async fn in_time<T>(&self, what: impl Future<Output = std::io::Result<T>>) -> Option<T> {
        let late = async {
            let time = self.shared.options.connect_timeout;
            self.shared.runtime.sleep(time).await;
            None
        };
        future::or(async { what.await.ok() }, late).await
    }

    /// Reads and writes until the link is over.
    async fn serve(&self, stream: R::Stream) -> LinkError {
        let stream = Mutex::new(stream);
        let LinkTask {
            link,
            channel,
            shared,
            reported,
            ..
        } = self;
        channel.lock().open(Instant::now());
        let reading = receive(shared, *link, &stream, channel, reported);
        let writing = send(shared, *link, &stream, channel);
        let serving = future::or(reading, writing);
        // The deadline is looked at after all that may move it.
        let waiting = future::or(abandoned(shared, channel), channel.late(&shared.runtime));
        let why = future::or(serving, waiting).await;
        if matches!(why, LinkError::Refused(_)) {
            // A refused peer reads the reason.
            let said = channel.write_last(&stream);
            let late = shared.runtime.sleep(PARTING);
            future::or(said, late).await;
        }
        // A peer that reads sees the end of what it was sent.
        let mut stream = stream
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = future::poll_once(stream.close()).await;
        why
    }

    async fn end(self, why: LinkError) {
        let told = {
            let mut channel = self.channel.lock();
            // The first input is that the link is up. It is lost if the link ended while the loop had no room for it.
            if !self.reported.load(Ordering::Relaxed) {
                channel.untell();
            }
            channel.end(why, &"a peer")
        };
        let ended = Ended {
            link: self.link,
            is_dialled: self.is_dialled,
            told,
        };
        // A loop that has ended wants to know nothing.
        let _ = self.shared.report(Arrival::Ended(Box::new(ended))).await;
    }
}

/// Reads and reports, until the stream ends or breaks.
async fn receive<R: Runtime>(
    shared: &Shared<R>,
    link: LinkId,
    stream: &Mutex<R::Stream>,
    channel: &SharedChannel,
    reported: &AtomicBool,
) -> LinkError {
    let mut budget = READ_BUDGET;
    loop {
        let arrived = channel.read(stream, &shared.buffers).await;
        if !arrived.inputs.is_empty() {
            let inputs = Arrival::Inputs(link, arrived.inputs);
            if shared.report(inputs).await.is_err() {
                return LinkError::Closed;
            }
            reported.store(true, Ordering::Relaxed);
        }
        if let Some(why) = arrived.end {
            return why;
        }
        budget = budget.saturating_sub(arrived.bytes);
        if budget == 0 {
            budget = READ_BUDGET;
            future::yield_now().await;
        }
    }
}

/// Writes what is queued, until the link is closing and all is written.
async fn send<R: Runtime>(
    shared: &Shared<R>,
    link: LinkId,
    stream: &Mutex<R::Stream>,
    channel: &SharedChannel,
) -> LinkError {
    loop {
        let inputs = match channel.write(stream).await {
            Ok(inputs) => Arrival::Inputs(link, inputs),
            Err(why) => return why,
        };
        if shared.report(inputs).await.is_err() {
            return LinkError::Closed;
        }
    }
}

/// Ends when the loop is gone and has not said that the link is to be closed.
async fn abandoned<R: Runtime>(shared: &Shared<R>, channel: &SharedChannel) -> LinkError {
    shared.stopped().await;
    if channel.lock().is_closing() {
        future::pending::<()>().await;
    }
    LinkError::Closed
}
