//! Tables that keep siblings, over HTTP and by the command line.

use serde_json::{Value, json};

use crate::commands::lone;
use crate::replication::start_three;
use crate::support::{Node, code, eventually, text};

const TABLE: &str = r#"{"name":"s","conflict":"siblings"}"#;
const PATH: &str = "/v1/usr/s/k";

/// Returns the answer of a read over HTTP: the status, the values, and the context.
fn read(node: &Node) -> (u16, Vec<String>, String) {
    let (code, head, body) = node.exchange("GET", PATH, &[], "");
    let context = head
        .lines()
        .find_map(|line| line.strip_prefix("x-rumormill-context: "));
    let values = match code {
        300 => {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let siblings = body["siblings"].as_array().expect("siblings").iter();
            let mut values: Vec<_> = siblings
                .map(|sibling| sibling["value"].as_str().expect("text").to_string())
                .collect();
            values.sort();
            values
        }
        200 => vec![body],
        _ => vec![],
    };
    (code, values, context.unwrap_or("").to_string())
}

fn write(node: &Node, method: &str, body: &str, context: &str) -> (u16, String) {
    let headers: &[_] = match context {
        "" => &[],
        context => &[("X-Rumormill-Context", context)],
    };
    let (code, _, body) = node.exchange(method, PATH, headers, body);
    (code, body)
}

#[test]
fn concurrent_writes_are_both_shown_until_one_replaces_them() {
    let root = tempfile::tempdir().expect("a directory");
    let nodes = start_three(root.path());
    let [first, second, third] = &nodes;
    let (created, body) = first.request("POST", "/v1/tables", TABLE);
    assert_eq!(created, 201, "{body}");
    for node in &nodes {
        eventually(&Some("siblings".to_string()), || {
            let tables = node.json("tables")["tables"].clone();
            let mut tables = tables.as_array().expect("tables").iter();
            let table = tables.find(|table| table["name"] == "s")?;
            table["conflict"].as_str().map(str::to_string)
        });
    }
    let all_show = |values: &[&str]| {
        let status = match values.len() {
            0 => 404,
            1 => 200,
            _ => 300,
        };
        let values = values.iter().map(ToString::to_string).collect();
        let expected = (status, values);
        for node in &nodes {
            eventually(&expected, || {
                let (status, values, _) = read(node);
                (status, values)
            });
        }
    };
    assert_eq!(write(first, "PUT", "base", "").0, 201);
    all_show(&["base"]);
    // Both have read the same, and neither knows of the other.
    let (two, three) = (read(second).2, read(third).2);
    assert_eq!(write(second, "PUT", "two", &two).0, 204);
    assert_eq!(write(third, "PUT", "three", &three).0, 204);
    all_show(&["three", "two"]);
    let context = read(first).2;
    assert_eq!(write(first, "PUT", "both", &context).0, 204);
    all_show(&["both"]);
    // A context counts on every member, and covers what it has seen only.
    assert_eq!(write(second, "PUT", "late", &two).0, 204);
    all_show(&["both", "late"]);
    assert_eq!(write(third, "DELETE", "", &context).0, 204);
    all_show(&["both", "late"]);
    let (refused, body) = write(third, "DELETE", "", "");
    assert!(
        refused == 428 && body.contains("context_required"),
        "{body}"
    );
    let context = read(third).2;
    assert_eq!(write(third, "DELETE", "", &context).0, 204);
    all_show(&[]);
    for node in &nodes {
        eventually(&Value::from(0), || node.status()["tombstones"].clone());
        assert_eq!(read(node).0, 404);
    }
}

#[test]
fn the_command_line_shows_siblings_and_gives_contexts_back() {
    let (_root, node) = lone();
    let run = |args: &[&str]| node.client(args);
    let done = |args: &[&str]| {
        let output = run(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let get =
        || -> Value { serde_json::from_str(&done(&["get", "s", "a/b", "--json"])).expect("JSON") };
    done(&["tables", "create", "s", "--conflict", "siblings"]);
    let again = run(&["tables", "create", "s", "--durability", "sync"]);
    assert!(code(&again) == 3 && text(&again.stderr).contains("other options"));
    done(&["put", "s", "a/b", "one"]);
    let one = get();
    assert_eq!(
        (&one["key"], &one["siblings"][0]["value"]),
        (&json!("a/b"), &json!("one"))
    );
    assert!(one["siblings"][0]["version"].is_string());
    done(&["put", "s", "a/b", "two"]);
    let both = run(&["get", "s", "a/b"]);
    let mut values: Vec<_> = text(&both.stdout).lines().map(str::to_string).collect();
    values.sort();
    assert_eq!(values, ["one", "two"]);
    let printed = text(&both.stderr);
    let context = printed
        .trim_end()
        .strip_prefix("context: ")
        .expect("a context");
    assert_eq!(get()["context"], context);
    done(&["put", "s", "plain", "three"]);
    let mut scanned: Vec<_> = done(&["scan", "s"]).lines().map(str::to_string).collect();
    scanned.sort();
    assert_eq!(scanned, ["a/b\tone", "a/b\ttwo", "plain\tthree"]);
    let row: Value =
        serde_json::from_str(&done(&["scan", "s", "--prefix", "a", "--json"])).expect("one row");
    assert_eq!(row["siblings"].as_array().map(Vec::len), Some(2));
    assert_eq!(row["context"], context);
    done(&["put", "s", "a/b", "both", "--context", context]);
    assert_eq!(done(&["get", "s", "a/b"]), "both\n");
    let bare = run(&["del", "s", "a/b"]);
    assert!(code(&bare) == 3 && text(&bare.stderr).contains("--context"));
    let other = run(&["del", "s", "plain", "--context", context]);
    assert!(code(&other) == 3 && text(&other.stderr).contains("read the key again"));
    assert_eq!(
        code(&run(&["put", "s", "a/b", "v", "--context", "a\r\nb: c"])),
        2
    );
    let context = get()["context"].as_str().expect("text").to_string();
    done(&["del", "s", "a/b", "--context", &context]);
    assert_eq!(code(&run(&["get", "s", "a/b"])), 1);
    let unused = run(&["put", "t", "a/b", "v", "--context", &context]);
    assert!(code(&unused) == 3 && text(&unused.stderr).contains("without it"));
    let large = run(&["put", "s", "large", &"x".repeat(1001)]);
    assert!(code(&large) == 3 && text(&large.stderr).contains("1000"));
    let imported = node.client_with(&["import", "-", "--table", "s"], "a\t1\n");
    assert_eq!(code(&imported), 0, "{}", text(&imported.stderr));
    assert_eq!(done(&["get", "s", "a"]), "1\n");
}
