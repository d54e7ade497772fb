//! One connection: its requests, and its end.
//!
//! An answer may be given before the body of its request was read: the request is too large, or nothing is there. A connection
//! that was closed then would be reset by the system as soon as more of the body arrives, and the client would lose the answer. So the rest
//! is read and dropped first, within bounds.

use std::convert::Infallible;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::io::AsyncReadExt;
use smol::net::TcpStream;
use smol_hyper::rt::SmolTimer;
use tower_service::Service;

use crate::error::ApiError;
use crate::options::ServerOptions;
use crate::patience::{Flow, FlowEnd, Patient};
use crate::traffic::{HttpMetrics, Rejected};

/// Bytes of a head of a request, and bytes that wait to be written before a body is asked for more. A URL is 64 KiB long at most.
const BUFFER: usize = 128 << 10;

/// The rest of a body that is read so that its connection can be used again, in bytes and time.
const SMALL_REST: usize = 64 << 10;
const SMALL_REST_TIME: Duration = Duration::from_secs(1);

/// The rest of a body that is read so that its client can read the answer: bytes, time, and time without a byte.
const REST: usize = 256 << 20;
const REST_TIME: Duration = Duration::from_secs(30);
const REST_IDLE: Duration = Duration::from_secs(5);

/// Longest lifetime of a connection that is kept for probes.
const PROBE_LIFETIME: Duration = Duration::from_secs(10);

/// How long a connection for probes may take to send its request.
const PROBE_HEADER: Duration = Duration::from_secs(2);

/// Routes that are served on connections for probes.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The service on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    Everything,
    /// One probe.
    Probe,
}

/// The context of a connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) router: Router,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) options: ServerOptions,
    /// Closed once the server is about to end.
    pub(crate) closing: Receiver<()>,
    /// Held for as long as the connection is open.
    pub(crate) _open: Sender<()>,
}

impl Connection {
    /// Serves a probe, and refuses any other request.
    pub(crate) async fn probe(self, stream: TcpStream) {
        let late = async {
            Timer::after(PROBE_LIFETIME).await;
        };
        smol::future::or(self.serve(stream, Serves::Probe), late).await;
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(self, stream: TcpStream, serves: Serves) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let flow = Arc::new(Flow::default());
        let unread = Arc::new(AtomicBool::new(false));
        let patience = self.options.write_timeout;
        let io = Patient::new(stream.clone(), Arc::clone(&flow), patience);
        let mut http = http1::Builder::new();
        http.timer(SmolTimer::new())
            .max_buf_size(BUFFER)
            .keep_alive(serves == Serves::Everything)
            .header_read_timeout(match serves {
                Serves::Everything => self.options.header_timeout,
                Serves::Probe => PROBE_HEADER.min(self.options.header_timeout),
            });
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (flow, unread) = (Arc::clone(&flow), Arc::clone(&unread));
            let connection = self.clone();
            async move {
                let answer = connection.answer(request, serves, flow, &unread).await;
                Ok::<_, Infallible>(answer)
            }
        });
        let mut served = pin!(http.serve_connection(io, service));
        let ended = async { Some(served.as_mut().await) };
        let closing = async {
            let _ = self.closing.recv().await;
            None
        };
        let served = match smol::future::or(ended, closing).await {
            Some(served) => served,
            None => {
                // It ends with the answer that it owes.
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        let mut rest = unread.load(Ordering::Relaxed);
        if let Err(error) = served {
            tracing::debug!(%error, "an HTTP connection ended early");
            match flow.end() {
                Some(FlowEnd::SlowReader) => self.metrics.reject(Rejected::SlowReader),
                Some(FlowEnd::Cut) => self.metrics.reject(Rejected::Cut),
                None if error.is_timeout() => self.metrics.reject(Rejected::SlowRequest),
                None => rest |= error.is_parse(),
            }
        }
        if rest && flow.end().is_none() && !drop_rest(stream).await {
            self.metrics.reject(Rejected::UnreadBody);
        }
    }

    /// Answers a request. `unread` is set when the connection has to end since a part of the body was not read.
    async fn answer(
        mut self,
        request: hyper::Request<Incoming>,
        serves: Serves,
        flow: Arc<Flow>,
        unread: &AtomicBool,
    ) -> Response {
        let (mut parts, body) = request.into_parts();
        let waits = parts.headers.contains_key(header::EXPECT);
        let body = SharedBody::new(body);
        let answer = if serves == Serves::Everything || is_probe(&parts.method, parts.uri.path()) {
            parts.extensions.insert(flow);
            let request = hyper::Request::from_parts(parts, Body::new(body.clone()));
            let answer = self.router.call(request).await;
            answer.unwrap_or_else(|never| match never {})
        } else {
            self.metrics.reject(Rejected::TooManyConnections);
            too_many()
        };
        // A stream that lasts has read its body before.
        if body.is_read() || (!(waits && body.is_untouched()) && body.read_small_rest().await) {
            return answer;
        }
        unread.store(true, Ordering::Relaxed);
        close_after(answer)
    }
}

fn is_probe(method: &Method, path: &str) -> bool {
    (method == Method::GET || method == Method::HEAD) && PROBES.contains(&path)
}

fn too_many() -> Response {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_connections",
        "too many HTTP connections",
    )
    .into_response()
}

fn close_after(mut answer: Response) -> Response {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// Reads and drops what a client still sends, until it closes; `false` when that takes too long or is too much.
async fn drop_rest(mut stream: TcpStream) -> bool {
    // The answer is complete; a client that reads to the end need not wait.
    if stream.shutdown(Shutdown::Write).is_err() {
        return true;
    }
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        let mut left = REST;
        while left > 0 {
            let idle = async {
                Timer::after(REST_IDLE).await;
                Err(std::io::ErrorKind::TimedOut.into())
            };
            match smol::future::or(stream.read(&mut buffer), idle).await {
                Ok(0) => return true,
                Ok(n) => left = left.saturating_sub(n),
                Err(error) => return error.kind() != std::io::ErrorKind::TimedOut,
            }
            // A client that sends without a pause is not alone.
            smol::future::yield_now().await;
        }
        false
    };
    let late = async {
        Timer::after(REST_TIME).await;
        false
    };
    smol::future::or(read, late).await
}

/// The body of a request, for its handler and for what comes after it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Shared>>);

struct Shared {
    body: Incoming,
    touched: bool,
    /// Whether all of it was read, or no more comes.
    read: bool,
}

impl SharedBody {
    fn new(body: Incoming) -> SharedBody {
        let read = body.is_end_stream();
        SharedBody(Arc::new(Mutex::new(Shared {
            body,
            touched: false,
            read,
        })))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_read(&self) -> bool {
        self.shared().read
    }

    fn is_untouched(&self) -> bool {
        !self.shared().touched
    }

    /// Reads the rest if it is small; whether it was.
    async fn read_small_rest(mut self) -> bool {
        let small = |hint: SizeHint| hint.lower() <= SMALL_REST as u64;
        if !small(self.shared().body.size_hint()) {
            return false;
        }
        let read = async {
            let mut left = SMALL_REST;
            while let Some(frame) = self.frame().await {
                let Ok(frame) = frame else { return false };
                let length = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            true
        };
        let late = async {
            Timer::after(SMALL_REST_TIME).await;
            false
        };
        smol::future::or(read, late).await
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut shared = self.shared();
        shared.touched = true;
        let poll = Pin::new(&mut shared.body).poll_frame(cx);
        match &poll {
            Poll::Ready(Some(Ok(_))) => shared.read = shared.body.is_end_stream(),
            // After an error no more comes.
            Poll::Ready(_) => shared.read = true,
            Poll::Pending => {}
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.shared().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.shared().body.size_hint()
    }
}
