//! Files that are imported and exported.

use std::fs;

use serde_json::{Value, json};

use crate::commands::lone;
use crate::support::{Node, code, text};

/// Imports a file of this name and these bytes: the exit code and what was said.
fn import(node: &Node, name: &str, bytes: &[u8], flags: &[&str]) -> (i32, String) {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join(name);
    fs::write(&file, bytes).expect("written");
    let file = file.display().to_string();
    let mut args = vec!["import", &file, "--table", "t"];
    args.extend(flags);
    let output = node.client(&args);
    let said = text(&output.stdout) + &text(&output.stderr);
    (code(&output), said)
}

#[test]
fn a_form_that_is_not_read_is_refused_and_nothing_of_it_is_written() {
    let (_root, node) = lone();
    let utf16: Vec<u8> = "a\tb\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&b"\xff\xfe"[..], &utf16].concat();
    let files: [(&str, &[u8], &str); 8] = [
        ("rows.tsv", &marked, "UTF-16"),
        ("rows.tsv", &utf16, "UTF-16"),
        (
            "rows.jsonl.gz",
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03a",
            "gzip -dc",
        ),
        ("rows.zst", b"\x28\xb5\x2f\xfd\x04", "zstd"),
        ("rows.json", b"[{\"key\":\"a\",\"value\":\"b\"}]\n", "jq -c"),
        ("rows.csv", b"key,value\na,1\nb,2\n", "CSV"),
        ("rows", b"\"a\";\"1\"\n\"b\";\"2\"\n", "CSV"),
        ("rows.xml", b"<rows/>\n", "--format lines"),
    ];
    for (name, bytes, part) in files {
        for flags in [&[][..], &["--dry-run"]] {
            let (code, said) = import(&node, name, bytes, flags);
            assert_eq!(code, 2, "{name}: {said}");
            assert!(said.contains(&format!("{name}: line 1: ")), "{said}");
            assert!(said.contains(part), "{name}: {said}");
        }
    }
    let export = node.client(&["export", "--table", "t"]);
    assert_eq!(code(&export), 1, "the table was made");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_key() {
    let (_root, node) = lone();
    let files: [(&str, &[u8]); 3] = [
        ("rows", b"\xef\xbb\xbfa\t1\r\n"),
        ("rows", b"\xef\xbb\xbf{\"key\":\"b\",\"value\":\"2\"}\r\n"),
        ("words", b"\xef\xbb\xbfc\r\n"),
    ];
    for (name, bytes) in files {
        assert_eq!(import(&node, name, bytes, &[]).0, 0);
    }
    assert_eq!(node.rows("t"), ["a\t1", "b\t2", "c\t1"]);
}

#[test]
fn what_would_be_lost_of_a_line_is_refused() {
    let (_root, node) = lone();
    let lines = "{\"key\":\"a\",\"value\":\"1\",\"ttl\":5}\n\
        {\"key\":\"b\",\"key\":\"c\",\"value\":\"2\"}\n\
        {\"key\":\"d\",\"value\":3}\n\
        {\"key\":\"e\",\"value\":\"4\"}\n";
    let (code, said) = import(&node, "rows.jsonl", lines.as_bytes(), &[]);
    assert_eq!(code, 3, "{said}");
    for part in [
        "an unknown field \"ttl\": a row has key, value or siblings, and expires_ms (line 1)",
        "the field \"key\" twice (line 2)",
        "each text or {\"base64\":\"...\"} (line 3)",
        "1 rows written, 3 lines refused",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    let (code, said) = import(&node, "rows.tsv", b"f\t1\t2\ng\t1\rh\t2\n", &[]);
    assert_eq!(code, 3, "{said}");
    let lines = b"\xe9t\xe9\nnul\0\n";
    let (code, said) = import(&node, "words", lines, &[]);
    assert_eq!(code, 3, "{said}");
    assert_eq!(node.rows("t"), ["e\t4"]);
}

#[test]
fn reasons_are_bounded() {
    let (_root, node) = lone();
    let line = |n: u32| format!("{{\"key\":\"a\",\"value\":\"1\",\"field{n}\":5}}\n");
    let lines: String = (0..1_000).map(line).collect();
    let output = node.client_with(&["import", "-", "--table", "t", "--json"], &lines);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["refused"], 1_000);
    assert_eq!(report["reasons"].as_object().expect("reasons").len(), 33);
    assert_eq!(report["reasons"]["other reasons"]["count"], 968);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let (_root, node) = lone();
    let (code, said) = import(&node, "rows.tsv", b"a\t1\nb\nc\t2\n", &["--dry-run"]);
    assert_eq!(code, 3, "{said}");
    let first = "as tsv: 2 rows would be written to a new table \"t\", 1 lines refused\n";
    assert!(said.starts_with(first), "{said}");
    assert!(said.contains("no tab (line 2)"), "{said}");
    let (code, said) = import(&node, "words", b"a\nb\n", &["--dry-run", "--json"]);
    assert_eq!(code, 0, "{said}");
    let report: Value = serde_json::from_str(&said).expect("JSON");
    let expected = json!({ "format": "lines", "would_write": 2, "tables": [{ "name": "t", "new": true }],
        "present": 0, "expired": 0, "refused": 0, "reasons": {} });
    assert_eq!(report, expected);
    let tables = node.json("tables");
    let names = tables["tables"].as_array().expect("tables");
    assert!(names.iter().all(|table| table["name"] != "t"), "{tables}");
}

#[test]
fn a_mistyped_table_leaves_the_file_as_it_was() {
    let (root, node) = lone();
    assert_eq!(code(&node.client(&["put", "words", "a", "1"])), 0);
    let path = root.path().join("words.tsv");
    let file = path.display().to_string();
    assert_eq!(
        code(&node.client(&["export", "--table", "words", "--out", &file])),
        0
    );
    for args in [
        &["export", "--table", "wrods", "--out", &file][..],
        &["scan", "wrods"],
    ] {
        let mistyped = node.client(args);
        assert_eq!(code(&mistyped), 1);
        let said = text(&mistyped.stderr);
        assert!(
            said.contains("no table \"wrods\"; there are: words"),
            "{said}"
        );
    }
    assert_eq!(fs::read_to_string(&path).expect("there"), "a\t1\n");
    // A table without rows is one all the same.
    assert_eq!(code(&node.client(&["tables", "create", "empty"])), 0);
    assert_eq!(
        code(&node.client(&["export", "--table", "empty", "--out", &file])),
        0
    );
    assert_eq!(fs::read_to_string(&path).expect("there"), "");
    assert_eq!(
        code(&node.client(&["export", "--table", "default", "--out", &file])),
        0
    );
}
