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
