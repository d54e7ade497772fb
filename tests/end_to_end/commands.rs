use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Node, PATIENCE, code, rumormill, text, wait};

pub(crate) fn lone() -> (tempfile::TempDir, Node) {
    let root = tempfile::tempdir().expect("a directory");
    let mut command = rumormill();
    command.args([
        "serve",
        "--json",
        "--memory",
        "--log",
        "error",
        "--value-bytes",
        "1000",
    ]);
    command.args([
        "--listen", "0", "--redis", "0", "--http", "0", "--name", "lone",
    ]);
    (root, Node::from(command))
}

#[test]
fn exit_codes_tell_what_happened() {
    let (_root, node) = lone();
    assert_eq!(code(&node.client(&["put", "default", "k", "v"])), 0);
    assert_eq!(text(&node.client(&["get", "default", "k"]).stdout), "v\n");
    assert_eq!(code(&node.client(&["get", "default", "missing"])), 1);
    assert_eq!(code(&node.client(&["del", "t", "missing"])), 1);
    assert_eq!(code(&node.client(&["get", "default"])), 2);
    assert_eq!(code(&node.client(&["get", "", "k"])), 2);
    let refused = node.client(&["put", "t", "k", &"x".repeat(1001)]);
    assert_eq!(code(&refused), 3);
    assert!(
        text(&refused.stderr).contains("1000"),
        "{}",
        text(&refused.stderr)
    );
    let addr = node.redis().to_string();
    node.kill();
    let gone = rumormill()
        .args(["get", "t", "k", "--addr", &addr])
        .output()
        .expect("it runs");
    assert_eq!(code(&gone), 4);
    assert!(text(&gone.stderr).contains(&addr));
    let bad = rumormill()
        .args(["get", "t", "k", "--addr", "nowhere"])
        .output()
        .expect("it runs");
    assert_eq!(code(&bad), 2);
    let bad = rumormill()
        .args(["sim", "run", "--faults", "bad"])
        .output()
        .expect("it runs");
    assert_eq!(code(&bad), 2);
}

#[test]
fn rows_of_default_are_no_business_of_other_tables() {
    let (_root, node) = lone();
    let ok = |args: &[&str]| {
        let output = node.client(args);
        assert_eq!(code(&output), 0, "{args:?}: {}", text(&output.stderr));
    };
    ok(&["put", "carts", "alice", "milk"]);
    ok(&["tables", "create", "kept", "--conflict", "siblings"]);
    ok(&["put", "kept", "alice", "milk"]);
    for name in ["carts", "kept"] {
        assert_eq!(code(&node.client(&["get", "default", name])), 1);
        assert_eq!(code(&node.client(&["del", "default", name])), 1);
        ok(&["put", "default", name, "x"]);
        let import = node.client_with(
            &["import", "-", "--table", "default"],
            &format!("{name}\ty\n"),
        );
        assert_eq!(code(&import), 0, "{}", text(&import.stderr));
        assert_eq!(text(&node.client(&["get", "default", name]).stdout), "y\n");
        ok(&["del", "default", name]);
        assert_eq!(text(&node.client(&["get", name, "alice"]).stdout), "milk\n");
    }
}

#[test]
fn clients_leave_a_node_the_descriptors_that_it_needs() {
    let root = tempfile::tempdir().expect("a directory");
    let program = rumormill().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 800 && exec \"$0\" \"$@\""]);
    command
        .arg(program)
        .args(["serve", "--json", "--log", "off"]);
    command.args(["--listen", "0", "--redis", "0", "--http", "0"]);
    command.arg("--data-dir").arg(root.path().join("n"));
    let node = Node::from(command);
    let crowd: Vec<TcpStream> = (0..1_000)
        .map(|_| TcpStream::connect(node.redis()).expect("it listens"))
        .collect();
    // Each was accepted, and told if there were too many.
    let mut last = crowd.last().expect("many");
    last.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut heard = String::new();
    last.read_to_string(&mut heard).expect("an answer");
    assert_eq!(heard, "-ERR max number of clients reached\r\n");
    let (code, body) = node.request("PUT", "/items/k", r#"{"value":"v"}"#);
    assert_eq!(code, 201, "{body}");
}

#[test]
fn a_simulated_run_is_drawn_and_explained() {
    let root = tempfile::tempdir().expect("a directory");
    let page = root.path().join("run.html").display().to_string();
    let run = |more: &[&str]| {
        let mut command = rumormill();
        command.args(["sim"]).args(more).args(["--seed", "7"]);
        command.output().expect("it runs")
    };
    let drawn = run(&["run", "--minutes", "1", "--html", &page]);
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    let html = std::fs::read_to_string(&page).expect("the page");
    assert!(html.starts_with("<!doctype html>") && html.contains("seed 7"));
    let nowhere = root.path().join("missing/run.html").display().to_string();
    // A run of so many minutes would not end in this test.
    let refused = run(&["run", "--minutes", "100000", "--html", &nowhere]);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains(&nowhere));
    let explained = run(&["explain", "--minutes", "1", "--key", "default/k0", "--json"]);
    assert!(explained.status.success(), "{}", text(&explained.stderr));
    assert!(text(&explained.stdout).contains("\"subject\":{\"key\":\"k0\",\"table\":\"default\"}"));
    let unknown = run(&["explain", "--minutes", "1", "--key", "default/nobody"]);
    assert_eq!(code(&unknown), 1);
}

#[test]
fn rows_survive_export_and_import() {
    let (root, node) = lone();
    let odd =
        "{\"key\":\"tab\\tkey\",\"value\":{\"base64\":\"/wA=\"}}\n{\"key\":\"b\",\"value\":\"\"}\n";
    let output = node.client_with(&["import", "-", "--table", "first"], odd);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (format, table) in [("tsv", "second"), ("jsonl", "default")] {
        let file = root
            .path()
            .join(format!("rows.{format}"))
            .display()
            .to_string();
        let done = |args: &[&str]| {
            let output = node.client(args);
            assert!(output.status.success(), "{}", text(&output.stderr));
            text(&output.stdout)
        };
        done(&["export", "--table", "first", "--out", &file]);
        done(&["import", &file, "--table", table, "--format", format]);
        let again = done(&["export", "--table", table, "--format", "jsonl"]);
        let first = done(&["export", "--table", "first", "--format", "jsonl"]);
        let named = |name: &str| format!("\"{name}\"");
        assert_eq!(again, first.replace(&named("first"), &named(table)));
        assert_eq!(lines_of(&file), if format == "tsv" { 2 } else { 4 });
    }
    let prefixed = node.client(&["scan", "first", "--prefix", "tab", "--json"]);
    let row: Value = serde_json::from_slice(&prefixed.stdout).expect("one row");
    assert_eq!(row, json!({"key": "tab\tkey", "value": {"base64": "/wA="}}));
}

fn lines_of(file: &str) -> usize {
    let bytes = fs::read(file).expect("a file");
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn refused_lines_are_counted_with_their_reasons() {
    let (_root, node) = lone();
    let lines = format!("a\t1\nno tab\n\tno key\n\nb\t{}\nc\t2\n", "x".repeat(2000));
    let output = node.client_with(&["import", "-", "--table", "t", "--json"], &lines);
    assert_eq!(code(&output), 3);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["written"], &report["refused"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(
        report["reasons"]["no tab"],
        json!({"count": 1, "lines": [2]})
    );
    assert_eq!(report["reasons"].as_object().expect("reasons").len(), 3);
    assert_eq!(node.rows("t"), ["a\t1", "c\t2"]);
}

#[test]
fn a_node_describes_itself_for_people_and_programs() {
    let (_root, node) = lone();
    node.client(&["put", "t", "k", "v"]);
    let json_of = |command: &str| -> Value {
        let output = node.client(&[command, "--json"]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let status = json_of("status");
    assert_eq!(
        (&status["rows"], &status["tombstones"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(status["id"], node.status()["id"]);
    let member = &json_of("members")["members"][0];
    assert_eq!(member["name"], "lone");
    assert_eq!(member["protocols"]["gossip"], node.ready["peers"]);
    assert_eq!(member["protocols"]["redis"], node.ready["redis"]);
    assert_eq!(member["protocols"]["http"], node.ready["http"]);
    let tables = json_of("tables");
    let table = tables["tables"]
        .as_array()
        .expect("tables")
        .iter()
        .find(|t| t["name"] == "t");
    assert_eq!(table.expect("it is there")["rows"], 1);
    let people = text(&node.client(&["members"]).stdout);
    assert!(
        people.contains("lone") && people.contains("alive") && !people.contains('{'),
        "{people}"
    );
}

#[test]
fn no_two_metrics_have_one_name() {
    let (_root, node) = lone();
    node.client(&["get", "t", "k"]);
    let (code, body) = node.request("GET", "/metrics", "");
    assert_eq!(code, 200, "{body}");
    let types = body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "{body}");
    assert!(body.contains("\nrumormill_peer_connections 0\n"), "{body}");
    assert!(body.contains("\nrumormill_clients "), "{body}");
}

#[test]
fn a_watch_prints_changes_until_it_has_enough() {
    let (_root, node) = lone();
    let mut watch = Watching::begin(&node, &["--count", "1", "--prefix", "k"]);
    let begun = watch.next();
    assert_eq!(begun["event"], "ready");
    node.client(&["put", "t", "other", "v"]);
    node.client(&["put", "t", "k", "v"]);
    let put = watch.next();
    assert_eq!(
        (&put["event"], &put["key"], &put["value"]),
        (&json!("put"), &json!("k"), &json!("v"))
    );
    assert!(wait(&mut watch.process).success());
    // Changes between two watches are told to the one that goes on from there.
    node.client(&["del", "t", "k"]);
    let cursor = put["id"].as_str().expect("an id");
    let mut watch = Watching::begin(&node, &["--count", "1", "--cursor", cursor]);
    assert_eq!(watch.next()["event"], "ready");
    let deleted = watch.next();
    assert_eq!(
        (&deleted["event"], &deleted["key"]),
        (&json!("deleted"), &json!("k"))
    );
    assert!(wait(&mut watch.process).success());
    // An id of another boot tells nothing of this one.
    let mut watch = Watching::begin(&node, &["--cursor", "0000000000000001-gossip.3"]);
    let lagged = watch.next();
    assert_eq!(lagged["event"], "lagged");
    watch.process.kill().expect("it runs");
    wait(&mut watch.process);
    let restart = lagged["id"].as_str().expect("an id");
    node.client(&["put", "t", "new", "v"]);
    let mut watch = Watching::begin(&node, &["--count", "1", "--cursor", restart]);
    assert_eq!(watch.next()["event"], "ready");
    assert_eq!(watch.next()["key"], "new");
    assert!(wait(&mut watch.process).success());
}

/// A `watch` of the table `t`, event by event.
struct Watching {
    process: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Watching {
    fn begin(node: &Node, flags: &[&str]) -> Watching {
        let mut command = rumormill();
        command.args(["watch", "t", "--json", "--addr", node.redis()]);
        let mut process = command
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = process.stdout.take().expect("a pipe");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(out));
        Watching { process, lines }
    }

    fn next(&mut self) -> Value {
        let line = self.lines.next().expect("it goes on").expect("a line");
        serde_json::from_str(&line).expect("an event")
    }
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let (_root, node) = lone();
    let lines: String = (0..20_000).map(|n| format!("key{n}\n")).collect();
    assert!(
        node.client_with(&["import", "-", "--table", "t"], &lines)
            .status
            .success()
    );
    let mut command = rumormill();
    command.args(["scan", "t", "--addr", node.redis()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut scan = command.spawn().expect("it runs");
    drop(scan.stdout.take());
    let output = scan.wait_with_output().expect("it ends");
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
}

#[test]
fn a_bench_measures_and_stops() {
    let (_root, node) = lone();
    let output = node.client(&[
        "bench", "-n", "1000", "-c", "2", "-P", "8", "--keys", "10", "--json",
    ]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let results = report["results"].as_array().expect("results");
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(
            (&result["requests"], &result["errors"]),
            (&json!(1000), &json!(0))
        );
        assert!(result["per_second"].as_f64() > Some(0.0));
        assert!(result["server_cpu_us"].is_number());
    }
    assert_eq!(node.rows("bench").len(), 10);
}

#[test]
fn a_bench_of_the_disk_measures_every_figure() {
    let mut command = rumormill();
    command.args(["bench", "disk", "--requests", "1000", "--rows", "1000"]);
    command.args(["--passes", "1", "--redis-server", "off", "--json"]);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["redis"], false);
    let figures = report["figures"].as_array().expect("figures");
    assert_eq!(figures.len(), 17, "{report}");
    for figure in figures {
        assert!(figure["measured"].as_f64().is_some(), "{figure}");
        let beside_redis = figure["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("Redis"));
        assert!(!beside_redis || figure["times"].is_null(), "{figure}");
    }
}

#[test]
fn a_bench_of_stalls_does_everything_beside_pings() {
    let mut command = rumormill();
    command.args(["bench", "stalls", "--rows", "2000", "--tables", "50"]);
    command.args(["--settle", "20", "--redis-server", "off", "--json"]);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let things = report["things"].as_array().expect("things");
    assert_eq!(things.len(), 21, "{report}");
    for thing in things {
        assert!(thing["node"]["pings"].as_u64() > Some(0), "{thing}");
        assert!(thing["node"]["max_ms"].as_f64() > Some(0.0), "{thing}");
        assert!(thing["redis"].is_null());
    }
}

#[test]
fn a_node_that_is_killed_again_and_again_loses_nothing_that_it_acknowledged() {
    let mut command = rumormill();
    command.args(["bench", "torture", "--kills", "3", "--seed", "1", "--json"]);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["lost"], json!({ "sync": 0, "periodic": 0 }));
    for durability in ["sync", "periodic"] {
        let acknowledged = &report["acknowledged"][durability];
        assert!(acknowledged.as_u64() > Some(0), "{report}");
    }
    assert!(report["kept"].is_null(), "{report}");
}
