use std::sync::atomic::Ordering;

use axum::http::{Method, StatusCode};
use rumormill_core::Storage;
use serde_json::{Value, json};

use super::lab::{Lab, request};
use crate::peers::PeerUrl;
use crate::{Backend, openapi_json};

#[test]
fn a_row_is_bytes_in_and_out() {
    let lab = Lab::new(Storage::None);
    let value = b"\0\xff\n raw".to_vec();
    let path = "/v1/usr/blobs/%ff%00/b%2Fc";
    assert_eq!(lab.get(path).code(), "not_found");
    let put = lab.send(Method::PUT, path, value.clone());
    assert_eq!(put.status, StatusCode::CREATED);
    let again = lab.send(Method::PUT, path, value.clone());
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert_ne!(put.headers["etag"], again.headers["etag"]);
    let got = lab.get(path);
    assert_eq!((got.status, &got.body), (StatusCode::OK, &value));
    assert_eq!(got.headers["etag"], again.headers["etag"]);
    let key = smol::block_on(lab.backend.with(|node, now| {
        let table = node.table("blobs").expect("a name");
        node.view(now)
            .scan(table, Default::default())
            .expect("it answers at once")
            .next()
            .map(|row| row.key().to_vec())
    }));
    assert_eq!(key.expect("the node runs"), Some(b"\xff\0/b/c".to_vec()));
    assert_eq!(
        lab.send(Method::DELETE, path, "").status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        lab.send(Method::DELETE, path, "").status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(lab.get(path).status, StatusCode::NOT_FOUND);
}

#[test]
fn a_row_with_a_time_to_live_says_when_it_expires() {
    let lab = Lab::new(Storage::None);
    let put = lab.send(Method::PUT, "/v1/usr/t/k?ttl_ms=60000", "v");
    assert_eq!(put.status, StatusCode::CREATED);
    let got = lab.get("/v1/usr/t/k");
    let expires: u64 = got.headers["expires-ms"]
        .to_str()
        .expect("text")
        .parse()
        .expect("a number");
    assert!(expires > 1_600_000_060_000, "{expires}");
    for bad in ["0", "-1", "x", "99999999999999999"] {
        let answer = lab.send(Method::PUT, &format!("/v1/usr/t/k?ttl_ms={bad}"), "v");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad_parameter")
        );
    }
}

#[test]
fn an_item_is_json_text_or_base64() {
    let lab = Lab::new(Storage::None);
    let put = lab.send_json(Method::PUT, "/items/foo", r#"{"value": "bar"}"#);
    assert_eq!(
        (put.status, put.body.as_slice()),
        (StatusCode::CREATED, &br#"{"value":"bar"}"#[..])
    );
    assert_eq!(lab.get("/items/foo").body, br#"{"value":"bar"}"#);
    assert_eq!(lab.get("/v1/usr/default/foo").body, b"bar");
    let binary = r#"{"value":{"base64":"/wA="}}"#;
    assert_eq!(
        lab.send_json(Method::PUT, "/items/foo", binary).status,
        StatusCode::OK
    );
    assert_eq!(lab.get("/v1/usr/default/foo").body, b"\xff\0");
    assert_eq!(
        lab.get("/items/foo").json(),
        json!({"value": {"base64": "/wA="}})
    );
    assert_eq!(
        lab.send(Method::DELETE, "/items/foo", "").status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(lab.get("/items/foo").code(), "not_found");
}

#[test]
fn bad_bodies_are_told_apart() {
    let lab = Lab::with(Storage::None, |config| config.limits.value_bytes = 1000);
    let cases = [
        (r#"{"value": 1}"#, "bad_json"),
        (r#"{"value": "a", "more": 1}"#, "bad_json"),
        (r#"{"value": {"base64": "?"}}"#, "bad_json"),
        (r#"{"value"#, "bad_json"),
        ("", "bad_json"),
    ];
    for (body, code) in cases {
        let answer = lab.send_json(Method::PUT, "/items/k", body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, code),
            "{body}"
        );
    }
    let untyped = lab.send(Method::PUT, "/items/k", r#"{"value":"a"}"#);
    assert_eq!(untyped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(untyped.code(), "unsupported_media_type");
    let fits = lab.send(Method::PUT, "/v1/usr/t/k", vec![b'x'; 1000]);
    assert_eq!(fits.status, StatusCode::CREATED);
    let large = lab.send(Method::PUT, "/v1/usr/t/k", vec![b'x'; 1001]);
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(large.json()["error"]["limit"], 1000);
    let item = format!(r#"{{"value":"{}"}}"#, "x".repeat(1001));
    let large = lab.send_json(Method::PUT, "/items/k", &item);
    assert_eq!(
        (large.status, large.code().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "value_too_large")
    );
    let long_name = format!("/v1/usr/{}/k", "t".repeat(300));
    assert_eq!(
        lab.send(Method::PUT, &long_name, "v").code(),
        "bad_table_name"
    );
}

#[test]
fn a_name_of_a_mode_that_is_not_built_is_refused_everywhere() {
    let lab = Lab::new(Storage::Ordered);
    let table = "/v1/usr/strong:locks";
    let row = &format!("{table}/k");
    let answers = [
        lab.get(table),
        lab.get(&format!("{table}?watch")),
        lab.get(row),
        lab.send(Method::PUT, row, "v"),
        lab.send(Method::DELETE, row, ""),
        lab.send_json(Method::POST, "/v1/tables", r#"{"name":"strong:locks"}"#),
    ];
    for answer in answers {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "mode_not_built")
        );
        assert_eq!(answer.json()["error"]["mode"], "strong");
    }
    let plain = lab.send(Method::PUT, "/v1/usr/t/strong:k", "v");
    assert_eq!(plain.status, StatusCode::CREATED, "it is a key");
}

#[test]
fn a_listing_is_ordered_and_paged() {
    let lab = Lab::new(Storage::None);
    for n in 0..25 {
        lab.send(
            Method::PUT,
            &format!("/v1/usr/words/a{n:02}"),
            format!("v{n}"),
        );
    }
    lab.send(Method::PUT, "/v1/usr/words/b", "other");
    let mut path = "/v1/usr/words?prefix=a&limit=10".to_string();
    let (mut keys, mut pages) = (Vec::new(), 0);
    loop {
        let page = lab.get(&path).json();
        pages += 1;
        let rows = page["rows"].as_array().expect("rows").clone();
        keys.extend(
            rows.iter()
                .map(|row| row["key"].as_str().expect("text").to_string()),
        );
        match page["next"].as_str() {
            Some(next) => path = next.to_string(),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).map(|n| format!("a{n:02}")).collect();
    assert_eq!((keys, pages), (expected, 3));
    let nothing = lab.get("/v1/usr/nothing").json();
    assert_eq!((&nothing["rows"], nothing.get("next")), (&json!([]), None));
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "colour=red",
        "limit=1&limit=2",
    ] {
        assert_eq!(
            lab.get(&format!("/v1/usr/words?{bad}")).code(),
            "bad_parameter",
            "{bad}"
        );
    }
}

#[test]
fn unknown_routes_and_methods_answer_in_json() {
    let lab = Lab::new(Storage::None);
    for path in [
        "/",
        "/nothing",
        "/v1/usr",
        "/v1/usr/t/",
        "/items/",
        "/docs/nothing.js",
    ] {
        let answer = lab.get(path);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "no_such_route"),
            "{path}"
        );
    }
    let answer = lab.send(Method::POST, "/items/k", "");
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.code(), "method_not_allowed");
    let allowed = answer.headers["allow"].to_str().expect("text").to_string();
    assert!(
        ["GET", "PUT", "DELETE"]
            .iter()
            .all(|method| allowed.contains(method)),
        "{allowed}"
    );
}

#[test]
fn a_table_keeps_the_options_it_was_created_with() {
    let lab = Lab::new(Storage::Ordered);
    let body = r#"{"name":"safe","durability":"sync"}"#;
    let made = lab.send_json(Method::POST, "/v1/tables", body);
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.json()["durability"], "sync");
    assert_eq!(
        lab.send_json(Method::POST, "/v1/tables", body).status,
        StatusCode::CREATED
    );
    let other = lab.send_json(
        Method::POST,
        "/v1/tables",
        r#"{"name":"safe","durability":"memory"}"#,
    );
    assert_eq!(
        (other.status, other.code().as_str()),
        (StatusCode::CONFLICT, "options_differ")
    );
    let bad = lab.send_json(
        Method::POST,
        "/v1/tables",
        r#"{"name":"t","durability":"often"}"#,
    );
    assert_eq!(bad.code(), "bad_json");
    let tables = lab.get("/v1/tables").json();
    let safe = tables["tables"]
        .as_array()
        .expect("tables")
        .iter()
        .find(|t| t["name"] == "safe");
    assert_eq!(safe.expect("it is listed")["explicit"], true);
}

#[test]
fn a_synced_table_answers_after_the_sync() {
    let lab = Lab::new(Storage::Ordered);
    lab.send_json(
        Method::POST,
        "/v1/tables",
        r#"{"name":"safe","durability":"sync"}"#,
    );
    while lab.disk.asked.try_recv().is_ok() {}
    lab.disk.held.store(true, Ordering::SeqCst);
    smol::block_on(async {
        let mut put = std::pin::pin!(lab.answer(request(Method::PUT, "/v1/usr/safe/k", "v")));
        assert!(smol::future::poll_once(&mut put).await.is_none());
        // The write is on the disk, which does not say that it is safe.
        let asked = async {
            lab.disk.asked.recv().await.expect("the thread runs");
            None
        };
        let early = smol::future::or(async { Some(put.as_mut().await.status) }, asked).await;
        assert_eq!(early, None);
        let mut get = std::pin::pin!(lab.answer(request(Method::GET, "/v1/usr/safe/k", "")));
        assert!(smol::future::poll_once(&mut get).await.is_none());
        let unsafe_table = lab
            .answer(request(Method::PUT, "/v1/usr/other/k", "v"))
            .await;
        assert_eq!(unsafe_table.status, StatusCode::CREATED);
        assert!(smol::future::poll_once(&mut put).await.is_none());
        assert!(smol::future::poll_once(&mut get).await.is_none());
        lab.disk.held.store(false, Ordering::SeqCst);
        assert_eq!(put.await.status, StatusCode::CREATED);
        assert_eq!(get.await.body, b"v");
    });
}

#[test]
fn the_node_tells_of_itself() {
    let lab = Lab::new(Storage::None);
    let me = lab.get("/v1/members/self").json();
    assert_eq!((&me["name"], &me["me"]), (&json!("alpha"), &json!(true)));
    assert_eq!(me["protocols"]["gossip"], "127.0.0.1:7400");
    assert_eq!(me["protocols"]["http"], "127.0.0.1:7402");
    assert_eq!(lab.get("/v1/members").json()["members"], json!([me]));
    assert_eq!(
        lab.get("/v1/settings/limits.value_bytes").json()["value"],
        "1MiB"
    );
    assert_eq!(lab.get("/v1/status").json()["members"], 1);
    assert_eq!(lab.get("/healthz").body, b"ok\n");
    assert_eq!(lab.get("/readyz").body, b"ready\n");
    let metrics = String::from_utf8(lab.get("/metrics").body).expect("text");
    for line in [
        "rumormill_rows 0",
        "rumormill_members{state=\"alive\"} 1",
        "rumormill_turns_total 7",
        "rumormill_http_requests_total{method=\"GET\",route=\"/v1/status\",status=\"200\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[test]
fn every_described_route_is_served_and_every_reference_resolves() {
    let lab = Lab::new(Storage::None);
    let served = lab.get("/openapi.json").json();
    let described: Value = serde_json::from_str(&openapi_json()).expect("JSON");
    assert_eq!(served, described);
    let paths = described["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), 20);
    for (path, methods) in paths {
        let path = path.replace("{table}", "t").replace("{key}", "k");
        for method in methods.as_object().expect("methods").keys() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let answer = lab.send(method.clone(), &path, "");
            let routed = !String::from_utf8_lossy(&answer.body).contains("no_such_route");
            assert!(
                routed && answer.status != StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
        }
    }
    let text = openapi_json();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(
            described["components"]["schemas"][name].is_object(),
            "{name} is not described"
        );
    }
}

#[test]
fn the_docs_load_nothing_from_elsewhere() {
    let lab = Lab::new(Storage::None);
    assert_eq!(lab.get("/docs").headers["location"], "/docs/");
    let page = String::from_utf8(lab.get("/docs/").body).expect("text");
    assert!(
        page.contains("swagger-ui") && !page.contains("//"),
        "{page}"
    );
    let start = String::from_utf8(lab.get("/docs/swagger-initializer.js").body).expect("text");
    assert!(
        start.contains("/openapi.json") && start.contains("\"validatorUrl\": \"none\""),
        "{start}"
    );
    assert!(lab.get("/docs/swagger-ui-bundle.js").body.len() > 100_000);
}

#[test]
fn a_peer_url_leads_to_a_gossip_endpoint() {
    let reachable = |url: &str, endpoint: &str| {
        PeerUrl::parse(url)
            .expect("a URL")
            .reachable(endpoint)
            .map_err(|error| error.code())
    };
    let cases = [
        ("http://10.0.0.1:80", "0.0.0.0:7400", Ok("10.0.0.1:7400")),
        ("http://0.0.0.0:7777", "0.0.0.0:7400", Ok("127.0.0.1:7400")),
        ("http://[::]:7777/", "[::]:7400", Ok("127.0.0.1:7400")),
        ("http://[::1]:7777", ":7400", Ok("[::1]:7400")),
        (
            "http://node.test:7777/x/",
            "192.168.0.1:1",
            Ok("192.168.0.1:1"),
        ),
        ("http://localhost", "nonsense", Err("bad_peer")),
        ("http://localhost", "h:0", Err("bad_peer")),
    ];
    for (url, endpoint, expected) in cases {
        assert_eq!(
            reachable(url, endpoint),
            expected.map(str::to_string),
            "{url} {endpoint}"
        );
    }
    for bad in ["", "https://h", "h:1", "/path", "http://", "ftp://h/"] {
        assert_eq!(
            PeerUrl::parse(bad).expect_err("refused").code(),
            "bad_url",
            "{bad}"
        );
    }
}

#[test]
fn a_row_that_has_expired_here_is_not_found_and_is_deleted_all_the_same() {
    let lab = Lab::new(Storage::None);
    let hides = |lab: &Lab| {
        let told = lab.backend.with(|node, now| {
            let table = node.table("t").expect("a name");
            node.view(now).hides(table)
        });
        smol::block_on(told).expect("the node runs")
    };
    let written = lab.backend.with(|node, now| {
        let table = node.table("t").expect("a name");
        let write = rumormill_core::table::Write::Put {
            key: b"k",
            value: "v".into(),
            expires: Some(rumormill_core::Wall::from_millis(1)),
        };
        node.write(now, table, write).expect("accepted");
        node.handle(now, rumormill_core::io::Input::Tick);
    });
    smol::block_on(written).expect("the node runs");
    assert!(hides(&lab));
    assert_eq!(
        lab.send(Method::GET, "/v1/usr/t/k", "").status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        lab.send(Method::DELETE, "/v1/usr/t/k", "").status,
        StatusCode::NOT_FOUND
    );
    assert!(!hides(&lab), "it may show elsewhere");
}
