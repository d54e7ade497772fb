//! All routes, and what every answer has in common.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::backend::{Backend, Calls};
use crate::error::ApiError;
use crate::gateway::{Gateway, Settings};
use crate::traffic::HttpMetrics;
use crate::watch::Hub;
use crate::{
    bulk, items, listing, members, metrics, openapi, origin, peers, phase, rows,
    settings as cluster_settings, state, tables, upkeep,
};

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
        .route("/v1/usr/{table}", get(listing::list).post(bulk::write_rows))
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
        .route("/v1/members/self/leave", post(members::leave))
        .route("/v1/members/self/resume", post(members::resume))
        .route(
            "/v1/checkpoints",
            get(upkeep::checkpoints).post(upkeep::begin_checkpoint),
        )
        .route("/v1/scrub", get(upkeep::scrubs).post(upkeep::begin_scrub))
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
    phase::mark(
        gateway.calls.phase(),
        &method,
        route.as_deref(),
        &mut response,
    );
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
