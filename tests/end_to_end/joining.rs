//! Nodes that are no members yet, and nodes that go while others write.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::replication::start_three;
use crate::support::{Node, eventually, rumormill};

/// A node on this peers listener, whose log goes to a file.
pub(crate) fn serve(name: &str, dir: &Path, listen: &str, log: &Path, flags: &[&str]) -> Node {
    let mut command = rumormill();
    command.args(["serve", "--json", "--name", name, "--data-dir"]);
    command.arg(dir);
    command.args(["--listen", listen, "--redis", "0", "--http", "0"]);
    command.args(["--probe-interval-ms", "200", "--probe-timeout-ms", "100"]);
    command.args(flags);
    command.stderr(File::create(log).expect("a file"));
    Node::from(command)
}

fn readiness(node: &Node) -> (u16, String) {
    let (code, body) = node.request("GET", "/readyz", "");
    (code, body)
}

#[test]
fn a_node_whose_join_leads_back_to_it_says_so_and_begins_a_cluster_when_told_to() {
    let root = tempfile::tempdir().expect("a directory");
    let (dir, log) = (root.path().join("solo"), root.path().join("log"));
    let first = Node::start("first", &root.path().join("first"), None);
    let listen = first.peers().to_string();
    first.kill();
    let alone = serve("solo", &dir, &listen, &log, &["--join", &listen]);
    let says = |text: &str| text.contains(&format!("{listen} leads back to this node"));
    eventually(&(503, true), || {
        let (code, body) = readiness(&alone);
        (code, says(&body))
    });
    let status = alone.status();
    assert_eq!(status["phase"], "joining");
    assert!(says(&status["phase_because"].to_string()), "{status}");
    let (_, head, _) = alone.exchange("GET", "/items/k", &[], "");
    let head = head.to_lowercase();
    assert!(head.contains("x-rumormill-state: joining"), "{head}");
    eventually(&(503, true), || {
        let log = fs::read_to_string(&log).expect("the log");
        (readiness(&alone).0, says(&log))
    });
    let (code, _) = alone.request("PUT", "/items/k", r#"{"value":"v"}"#);
    assert_eq!(code, 201);
    let (ended, _) = alone.terminate();
    assert!(ended.success());
    for flags in [&["--join", &listen, "--found"][..], &[]] {
        let node = serve("solo", &dir, &listen, &log, flags);
        eventually(&200, || readiness(&node).0);
        assert_eq!(node.status()["phase"], "member");
        assert_eq!(node.request("GET", "/items/k", "").1, r#"{"value":"v"}"#);
        let (ended, _) = node.terminate();
        assert!(ended.success());
    }
}

#[test]
fn a_member_that_leaves_while_others_write_is_handed_over() {
    let root = tempfile::tempdir().expect("a directory");
    let [first, second, third] = start_three(root.path());
    third.kill();
    let log = root.path().join("log");
    let join = ["--join", first.peers(), "--log", "info"];
    let third = serve("three", &root.path().join("three"), "0", &log, &join);
    for node in [&first, &second, &third] {
        eventually(&Value::from(3), || node.status()["members"].clone());
        eventually(&200, || readiness(node).0);
    }
    let (ends, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (ends, written) = (&ends, &written);
    let writes = move |node: &Node, name: &str| {
        let mut count = 0;
        while !ends.load(Ordering::Relaxed) {
            let path = format!("/items/{name}-{}", count % 100);
            let (code, body) = node.request("PUT", &path, r#"{"value":"v"}"#);
            assert!(code < 300, "{code} {body}");
            count += 1;
            written.fetch_add(1, Ordering::Relaxed);
        }
    };
    let took = thread::scope(|scope| {
        let all = [(&first, "a"), (&second, "b")];
        let writers = all.map(|(node, name)| scope.spawn(move || writes(node, name)));
        eventually(&true, || {
            let members = third.status()["members"] == 3;
            members && written.load(Ordering::Relaxed) > 200
        });
        let (ended, took, _) = third.leave();
        ends.store(true, Ordering::Relaxed);
        assert!(ended.success());
        for writer in writers {
            writer.join().expect("it writes");
        }
        took
    });
    let log = fs::read_to_string(&log).expect("the log");
    assert!(
        log.contains("2 of 2 other members have everything"),
        "{log}"
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
}
