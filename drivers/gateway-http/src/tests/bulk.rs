//! Many rows in one request.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{Method, StatusCode};
use rumormill_core::Storage;
use serde_json::{Value, json};

use super::lab::{Answer, Lab};
use crate::Backend;

fn write(lab: &Lab, table: &str, rows: &Value) -> Answer {
    let body = json!({ "rows": rows }).to_string();
    lab.send_json(Method::POST, &format!("/v1/usr/{table}"), &body)
}

fn create(lab: &Lab, options: &Value) {
    let made = lab.send_json(Method::POST, "/v1/tables", &options.to_string());
    assert_eq!(made.status, StatusCode::CREATED);
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

/// Keys, values and expiries as a listing shows them.
fn listed(lab: &Lab, table: &str) -> Value {
    let mut page = lab.get(&format!("/v1/usr/{table}?limit=1000")).json();
    page["rows"].take()
}

/// The values of a key as a listing shows them, in order.
fn siblings(lab: &Lab, table: &str) -> Vec<Value> {
    let rows = listed(lab, table);
    let siblings = rows[0]["siblings"].as_array().expect("siblings");
    let mut values: Vec<Value> = siblings.iter().map(|one| one["value"].clone()).collect();
    values.sort_by_key(Value::to_string);
    values
}

#[test]
fn rows_are_written_with_their_expiries_and_one_that_has_expired_is_counted() {
    let lab = Lab::new(Storage::None);
    let later = now_ms() + 3_600_000;
    let long = "k".repeat(64 << 10);
    let rows = json!([
        { "key": "a", "value": "1" },
        { "key": { "base64": "/wA=" }, "value": { "base64": "/wEK" }, "expires_ms": later },
        { "key": "gone", "value": "2", "expires_ms": 1 },
        { "key": "never", "value": "3", "expires_ms": 0 },
        { "key": long, "value": "" },
        { "key": "a", "value": "4" },
    ]);
    let answer = write(&lab, "t", &rows);
    assert_eq!(answer.status, StatusCode::OK);
    let done = json!({ "written": 4, "present": 0, "expired": 2, "refused": [] });
    assert_eq!(answer.json(), done);
    let expected = json!([
        { "key": "a", "value": "4" },
        { "key": long, "value": "" },
        { "key": { "base64": "/wA=" }, "value": { "base64": "/wEK" }, "expires_ms": later },
    ]);
    assert_eq!(listed(&lab, "t"), expected);
}

#[test]
fn a_row_that_cannot_be_written_is_named_and_the_others_are_written() {
    let lab = Lab::with(Storage::None, |config| {
        config.limits.key_bytes = 8;
        config.limits.value_bytes = 8;
    });
    let rows = json!([
        { "key": "a", "value": "1" },
        { "key": "", "value": "2" },
        { "key": "123456789", "value": "3" },
        { "key": "b", "value": "123456789" },
        { "key": "c", "siblings": ["4"] },
        { "key": "d", "value": "5" },
    ]);
    let answer = write(&lab, "t", &rows);
    assert_eq!(answer.status, StatusCode::OK);
    let done = answer.json();
    assert_eq!((&done["written"], &done["present"]), (&json!(2), &json!(0)));
    let refused = done["refused"].as_array().expect("a list").iter();
    let refused: Vec<_> = refused
        .map(|row| (row["row"].as_u64(), row["code"].as_str().expect("a code")))
        .collect();
    let expected = [
        (Some(1), "empty_key"),
        (Some(2), "key_too_large"),
        (Some(3), "value_too_large"),
        (Some(4), "keeps_no_siblings"),
    ];
    assert_eq!(refused, expected);
    let rows = json!([{ "key": "a", "value": "1" }, { "key": "d", "value": "5" }]);
    assert_eq!(listed(&lab, "t"), rows);
}

#[test]
fn a_request_of_another_form_is_refused_as_a_whole() {
    let lab = Lab::new(Storage::None);
    let good = json!({ "key": "a", "value": "1" });
    let bad = [
        json!({ "key": "k" }),
        json!({ "key": "k", "value": "1", "siblings": ["2"] }),
        json!({ "key": "k", "siblings": [] }),
        json!({ "key": "k", "siblings": ["1"], "expires_ms": 5 }),
        json!({ "key": "k", "value": { "base64": "%" } }),
        json!({ "key": "k", "value": "1", "ttl_ms": 5 }),
        json!({ "key": "k", "siblings": vec!["1"; 1_025] }),
    ];
    for row in bad {
        let answer = write(&lab, "t", &json!([good, row]));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad_json")
        );
    }
    let many = vec![good.clone(); 1_001];
    assert_eq!(write(&lab, "t", &json!(many)).code(), "bad_json");
    let body = json!({ "rows": [good] }).to_string();
    let plain = lab.send(Method::POST, "/v1/usr/t", body.clone());
    assert_eq!(plain.code(), "unsupported_media_type");
    let query = lab.send_json(Method::POST, "/v1/usr/t?x=1", &body);
    assert_eq!(query.code(), "bad_parameter");
    let strong = lab.send_json(Method::POST, "/v1/usr/strong:t", &body);
    assert_eq!(strong.code(), "mode_not_built");
    assert_eq!(listed(&lab, "t"), json!([]));
}

#[test]
fn siblings_that_a_key_lacks_are_written_and_the_same_request_again_changes_nothing() {
    let lab = Lab::with(Storage::None, |config| config.limits.siblings = 4);
    create(&lab, &json!({ "name": "s", "conflict": "siblings" }));
    let rows = json!([{ "key": "k", "siblings": ["b", "a", "a"] }]);
    assert_eq!(write(&lab, "s", &rows).json()["written"], 1);
    assert_eq!(siblings(&lab, "s"), ["a", "a", "b"]);
    let again = write(&lab, "s", &rows).json();
    let done = json!({ "written": 0, "present": 1, "expired": 0, "refused": [] });
    assert_eq!(again, done);
    let value = json!([{ "key": "k", "value": { "base64": "/w==" } }]);
    assert_eq!(write(&lab, "s", &value).json()["written"], 1);
    assert_eq!(siblings(&lab, "s").len(), 4);
    let rows = json!([
        { "key": "k", "siblings": ["c"] },
        { "key": "l", "value": "1", "expires_ms": 1 },
        { "key": "m", "siblings": ["1"] },
    ]);
    let done = write(&lab, "s", &rows).json();
    assert_eq!(done["written"], 1);
    let codes = [&done["refused"][0]["code"], &done["refused"][1]["code"]];
    assert_eq!(codes, ["too_many_siblings", "expiry_unsupported"]);
}

#[test]
fn siblings_of_more_bytes_than_a_job_moves_are_all_written() {
    let lab = Lab::with(Storage::None, |config| config.limits.siblings = 64);
    create(&lab, &json!({ "name": "s", "conflict": "siblings" }));
    let values: Vec<String> = (0..40)
        .map(|n| format!("{n:02}{}", "x".repeat(20_000)))
        .collect();
    let rows = json!([{ "key": "k", "siblings": values }, { "key": "l", "siblings": ["1"] }]);
    let done = write(&lab, "s", &rows).json();
    assert_eq!(done["written"], 2);
    let expected: Vec<Value> = values.into_iter().map(Value::from).collect();
    assert_eq!(siblings(&lab, "s"), expected);
}

#[test]
fn a_node_that_takes_no_more_ends_the_request_at_a_row() {
    let lab = Lab::with(Storage::Ordered, |config| {
        config.limits.store_backlog_bytes = 4_096
    });
    lab.disk.held.store(true, Ordering::SeqCst);
    let rows: Vec<Value> = (0..1_000)
        .map(|n| json!({ "key": format!("k{n:03}"), "value": "x".repeat(100) }))
        .collect();
    let mut all = rows.clone();
    all[0] = json!({ "key": "", "value": "no key" });
    let answer = write(&lab, "t", &json!(all));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "busy")
    );
    let error = &answer.json()["error"];
    let row = error["row"].as_u64().expect("a row");
    assert!(row > 1 && row < 1_000, "{row}");
    assert_eq!(error["written"], row - 1);
    assert_eq!(error["refused"][0]["code"], "empty_key");
    lab.disk.held.store(false, Ordering::SeqCst);
    // The rest is good from that row on, and until then nothing of it was written.
    assert_eq!(
        listed(&lab, "t").as_array().map(Vec::len),
        Some(row as usize - 1)
    );
    let mut next = row as usize;
    while next < rows.len() {
        let answer = write(&lab, "t", &json!(rows[next..]));
        match answer.status {
            StatusCode::OK => next = rows.len(),
            _ => next += answer.json()["error"]["row"].as_u64().expect("a row") as usize,
        }
    }
    assert_eq!(listed(&lab, "t").as_array().map(Vec::len), Some(999));
}

#[test]
fn a_full_disk_ends_the_request_at_its_first_row() {
    let lab = Lab::new(Storage::Ordered);
    lab.fill_disk();
    let answer = write(&lab, "t", &json!([{ "key": "a", "value": "1" }]));
    assert_eq!(answer.code(), "store_stalled");
    assert_eq!(answer.json()["error"]["row"], 0);
}

#[test]
fn rows_of_a_table_that_syncs_are_answered_once_they_are_durable() {
    let lab = Lab::new(Storage::Ordered);
    create(
        &lab,
        &json!({ "name": "safe", "durability": "sync", "conflict": "siblings" }),
    );
    let body = json!({ "rows": [{ "key": "a", "siblings": ["1"] }] }).to_string();
    lab.disk.held.store(true, Ordering::SeqCst);
    while lab.disk.asked.try_recv().is_ok() {}
    let request = async {
        let mut request = super::lab::request(Method::POST, "/v1/usr/safe", body);
        let kind = "application/json".parse().expect("valid");
        request.headers_mut().insert("content-type", kind);
        let answer = lab.answer(request).await;
        assert!(!lab.disk.held.load(Ordering::SeqCst), "before the sync");
        answer
    };
    // The disk is let go once it was asked for a sync.
    let disk = async {
        let _ = lab.disk.asked.recv().await;
        lab.disk.held.store(false, Ordering::SeqCst);
        std::future::pending::<Answer>().await
    };
    let answer = smol::block_on(smol::future::or(request, disk));
    assert_eq!(answer.json()["written"], 1);
}

#[test]
fn rows_of_a_table_that_answers_later_are_not_written_together() {
    let lab = Lab::new(Storage::None);
    let made = lab.backend.with(|node, _| {
        let table = node.table("slow").expect("a name");
        node.delay_table(table, std::time::Duration::from_millis(1));
    });
    smol::block_on(made).expect("the node runs");
    let answer = write(&lab, "slow", &json!([{ "key": "a", "value": "1" }]));
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(answer.code(), "answers_later");
}
