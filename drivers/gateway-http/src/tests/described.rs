//! No error is answered that the description of the interface does not list.

use std::sync::LazyLock;

use axum::http::{Method, StatusCode};
use rumormill_core::Storage;
use serde_json::Value;

use super::lab::{Answer, Lab};
use crate::body::SMALL_BODY;
use crate::openapi_json;

static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&openapi_json()).expect("JSON"));

/// The error's code is listed at its route under its status, or for every route.
pub(crate) fn assert_listed(method: &Method, path: &str, answer: &Answer) {
    if answer.status < StatusCode::BAD_REQUEST || method == Method::HEAD {
        return;
    }
    let code = format!("`{}`", answer.code());
    let lists = |text: &Value| text.as_str().is_some_and(|text| text.contains(&code));
    let paths = DESCRIPTION["paths"].as_object().expect("paths");
    let route = paths.iter().find(|(route, _)| matches(route, path));
    let here = route.is_some_and(|(_, methods)| {
        let responses = &methods[method.as_str().to_lowercase()]["responses"];
        lists(&responses[answer.status.as_str()]["description"])
    });
    assert!(
        here || lists(&DESCRIPTION["info"]["description"]),
        "{method} {path}: {} {code} is not listed",
        answer.status
    );
}

/// Whether a path with parameters in braces, the last of which takes the rest, stands for this one.
fn matches(route: &str, path: &str) -> bool {
    match (route.split_once('/'), path.split_once('/')) {
        (Some((word, route)), Some((part, path))) => fits(word, part) && matches(route, path),
        (None, Some(_)) => route == "{key}",
        (None, None) => fits(route, path),
        (Some(_), None) => false,
    }
}

fn fits(word: &str, part: &str) -> bool {
    word.starts_with('{') || word == part
}

#[test]
fn every_route_lists_how_it_refuses() {
    let lab = Lab::with(Storage::None, |config| config.limits.key_bytes = 8);
    let rows = ["/v1/usr/t/k", "/items/k"];
    for path in rows.into_iter().chain(["/v1/usr/t"]) {
        assert_eq!(lab.get(&format!("{path}?x=1")).code(), "bad_parameter");
    }
    for path in rows {
        let unknown = format!("{path}?x=1");
        let long = format!("{path}{}", "y".repeat(8));
        let put = |path: &str| lab.send_json(Method::PUT, path, r#"{"value":"v"}"#);
        let delete = |path: &str| lab.send(Method::DELETE, path, "");
        assert_eq!(put(path).status, StatusCode::CREATED);
        assert_eq!(put(&unknown).code(), "bad_parameter");
        assert_eq!(put(&long).code(), "key_too_large");
        assert_eq!(delete(&unknown).code(), "bad_parameter");
        assert_eq!(delete(&long).code(), "key_too_large");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = lab.send(method, "/v1/usr/%ff/k", "v");
        assert_eq!(answer.code(), "bad_table_name");
    }
    let large = " ".repeat(SMALL_BODY + 1);
    for path in ["/v1/tables", "/peers"] {
        let answer = lab.send_json(Method::POST, path, &large);
        assert_eq!(answer.code(), "value_too_large");
    }
    lab.fill_disk();
    let table = lab.send_json(Method::POST, "/v1/tables", r#"{"name":"new"}"#);
    assert_eq!(table.code(), "store_stalled");
    for path in rows {
        let answer = lab.send_json(Method::PUT, path, r#"{"value":"v"}"#);
        assert_eq!(answer.code(), "store_stalled");
    }
}

#[test]
fn a_node_that_is_not_rejoining_does_not_resume() {
    let lab = Lab::new(Storage::None);
    let answer = lab.send(Method::POST, "/v1/members/self/resume", "");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::CONFLICT, "not_rejoining")
    );
    assert_eq!(
        lab.get("/v1/status").json()["rejoin_through"],
        serde_json::json!([])
    );
}

#[test]
fn an_eviction_is_refused_with_its_code() {
    let lab = Lab::new(Storage::None);
    let evict = |member: &str, query: &str| {
        let path = format!("/v1/members/{member}/evict{query}");
        lab.send(Method::POST, &path, "")
    };
    let me = lab.get("/v1/members/self").json();
    let id = me["id"].as_str().expect("an id");
    let answer = evict(id, "?force=true");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::BAD_REQUEST, "myself")
    );
    let answer = evict("nobody", "");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::NOT_FOUND, "not_a_member")
    );
    assert_eq!(evict("nobody", "?force=perhaps").code(), "bad_parameter");
    assert_eq!(evict("nobody", "?hard").code(), "bad_parameter");
}

#[test]
fn a_node_that_is_asked_to_leave_says_what_it_leaves_behind_and_takes_no_more_writes() {
    let lab = Lab::new(Storage::None);
    let answer = lab.send(Method::POST, "/v1/members/self/leave", "");
    assert_eq!(answer.status, StatusCode::OK);
    let left = answer.json();
    assert_eq!(
        (&left["complete"], &left["others"]),
        (&true.into(), &0.into())
    );
    let words = "no other member answered: what this one holds is nowhere else";
    assert_eq!(left["outcome"], words);
    let refused = lab.send(Method::PUT, "/v1/usr/t/k", "v");
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
}
