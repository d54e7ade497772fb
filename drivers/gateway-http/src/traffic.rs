//! Counts of requests and connections.

use std::sync::atomic::AtomicUsize;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

/// Why a connection or what came over it was turned away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rejected {
    /// A request that is no probe, when all connections are in use.
    TooManyConnections,
    /// A connection that sent no request in time, when all connections are in use and those kept for probes too.
    ProbeReserve,
    /// A client that did not send the head of a request in time.
    SlowRequest,
    /// A client that did not read in time.
    SlowReader,
    /// A client that read nothing while bytes that waited for it were needed elsewhere.
    Cut,
    /// The rest of a body that was refused before it was read, longer than is read for politeness.
    UnreadBody,
}

impl Rejected {
    fn name(self) -> &'static str {
        match self {
            Rejected::TooManyConnections => "too_many_connections",
            Rejected::ProbeReserve => "probe_reserve",
            Rejected::SlowRequest => "slow_request",
            Rejected::SlowReader => "slow_reader",
            Rejected::Cut => "slow_watcher",
            Rejected::UnreadBody => "unread_body",
        }
    }
}

/// Counts of HTTP requests. The labels are bounded: routes are patterns and unknown methods are one.
#[derive(Default)]
pub(crate) struct HttpMetrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) rejected: Family<ReasonLabel, Counter>,
    /// Open connections, those for probes not included.
    pub(crate) connections: AtomicUsize,
}

impl HttpMetrics {
    pub(crate) fn reject(&self, why: Rejected) {
        let labels = ReasonLabel { reason: why.name() };
        self.rejected.get_or_create(&labels).inc();
    }

    pub(crate) fn count(&self, method: &Method, route: &str, status: StatusCode) {
        let known = [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::DELETE,
        ];
        let method = if known.contains(method) {
            method.as_str()
        } else {
            "other"
        };
        let labels = RequestLabels {
            method: method.to_string(),
            route: route.to_string(),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
    }
}
