use serde_json::Value;

use crate::support::{Node, code, eventually, text};

const INTERVAL: &str = "detector.probe_interval";

/// The value in force on a node and where it comes from, over HTTP.
fn stands(node: &Node) -> (String, String) {
    let (code, body) = node.request("GET", "/v1/settings/detector.probe_interval", "");
    assert_eq!(code, 200, "{body}");
    let setting: Value = serde_json::from_str(&body).expect("JSON");
    let part = |name: &str| setting[name].as_str().expect("text").to_string();
    (part("value"), part("source"))
}

fn expected(value: &str, source: &str) -> (String, String) {
    (value.to_string(), source.to_string())
}

#[test]
fn a_setting_is_seen_on_all_and_after_a_restart() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = |name: &str| root.path().join(name);
    let a = Node::start("a", &dir("a"), None);
    let b = Node::start("b", &dir("b"), Some(&a));
    let c = Node::start("c", &dir("c"), Some(&a));
    eventually(&3, || c.status()["members"].as_u64().unwrap_or(0));
    assert_eq!(stands(&b), expected("200ms", "config"));
    let set = a.client(&["settings", "set", INTERVAL, "250ms"]);
    assert!(set.status.success(), "{}", text(&set.stderr));
    for node in [&a, &b, &c] {
        eventually(&expected("250ms", "cluster"), || stands(node));
        let shown = node.client(&["settings", "get", INTERVAL]);
        assert_eq!(text(&shown.stdout), "250ms\n");
    }
    c.kill();
    let c = Node::start("c", &dir("c"), Some(&a));
    assert_eq!(stands(&c), expected("250ms", "cluster"));
    eventually(&3, || c.status()["members"].as_u64().unwrap_or(0));
    let unset = c.client(&["settings", "unset", INTERVAL]);
    assert!(unset.status.success(), "{}", text(&unset.stderr));
    for node in [&a, &b, &c] {
        eventually(&expected("200ms", "config"), || stands(node));
    }
}

#[test]
fn what_is_refused_names_the_range_and_has_an_exit_code() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start("a", root.path(), None);
    let range = node.client(&["settings", "set", INTERVAL, "2h"]);
    assert_eq!(code(&range), 3);
    let said = text(&range.stderr);
    assert!(said.contains("from 10ms to 1m"), "{said}");
    assert_eq!(code(&node.client(&["settings", "set", INTERVAL, ""])), 2);
    assert_eq!(code(&node.client(&["settings", "set", INTERVAL])), 2);
    assert_eq!(code(&node.client(&["settings", "set", "nonsense", "1"])), 3);
    assert_eq!(code(&node.client(&["settings", "get", "nonsense"])), 1);
    assert_eq!(stands(&node), expected("200ms", "config"));
}

#[test]
fn settings_are_listed_for_people_and_for_programs() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start("a", root.path(), None);
    for words in [&["settings"][..], &["settings", "list"]] {
        let table = text(&node.client(words).stdout);
        let line = table.lines().find(|line| line.contains(INTERVAL));
        let line = line.unwrap_or_else(|| panic!("{table}"));
        for part in ["200ms", "config", "1s", "10ms to 1m"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    let json = node.client(&["settings", "list", "--json"]);
    let document: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["name"], "a");
    let set = node.client(&["settings", "set", "limits.key_bytes", "2048", "--json"]);
    let setting: Value = serde_json::from_slice(&set.stdout).expect("JSON");
    assert_eq!(setting["value"], "2KiB");
    let one = node.client(&["settings", "get", "limits.key_bytes", "--json"]);
    assert_eq!(one.stdout, set.stdout);
}
