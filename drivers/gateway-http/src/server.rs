//! The gateway's thread: accepts connections and serves them, within limits.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use smol::channel;
use smol::net::TcpStream;
use smol::{Async, LocalExecutor};

use crate::backend::Backend;
use crate::connection::{Connection, Serves};
use crate::gateway::Settings;
use crate::options::ServerOptions;
use crate::reserve::Reserve;
use crate::router::build;
use crate::traffic::HttpMetrics;

/// How long connections may take at the end to send the answers that they owe.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The HTTP interface behind a listener, on a thread of its own.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: channel::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Serves `listener` until [`Server::stop`].
    ///
    /// # Errors
    /// When the listener or the thread cannot be set up.
    pub fn start<B: Backend>(
        listener: TcpListener,
        backend: B,
        settings: Settings,
        options: ServerOptions,
    ) -> io::Result<Server> {
        let addr = listener.local_addr()?;
        let listener = Async::new(listener)?;
        let (stop, stopped) = channel::bounded(1);
        let thread = std::thread::Builder::new()
            .name("http".into())
            .spawn(move || {
                let metrics = Arc::<HttpMetrics>::default();
                let (router, work) = build(backend, settings, Arc::clone(&metrics));
                let (close, closing) = channel::bounded(1);
                let (open, all_closed) = channel::bounded(1);
                let connection = Connection {
                    router,
                    metrics,
                    options,
                    closing,
                    _open: open,
                };
                let executor = LocalExecutor::new();
                executor.spawn(work.run()).detach();
                let serve = accept(&executor, listener, connection);
                smol::block_on(executor.run(async {
                    let stop = async {
                        let _ = stopped.recv().await;
                    };
                    smol::future::or(serve, stop).await;
                    drop::<channel::Sender<()>>(close);
                    let answered = async {
                        let _ = all_closed.recv().await;
                    };
                    let late = async {
                        smol::Timer::after(LAST_ANSWERS).await;
                    };
                    smol::future::or(answered, late).await;
                }));
            })?;
        Ok(Server { addr, stop, thread })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener, lets each connection send the answer that it owes, for half a second at most, closes them, and waits for the thread.
    pub fn stop(self) {
        self.stop.close();
        if self.thread.join().is_err() {
            tracing::error!("the HTTP thread had panicked");
        }
    }
}

async fn accept(
    executor: &LocalExecutor<'_>,
    listener: Async<TcpListener>,
    connection: Connection,
) {
    let metrics = Arc::clone(&connection.metrics);
    let mut reserve = Reserve::new(connection.options.probe_connections);
    let mut failures = Failures::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely out of file descriptors: wait until some connection has closed.
                failures.tell(&error);
                smol::Timer::after(Duration::from_millis(100)).await;
                continue;
            }
        };
        let stream = TcpStream::from(stream);
        let connection = connection.clone();
        match Counted::new(&metrics, connection.options.max_connections) {
            Some(counted) => executor
                .spawn(async move {
                    connection.serve(stream, Serves::Everything).await;
                    drop(counted);
                })
                .detach(),
            None => {
                let probe = connection.probe(stream);
                reserve.admit(executor, probe, &metrics).await;
            }
        }
        // Accepted connections are served before a crowd that waits to be.
        smol::future::yield_now().await;
    }
}

/// How long no second line tells of connections that cannot be accepted.
const QUIET: Duration = Duration::from_secs(60);

/// Connections that could not be accepted since the last line about them.
#[derive(Default)]
struct Failures {
    count: u64,
    told: Option<Instant>,
}

impl Failures {
    /// Logs a failure, with the number of those before it that were not logged. At most one line a minute.
    fn tell(&mut self, error: &io::Error) {
        if self.told.is_some_and(|at| at.elapsed() < QUIET) {
            self.count += 1;
            return;
        }
        let before = std::mem::take(&mut self.count);
        self.told = Some(Instant::now());
        tracing::warn!(%error, before, "an HTTP connection could not be accepted");
    }
}

/// One connection in the count of open ones.
struct Counted(Arc<HttpMetrics>);

impl Counted {
    /// `None` when there are `limit` already.
    fn new(metrics: &Arc<HttpMetrics>, limit: usize) -> Option<Self> {
        let counted = Counted(Arc::clone(metrics));
        let before = metrics.connections.fetch_add(1, Ordering::Relaxed);
        (before < limit).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
