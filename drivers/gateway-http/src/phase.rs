//! A node that is no full member yet says so beside what it reads: it may lack rows that exist, or show some that are deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use rumormill_core::{Node, members::NodePhase};

/// The header of such an answer.
const HEADER: HeaderName = HeaderName::from_static("x-rumormill-state");

/// Routes that read rows.
pub(crate) const READS: [&str; 4] = [
    "/v1/usr/{table}",
    "/v1/usr/{table}/{*key}",
    "/items/{*key}",
    "/v1/state",
];

/// The phase of the node when it was last asked anything.
#[derive(Clone, Default)]
pub(crate) struct LastPhase(Arc<AtomicU8>);

impl LastPhase {
    /// Notes the phase of the node. O(1).
    pub(crate) fn note(&self, node: &Node) {
        let phase = match node.phase() {
            NodePhase::Joining => 1,
            NodePhase::Rejoining => 2,
            _ => 0,
        };
        self.0.store(phase, Ordering::Relaxed);
    }

    /// Returns the word to be said beside rows; nothing for a member.
    fn word(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(NodePhase::Joining.name()),
            2 => Some(NodePhase::Rejoining.name()),
            _ => None,
        }
    }
}

/// Adds the header to the answer of a read.
pub(crate) fn mark(
    phase: &LastPhase,
    method: &Method,
    route: Option<&str>,
    response: &mut Response,
) {
    let reads = *method == Method::GET || *method == Method::HEAD;
    if reads
        && route.is_some_and(|route| READS.contains(&route))
        && let Some(word) = phase.word()
    {
        let headers = response.headers_mut();
        headers.insert(HEADER, HeaderValue::from_static(word));
    }
}
