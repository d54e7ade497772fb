//! Settings of the cluster.

use axum::http::{Method, StatusCode};
use rumormill_core::Storage;
use serde_json::{Value, json};

use super::lab::{Answer, Lab};

const INTERVAL: &str = "/v1/settings/detector.probe_interval";

fn put(lab: &Lab, path: &str, value: Value) -> Answer {
    lab.send_json(Method::PUT, path, &json!({ "value": value }).to_string())
}

#[test]
fn a_setting_is_read_set_and_unset() {
    let lab = Lab::new(Storage::Ordered);
    let before = lab.get(INTERVAL).json();
    assert_eq!(
        (&before["value"], &before["source"]),
        (&json!("1s"), &json!("default"))
    );
    assert_eq!(
        (&before["min"], &before["max"]),
        (&json!("10ms"), &json!("1m"))
    );
    let set = put(&lab, INTERVAL, json!("200ms"));
    assert_eq!(set.status, StatusCode::OK);
    assert_eq!(
        (&set.json()["value"], &set.json()["source"]),
        (&json!("200ms"), &json!("cluster"))
    );
    assert_eq!(lab.get(INTERVAL).json(), set.json());
    let all = lab.get("/v1/settings").json();
    let all = all["settings"].as_array().expect("a list");
    assert!(all.contains(&set.json()));
    let gone = lab.send(Method::DELETE, INTERVAL, "");
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(lab.get(INTERVAL).json(), before);
}

#[test]
fn a_number_is_a_value_too() {
    let lab = Lab::new(Storage::None);
    let set = put(&lab, "/v1/settings/detector.suspicion_mult", json!(7));
    assert_eq!(set.json()["value"], "7");
    let size = put(&lab, "/v1/settings/limits.key_bytes", json!(2048));
    assert_eq!(size.json()["value"], "2KiB");
}

#[test]
fn what_is_refused_says_why() {
    let lab = Lab::new(Storage::None);
    let unknown = "/v1/settings/gossip.nonsense";
    for answer in [
        lab.get(unknown),
        put(&lab, unknown, json!(1)),
        lab.send(Method::DELETE, unknown, ""),
    ] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.code(), "unknown_setting");
    }
    let old = "/v1/settings/gossip.probe_interval";
    for answer in [
        lab.get(old),
        put(&lab, old, json!("1s")),
        lab.send(Method::DELETE, old, ""),
    ] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.code(), "setting_renamed");
        assert_eq!(answer.json()["error"]["to"], "detector.probe_interval");
    }
    let strong = put(&lab, "/v1/settings/strong.luck", json!(1));
    assert_eq!(strong.code(), "mode_not_built");
    let range = put(&lab, INTERVAL, json!("2h"));
    assert_eq!(range.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        range.json()["error"],
        json!({
            "code": "setting_out_of_range",
            "message": "detector.probe_interval is from 10ms to 1m, not 2h",
            "min": "10ms",
            "max": "1m",
        })
    );
    let bad = put(&lab, INTERVAL, json!("soon"));
    assert_eq!(
        (bad.status, bad.code().as_str()),
        (StatusCode::BAD_REQUEST, "bad_setting")
    );
    assert_eq!(put(&lab, INTERVAL, json!(true)).code(), "bad_json");
    assert_eq!(
        lab.send_json(Method::PUT, INTERVAL, "{}").code(),
        "bad_json"
    );
    put(&lab, INTERVAL, json!("100ms"));
    let conflict = put(&lab, "/v1/settings/detector.probe_timeout", json!("100ms"));
    assert_eq!(
        (conflict.status, conflict.code().as_str()),
        (StatusCode::CONFLICT, "setting_conflict")
    );
}

#[test]
fn the_longest_value_follows_its_setting() {
    let lab = Lab::with(Storage::None, |config| config.limits.value_bytes = 1024);
    let large = || vec![b'x'; 2000];
    let write = || lab.send(Method::PUT, "/v1/usr/t/k", large());
    assert_eq!(write().json()["error"]["limit"], 1024);
    put(&lab, "/v1/settings/limits.value_bytes", json!("2KiB"));
    assert_eq!(write().status, StatusCode::CREATED);
    put(&lab, "/v1/settings/limits.value_bytes", json!("1KiB"));
    let refused = write();
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refused.json()["error"]["limit"], 1024);
}
