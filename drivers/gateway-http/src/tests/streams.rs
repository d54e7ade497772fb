use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use rumormill_core::{Storage, TableId};
use serde_json::json;
use tower_service::Service;

use super::lab::{Lab, request};
use crate::Backend;

/// One event of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: serde_json::Value,
}

pub(crate) struct Watch {
    body: Body,
    text: String,
}

impl Watch {
    pub(crate) fn open(lab: &Lab, path: &str, last: Option<&str>) -> Watch {
        let mut request: Request<Body> = request(Method::GET, path, "");
        if let Some(last) = last {
            request
                .headers_mut()
                .insert("last-event-id", last.parse().expect("a header"));
        }
        let response = smol::block_on(lab.router.clone().call(request)).expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Watch {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The id of the next comment that is sent while nothing happens.
    pub(crate) fn comment(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let id = event.strip_prefix(": still here\nid: ").map(String::from);
                self.text = rest.to_string();
                return id.expect("a comment with an id");
            }
            self.read();
        }
    }

    pub(crate) fn next(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or("").to_string()
                };
                let (id, name, data) = (field("id: "), field("event: "), field("data: "));
                self.text = rest.to_string();
                if !name.is_empty() {
                    let data = serde_json::from_str(&data).expect("JSON");
                    return Event { id, name, data };
                }
                continue;
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let frame = smol::block_on(self.body.frame())
            .expect("it goes on")
            .expect("a frame");
        let data = frame.into_data().expect("data");
        self.text
            .push_str(std::str::from_utf8(&data).expect("UTF-8"));
    }
}

#[test]
fn a_watch_shows_changes_and_goes_on_where_it_was() {
    let lab = Lab::new(Storage::None);
    let mut watch = Watch::open(&lab, "/v1/usr/t?watch", None);
    assert_eq!(watch.next().name, "ready");
    lab.send(Method::PUT, "/v1/usr/t/a", "1");
    let first = watch.next();
    assert_eq!(
        (first.name.as_str(), &first.data),
        ("put", &json!({"key": "a", "value": "1"}))
    );
    drop(watch);
    lab.send(Method::PUT, "/v1/usr/other/x", "not ours");
    lab.send(Method::PUT, "/v1/usr/t/b", "2");
    lab.send(Method::PUT, "/v1/usr/t/c", "3");
    lab.send(Method::DELETE, "/v1/usr/t/c", "");
    for last in [Some(first.id.as_str()), None] {
        let path = match last {
            Some(_) => "/v1/usr/t?watch".to_string(),
            None => format!("/v1/usr/t?watch&cursor={}", first.id),
        };
        let mut watch = Watch::open(&lab, &path, last);
        assert_eq!(watch.next().name, "ready");
        let put = watch.next();
        assert_eq!((put.name.as_str(), &put.data["key"]), ("put", &json!("b")));
        let deleted = watch.next();
        assert_eq!(
            (deleted.name.as_str(), &deleted.data),
            ("deleted", &json!({"key": "c"}))
        );
    }
}

#[test]
fn a_watch_of_a_table_that_is_not_there_waits_for_it_and_makes_none() {
    let lab = Lab::new(Storage::None);
    let is_there = || {
        let found = lab
            .backend
            .with(|node, _| node.user_table("later").is_some());
        smol::block_on(found).expect("the node runs")
    };
    let mut watch = Watch::open(&lab, "/v1/usr/later?watch", None);
    assert_eq!(watch.next().name, "ready");
    assert!(!is_there());
    lab.send(Method::PUT, "/v1/usr/later/k", "v");
    assert_eq!(watch.next().data["key"], "k");
    let long = format!("/v1/usr/{}?watch", "x".repeat(256));
    assert_eq!(lab.get(&long).code(), "bad_table_name");
}

#[test]
fn a_watch_with_a_prefix_leaves_the_rest_out() {
    let lab = Lab::new(Storage::None);
    let mut watch = Watch::open(&lab, "/v1/usr/t?watch&prefix=b", None);
    watch.next();
    for key in ["a", "b1", "c", "b2"] {
        lab.send(Method::PUT, &format!("/v1/usr/t/{key}"), "v");
    }
    assert_eq!(watch.next().data["key"], "b1");
    assert_eq!(watch.next().data["key"], "b2");
}

#[test]
fn expiries_and_drop_markers_are_told_as_such() {
    let lab = Lab::new(Storage::None);
    let mut watch = Watch::open(&lab, "/v1/usr/t?watch&prefix=e", None);
    let begin = watch.next().id;
    let told = lab.backend.with(|node, now| {
        let table = node.table("t").expect("a name");
        let mut put = |key: &[u8], expires| {
            let value = "v".into();
            let write = rumormill_core::table::Write::Put {
                key,
                value,
                expires,
            };
            node.write(now, table, write).expect("accepted");
        };
        put(
            b"e1",
            Some(rumormill_core::Wall::from_millis(now.wall.as_millis() + 1)),
        );
        put(b"f", None);
    });
    smol::block_on(told).expect("the node runs");
    // A key that changed twice is told once: a watcher that comes late sees no more than the end.
    let mut expired = watch.next();
    if expired.name == "put" {
        expired = watch.next();
    }
    assert_eq!(
        (expired.name.as_str(), &expired.data),
        ("expired", &json!({"key": "e1"}))
    );
    let flush = |all: bool| {
        let flushed = lab.backend.with(move |node, now| {
            let table = node.table("t").expect("a name");
            let done = match all {
                true => node.flush(now, None),
                false => node.flush(now, Some(table)),
            };
            done.expect("accepted");
        });
        smol::block_on(flushed).expect("the node runs");
    };
    // A drop marker is told whatever the prefix: it may have removed rows of any.
    for all in [false, true] {
        lab.send(Method::PUT, "/v1/usr/t/f", "v");
        flush(all);
        assert_eq!(watch.next().name, "flushed", "{all}");
    }
    let mut again = Watch::open(&lab, "/v1/usr/t?watch&prefix=e", Some(&begin));
    let names: Vec<String> = (0..3).map(|_| again.next().name).collect();
    assert_eq!(names[0], "ready");
    assert!(names[1..].iter().all(|name| name != "put"), "{names:?}");
}

#[test]
fn a_watch_that_missed_something_is_told_so() {
    let lab = Lab::with(Storage::None, |config| config.limits.change_log = 4);
    let mut watch = Watch::open(&lab, "/v1/usr/t?watch", None);
    let begin = watch.next().id;
    for n in 0..20 {
        lab.send(Method::PUT, &format!("/v1/usr/t/k{n}"), "v");
    }
    let mut late = Watch::open(&lab, "/v1/usr/t?watch", Some(&begin));
    assert_eq!(late.next().name, "ready");
    let lagged = late.next();
    assert_eq!(lagged.name, "lagged");
    let mut restarted = Watch::open(&lab, "/v1/usr/t?watch", Some(&lagged.id));
    assert_eq!(restarted.next().name, "ready");
    let mut other_boot = Watch::open(
        &lab,
        "/v1/usr/t?watch&cursor=0123456789abcdef-gossip.3",
        None,
    );
    assert_eq!(other_boot.next().name, "lagged");
    lab.send(Method::PUT, "/v1/usr/t/new", "v");
    assert_eq!(late.next().data["key"], "new");
    assert_eq!(restarted.next().data["key"], "new");
    assert_eq!(other_boot.next().data["key"], "new");
    for bad in [
        "cursor=x",
        "cursor=0123456789abcdef-3",
        "cursor=0123456789abcdef-strong.3",
        "cursor=",
        "limit=3",
        "after=x",
    ] {
        assert_eq!(
            lab.get(&format!("/v1/usr/t?watch&{bad}")).code(),
            "bad_parameter",
            "{bad}"
        );
    }
}

#[test]
fn values_that_are_only_in_the_store_are_shown_everywhere() {
    let lab = Lab::with(Storage::Ordered, |config| config.resident_value = Some(4));
    let begin = Watch::open(&lab, "/v1/usr/t?watch", None).next().id;
    for (key, value) in [("a", "a large value"), ("b", "tiny"), ("c", "another one")] {
        lab.send(Method::PUT, &format!("/v1/usr/t/{key}"), value);
    }
    lab.send_json(Method::PUT, "/items/i", r#"{"value":"a large item"}"#);
    smol::block_on(lab.backend.request(rumormill_core::io::Request::Sync)).expect("synced");
    let cold = lab.backend.with(|node, now| {
        let table = node.user_table("t").expect("it has rows");
        let view = node.view(now);
        let rows = view
            .scan(table, Default::default())
            .expect("it answers at once");
        rows.filter(|row| row.value().is_none()).count()
    });
    assert_eq!(smol::block_on(cold), Ok(2));
    let got = lab.get("/v1/usr/t/a");
    assert_eq!(
        (got.status, &got.body[..]),
        (StatusCode::OK, &b"a large value"[..])
    );
    assert!(got.headers.contains_key("etag"));
    assert_eq!(lab.get("/items/i").body, br#"{"value":"a large item"}"#);
    let page = lab.get("/v1/usr/t?limit=2").json();
    let rows = json!([{"key": "a", "value": "a large value"}, {"key": "b", "value": "tiny"}]);
    assert_eq!(page["rows"], rows);
    let rest = lab.get(page["next"].as_str().expect("a next page")).json();
    let last = json!([{"key": "c", "value": "another one"}]);
    assert_eq!((&rest["rows"], rest.get("next")), (&last, None));
    let state = lab.get("/v1/state").json();
    let rows = json!({"a": "a large value", "b": "tiny", "c": "another one"});
    assert_eq!(state["usr"]["t"], rows);
    let mut watch = Watch::open(&lab, "/v1/usr/t?watch", Some(&begin));
    watch.next();
    assert_eq!(watch.next().data["value"], "a large value");
    lab.disk.rotten.store(true, Ordering::SeqCst);
    let damaged = lab.get("/v1/usr/t/a");
    assert_eq!(damaged.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(damaged.code(), "unreadable");
    assert_eq!(lab.get("/v1/usr/t").code(), "unreadable");
    assert_eq!(lab.get("/v1/usr/t/b").body, b"tiny");
    let mut watch = Watch::open(&lab, "/v1/usr/t?watch", Some(&begin));
    watch.next();
    assert_eq!(
        watch.next().data,
        json!({"key": "a", "error": "unreadable"})
    );
    assert_eq!(watch.next().data["value"], "tiny");
}

#[test]
fn the_state_is_one_document_however_many_pages_it_takes() {
    let lab = Lab::new(Storage::None);
    let filled = lab.backend.with(|node, now| {
        let words = node.table("words").expect("a name");
        for n in 0..1000 {
            let (key, value) = (format!("k{n:04}"), format!("v{n}"));
            let write = rumormill_core::table::Write::Put {
                key: key.as_bytes(),
                value: value.into(),
                expires: None,
            };
            node.write(now, words, write).expect("accepted");
        }
        let odd = [(&b"\xff"[..], &b"\xfe"[..]), (b"base64:x", b"text")];
        for (key, value) in odd {
            let value = bytes::Bytes::from_static(value);
            let write = rumormill_core::table::Write::Put {
                key,
                value,
                expires: None,
            };
            node.write(now, TableId::DEFAULT, write).expect("accepted");
        }
    });
    smol::block_on(filled).expect("the node runs");
    let state = lab.get("/v1/state").json();
    let me = lab.get("/v1/members/self").json();
    assert_eq!(
        state["sys"]["members"][me["id"].as_str().expect("an id")]["name"],
        "alpha"
    );
    assert_eq!(state["sys"]["tables"]["words"]["rows"], 1000);
    let words = state["usr"]["words"].as_object().expect("a table");
    assert_eq!(words.len(), 1000);
    assert_eq!(words["k0999"], "v999");
    let odd = json!({"base64:/w==": {"base64": "/g=="}, "base64:YmFzZTY0Ong=": "text"});
    assert_eq!(state["usr"]["default"], odd);
}

#[test]
fn a_watch_where_nothing_happens_goes_on_from_where_the_log_is() {
    let lab = Lab::with_settings(
        Storage::None,
        |config| config.limits.change_log = 4,
        |settings| settings.watch_keep_alive = std::time::Duration::from_millis(20),
    );
    let mut watch = Watch::open(&lab, "/v1/usr/quiet?watch", None);
    watch.next();
    for n in 0..20 {
        lab.send(Method::PUT, &format!("/v1/usr/loud/k{n}"), "v");
    }
    // The first comment may have been made before the last write.
    let _ = watch.comment();
    let id = watch.comment();
    drop(watch);
    // The log no longer reaches back to where the watch began.
    let mut resumed = Watch::open(&lab, "/v1/usr/quiet?watch", Some(&id));
    assert_eq!(resumed.next().name, "ready");
    lab.send(Method::PUT, "/v1/usr/quiet/k", "v");
    assert_eq!(resumed.next().name, "put");
}

#[test]
fn watchers_of_a_quiet_table_lag_behind_no_other() {
    let lab = Lab::with(Storage::None, |config| config.limits.change_log = 4);
    let mut watch = Watch::open(&lab, "/v1/usr/quiet?watch", None);
    watch.next();
    lab.send(Method::PUT, "/v1/usr/quiet/a", "v");
    assert_eq!(watch.next().data["key"], "a");
    for n in 0..20 {
        lab.send(Method::PUT, &format!("/v1/usr/loud/k{n}"), "v");
    }
    lab.send(Method::PUT, "/v1/usr/quiet/b", "v");
    let event = watch.next();
    assert_eq!(
        (event.name.as_str(), &event.data["key"]),
        ("put", &json!("b"))
    );
}

#[test]
fn a_key_that_changed_again_is_told_once_to_a_watcher_that_comes_late() {
    let lab = Lab::new(Storage::None);
    let mut watch = Watch::open(&lab, "/v1/usr/t?watch", None);
    let begin = watch.next().id;
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
        lab.send(Method::PUT, &format!("/v1/usr/t/{key}"), value);
        assert_eq!(watch.next().data, json!({"key": key, "value": value}));
    }
    let mut late = Watch::open(&lab, "/v1/usr/t?watch", Some(&begin));
    late.next();
    assert_eq!(late.next().data, json!({"key": "b", "value": "1"}));
    assert_eq!(late.next().data, json!({"key": "a", "value": "2"}));
}
