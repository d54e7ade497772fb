use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Node, eventually, rumormill, signal, text, wait};

/// The rows that a file of plain lines becomes.
fn word(n: usize) -> String {
    format!("word{n:05}")
}

pub(crate) fn start_three(root: &Path) -> [Node; 3] {
    let first = Node::start("one", &root.join("one"), None);
    let second = Node::start("two", &root.join("two"), Some(&first));
    let third = Node::start("three", &root.join("three"), Some(&first));
    let nodes = [first, second, third];
    for node in &nodes {
        eventually(&Value::from(3), || node.status()["members"].clone());
    }
    nodes
}

#[test]
fn peers_added_over_http_share_items() {
    let root = tempfile::tempdir().expect("a directory");
    let names = ["one", "two", "three"];
    let nodes = names.map(|name| Node::start(name, &root.path().join(name), None));
    let peer = format!(
        r#"{{"peer_url":"http://{}"}}"#,
        nodes[0].http().replace("127.0.0.1", "0.0.0.0")
    );
    for node in &nodes[1..] {
        let (code, body) = node.request("POST", "/peers", &peer);
        assert_eq!(code, 200, "{body}");
    }
    let (code, body) = nodes[1].request("PUT", "/items/foo", r#"{"value": "bar"}"#);
    assert_eq!((code, body.as_str()), (201, r#"{"value":"bar"}"#));
    let expected = (200, r#"{"value":"bar"}"#.to_string());
    for node in &nodes {
        eventually(&expected, || node.request("GET", "/items/foo", ""));
        let output = node.client(&["get", "default", "foo"]);
        assert_eq!(text(&output.stdout), "bar\n");
    }
    for node in nodes {
        let (status, took) = node.terminate();
        assert!(
            status.success() && took < Duration::from_secs(5),
            "{status} after {took:?}"
        );
    }
}

#[test]
fn a_killed_node_comes_back_equal() {
    let root = tempfile::tempdir().expect("a directory");
    let [first, second, third] = start_three(root.path());
    let lines: Vec<String> = (0..2_000).map(word).collect();
    let output = first.client_with(
        &["import", "-", "--table", "words"],
        &(lines.join("\n") + "\n"),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    for node in [&first, &second, &third] {
        eventually(&2_000, || node.rows("words").len());
    }
    // Rows that a table promises to have on disk when it says yes are there after a kill.
    let (code, body) = second.request(
        "POST",
        "/v1/tables",
        r#"{"name":"safe","durability":"sync"}"#,
    );
    assert_eq!(code, 201, "{body}");
    let acknowledged: String = (0..50).map(|n| format!("key{n:02}\tvalue\n")).collect();
    let output = second.client_with(&["import", "-", "--table", "safe"], &acknowledged);
    assert!(output.status.success(), "{}", text(&output.stderr));
    second.kill();

    let mut expected: Vec<String> = Vec::new();
    let mut changes = String::new();
    for n in 0..2_000 {
        match n % 4 {
            0 => assert!(n % 8 == 0 || first.client(&["del", "words", &word(n)]).status.success()),
            1 => changes += &format!("{}\tnew\n", word(n)),
            _ => (),
        }
        match n % 8 {
            4 => (),
            1 | 5 => expected.push(format!("{}\tnew", word(n))),
            _ => expected.push(format!("{}\t{}", word(n), n + 1)),
        }
    }
    let output = third.client_with(&["import", "-", "--table", "words"], &changes);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for node in [&first, &third] {
        eventually(&expected, || node.rows("words"));
        assert!(
            node.status()["tombstones"].as_u64() >= Some(250),
            "a member is down"
        );
    }
    let second = Node::start("two", &root.path().join("two"), Some(&first));
    for node in [&first, &second, &third] {
        eventually(&expected, || node.rows("words"));
        eventually(&50, || node.rows("safe").len());
        eventually(&Value::from(0), || node.status()["tombstones"].clone());
        eventually(&Value::from(3), || node.status()["members"].clone());
        assert_eq!(node.rows("words"), expected, "nothing came back");
    }
}

#[test]
fn a_node_that_left_comes_back_equal() {
    let root = tempfile::tempdir().expect("a directory");
    let [first, second, third] = start_three(root.path());
    let output = second.client_with(&["import", "-", "--table", "t"], "a\t1\nb\t2\nc\t3\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (status, took, said) = second.leave();
    assert!(
        status.success() && took < Duration::from_secs(5),
        "{status} after {took:?}"
    );
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said = text(&said.stdout);
    let expected = "the node has left: 2 of 2 other members have everything\n";
    assert_eq!(said, expected);
    for node in [&first, &third] {
        eventually(&Value::from(2), || node.status()["members"].clone());
        eventually(&3, || node.rows("t").len());
    }
    assert!(first.client(&["del", "t", "a"]).status.success());
    assert!(third.client(&["put", "t", "b", "two"]).status.success());
    let second = Node::start("two", &root.path().join("two"), Some(&third));
    let expected = vec!["b\ttwo".to_string(), "c\t3".to_string()];
    for node in [&first, &second, &third] {
        eventually(&expected, || node.rows("t"));
        eventually(&Value::from(0), || node.status()["tombstones"].clone());
    }
    assert!(second.client(&["put", "t", "d", "4"]).status.success());
    eventually(&3, || first.rows("t").len());
}

#[test]
fn a_dead_member_is_evicted_and_comes_back() {
    let root = tempfile::tempdir().expect("a directory");
    let [first, second, third] = start_three(root.path());
    assert!(first.client(&["put", "t", "k", "v"]).status.success());
    eventually(&1, || third.rows("t").len());
    let evict = |more: &[&str]| first.client(&[&["members", "evict", "three"], more].concat());
    let refused = evict(&[]);
    assert_eq!(refused.status.code(), Some(3), "it answers");
    assert!(text(&refused.stderr).contains("answers"));
    third.kill();
    let state = || {
        let members = first.json("members");
        let members = members["members"].as_array().expect("members").clone();
        let third = members.iter().find(|member| member["name"] == "three");
        third.expect("it is known").clone()
    };
    eventually(&Value::from("down"), || state()["state"].clone());
    assert!(second.client(&["del", "t", "k"]).status.success());
    eventually(&Value::from(true), || {
        let why = state()["holds_up"].clone();
        Value::from(why.as_str().is_some_and(|why| why.starts_with("down for")))
    });
    let status = text(&first.client(&["status"]).stdout);
    assert!(status.contains("three down for"), "{status}");
    eventually(&true, || evict(&[]).status.success());
    for node in [&first, &second] {
        eventually(&Value::from(2), || node.status()["members"].clone());
        eventually(&Value::from(0), || node.status()["tombstones"].clone());
    }
    let third = Node::start("three", &root.path().join("three"), Some(&first));
    for node in [&first, &second, &third] {
        eventually(&Value::from(3), || node.status()["members"].clone());
        eventually(&0, || node.rows("t").len());
    }
}

#[test]
fn a_lone_node_keeps_its_rows_over_every_kind_of_end() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("one");
    let node = Node::start("one", &dir, None);
    let id = node.status()["id"].clone();
    let (code, _) = node.request(
        "POST",
        "/v1/tables",
        r#"{"name":"safe","durability":"sync"}"#,
    );
    assert_eq!(code, 201);
    assert_eq!(node.request("PUT", "/v1/usr/safe/k", "v").0, 201);
    node.kill();
    let node = Node::start("one", &dir, None);
    assert_eq!(
        node.request("GET", "/v1/usr/safe/k", ""),
        (200, "v".to_string())
    );
    assert_eq!(node.request("PUT", "/v1/usr/other/k", "v").0, 201);
    assert!(node.terminate().0.success());
    let node = Node::start("one", &dir, None);
    assert_eq!(
        node.request("GET", "/v1/usr/safe/k", ""),
        (200, "v".to_string())
    );
    assert_eq!(
        node.request("GET", "/v1/usr/other/k", ""),
        (200, "v".to_string())
    );
    assert_eq!(node.request("DELETE", "/v1/usr/other/k", "").0, 204);
    assert_eq!(node.status()["id"], id);
}

#[test]
fn a_large_value_on_disk_only_is_read_after_a_restart_and_reaches_a_late_joiner() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("one");
    let flags = ["--resident-value", "1000"];
    let node = Node::start_with("one", &dir, None, &flags);
    let large = "0123456789abcdef".repeat(1 << 16);
    let table = r#"{"name":"t","durability":"sync"}"#;
    assert_eq!(node.request("POST", "/v1/tables", table).0, 201);
    assert_eq!(node.request("PUT", "/v1/usr/t/large", &large).0, 201);
    assert_eq!(node.request("PUT", "/v1/usr/t/small", "v").0, 201);
    node.kill();
    let node = Node::start_with("one", &dir, None, &flags);
    let (code, body) = node.request("GET", "/v1/usr/t/large", "");
    assert!(code == 200 && body == large, "{code}, {} bytes", body.len());
    let output = node.client(&["get", "t", "large"]);
    assert!(text(&output.stdout).trim_end() == large);
    let expected = vec![format!("large\t{large}"), "small\tv".to_string()];
    assert!(node.rows("t") == expected);
    let second = Node::start("two", &root.path().join("two"), Some(&node));
    eventually(&true, || second.rows("t") == expected);
    let settings = node.request("GET", "/v1/settings", "").1;
    let settings: Value = serde_json::from_str(&settings).expect("JSON");
    assert_eq!(settings["resident_value"], 1000);
}

#[test]
fn a_cluster_starts_and_stops_as_one() {
    for end in ["TERM", "KILL"] {
        let mut command = rumormill();
        command.args(["cluster", "2", "--memory", "--json"]);
        let mut cluster = Node::from(command);
        let node = |n: usize| cluster.ready["nodes"][n].clone();
        let [one, two] = [node(0), node(1)];
        let call = |node: &Value, args: &[&str]| {
            let addr = node["redis"].as_str().expect("an address");
            rumormill()
                .args(args)
                .args(["--addr", addr])
                .output()
                .expect("it runs")
        };
        assert!(call(&one, &["put", "t", "k", "v"]).status.success());
        eventually(&"v\n".to_string(), || {
            text(&call(&two, &["get", "t", "k"]).stdout)
        });
        signal(&cluster.child, end);
        assert_eq!(wait(&mut cluster.child).success(), end == "TERM");
        // The nodes end with the cluster, however that ends.
        for node in [&one, &two] {
            eventually(&Some(4), || call(node, &["status"]).status.code());
        }
    }
}

/// A node that keeps nothing on disk, at an address of its own.
fn in_memory(name: &str, listen: &str, join: Option<&Node>) -> Node {
    let mut command = rumormill();
    command.args(["serve", "--json", "--log", "warn", "--memory"]);
    command.args([
        "--name", name, "--listen", listen, "--redis", "0", "--http", "0",
    ]);
    command.args(["--probe-interval-ms", "200", "--probe-timeout-ms", "100"]);
    if let Some(node) = join {
        command.args(["--join", node.peers()]);
    }
    Node::from(command)
}

#[test]
fn a_node_without_a_disk_that_is_killed_and_started_again_leaves_no_ghost() {
    let first = in_memory("one", "0", None);
    let second = in_memory("two", "0", Some(&first));
    let third = in_memory("three", "0", Some(&first));
    for node in [&first, &second, &third] {
        eventually(&Value::from(3), || node.status()["members"].clone());
    }
    assert!(first.client(&["put", "default", "k", "v"]).status.success());
    let address = third.peers().to_string();
    third.kill();
    assert!(first.client(&["del", "default", "k"]).status.success());
    let third = in_memory("three", &address, Some(&first));
    let names = |path: &str| {
        let (code, body) = first.request("GET", path, "");
        assert_eq!(code, 200, "{body}");
        let document: Value = serde_json::from_str(&body).expect("JSON");
        let members = document["members"].as_array().cloned().unwrap_or_default();
        let name = |member: &Value| member["name"].as_str().unwrap_or_default().to_string();
        let mut names: Vec<String> = members.iter().map(name).collect();
        names.sort();
        names
    };
    let live = ["one", "three", "two"].map(String::from).to_vec();
    eventually(&Value::from(3), || first.status()["members"].clone());
    eventually(&Value::from(0), || first.status()["tombstones"].clone());
    eventually(&live, || names("/v1/members?live=true"));
    assert_eq!(names("/v1/members").len(), 4, "whoever was is still named");
    let output = third.client(&["members", "--live", "--json"]);
    assert_eq!(text(&output.stdout).matches("\"live\":true").count(), 3);
    let (code, _) = first.request("GET", "/v1/members?live=perhaps", "");
    assert_eq!(code, 400);
}
