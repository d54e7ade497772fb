//! `import` and `export` against servers that go wrong in one way each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use super::delivery::{Batch, Delivered, deliver};
use super::refused::Refused;
use crate::cli::{self, Export, ServerArgs};
use crate::failure::Failure;
use crate::formats::{Content, FileRow};
use crate::resp::{Reply, read_reply};

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound").to_string();
    (listener, addr)
}

/// A request: its first line and its body. `None` when the client is gone.
fn request(input: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let (mut first, mut length) = (String::new(), 0);
    if input.read_line(&mut first).expect("text") == 0 {
        return None;
    }
    loop {
        let mut line = String::new();
        input.read_line(&mut line).expect("a header");
        if line == "\r\n" {
            break;
        }
        if let Some(text) = line.strip_prefix("Content-Length: ") {
            length = text.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).expect("a body");
    Some((first, serde_json::from_slice(&body).unwrap_or_default()))
}

fn answer(stream: &mut TcpStream, status: u16, body: &Value) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("taken");
}

/// Serves one client: gives each request these answers in turn, and returns the keys that the requests had.
fn serve(listener: &TcpListener, answers: Vec<(u16, Value)>) -> Vec<Vec<String>> {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut input = BufReader::new(stream.try_clone().expect("the same"));
    let mut asked = Vec::new();
    for (status, body) in answers {
        let (_, rows) = request(&mut input).expect("a request");
        let keys = rows["rows"].as_array().expect("rows").iter();
        let key = |row: &Value| row["key"].as_str().expect("text").to_string();
        asked.push(keys.map(key).collect());
        answer(&mut stream, status, &body);
    }
    asked
}

fn row(key: &str) -> FileRow {
    FileRow {
        key: key.into(),
        content: Content::Value {
            value: b"v".to_vec(),
            expires_ms: None,
        },
    }
}

/// The keys of each request for a batch of three rows of lines 10, 20 and 30, and its outcome.
fn deliver_three(answers: Vec<(u16, Value)>) -> (Vec<Vec<String>>, Delivered, Result<(), Failure>) {
    let (listener, addr) = listen();
    let server = thread::spawn(move || serve(&listener, answers));
    let mut batch = Batch::new(&Arc::from("/v1/usr/t"));
    for (key, line) in [("a", 10), ("b", 20), ("c", 30)] {
        batch.push(&row(key), line).expect("memory");
    }
    let (sender, inbox) = mpsc::sync_channel(1);
    sender.send(batch).expect("room");
    drop(sender);
    let (delivered, ended) = deliver(&addr, inbox);
    (server.join().expect("it ends"), delivered, ended)
}

fn done(written: u64, refused: &Value) -> Value {
    json!({ "written": written, "present": 0, "expired": 0, "refused": refused })
}

fn stopped(code: &str, row: u64, written: u64, refused: &Value) -> Value {
    let mut error = done(written, refused);
    error["code"] = json!(code);
    error["message"] = json!("not now");
    error["row"] = json!(row);
    json!({ "error": error })
}

#[test]
fn rows_that_met_a_busy_node_are_sent_again_before_any_later_one() {
    let none = json!([]);
    let bad = |row: u64| json!([{ "row": row, "code": "x", "message": "bad" }]);
    let (asked, delivered, ended) = deliver_three(vec![
        (503, stopped("busy", 1, 1, &none)),
        (503, stopped("busy", 0, 0, &none)),
        (503, stopped("busy", 1, 0, &bad(0))),
        (200, done(0, &bad(0))),
    ]);
    ended.expect("all are done");
    let keys = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = [
        keys(&["a", "b", "c"]),
        keys(&["b", "c"]),
        keys(&["b", "c"]),
        keys(&["c"]),
    ];
    assert_eq!(asked, expected);
    assert_eq!((delivered.written, delivered.up_to), (1, 30));
    let refused = json!({ "bad": { "count": 2, "lines": [20, 30] } });
    assert_eq!(delivered.refused.to_json(), refused);
}

#[test]
fn a_node_that_takes_no_more_ends_the_delivery_and_it_is_told_how_far_it_came() {
    let refused = json!([{ "row": 0, "code": "x", "message": "bad" }]);
    let answers = vec![(503, stopped("leaving", 2, 1, &refused))];
    let (_, delivered, ended) = deliver_three(answers);
    assert!(matches!(ended, Err(Failure::Refused(why)) if why == "not now"));
    assert_eq!((delivered.written, delivered.up_to), (1, 20));
    assert_eq!(delivered.refused.total(), 1);
    // An error of another layer has no counts.
    let error = json!({ "error": { "code": "unavailable", "message": "no" } });
    let (_, delivered, ended) = deliver_three(vec![(503, error)]);
    assert!(matches!(ended, Err(Failure::Refused(why)) if why == "no"));
    assert_eq!((delivered.written, delivered.up_to), (0, 0));
}

#[test]
fn a_connection_that_breaks_ends_the_delivery() {
    let (listener, addr) = listen();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        request(&mut BufReader::new(stream)).expect("a request");
    });
    let mut batch = Batch::new(&Arc::from("/v1/usr/t"));
    batch.push(&row("a"), 1).expect("memory");
    let (sender, inbox) = mpsc::sync_channel(1);
    sender.send(batch).expect("room");
    let (delivered, ended) = deliver(&addr, inbox);
    assert!(matches!(ended, Err(Failure::Unreachable(_))), "{ended:?}");
    assert_eq!(delivered.up_to, 0);
    server.join().expect("it ends");
}

/// Answers the questions of a command for the table and the node's HTTP listener.
fn redis(listener: &TcpListener, table: &str, http: &str) {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut input = BufReader::new(stream.try_clone().expect("the same"));
    let members = json!({ "members": [{ "me": true, "protocols": { "http": http } }] });
    while let Ok(Reply::Array(words)) = read_reply(&mut input, 0) {
        let topic = Reply::Bulk(Some(b"TABLE".to_vec()));
        let text = match words.get(1) == Some(&topic) {
            true => table.to_string(),
            false => members.to_string(),
        };
        let reply = format!("${}\r\n{text}\r\n", text.len());
        stream.write_all(reply.as_bytes()).expect("taken");
    }
}

/// Exports the table `t` of a node whose pages are these; after them the node is gone.
fn export(pages: Vec<Value>, file: &Path) -> Result<(), Failure> {
    let ((first, addr), (second, http)) = (listen(), listen());
    let table = r#"{"conflict":"last_writer_wins","durability":"sync","rows":2}"#;
    let commands = thread::spawn(move || redis(&first, table, &http));
    let server = thread::spawn(move || {
        let (mut stream, _) = second.accept().expect("a client");
        let mut input = BufReader::new(stream.try_clone().expect("the same"));
        for page in pages {
            request(&mut input).expect("a request");
            answer(&mut stream, 200, &page);
        }
        // Where another page would come, the server is gone.
        request(&mut input);
    });
    let args = Export {
        tables: cli::Exported {
            table: Some("t".into()),
            all: false,
        },
        out: Some(PathBuf::from(file)),
        format: None,
        server: ServerArgs { addr, json: false },
    };
    let exported = super::export(&args);
    server.join().expect("it ends");
    commands.join().expect("it ends");
    exported
}

#[test]
fn an_export_that_breaks_off_leaves_the_file_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rows.jsonl");
    std::fs::write(&file, "old").expect("written");
    let page = json!({ "rows": [{ "key": "a", "value": "1" }], "next": "/v1/usr/t?page=2" });
    let failed = export(vec![page], &file);
    assert!(matches!(failed, Err(Failure::Unreachable(_))), "{failed:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "old");
    assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 1);
}

#[test]
fn a_row_that_a_listing_gives_twice_is_in_the_file_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rows");
    let one = json!({ "key": "a", "value": "1", "expires_ms": 5 });
    let two = json!({ "key": { "base64": "/w==" }, "value": "2" });
    let first = json!({ "rows": [one, two], "next": "/v1/usr/t?page=2" });
    let last = json!({ "rows": [one, two], "cursor": "x" });
    export(vec![first, last], &file).expect("exported");
    let expected = "\
        {\"format\":\"rumormill\",\"version\":1,\"table\":\"t\",\"conflict\":\"last_writer_wins\",\"durability\":\"sync\"}\n\
        {\"key\":\"a\",\"value\":\"1\",\"expires_ms\":5}\n\
        {\"key\":{\"base64\":\"/w==\"},\"value\":\"2\"}\n\
        {\"end\":\"t\",\"rows\":2}\n";
    assert_eq!(std::fs::read_to_string(&file).expect("there"), expected);
}

#[test]
fn a_form_without_a_place_for_all_of_a_row_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rows.tsv");
    let expires = json!({ "key": "a", "value": "1", "expires_ms": 5 });
    let several = json!({ "key": "a", "siblings": [{ "value": "1" }, { "value": "2" }] });
    for (row, part) in [(expires, "expires"), (several, "several values")] {
        let failed = export(vec![json!({ "rows": [row] })], &file);
        assert!(matches!(failed, Err(Failure::Usage(why)) if why.contains(part)));
    }
    let one = json!({ "key": "a", "siblings": [{ "value": "1" }] });
    export(vec![json!({ "rows": [one] })], &file).expect("exported");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "a\t1\n");
}

#[test]
fn reasons_of_two_parts_are_counted_together() {
    let (mut first, mut second) = (Refused::default(), Refused::default());
    for line in 1..=2 {
        first.add("bad", line);
        second.add("bad", line + 2);
    }
    second.add("worse", 9);
    first.merge(second);
    assert_eq!(first.total(), 5);
    let lines: Vec<String> = first.to_lines().collect();
    assert_eq!(lines, ["  4 x bad (line 1, 2, 3)", "  1 x worse (line 9)"]);
}
