//! Stops by SIGTERM: the node stays a member, and comes back by fetching what it missed.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::joining::serve;
use super::replication::start_three;
use super::support::{Node, eventually, rumormill, signal, text, wait};

/// Rows that are there before the load.
const BEFORE: usize = 5_000;

/// Writes that a load makes before the next step.
const STEP: usize = 150;

/// A load of writes with distinct keys, and the keys that were acknowledged.
#[derive(Default)]
struct Load {
    ends: AtomicBool,
    acknowledged: Mutex<Vec<String>>,
}

impl Load {
    fn count(&self) -> usize {
        self.acknowledged.lock().expect("no panic").len()
    }

    /// Waits until so many more writes were acknowledged.
    fn goes_on(&self, node: &Node) {
        let enough = self.count() + STEP;
        eventually(&true, || {
            node.status();
            self.count() >= enough
        });
    }

    fn write(&self, node: &Node, name: &str) {
        let mut number = 0;
        while !self.ends.load(Ordering::Relaxed) {
            let key = format!("{name}-{number}");
            let path = format!("/items/{key}");
            let (code, body) = node.request("PUT", &path, r#"{"value":"v"}"#);
            assert_eq!(code, 201, "{body}");
            self.acknowledged.lock().expect("no panic").push(key);
            number += 1;
        }
    }
}

fn keys(node: &Node) -> Vec<String> {
    let rows = node.rows("default");
    let keys = rows.iter().filter_map(|row| row.split_once('\t'));
    keys.map(|(key, _)| key.to_string()).collect()
}

#[test]
fn a_node_that_is_stopped_under_load_comes_back_by_fetching_what_it_missed() {
    let root = tempfile::tempdir().expect("a directory");
    let [first, second, third] = start_three(root.path());
    let (dir, log) = (root.path().join("three"), root.path().join("log"));
    let lines: String = (0..BEFORE).map(|n| format!("word{n}\n")).collect();
    let output = first.client_with(&["import", "-", "--table", "words"], &lines);
    assert!(output.status.success(), "{}", text(&output.stderr));
    eventually(&BEFORE, || third.rows("words").len());
    assert!(third.terminate().0.success());
    let again = |flags: &[&str]| {
        let flags = [&["--join", first.peers(), "--log", "info"], flags].concat();
        serve("three", &dir, "0", &log, &flags)
    };
    let third = again(&[]);
    eventually(&Value::from(BEFORE), || third.status()["rows"].clone());
    let load = Load::default();
    let (stopped, third) = thread::scope(|scope| {
        for (node, name) in [(&first, "a"), (&second, "b")] {
            let load = &load;
            scope.spawn(move || load.write(node, name));
        }
        load.goes_on(&first);
        let stopped = third.terminate();
        let said = fs::read_to_string(&log).expect("the log");
        load.goes_on(&first);
        let third = again(&[]);
        load.goes_on(&third);
        load.ends.store(true, Ordering::Relaxed);
        ((stopped, said), third)
    });
    let ((status, took), said) = stopped;
    assert!(
        status.success() && took < Duration::from_secs(5),
        "{status} {took:?}"
    );
    assert!(said.contains("stopped: all"), "{said}");
    assert!(!said.contains("left the cluster"), "{said}");
    let mut expected = load.acknowledged.into_inner().expect("no panic");
    expected.sort();
    for node in [&first, &second, &third] {
        eventually(&expected, || keys(node));
        assert_eq!(node.status()["members"], 3);
    }
    let status = third.status();
    let fetched = status["rows_fetched"].as_u64().expect("a number");
    assert!((1..BEFORE as u64 / 2).contains(&fetched), "{status}");
    assert_eq!(status["rows_compared"], 0, "{status}");
    let said = fs::read_to_string(&log).expect("the log");
    assert!(!said.contains("event=Rejoined"), "{said}");
}

/// Starts a node, ends it by SIGTERM, and returns its log.
fn ended(root: &Path, flags: &[&str]) -> String {
    let log = root.join("log");
    let node = match flags.contains(&"--memory") {
        true => {
            let mut command = rumormill();
            command.args(["serve", "--json", "--listen", "0", "--redis", "0"]);
            command.args(["--http", "0"]).args(flags);
            command.stderr(fs::File::create(&log).expect("a file"));
            Node::from(command)
        }
        false => serve("solo", &root.join("solo"), "0", &log, flags),
    };
    let (status, _) = node.terminate();
    let said = fs::read_to_string(&log).expect("the log");
    assert!(status.success(), "{said}");
    said
}

#[test]
fn a_signal_stops_a_node_that_keeps_its_rows_and_has_one_of_memory_leave_unless_told_otherwise() {
    let root = tempfile::tempdir().expect("a directory");
    for (flags, words) in [
        (&[][..], "stopped: all"),
        (&["--on-stop", "leave"], "left the cluster"),
        (&["--memory"], "left the cluster"),
        (&["--memory", "--on-stop", "stop"], "stopped: all"),
    ] {
        let said = ended(root.path(), flags);
        assert!(said.contains(words), "{flags:?}: {said}");
    }
}

#[test]
fn a_cluster_that_keeps_its_data_stops_and_starts_again() {
    let root = tempfile::tempdir().expect("a directory");
    let mut held: Vec<String> = Vec::new();
    for boot in 0..2 {
        let mut command = rumormill();
        command.args(["cluster", "3", "--json", "--data-dir"]);
        command.arg(root.path());
        let mut cluster = Node::from(command);
        let nodes = cluster.ready["nodes"].as_array().expect("a list").clone();
        let call = |node: &Value, args: &[&str]| {
            let addr = node["redis"].as_str().expect("an address");
            let mut command = rumormill();
            command.args(args).args(["--addr", addr]);
            text(&command.output().expect("it runs").stdout)
        };
        for node in &nodes {
            for key in &held {
                eventually(&"v\n".to_string(), || call(node, &["get", "t", key]));
            }
            let status = || call(node, &["status", "--json"]);
            eventually(&(true, true), || {
                let status = status();
                let is_member = status.contains(r#""phase":"member""#);
                (is_member, status.contains(r#""members":3"#))
            });
        }
        let key = format!("k{boot}");
        call(&nodes[boot], &["put", "t", &key, "v"]);
        held.push(key);
        signal(&cluster.child, "TERM");
        assert!(wait(&mut cluster.child).success());
    }
}

#[test]
fn a_bench_of_restarts_finds_every_acknowledged_write_and_says_what_each_node_was_sent() {
    let mut command = rumormill();
    command.args(["bench", "restarts", "--nodes", "3", "--rows", "5000"]);
    let output = command.args(["--down", "100", "--json"]).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["lost"], 0, "{report}");
    assert!(report["acknowledged"].as_u64() > Some(0), "{report}");
    let nodes = report["nodes"].as_array().expect("a list");
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        assert_eq!(
            (&node["compared"], &node["clean"]),
            (&Value::from(0), &Value::from(true))
        );
        // All rows would be 5,000, and those that were written meanwhile; how many these are is up to the machine.
        assert!(node["fetched"].as_u64() < Some(5_000), "{report}");
    }
}
