//! Whether clients should be sent to a node, and what it says while it may lack rows.

use axum::http::{Method, StatusCode};
use rumormill_core::{Config, Storage, io::Request};

use super::lab::Lab;
use crate::Backend;

const READS: [&str; 4] = ["/v1/usr/t/k", "/v1/usr/t", "/items/k", "/v1/state"];

fn seeks(config: &mut Config) {
    config.seeds = vec!["elsewhere:7400".to_string()];
}

fn says_state(lab: &Lab, path: &str) -> Option<String> {
    let answer = lab.get(path);
    let state = answer.headers.get("x-rumormill-state")?;
    Some(state.to_str().expect("text").to_string())
}

#[test]
fn a_joining_node_is_not_ready_and_says_so_with_what_it_reads() {
    let lab = Lab::with(Storage::None, seeks);
    let answer = lab.get("/readyz");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "not_ready");
    let why = answer.json()["error"]["message"].to_string();
    assert!(why.contains("joining"), "{why}");
    assert!(why.contains("elsewhere:7400 "), "{why}");
    let because = lab.get("/v1/status").json()["phase_because"].to_string();
    assert!(because.contains("elsewhere:7400 "), "{because}");
    assert_eq!(lab.get("/healthz").body, b"ok\n", "it lives all the same");
    for path in READS {
        assert_eq!(says_state(&lab, path).as_deref(), Some("joining"), "{path}");
    }
    assert_eq!(says_state(&lab, "/v1/status"), None, "which says it itself");
    let put = lab.send(Method::PUT, "/v1/usr/t/k", "v");
    assert_eq!(put.status, StatusCode::CREATED, "writes go in later");
    let metrics = String::from_utf8(lab.get("/metrics").body).expect("text");
    assert!(metrics.contains("rumormill_member 0"), "{metrics}");
}

#[test]
fn a_node_that_may_be_ready_early_is_ready_while_it_joins() {
    let lab = Lab::early(Storage::None, seeks);
    assert_eq!(lab.get("/readyz").body, b"ready\n");
    assert_eq!(says_state(&lab, "/v1/usr/t").as_deref(), Some("joining"));
}

#[test]
fn a_member_says_nothing_with_what_it_reads_and_is_not_ready_once_it_leaves() {
    let lab = Lab::new(Storage::None);
    for path in READS {
        assert_eq!(says_state(&lab, path), None, "{path}");
    }
    assert_eq!(lab.get("/readyz").body, b"ready\n");
    let left = smol::block_on(lab.backend.request(Request::Leave));
    left.expect("it leaves");
    let answer = lab.get("/readyz");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let why = answer.json()["error"]["message"].to_string();
    assert!(why.contains("the node is halted"), "{why}");
}
