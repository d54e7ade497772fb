//! Numbers for Prometheus, in its text form.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rumormill_core::{
    NodeStatus,
    members::{MemberState, NodePhase},
};

use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::report;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByLabel {
    by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MarkLabel {
    mark: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

struct Sample {
    gauges: Vec<(&'static str, &'static str, i64)>,
    states: Vec<(&'static str, i64)>,
    /// How many rows peers have sent, by how they came.
    received: [(&'static str, u64); 3],
    marks: Vec<(&'static str, u64)>,
    refused: Vec<(&'static str, u64)>,
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "read_metrics",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn text(State(gateway): State<Gateway>) -> Result<impl IntoResponse, ApiError> {
    let sample = gateway.calls.with_patience(sample).await?;
    let mut registry = Registry::with_prefix("rumormill");
    for (name, help, value) in sample.gauges {
        registry.register(name, help, gauge(value));
    }
    for (name, value) in gateway.calls.gauges() {
        registry.register(name, "So at present, says the driver", gauge(int(value)));
    }
    let members = Family::<StateLabel, Gauge>::default();
    for (state, count) in sample.states {
        members.get_or_create(&StateLabel { state }).set(count);
    }
    registry.register("members", "Members by state", members);
    let received = Family::<ByLabel, Counter>::default();
    for (by, count) in sample.received {
        received.get_or_create(&ByLabel { by }).inc_by(count);
    }
    registry.register(
        "rows_received",
        "Rows that peers have sent: pushed, brought by a session, or named in a comparison",
        received,
    );
    let marks = Family::<MarkLabel, Counter>::default();
    for (mark, count) in sample.marks {
        marks.get_or_create(&MarkLabel { mark }).inc_by(count);
    }
    registry.register(
        "marks",
        "How often the node passed a branch worth counting",
        marks,
    );
    let refused = Family::<ReasonLabel, Counter>::default();
    for (reason, count) in sample.refused {
        refused.get_or_create(&ReasonLabel { reason }).inc_by(count);
    }
    registry.register(
        "refused",
        "What peers and clients sent and the node did not take",
        refused,
    );
    for (name, count) in gateway.calls.counters() {
        registry.register(name, "Counted by the driver", ConstCounter::new(count));
    }
    register_http(&mut registry, &gateway);
    let mut body = String::new();
    encode(&mut body, &registry)
        .map_err(|_| ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], body))
}

fn register_http(registry: &mut Registry, gateway: &Gateway) {
    let metrics = &gateway.metrics;
    registry.register("http_requests", "HTTP requests", metrics.requests.clone());
    registry.register(
        "http_rejected",
        "HTTP connections and requests that were turned away",
        metrics.rejected.clone(),
    );
    let (watchers, bytes) = gateway.hub.load();
    let connections = metrics.connections.load(Ordering::Relaxed);
    for (name, help, value) in [
        ("http_connections", "Open HTTP connections", connections),
        ("http_watchers", "HTTP clients that watch", watchers),
        (
            "http_watch_bytes",
            "Bytes in memory for HTTP clients that watch",
            bytes,
        ),
    ] {
        registry.register(name, help, gauge(int(value as u64)));
    }
}

fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn gauge(value: i64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

fn sample(node: &mut rumormill_core::Node, now: rumormill_core::Now) -> Sample {
    let status = node.status(now);
    let members = node.members();
    let count = |state: MemberState| {
        (
            report::member_state(state),
            int(members.iter().filter(|m| m.state == state).count() as u64),
        )
    };
    Sample {
        gauges: gauges(&status),
        states: [
            MemberState::Alive,
            MemberState::Suspect,
            MemberState::Down,
            MemberState::Left,
        ]
        .map(count)
        .to_vec(),
        received: [
            ("push", status.received.pushed),
            ("session", status.received.fetched),
            ("comparison", status.received.compared),
        ],
        marks: node
            .inspect()
            .marks()
            .map(|(mark, count)| (mark.name(), count))
            .collect(),
        refused: node
            .inspect()
            .refusals()
            .map(|(why, count)| (why.name(), count))
            .collect(),
    }
}

fn gauges(status: &NodeStatus) -> Vec<(&'static str, &'static str, i64)> {
    let own = status.wrong_clocks.iter().find(|clock| clock.me);
    vec![
        ("rows", "Live rows of users' tables", int(status.rows)),
        ("tables", "Users' tables", int(status.tables as u64)),
        (
            "tombstones",
            "Deleted rows that are still remembered",
            int(status.tombstones),
        ),
        (
            "hidden_rows",
            "Rows that have expired by this node's clock and have not ended",
            int(status.hidden_rows),
        ),
        (
            "hidden_bytes",
            "Bytes of their keys and values in memory",
            int(status.hidden_bytes),
        ),
        (
            "stray_rows",
            "Rows that were accepted before the definition of their table and wait to be moved by their writers",
            int(status.stray_rows()),
        ),
        ("links", "Open links to peers", int(status.links as u64)),
        (
            "sessions",
            "Sync sessions under way",
            int(status.sessions as u64),
        ),
        (
            "store_backlog",
            "Batches handed to the store and not durable yet",
            int(status.stored.0.saturating_sub(status.durable.0)),
        ),
        (
            "store_stalled",
            "Whether the store is out of space",
            i64::from(status.stalled),
        ),
        (
            "store_damaged",
            "Whether the store was damaged when the node started, and no member has repaired it yet",
            i64::from(status.damage.is_some()),
        ),
        (
            "member",
            "Whether the node is a member, and neither joining, rejoining, leaving, stopping nor halted",
            i64::from(status.phase == NodePhase::Member),
        ),
        (
            "clock_ahead_ms",
            "How far this node's wall clock is ahead of all others, beyond the limit; below zero behind",
            own.map_or(0, |clock| clock.by_ms),
        ),
        (
            "wrong_clocks",
            "Members, this one counted, whose wall clock differs by more than the limit",
            int(status.wrong_clocks.len() as u64),
        ),
        (
            "tombstones_held_by",
            "Members that hold up the collection of deleted rows",
            int(status.waiting_for.len() as u64),
        ),
    ]
}
