//! A data directory with a flipped bit: what a daemon does with members and without, and what an operator sees of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::support::{Node, eventually, rumormill, text};

/// Flips a bit in the middle of what was written to the log.
fn flip(dir: &Path) -> PathBuf {
    let log = fs::read_dir(dir.join("db/log")).expect("a database");
    let mut files: Vec<PathBuf> = log.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "log"));
    let path = files.into_iter().max().expect("a log");
    let mut bytes = fs::read(&path).expect("it can be read");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("batches");
    bytes[end / 2] ^= 4;
    fs::write(&path, bytes).expect("written");
    path
}

/// Writes rows that are synced when they are acknowledged.
fn fill(node: &Node, from: usize) {
    let create = ["tables", "create", "t", "--durability", "sync"];
    assert!(node.client(&create).status.success());
    for number in from..from + 20 {
        let put = node.client(&["put", "t", &format!("k{number}"), "v"]);
        assert!(put.status.success(), "{}", text(&put.stderr));
    }
}

#[test]
fn a_damaged_disk_is_set_aside_and_repaired_and_told() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("beta");
    let alpha = Node::start("alpha", &root.path().join("alpha"), None);
    let beta = Node::start("beta", &dir, Some(&alpha));
    fill(&alpha, 0);
    fill(&beta, 20);
    eventually(&40, || beta.rows("t").len());
    let id = beta.status()["id"].clone();
    beta.kill();
    flip(&dir);
    let log = root.path().join("log");
    let mut command = rumormill();
    command.args(["serve", "--json", "--name", "beta", "--data-dir"]);
    command
        .arg(&dir)
        .args(["--listen", "0", "--redis", "0", "--http", "0", "--join"]);
    command
        .arg(alpha.peers())
        .stderr(File::create(&log).expect("a file"));
    let beta = Node::from(command);
    eventually(&true, || beta.status()["phase"] == "member");
    let status = beta.status();
    assert_eq!((&status["id"], status["damage"].is_null()), (&id, true));
    eventually(&40, || beta.rows("t").len());
    assert_eq!(alpha.rows("t"), beta.rows("t"));
    assert_eq!(alpha.status()["members"], 2, "no ghost is left");
    let log = fs::read_to_string(&log).expect("a log");
    let aside = dir.join("damaged-1").display().to_string();
    for wanted in [
        "WARN rumormill::engine: the store was damaged (db/",
        "event=Damaged",
        "event=Rejoined",
    ] {
        assert!(log.contains(wanted), "{wanted} is missing: {log}");
    }
    assert!(
        log.contains(&aside) && dir.join("damaged-1/tree/current").exists(),
        "{log}"
    );
    let (_, metrics) = beta.request("GET", "/metrics", "");
    assert!(metrics.contains("rumormill_store_damaged 0"), "{metrics}");
}

#[test]
fn alone_a_damaged_disk_is_refused_with_what_to_do_until_that_is_accepted() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("alpha");
    let alpha = Node::start("alpha", &dir, None);
    fill(&alpha, 0);
    alpha.kill();
    let log = flip(&dir);
    let rotten = fs::read(&log).expect("it can be read");
    let mut command = rumormill();
    command
        .args(["serve", "--name", "alpha", "--data-dir"])
        .arg(&dir);
    command.args(["--listen", "0", "--redis", "0", "--http", "0"]);
    let refused = command.output().expect("it ends");
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    let name = log.file_name().expect("a name").to_string_lossy();
    for wanted in [
        &format!("db/log/{name}"),
        "nothing was changed",
        "--join",
        "--restored",
        "--accept-damage",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing: {said}");
    }
    assert_eq!(fs::read(&log).expect("it is there"), rotten);
    // Where `join` leads to nothing it waits, and says what it has lost.
    let nowhere = ["--join", "127.0.0.1:1", "--found"];
    let waits = Node::start_with("alpha", &dir, None, &nowhere);
    let status = waits.status();
    assert_eq!(status["phase"], "joining");
    let damage = status["damage"].as_str().expect("it is told");
    assert!(
        damage.contains(&*name) && damage.contains("damaged-1"),
        "{damage}"
    );
    let shown = text(&waits.client(&["status"]).stdout);
    assert!(
        shown.contains("damage") && shown.contains("damaged-1"),
        "{shown}"
    );
    let (_, metrics) = waits.request("GET", "/metrics", "");
    assert!(metrics.contains("rumormill_store_damaged 1"), "{metrics}");
    waits.kill();
    let accepted = Node::start_with("alpha", &dir, None, &["--accept-damage"]);
    assert_eq!(accepted.status()["phase"], "member");
    let rows = accepted.rows("t").len();
    assert!((10..20).contains(&rows), "{rows} rows are left");
    accepted.kill();
    let again = Node::start("alpha", &dir, None);
    assert_eq!(
        (again.status()["damage"].is_null(), again.rows("t").len()),
        (true, rows)
    );
}
