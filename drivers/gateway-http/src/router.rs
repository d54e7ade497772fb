//! All routes, and what every answer has in common.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rumormill_core::Limits;

use crate::backend::{Backend, Calls};
use crate::error::ApiError;
use crate::metrics::{self, HttpMetrics};
use crate::watch::Hub;
use crate::{
    items, listing, members, openapi, origin, peers, rows, settings as cluster_settings, standing,
    state, tables,
};

/// What the handlers need to know beside the node.
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
    /// Whether `/readyz` answers 200 while the node is joining or away: it serves what it has.
    pub ready_early: bool,
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
        }
    }
}

/// What every handler gets.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) calls: Calls,
    pub(crate) settings: Settings,
    /// The longest value, in bytes, as the node last said.
    pub(crate) value_bytes: Arc<AtomicUsize>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) hub: Arc<Hub>,
}

/// The part of the interface that works when no request is served: it fetches changes for clients that watch.
pub struct Work(Arc<Hub>);

impl Work {
    /// Works for ever. Clients that watch get nothing while it is not polled.
    pub async fn run(self) {
        self.0.work().await;
    }
}

/// The whole interface as a service, and its work. Both must be polled where `smol` timers and sockets work.
pub fn router<B: Backend>(backend: B, settings: Settings) -> (Router, Work) {
    build(backend, settings, Arc::default())
}

/// As [`router`], with metrics that others count in too.
pub(crate) fn build<B: Backend>(
    backend: B,
    settings: Settings,
    metrics: Arc<HttpMetrics>,
) -> (Router, Work) {
    let calls = Calls::new(backend);
    let hub = Arc::new(Hub::new(calls.clone(), settings.watch_bytes));
    let gateway = Gateway {
        calls,
        value_bytes: Arc::new(AtomicUsize::new(settings.value_bytes)),
        settings,
        metrics,
        hub: Arc::clone(&hub),
    };
    (routes(gateway), Work(hub))
}

fn routes(gateway: Gateway) -> Router {
    Router::new()
        .route("/v1/usr/{table}", get(listing::list))
        .route(
            "/v1/usr/{table}/{*key}",
            get(rows::read).put(rows::write).delete(rows::remove),
        )
        .route("/v1/tables", get(tables::list).post(tables::create))
        .route("/v1/members", get(members::list))
        .route("/v1/members/self", get(members::me))
        .route("/v1/settings", get(cluster_settings::list))
        .route(
            "/v1/settings/{name}",
            get(cluster_settings::read)
                .put(cluster_settings::write)
                .delete(cluster_settings::remove),
        )
        .route("/v1/members/{id}/evict", post(members::evict))
        .route("/v1/members/{id}/lost", post(members::lost))
        .route("/v1/members/self/resume", post(members::resume))
        .route("/v1/status", get(members::status))
        .route("/v1/state", get(state::document))
        .route(
            "/items/{*key}",
            get(items::read).put(items::write).delete(items::remove),
        )
        .route("/peers", post(peers::add))
        .route("/healthz", get(members::healthz))
        .route("/readyz", get(members::readyz))
        .route("/metrics", get(metrics::text))
        .merge(openapi::docs())
        .fallback(|| async { ApiError::from_status(axum::http::StatusCode::NOT_FOUND) })
        .method_not_allowed_fallback(|| async {
            ApiError::from_status(axum::http::StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(middleware::from_fn_with_state(
            gateway.clone(),
            origin::guard,
        ))
        .layer(middleware::from_fn_with_state(gateway.clone(), finish))
        .with_state(gateway)
}

/// Counts the request and gives errors of other layers our form.
async fn finish(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_string());
    let method = request.method().clone();
    let mut response = in_our_words(&method, next.run(request).await);
    standing::mark(&gateway, &method, route.as_deref(), &mut response);
    gateway.metrics.count(
        &method,
        route.as_deref().unwrap_or("none"),
        response.status(),
    );
    response
}

fn in_our_words(method: &Method, response: Response) -> Response {
    let status = response.status();
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if json || method == Method::HEAD || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut worded = ApiError::from_status(status).into_response();
    if let Some(allow) = allow {
        worded.headers_mut().insert(header::ALLOW, allow);
    }
    worded
}
