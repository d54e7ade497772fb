//! Rows of tables that answer later.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use rumormill_core::Storage;

use super::lab::{Lab, request};
use crate::Backend as _;

fn lab(delay: Duration) -> Lab {
    let lab = Lab::new(Storage::None);
    let made = lab.backend.with(move |node, _| {
        let table = node.table("slow").expect("a name");
        node.delay_table(table, delay);
    });
    smol::block_on(made).expect("the node runs");
    lab
}

#[test]
fn a_row_of_a_table_that_answers_later_is_written_read_and_deleted() {
    let lab = lab(Duration::from_millis(20));
    let path = "/v1/usr/slow/k";
    assert_eq!(lab.get(path).status, StatusCode::NOT_FOUND);
    let put = |value| lab.send(Method::PUT, path, value).status;
    assert_eq!(put("v"), StatusCode::CREATED);
    assert_eq!(put("w"), StatusCode::NO_CONTENT);
    assert_eq!(lab.get(path).body, b"w");
    let mut conditional = request(Method::PUT, path, "x");
    let any = "*".parse().expect("valid");
    conditional.headers_mut().insert("if-match", any);
    let refused = lab.call(conditional);
    assert_eq!(refused.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(refused.code(), "conditions_unsupported");
    let deleted = lab.send(Method::DELETE, path, "");
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let gone = lab.send(Method::DELETE, path, "");
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[test]
fn a_table_that_answers_later_is_neither_listed_nor_watched_nor_counted() {
    let lab = lab(Duration::from_millis(1));
    for table in ["slow", "fast"] {
        let put = lab.send(Method::PUT, &format!("/v1/usr/{table}/k"), "v");
        assert_eq!(put.status, StatusCode::CREATED);
    }
    for query in ["", "?prefix=k", "?after=a", "?watch"] {
        let refused = lab.get(&format!("/v1/usr/slow{query}"));
        assert_eq!(refused.status, StatusCode::NOT_IMPLEMENTED, "{query}");
        assert_eq!(refused.code(), "answers_later", "{query}");
    }
    let listed = lab.get("/v1/usr/fast").json();
    assert_eq!(listed["rows"].as_array().map(Vec::len), Some(1));
    let tables = lab.get("/v1/tables").json();
    let rows = |name: &str| {
        let mut tables = tables["tables"].as_array().expect("a list").iter();
        let found = tables.find(|table| table["name"] == name);
        found.expect("it is listed").get("rows").cloned()
    };
    assert_eq!((rows("slow"), rows("fast")), (None, Some(1.into())));
    let state = lab.get("/v1/state").json();
    assert!(state["usr"]["slow"].is_null() && state["usr"]["fast"]["k"] == "v");
    assert!(state["sys"]["tables"].get("slow").is_some());
}

#[test]
fn a_request_that_waits_holds_up_no_other() {
    let lab = lab(Duration::from_secs(3_600));
    let waits = lab.answer(request(Method::PUT, "/v1/usr/slow/k", "v"));
    let others = async {
        for n in 0..50 {
            let path = format!("/v1/usr/fast/{n}");
            let put = lab.answer(request(Method::PUT, &path, "v")).await;
            assert_eq!(put.status, StatusCode::CREATED);
            let got = lab.answer(request(Method::GET, &path, "")).await;
            assert_eq!(got.body, b"v");
        }
    };
    let first = smol::block_on(smol::future::or(
        async {
            waits.await;
            "the one that waits"
        },
        async {
            others.await;
            "the others"
        },
    ));
    assert_eq!(first, "the others");
}
