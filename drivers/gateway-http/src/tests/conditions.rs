use axum::http::{Method, StatusCode};
use rumormill_core::Storage;

use super::lab::{Answer, Lab, request};

fn ask(lab: &Lab, method: Method, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = request(method, path, r#"{"value":"new"}"#);
    for (name, value) in headers {
        let value = value.parse().expect("a header");
        request.headers_mut().append(*name, value);
    }
    let json = "application/json".parse().expect("a header");
    request.headers_mut().insert("content-type", json);
    lab.call(request)
}

fn tag(answer: &Answer) -> String {
    let tag = answer.headers.get("etag").expect("a tag");
    tag.to_str().expect("text").to_string()
}

#[test]
fn a_write_whose_condition_does_not_hold_changes_nothing() {
    let lab = Lab::new(Storage::None);
    for path in ["/v1/usr/t/k", "/v1/usr/default/k", "/items/j"] {
        let put = |headers: &[(&'static str, &str)]| ask(&lab, Method::PUT, path, headers);
        let none = put(&[("if-match", "*")]);
        assert_eq!(none.status, StatusCode::PRECONDITION_FAILED, "{path}");
        assert_eq!(none.code(), "precondition_failed");
        assert!(!none.headers.contains_key("etag"));
        assert_eq!(lab.get(path).status, StatusCode::NOT_FOUND);
        let first = put(&[("if-none-match", "*")]);
        assert_eq!(first.status, StatusCode::CREATED);
        let first = tag(&first);
        assert_eq!(tag(&lab.get(path)), first);
        let again = put(&[("if-none-match", "*")]);
        assert_eq!(again.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(tag(&again), first);
        let weak = format!("W/{first}");
        assert_eq!(put(&[("if-match", &weak)]).code(), "precondition_failed");
        assert_eq!(put(&[("if-match", "\"x\"")]).code(), "precondition_failed");
        assert_eq!(
            put(&[("if-none-match", &weak)]).code(),
            "precondition_failed"
        );
        assert_eq!(tag(&lab.get(path)), first);
        let list = format!("\"x\" , {first},");
        let second = put(&[("if-match", &list), ("if-none-match", "\"x\"")]);
        assert!(second.status.is_success());
        let second = tag(&second);
        assert_ne!(first, second);
        // As when the answer was lost and the client asks again.
        let repeated = put(&[("if-match", &list)]);
        assert_eq!(repeated.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(tag(&repeated), second);
        let delete = |value: &str| ask(&lab, Method::DELETE, path, &[("if-match", value)]);
        assert_eq!(delete(&first).code(), "precondition_failed");
        assert_eq!(delete(&second).status, StatusCode::NO_CONTENT);
        assert_eq!(delete(&second).code(), "not_found");
    }
}

#[test]
fn a_condition_that_fails_makes_no_table() {
    let lab = Lab::new(Storage::None);
    let refused = ask(&lab, Method::PUT, "/v1/usr/new/k", &[("if-match", "*")]);
    assert_eq!(refused.code(), "precondition_failed");
    let tables = lab.get("/v1/tables").json();
    let tables = tables["tables"].as_array().expect("tables").clone();
    assert!(tables.iter().all(|table| table["name"] != "new"));
}

#[test]
fn a_reader_that_has_the_row_gets_no_second_copy() {
    let lab = Lab::new(Storage::None);
    for path in ["/v1/usr/t/k", "/items/k"] {
        let put = tag(&ask(&lab, Method::PUT, path, &[]));
        for method in [Method::GET, Method::HEAD] {
            let read =
                |name: &'static str, value: &str| ask(&lab, method.clone(), path, &[(name, value)]);
            for same in [put.clone(), format!("\"x\",W/{put}"), "*".into()] {
                let unmodified = read("if-none-match", &same);
                assert_eq!(unmodified.status, StatusCode::NOT_MODIFIED, "{same}");
                assert_eq!((tag(&unmodified), unmodified.body.len()), (put.clone(), 0));
            }
            assert_eq!(read("if-none-match", "\"x\"").status, StatusCode::OK);
            assert_eq!(read("if-match", &put).status, StatusCode::OK);
            let other = read("if-match", "\"x\"");
            assert_eq!(other.status, StatusCode::PRECONDITION_FAILED);
            assert_eq!(tag(&other), put);
        }
        let absent = ask(&lab, Method::GET, &format!("{path}x"), &[("if-match", "*")]);
        assert_eq!(absent.code(), "not_found");
    }
}

#[test]
fn what_is_no_list_of_tags_is_refused() {
    let lab = Lab::new(Storage::None);
    for bad in [
        "",
        "x",
        "\"x",
        "\"x\" \"y\"",
        "w/\"x\"",
        "\"a\", *",
        ",",
        "\"a b\"",
    ] {
        for name in ["if-match", "if-none-match"] {
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                let answer = ask(&lab, method, "/v1/usr/t/k", &[(name, bad)]);
                assert_eq!(answer.code(), "bad_condition", "{name}: {bad:?}");
            }
        }
    }
    assert_eq!(lab.get("/v1/usr/t/k").code(), "not_found");
}

#[test]
fn siblings_have_one_tag_together() {
    let lab = Lab::new(Storage::None);
    let options = r#"{"name":"s","conflict":"siblings"}"#;
    lab.send_json(Method::POST, "/v1/tables", options);
    let path = "/v1/usr/s/k";
    let first = tag(&ask(&lab, Method::PUT, path, &[("if-none-match", "*")]));
    assert_eq!(tag(&lab.get(path)), first);
    let second = ask(&lab, Method::PUT, path, &[("if-match", &first)]);
    assert_eq!(second.status, StatusCode::NO_CONTENT);
    let both = lab.get(path);
    assert_eq!(both.status, StatusCode::MULTIPLE_CHOICES);
    let context = both.headers["x-rumormill-context"].to_str().expect("text");
    let both = (tag(&both), context.to_string());
    assert!(both.0.starts_with("\"siblings-"), "{}", both.0);
    let unmodified = ask(&lab, Method::GET, path, &[("if-none-match", &both.0)]);
    assert_eq!(unmodified.status, StatusCode::NOT_MODIFIED);
    let stale = [
        ("if-match", first.as_str()),
        ("x-rumormill-context", &both.1),
    ];
    assert_eq!(
        ask(&lab, Method::PUT, path, &stale).code(),
        "precondition_failed"
    );
    let fresh = [
        ("if-match", both.0.as_str()),
        ("x-rumormill-context", &both.1),
    ];
    let merged = tag(&ask(&lab, Method::PUT, path, &fresh));
    assert_eq!(tag(&lab.get(path)), merged);
}
