//! Checkpoints of a running daemon: made on the command line and over HTTP, restored elsewhere, joined, verified.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Node, code, eventually, rumormill, text};

fn run(args: &[&str], dirs: &[&Path]) -> Output {
    let mut command = rumormill();
    command.args(args).args(dirs);
    command.output().expect("it runs")
}

fn checkpoint(node: &Node, dir: &Path) -> Value {
    let dir = dir.to_str().expect("a path");
    let output = node.client(&["checkpoint", dir, "--json"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn put(node: &Node, key: &str, value: &str) {
    let put = node.client(&["put", "t", key, value]);
    assert!(put.status.success(), "{}", text(&put.stderr));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![dir.join("manifest")];
    let entries = fs::read_dir(dir.join("files")).expect("a checkpoint");
    files.extend(entries.map(|entry| entry.expect("a file").path()));
    files
}

#[test]
fn a_checkpoint_is_restored_as_a_new_member_that_brings_nothing_back() {
    let root = tempfile::tempdir().expect("a directory");
    let at = |name: &str| root.path().join(name);
    let alpha = Node::start("alpha", &at("alpha"), None);
    let beta = Node::start("beta", &at("beta"), Some(&alpha));
    let gamma = Node::start("gamma", &at("gamma"), Some(&alpha));
    for number in 0..30 {
        put(&alpha, &format!("k{number}"), "v");
    }
    eventually(&30, || beta.rows("t").len());
    let copy = at("copy");
    let first = checkpoint(&beta, &copy);
    assert_eq!(first["kept"], 0);
    // Writes go on, and so do deletes.
    for number in 0..10 {
        put(&gamma, &format!("later{number}"), "v");
        let del = alpha.client(&["del", "t", &format!("k{number}")]);
        assert!(del.status.success());
    }
    eventually(&30, || beta.rows("t").len());
    let again = checkpoint(&beta, &at("other"));
    assert!(again["watermark"].as_u64() > first["watermark"].as_u64());
    let restored = run(
        &["restore"],
        &[&copy, Path::new("--data-dir"), &at("delta")],
    );
    assert_eq!(code(&restored), 0, "{}", text(&restored.stderr));
    assert!(text(&restored.stdout).contains("of node beta"));
    for dir in [at("delta"), at("copy"), at("other")] {
        let clean = run(&["verify"], &[&dir]);
        assert_eq!(code(&clean), 0, "{}", text(&clean.stdout));
        assert!(text(&clean.stdout).ends_with("no fault\n"));
    }
    let delta = Node::start("delta", &at("delta"), Some(&alpha));
    eventually(&json!("member"), || delta.status()["phase"].clone());
    let nodes = [&alpha, &beta, &gamma, &delta];
    let ids: std::collections::BTreeSet<String> = nodes
        .iter()
        .map(|node| node.status()["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 4, "a node of its own");
    eventually(&alpha.rows("t"), || delta.rows("t"));
    assert_eq!(alpha.rows("t").len(), 30, "what was deleted stays deleted");
    eventually(&json!(4), || alpha.status()["members"].clone());
    put(&delta, "of the new one", "v");
    eventually(&31, || gamma.rows("t").len());
    // A running node verifies itself, and its directory is in use.
    let clean = delta.client(&["verify", "--rate", "0"]);
    assert_eq!(code(&clean), 0, "{}", text(&clean.stderr));
    let used = run(&["verify"], &[&at("delta")]);
    assert_eq!(code(&used), 1);
    assert!(
        text(&used.stderr).contains("in use"),
        "{}",
        text(&used.stderr)
    );
    let (_, metrics) = delta.request("GET", "/metrics", "");
    assert!(metrics.contains("rumormill_scrub_faults 0"), "{metrics}");
}

#[test]
fn where_the_whole_cluster_is_lost_a_checkpoint_begins_another() {
    let root = tempfile::tempdir().expect("a directory");
    let at = |name: &str| root.path().join(name);
    let alpha = Node::start("alpha", &at("alpha"), None);
    let beta = Node::start("beta", &at("beta"), Some(&alpha));
    put(&alpha, "k", "v");
    eventually(&1, || beta.rows("t").len());
    checkpoint(&beta, &at("copy"));
    let lost = alpha.status()["id"].clone();
    alpha.kill();
    beta.kill();
    let restored = run(
        &["restore", "--json"],
        &[&at("copy"), Path::new("--data-dir"), &at("new")],
    );
    assert_eq!(code(&restored), 0, "{}", text(&restored.stderr));
    let new = Node::start("new", &at("new"), None);
    let status = new.status();
    assert_eq!(
        (&status["phase"], &status["members"]),
        (&json!("member"), &json!(1))
    );
    assert_ne!(status["id"], lost);
    assert_eq!(new.rows("t"), ["k\tv"]);
    let second = run(
        &["restore"],
        &[&at("copy"), Path::new("--data-dir"), &at("new")],
    );
    assert_eq!(code(&second), 1, "the place is taken");
}

#[test]
fn a_flipped_byte_of_a_checkpoint_is_named_with_what_the_file_held() {
    let root = tempfile::tempdir().expect("a directory");
    let copy = root.path().join("copy");
    let alpha = Node::start("alpha", &root.path().join("alpha"), None);
    put(&alpha, "k", "v");
    checkpoint(&alpha, &copy);
    for file in files(&copy) {
        let whole = fs::read(&file).expect("it can be read");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        // Another file than the one that the store has under another name.
        fs::remove_file(&file).expect("removed");
        fs::write(&file, flipped).expect("written");
        let found = run(&["verify"], &[&copy]);
        assert_eq!(code(&found), 1);
        let name = file.file_name().expect("a name").to_string_lossy();
        let said = text(&found.stdout);
        let line = said.lines().find(|line| line.contains(&*name));
        let line = line.unwrap_or_else(|| panic!("{name} is not named: {said}"));
        assert!(line.contains("it held "), "{line}");
        let new = root.path().join("new");
        let refused = run(&["restore"], &[&copy, Path::new("--data-dir"), &new]);
        assert_eq!(code(&refused), 1);
        fs::write(&file, whole).expect("written");
    }
    assert_eq!(code(&run(&["verify"], &[&copy])), 0);
}

#[test]
fn a_checkpoint_over_http_is_begun_and_told_and_refused_with_a_reason() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("alpha");
    let alpha = Node::start("alpha", &dir, None);
    put(&alpha, "k", "v");
    let begin = |dir: &Path| {
        let body = json!({ "dir": dir }).to_string();
        let (code, body) = alpha.request("POST", "/v1/checkpoints", &body);
        assert_eq!(code, 202, "{body}");
        let begun: Value = serde_json::from_str(&body).expect("JSON");
        let last = || {
            let (_, body) = alpha.request("GET", "/v1/checkpoints", "");
            let state: Value = serde_json::from_str(&body).expect("JSON");
            state["last"].clone()
        };
        eventually(&begun["number"], || last()["number"].clone());
        last()
    };
    let copy = root.path().join("copy");
    let made = begin(&copy);
    assert!(
        made["error"].is_null() && made["files"].as_u64() > Some(2),
        "{made}"
    );
    let again = begin(&copy);
    assert!(again["kept"].as_u64() > Some(0), "{again}");
    let inside = begin(&dir.join("copy"));
    let why = inside["error"].as_str().expect("it is refused");
    assert!(why.contains("lies in the data directory"), "{why}");
    let refused = alpha.client(&["checkpoint", dir.to_str().expect("a path")]);
    assert_eq!(code(&refused), 3);
    assert!(text(&refused.stderr).contains("lies in the data directory"));
    let clean = run(&["verify"], &[&copy]);
    assert_eq!(code(&clean), 0, "{}", text(&clean.stdout));
}
