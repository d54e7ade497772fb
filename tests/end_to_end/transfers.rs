//! Tables that are exported from one node and imported to another.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::commands::lone;
use crate::support::{Node, code, text};

const HOUR: u64 = 3_600_000;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

fn done(node: &Node, args: &[&str]) -> String {
    let output = node.client(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn write(node: &Node, table: &str, rows: &Value) {
    let body = json!({ "rows": rows }).to_string();
    let (status, answer) = node.request("POST", &format!("/v1/usr/{table}"), &body);
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["refused"], json!([]));
}

/// Fills tables of every sort; returns rows that are hard to carry.
fn fill(node: &Node) -> Value {
    let create = |options: Value| {
        let (status, answer) = node.request("POST", "/v1/tables", &options.to_string());
        assert_eq!(status, 201, "{answer}");
    };
    create(json!({ "name": "s/1 \u{e9}\"", "conflict": "siblings", "durability": "sync" }));
    create(json!({ "name": "brief", "durability": "memory" }));
    create(json!({ "name": "empty", "durability": "sync" }));
    let later = now_ms() + HOUR;
    let odd = json!([
        { "key": "line\nfeed\r", "value": "" },
        { "key": "\u{0}", "value": "\u{0}\u{1f}\u{7f}\u{2028}" },
        { "key": { "base64": "/wA=" }, "value": { "base64": "//79AA==" }, "expires_ms": later },
        { "key": "{\"key\":1}", "value": "\\\"\t", "expires_ms": later + 1 },
        { "key": "k".repeat(64 << 10), "value": "longest key" },
        { "key": "\u{1}".repeat(600), "value": "a key that is long in JSON" },
        // This one is only on disk.
        { "key": "largest", "value": "\u{0}".repeat(1 << 20) },
    ]);
    write(node, "odd", &odd);
    write(
        node,
        "default",
        &json!([{ "key": "odd", "value": "a string" }]),
    );
    write(node, "brief", &json!([{ "key": "b", "value": "1" }]));
    let table = "s%2F1%20%C3%A9%22";
    let siblings = json!([
        { "key": "two", "siblings": ["b", "a"] },
        { "key": "one", "siblings": [{ "base64": "/w==" }] },
        { "key": "same", "siblings": ["x", "", "x", { "base64": "gA==" }, "\n"] },
    ]);
    write(node, table, &siblings);
    // More rows than a page and than a request.
    for part in 0..3 {
        let row = |n: u32| json!({ "key": format!("row {n}"), "value": n.to_string() });
        let rows: Vec<Value> = (part * 1_000..(part + 1) * 1_000).map(row).collect();
        write(node, "many", &json!(rows));
    }
    odd
}

#[test]
fn an_export_that_is_imported_elsewhere_is_exported_again_byte_for_byte() {
    let root = tempfile::tempdir().expect("a directory");
    let flags = ["--resident-value", "1000"];
    let first = Node::start_with("first", &root.path().join("first"), None, &flags);
    let second = Node::start_with("second", &root.path().join("second"), None, &flags);
    let odd = fill(&first);
    let file = |name: &str| root.path().join(name).display().to_string();
    let export = |node: &Node, name: &str| {
        let said = done(node, &["export", "--all", "--out", &file(name)]);
        assert_eq!(said, "3012 rows read\n");
        fs::read(file(name)).expect("there")
    };
    let exported = export(&first, "one");
    assert!(export(&first, "two") == exported, "of the same node");
    let lines: Vec<&[u8]> = exported.split(|byte| *byte == b'\n').collect();
    assert!(
        lines.contains(&&br#"{"key":"same","siblings":["","\n","x","x",{"base64":"gA=="}]}"#[..])
    );
    let parsed: Vec<Value> = (lines.iter().filter(|line| !line.is_empty()))
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    let lost = |row: &&Value| !parsed.contains(row);
    assert_eq!(odd.as_array().expect("rows").iter().find(lost), None);
    let said = done(&second, &["import", &file("one")]);
    assert_eq!(said, "3012 rows written, 0 lines refused\n");
    assert!(export(&second, "three") == exported, "of the other node");
    // Again nothing changes.
    let said = done(&second, &["import", &file("one")]);
    assert_eq!(
        said,
        "3009 rows written, 0 lines refused, 3 rows were there already\n"
    );
    assert!(export(&second, "four") == exported, "after another import");
    let tables = |node: &Node| {
        let mut tables = node.json("tables")["tables"].take();
        let all = tables.as_array_mut().expect("tables");
        all.retain(|table| table["namespace"] == "usr");
        all.iter_mut()
            .for_each(|table| drop(table["explicit"].take()));
        tables
    };
    assert_eq!(tables(&first), tables(&second));
}

#[test]
fn one_table_goes_to_another_name_and_what_has_expired_is_left_out() {
    let (root, node) = lone();
    let file = root.path().join("rows").display().to_string();
    let later = now_ms() + HOUR;
    let lines = format!(
        "{{\"format\":\"rumormill\",\"version\":1,\"table\":\"old\",\"conflict\":\"last_writer_wins\",\"durability\":\"sync\"}}\n\
         {{\"key\":\"a\",\"value\":\"1\",\"expires_ms\":1}}\n\
         {{\"key\":\"b\",\"value\":\"2\",\"expires_ms\":{later}}}\n\
         {{\"key\":\"c\",\"value\":\"3\",\"expires_ms\":0}}\n\
         {{\"end\":\"old\",\"rows\":3}}\n"
    );
    fs::write(&file, &lines).expect("written");
    let dry = done(&node, &["import", &file, "--table", "new", "--dry-run"]);
    let words = "as jsonl: 1 rows would be written to a new table \"new\", 0 lines refused, 2 rows had expired\n";
    assert_eq!(dry, words);
    let said = done(&node, &["import", &file, "--table", "new", "--json"]);
    let report: Value = serde_json::from_str(&said).expect("JSON");
    let expected = json!({ "format": "jsonl", "tables": [{ "name": "new", "new": true }],
        "written": 1, "expired": 2, "present": 0, "refused": 0, "reasons": {} });
    assert_eq!(report, expected);
    let expected = format!(
        "{{\"format\":\"rumormill\",\"version\":1,\"table\":\"new\",\"conflict\":\"last_writer_wins\",\"durability\":\"sync\"}}\n\
         {{\"key\":\"b\",\"value\":\"2\",\"expires_ms\":{later}}}\n\
         {{\"end\":\"new\",\"rows\":1}}\n"
    );
    assert_eq!(done(&node, &["export", "--table", "new"]), expected);
    let tsv = node.client(&["export", "--table", "new", "--format", "tsv"]);
    assert_eq!(code(&tsv), 2);
    assert!(
        text(&tsv.stderr).contains("\"b\" expires"),
        "{}",
        text(&tsv.stderr)
    );
}

/// Imports lines: the exit code, and what was said.
fn import(node: &Node, root: &Path, lines: &str, flags: &[&str]) -> (i32, String) {
    let file = root.join("lines").display().to_string();
    fs::write(&file, lines).expect("written");
    let output = node.client(&[&["import", &file], flags].concat());
    let said = text(&output.stdout) + &text(&output.stderr);
    (code(&output), said)
}

fn begin(table: &str, conflict: &str) -> String {
    format!(
        "{{\"format\":\"rumormill\",\"version\":1,\"table\":\"{table}\",\"conflict\":\"{conflict}\",\"durability\":\"periodic\"}}\n"
    )
}

#[test]
fn a_table_of_another_rule_and_rows_that_it_has_no_place_for_are_refused() {
    let (root, node) = lone();
    let row = "{\"key\":\"a\",\"value\":\"1\"}\n";
    let several = "{\"key\":\"b\",\"siblings\":[\"1\",\"2\"]}\n";
    done(&node, &["put", "t", "k", "v"]);
    let lines = begin("t", "siblings") + several + "{\"end\":\"t\",\"rows\":1}\n";
    let (code, said) = import(&node, root.path(), &lines, &[]);
    assert_eq!(code, 3, "{said}");
    let why = "line 1: the table \"t\" exists with the rule last_writer_wins, and the rows are of one with siblings";
    assert!(said.contains(why), "{said}");
    let lines = begin("t", "last_writer_wins") + row + several + "{\"end\":\"t\",\"rows\":2}\n";
    let (code, said) = import(&node, root.path(), &lines, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.starts_with("1 rows written, 1 lines refused\n"),
        "{said}"
    );
    assert!(
        said.contains("siblings, for a table of the rule last_writer_wins (line 3)"),
        "{said}"
    );
    let expires = "{\"key\":\"c\",\"value\":\"1\",\"expires_ms\":9}\n";
    let lines = begin("s", "siblings") + expires + row + "{\"end\":\"s\",\"rows\":2}\n";
    let (code, said) = import(&node, root.path(), &lines, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("a row that expires, for a table that keeps siblings (line 2)"),
        "{said}"
    );
    assert_eq!(node.rows("t"), ["a\t1", "k\tv"]);
    assert_eq!(node.rows("s"), ["a\t1"]);
    // Another durability is told, and stays as it is.
    let lines =
        begin("t", "last_writer_wins").replace("periodic", "sync") + "{\"end\":\"t\",\"rows\":0}\n";
    let (code, said) = import(&node, root.path(), &lines, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("exists with the durability periodic, and stays so"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_not_whole_or_not_understood_is_told_with_its_line() {
    let (root, node) = lone();
    let import = |lines: &str, flags: &[&str]| import(&node, root.path(), lines, flags);
    let (first, second) = (
        begin("t", "last_writer_wins"),
        begin("u", "last_writer_wins"),
    );
    let row = "{\"key\":\"a\",\"value\":\"1\"}\n";
    let end = "{\"end\":\"t\",\"rows\":1}\n";
    // Nothing is written of these.
    let whole = [
        (row.to_string(), "line 1: the file does not say which table"),
        (
            first.replace("\"version\":1", "\"version\":2"),
            "line 1: a table begins in version 2",
        ),
        (
            first.clone() + &second,
            "line 2: a table begins within the rows of the table \"t\"",
        ),
    ];
    for (lines, part) in whole {
        let (code, said) = import(&lines, &[]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(part), "{said}");
    }
    let words = fs::write(root.path().join("words"), "a\n");
    words.expect("written");
    let words = root.path().join("words").display().to_string();
    assert_eq!(code(&node.client(&["import", &words])), 2);
    assert_eq!(node.rows("t"), [""; 0]);
    // All rows of these are written, and that something is wrong is told.
    let parts = [
        (
            first.clone() + row,
            "ends after line 2, within the rows of the table \"t\"",
        ),
        (
            first.clone() + row + &end.replace('1', "2"),
            "counts other rows than came before it (line 3)",
        ),
        (
            first.clone() + row + end + row,
            "a row after the end of its table (line 4)",
        ),
        (
            first.clone() + row + &end.replace("\"t\"", "\"u\""),
            "the end of another table",
        ),
        (
            first.clone() + row + "{\"key\":\n" + &end.replace('1', "2"),
            "not JSON (line 3)",
        ),
    ];
    for (lines, part) in parts {
        let (code, said) = import(&lines, &[]);
        assert_eq!(code, 3, "{said}");
        assert!(said.starts_with("1 rows written, "), "{said}");
        assert!(said.contains(part), "{said}");
    }
    let two = first + row + end + &second + "{\"end\":\"u\",\"rows\":0}\n";
    let (code, said) = import(&two, &["--table", "v"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("line 4: a second table begins") && said.contains("lines up to 2 are done"),
        "{said}"
    );
    assert_eq!(import(&two, &[]).0, 0);
    assert_eq!(node.rows("v"), ["a\t1"]);
}

#[test]
fn an_export_from_a_node_that_is_no_member_says_so() {
    let root = tempfile::tempdir().expect("a directory");
    // No address of a port 1 leads to a member.
    let flags = ["--join", "127.0.0.1:1"];
    let node = Node::start_with("alone", &root.path().join("alone"), None, &flags);
    done(&node, &["put", "t", "a", "1"]);
    let output = node.client(&["export", "--table", "t"]);
    assert_eq!(code(&output), 0);
    let said = text(&output.stderr);
    assert!(
        said.contains("the node is joining: it may lack rows of \"t\""),
        "{said}"
    );
    let (_root, member) = lone();
    done(&member, &["put", "t", "a", "1"]);
    let output = member.client(&["export", "--table", "t"]);
    assert_eq!(text(&output.stderr), "");
}
