//! Tables that keep siblings.

use axum::http::{Method, Request, StatusCode};
use rumormill_core::Storage;
use serde_json::{Value, json};

use super::lab::{Answer, Lab, request};
use super::streams::Watch;

const TABLE: &str = r#"{"name":"s","conflict":"siblings"}"#;
const PATH: &str = "/v1/usr/s/k";

fn lab() -> Lab {
    let lab = Lab::with(Storage::None, |config| config.limits.siblings = 3);
    let made = lab.send_json(Method::POST, "/v1/tables", TABLE);
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.json()["conflict"], "siblings");
    lab
}

/// A write or a delete that gives contexts back.
fn with(lab: &Lab, method: Method, path: &str, value: &str, contexts: &[&str]) -> Answer {
    let mut request: Request<_> = request(method, path, value.to_string());
    for context in contexts {
        let context = context.parse().expect("a header");
        request.headers_mut().append("x-rumormill-context", context);
    }
    lab.call(request)
}

fn put(lab: &Lab, value: &str, contexts: &[&str]) -> StatusCode {
    with(lab, Method::PUT, PATH, value, contexts).status
}

fn context_of(answer: &Answer) -> String {
    let context = &answer.headers["x-rumormill-context"];
    context.to_str().expect("text").to_string()
}

/// The values of a key that are listed, in order.
fn values_of(listed: &Value) -> Vec<&str> {
    let siblings = listed["siblings"].as_array().expect("siblings").iter();
    let mut values: Vec<_> = siblings
        .map(|sibling| {
            assert!(sibling["version"].is_string());
            sibling["value"].as_str().expect("text")
        })
        .collect();
    values.sort_unstable();
    values
}

#[test]
fn siblings_are_read_together_and_replaced_with_their_context() {
    let lab = lab();
    assert_eq!(put(&lab, "one", &[]), StatusCode::CREATED);
    let one = lab.get(PATH);
    assert_eq!(
        (one.status, one.body.as_slice()),
        (StatusCode::OK, &b"one"[..])
    );
    assert!(one.headers.contains_key("etag"));
    assert_eq!(put(&lab, "two", &[]), StatusCode::NO_CONTENT);
    let both = lab.get(PATH);
    assert_eq!(both.status, StatusCode::MULTIPLE_CHOICES);
    assert_eq!(values_of(&both.json()), ["one", "two"]);
    assert_eq!(both.json()["context"], context_of(&both).as_str());
    // Values that the context of the first read has not seen stay.
    let seen_one = context_of(&one);
    assert_eq!(put(&lab, "three", &[&seen_one]), StatusCode::NO_CONTENT);
    assert_eq!(values_of(&lab.get(PATH).json()), ["three", "two"]);
    let seen_all = context_of(&lab.get(PATH));
    assert_eq!(put(&lab, "four", &[&seen_all]), StatusCode::NO_CONTENT);
    let four = lab.get(PATH);
    assert_eq!(
        (four.status, four.body.as_slice()),
        (StatusCode::OK, &b"four"[..])
    );
}

#[test]
fn a_delete_removes_what_its_context_has_seen() {
    let lab = lab();
    put(&lab, "one", &[]);
    let seen = context_of(&lab.get(PATH));
    put(&lab, "two", &[]);
    let delete = |context: &str| with(&lab, Method::DELETE, PATH, "", &[context]).status;
    assert_eq!(delete(&seen), StatusCode::NO_CONTENT);
    let left = lab.get(PATH);
    assert_eq!(
        (left.status, left.body.as_slice()),
        (StatusCode::OK, &b"two"[..])
    );
    // Again: what it names is gone, and the rest stays.
    assert_eq!(delete(&seen), StatusCode::NO_CONTENT);
    assert_eq!(lab.get(PATH).body, b"two");
    let seen = context_of(&left);
    assert_eq!(delete(&seen), StatusCode::NO_CONTENT);
    assert_eq!(lab.get(PATH).code(), "not_found");
    assert_eq!(delete(&seen), StatusCode::NO_CONTENT);
    assert_eq!(
        lab.send(Method::DELETE, PATH, "").code(),
        "context_required"
    );
}

#[test]
fn a_context_that_does_not_belong_here_is_refused_with_the_reason() {
    let lab = lab();
    put(&lab, "one", &[]);
    let context = context_of(&lab.get(PATH));
    let mut flipped = context.clone().into_bytes();
    flipped[8] = if flipped[8] == b'A' { b'B' } else { b'A' };
    let damaged = String::from_utf8(flipped).expect("text");
    let bad = [
        (PATH, "", "malformed"),
        (PATH, "no token", "malformed"),
        (PATH, &damaged, "damaged"),
        ("/v1/usr/s/other", &context, "other_key"),
        ("/v1/usr/s2/k", &context, "other_key"),
    ];
    lab.send_json(
        Method::POST,
        "/v1/tables",
        r#"{"name":"s2","conflict":"siblings"}"#,
    );
    for (path, context, reason) in bad {
        for method in [Method::PUT, Method::DELETE] {
            let answer = with(&lab, method, path, "v", &[context]);
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::BAD_REQUEST, "bad_context")
            );
            assert_eq!(answer.json()["error"]["reason"], reason, "{path} {context}");
        }
    }
    let twice = with(&lab, Method::PUT, PATH, "v", &[&context, &context]);
    assert_eq!(twice.code(), "bad_parameter");
    assert_eq!(lab.get(PATH).body, b"one");
    // A node that has not accepted what the context has seen does not number its writes into it.
    let younger = Lab::new(Storage::None);
    younger.send_json(Method::POST, "/v1/tables", TABLE);
    let answer = with(&younger, Method::PUT, PATH, "v", &[&context]);
    assert_eq!(answer.json()["error"]["reason"], "unissued");
}

#[test]
fn what_goes_only_with_the_other_kind_of_table_is_refused() {
    let lab = lab();
    put(&lab, "one", &[]);
    let context = context_of(&lab.get(PATH));
    lab.send(Method::PUT, "/v1/usr/plain/k", "v");
    for method in [Method::PUT, Method::DELETE] {
        let answer = with(&lab, method, "/v1/usr/plain/k", "v", &[&context]);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "context_unused")
        );
    }
    lab.send_json(Method::PUT, "/items/k", r#"{"value":"v"}"#);
    let item = with(&lab, Method::DELETE, "/items/k", "", &[&context]);
    assert_eq!(item.code(), "context_unused");
    assert_eq!(lab.get("/items/k").json(), json!({"value": "v"}));
    let answer = lab.send(Method::PUT, &format!("{PATH}?ttl_ms=1000"), "v");
    assert_eq!(answer.code(), "expiry_unsupported");
    let timed = with(
        &lab,
        Method::PUT,
        &format!("{PATH}?ttl_ms=1000"),
        "v",
        &[&context],
    );
    assert_eq!(timed.code(), "bad_parameter");
    let required = lab.send(Method::DELETE, PATH, "");
    assert_eq!(
        (required.status, required.code().as_str()),
        (StatusCode::PRECONDITION_REQUIRED, "context_required")
    );
}

#[test]
fn siblings_are_limited_by_number_and_by_size() {
    let lab = lab();
    for value in ["one", "two", "three"] {
        assert!(put(&lab, value, &[]).is_success());
    }
    let refused = lab.send(Method::PUT, PATH, "four");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::CONFLICT, "too_many_siblings")
    );
    assert_eq!(refused.json()["error"]["limit"], 3);
    let context = context_of(&lab.get(PATH));
    assert!(put(&lab, "four", &[&context]).is_success());
    let lab = Lab::new(Storage::None);
    lab.send_json(Method::POST, "/v1/tables", TABLE);
    let large = || vec![b'x'; 1 << 20];
    for _ in 0..4 {
        assert!(lab.send(Method::PUT, PATH, large()).status.is_success());
    }
    let refused = lab.send(Method::PUT, PATH, large());
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "siblings_too_large")
    );
}

#[test]
fn listings_the_state_and_watches_show_all_siblings() {
    let lab = lab();
    let mut watch = Watch::open(&lab, "/v1/usr/s?watch", None);
    assert_eq!(watch.next().name, "ready");
    put(&lab, "one", &[]);
    let told = watch.next();
    assert_eq!(
        (told.name.as_str(), &told.data["key"]),
        ("put", &json!("k"))
    );
    assert_eq!(values_of(&told.data), ["one"]);
    lab.send(Method::PUT, "/v1/usr/s/a", vec![0xff]);
    assert_eq!(
        watch.next().data["siblings"][0]["value"],
        json!({"base64": "/w=="})
    );
    put(&lab, "two", &[]);
    let told = watch.next();
    assert_eq!(values_of(&told.data), ["one", "two"]);
    let context = context_of(&lab.get(PATH));
    assert_eq!(told.data["context"], context.as_str());
    let listed = lab.get("/v1/usr/s?limit=1").json();
    assert_eq!(
        listed["rows"][0]["siblings"].as_array().map(Vec::len),
        Some(1)
    );
    let listed = lab
        .get(listed["next"].as_str().expect("a next page"))
        .json();
    let row = &listed["rows"][0];
    assert_eq!((&row["key"], &row["value"]), (&json!("k"), &Value::Null));
    assert_eq!(
        (values_of(row), row["context"].as_str()),
        (vec!["one", "two"], Some(context.as_str()))
    );
    let state = lab.get("/v1/state").json();
    let shown = &state["usr"]["s"]["k"];
    assert_eq!(
        (values_of(shown), shown["context"].as_str()),
        (vec!["one", "two"], Some(context.as_str()))
    );
    with(&lab, Method::DELETE, PATH, "", &[&context]);
    let told = watch.next();
    assert_eq!(
        (told.name.as_str(), &told.data),
        ("deleted", &json!({"key": "k"}))
    );
}
