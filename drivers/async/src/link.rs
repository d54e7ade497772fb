//! The task of one link: it connects, shakes hands, reads and writes, and says how it ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_lite::{AsyncWriteExt, future};
use rumormill_core::link::{Connection, LinkEvent};
use rumormill_core::{DialId, Input, LinkError, LinkId};
use rumormill_kit::Edge;

use crate::incoming::read;
use crate::outgoing::Outgoing;
use crate::runtime::Runtime;
use crate::shared::{Arrival, Shared};
use rumormill_kit::answer::lock;
use rumormill_kit::links::{ADDRESSES, PARTING, READ_BUDGET};

/// One link, from its first byte or dial on.
pub(crate) struct LinkTask<R: Runtime> {
    pub(crate) link: LinkId,
    pub(crate) dial: Option<DialId>,
    pub(crate) conn: Connection,
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) shared: Arc<Shared<R>>,
    /// Whether the loop has been told that the handshake is done.
    pub(crate) up: AtomicBool,
}

impl<R: Runtime> LinkTask<R> {
    /// Serves a connection that a peer has made.
    pub(crate) async fn accepted(mut self, stream: R::Stream) {
        let why = self.serve(stream).await;
        self.end(why).await;
    }

    /// Connects to an address, and serves the connection.
    pub(crate) async fn dialled(mut self, addr: String) {
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
    async fn serve(&mut self, stream: R::Stream) -> LinkError {
        let stream = Mutex::new(stream);
        let LinkTask {
            link,
            dial,
            conn,
            outgoing,
            shared,
            up,
        } = self;
        outgoing.push_handshake(conn.opening());
        let reading = receive(shared, (*link, *dial), &stream, (conn, outgoing), up);
        let writing = send(shared, *link, &stream, outgoing);
        let serving = future::or(reading, writing);
        let waiting = future::or(late(shared, up), parting(shared, outgoing));
        let why = future::or(serving, waiting).await;
        if let Some(refusal) = conn.parting() {
            let said = say(shared, &stream, outgoing, &refusal);
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
        let ended = Arrival::Ended {
            link: self.link,
            dial: self.dial,
            up: self.up.into_inner(),
            why,
        };
        // A loop that has ended wants to know nothing.
        let _ = self.shared.report(ended).await;
    }
}

/// Reads and reports, until the stream ends or breaks.
async fn receive<R: Runtime>(
    shared: &Shared<R>,
    (link, dial): (LinkId, Option<DialId>),
    stream: &Mutex<R::Stream>,
    (conn, outgoing): (&mut Connection, &Outgoing),
    up: &AtomicBool,
) -> LinkError {
    let mut budget = READ_BUDGET;
    loop {
        let arrived = read(stream, conn, &shared.buffers, &shared.counters).await;
        let input = |event| match event {
            LinkEvent::Write(bytes) => {
                outgoing.push_handshake(bytes);
                None
            }
            LinkEvent::Up(hello) => Some(Input::LinkUp { link, dial, hello }),
            LinkEvent::Message(msg) => Some(Input::Message { link, msg }),
        };
        let inputs: Vec<Input> = arrived.events.into_iter().filter_map(input).collect();
        if !inputs.is_empty() {
            if shared.report(Arrival::Inputs(link, inputs)).await.is_err() {
                return LinkError::Closed;
            }
            // The first input is that the link is up.
            up.store(true, Ordering::Relaxed);
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
    outgoing: &Outgoing,
) -> LinkError {
    while outgoing.wanted().await {
        let written = async {
            let written = outgoing.write(stream, &shared.counters).await;
            written.map_err(|_| LinkError::Broken)
        };
        let stalled = async {
            shared.runtime.sleep(shared.options.stall_timeout).await;
            Err(LinkError::TimedOut)
        };
        let input = match future::or(written, stalled).await {
            Ok(None) => continue,
            Ok(Some(Edge::Congested)) => Input::Congested { link },
            Ok(Some(Edge::Drained)) => Input::Drained { link },
            Err(why) => return why,
        };
        if shared
            .report(Arrival::Inputs(link, vec![input]))
            .await
            .is_err()
        {
            break;
        }
    }
    LinkError::Closed
}

/// Ends when the handshake has taken too long.
async fn late<R: Runtime>(shared: &Shared<R>, up: &AtomicBool) -> LinkError {
    shared.runtime.sleep(shared.options.handshake_timeout).await;
    if up.load(Ordering::Relaxed) {
        future::pending::<()>().await;
    }
    LinkError::TimedOut
}

/// Ends when a link that is to be closed cannot write what it has, or the loop is gone.
async fn parting<R: Runtime>(shared: &Shared<R>, outgoing: &Outgoing) -> LinkError {
    let hung_up = async {
        outgoing.closing().await;
        shared.runtime.sleep(PARTING).await;
    };
    let abandoned = async {
        shared.stopped().await;
        if outgoing.is_closing() {
            future::pending::<()>().await;
        }
    };
    future::or(hung_up, abandoned).await;
    LinkError::Closed
}

/// Tells a refused peer the reason, after the handshake.
async fn say<R: Runtime>(
    shared: &Shared<R>,
    stream: &Mutex<R::Stream>,
    outgoing: &Outgoing,
    words: &[u8],
) {
    outgoing.close();
    while outgoing.wanted().await {
        if outgoing.write(stream, &shared.counters).await.is_err() {
            return;
        }
    }
    let mut said = 0;
    while said < words.len() {
        let written = std::future::poll_fn(|cx| {
            use futures_lite::AsyncWrite;
            std::pin::Pin::new(&mut *lock(stream)).poll_write(cx, &words[said..])
        });
        match written.await {
            Ok(n) if n > 0 => said += n,
            _ => return,
        }
    }
}
