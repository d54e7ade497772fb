//! Requests that pages of other sites make browsers send.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use rumormill_core::{Limits, Storage};

use super::lab::{Lab, request};
use crate::{Settings, router};

const RESUME: &str = "/v1/members/self/resume";

/// A node that was told one name of its own.
fn lab() -> Lab {
    let mut lab = Lab::new(Storage::None);
    let settings = Settings {
        hosts: Some(Arc::new(["kv-0.kv".to_string()])),
        ..Settings::new(&Limits::default())
    };
    lab.router = router(lab.backend.clone(), settings).0;
    lab
}

/// The code of a refusal, empty when there is none.
fn ask(lab: &Lab, method: Method, path: &str, headers: &[(&'static str, &str)]) -> String {
    let mut request = request(method, path, "");
    for (name, value) in headers {
        let value = value.parse().expect("a header");
        request.headers_mut().insert(*name, value);
    }
    let answer = lab.call(request);
    match answer.status {
        StatusCode::OK => String::new(),
        _ => answer.code(),
    }
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let lab = lab();
    let refused: [&[(&str, &str)]; 6] = [
        &[("sec-fetch-site", "cross-site")],
        &[("origin", "http://evil.test")],
        &[("origin", "null")],
        &[("origin", "http://localhost:3000")],
        // A page of a file that is old enough to send no more than this.
        &[("origin", "file://")],
        &[
            ("origin", "http://kv-0.kv"),
            ("sec-fetch-site", "same-site"),
        ],
    ];
    for headers in refused {
        let headers = [&[("host", "localhost:7402")], headers].concat();
        let code = ask(&lab, Method::POST, RESUME, &headers);
        assert_eq!(code, "cross_site", "{headers:?}");
    }
    let unnamed = ask(
        &lab,
        Method::POST,
        RESUME,
        &[("origin", "http://evil.test")],
    );
    assert_eq!(unnamed, "cross_site");
    let own = [
        ("host", "localhost:7402"),
        ("origin", "http://LOCALHOST:7402"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(ask(&lab, Method::POST, RESUME, &own), "not_rejoining");
    assert_eq!(ask(&lab, Method::POST, RESUME, &[]), "not_rejoining");
}

#[test]
fn a_name_that_was_made_to_lead_here_is_not_answered() {
    let lab = lab();
    let ask = |host: &str| ask(&lab, Method::GET, "/v1/status", &[("host", host)]);
    let refused = [
        "evil.test",
        "evil.test:7402",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "kv-1.kv:7402",
        "localhost@evil.test",
        "[evil.test]:7402",
        "",
    ];
    for host in refused {
        assert_eq!(ask(host), "unknown_host", "{host:?}");
    }
    let served = [
        "localhost",
        "LocalHost:7402",
        "127.0.0.1:7402",
        "0.0.0.0:8888",
        "10.1.2.3",
        "[::1]:7402",
        "kv-0.kv:7402",
        "KV-0.kv.",
    ];
    for host in served {
        assert_eq!(ask(host), "", "{host:?}");
    }
    let anywhere = {
        let mut lab = Lab::new(Storage::None);
        let mut settings = Settings::new(&Limits::default());
        settings.hosts = None;
        lab.router = router(lab.backend.clone(), settings).0;
        lab
    };
    let host = [("host", "evil.test")];
    assert_eq!(self::ask(&anywhere, Method::GET, "/v1/status", &host), "");
    // No browser leaves it out.
    let answer = lab.get("/v1/status");
    assert_eq!(answer.status, StatusCode::OK);
}
