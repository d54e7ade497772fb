//! The gateway's thread: accepts connections and serves them, within limits.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::channel;
use smol::io::AsyncWriteExt;
use smol::net::TcpStream;
use smol::{Async, LocalExecutor};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use tower_service::Service;

use crate::backend::Backend;
use crate::patience::Patient;
use crate::router::{Settings, router};

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Connections served at once; one more is told so and closed. 1,024.
    pub max_connections: usize,
    /// How long a client may take to send the header of a request, or to send another one. 10 s.
    pub header_timeout: Duration,
    /// How long a client may take to read anything of an answer. 30 s.
    pub write_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            max_connections: 1_024,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}

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
                let router = router(backend, settings);
                let executor = LocalExecutor::new();
                let serve = accept(&executor, listener, router, options);
                smol::block_on(executor.run(smol::future::or(serve, async {
                    let _ = stopped.recv().await;
                })));
            })?;
        Ok(Server { addr, stop, thread })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener and all connections, and waits for the thread.
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
    router: Router,
    options: ServerOptions,
) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely out of file descriptors: wait until some connection has closed.
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                smol::Timer::after(Duration::from_millis(100)).await;
                continue;
            }
        };
        let counted = Counted::new(&open);
        let stream = TcpStream::from(stream);
        if counted.count > options.max_connections {
            executor.spawn(refuse(stream)).detach();
            continue;
        }
        executor
            .spawn(serve(stream, router.clone(), options, counted))
            .detach();
    }
}

async fn serve(stream: TcpStream, router: Router, options: ServerOptions, counted: Counted) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let io = FuturesIo::new(Patient::new(stream, options.write_timeout));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let response = router.call(request.map(Body::new)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let served = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(options.header_timeout)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
    drop(counted);
}

/// Says that there are too many, if the client's buffer takes it at once.
async fn refuse(mut stream: TcpStream) {
    const BODY: &str =
        r#"{"error":{"code":"too_many_connections","message":"too many HTTP connections"}}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n";
    let text = format!(
        "{head}connection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let write = async {
        let _ = stream.write_all(text.as_bytes()).await;
    };
    smol::future::or(write, async {
        smol::Timer::after(Duration::from_secs(1)).await;
    })
    .await;
}

/// One connection in the count of open ones.
struct Counted {
    open: Arc<AtomicUsize>,
    count: usize,
}

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        let count = open.fetch_add(1, Ordering::Relaxed) + 1;
        Counted {
            open: Arc::clone(open),
            count,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
