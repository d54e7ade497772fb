use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{code, rumormill, text};

const HOLDS: &str = r#"{"process":0,"type":"invoke","f":"write","key":"x","value":1,"time":1}
{"process":1,"type":"invoke","f":"read","key":"x","value":null,"time":2}
{"process":0,"type":"ok","f":"write","key":"x","value":1,"time":3}
{"process":1,"type":"ok","f":"read","key":"x","value":null,"time":4}
{"process":0,"type":"invoke","f":"cas","key":"x","value":[1,2],"time":5}
{"process":0,"type":"info","f":"cas","key":"x","value":[1,2],"time":6}
"#;

/// A read after the write that does not see it.
const STALE: &str = r#"{"process":1,"type":"invoke","f":"read","key":"x","value":null,"time":7}
{"process":1,"type":"ok","f":"read","key":"x","value":null,"time":8}
"#;

fn check(history: &str, more: &[&str]) -> (Output, String) {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("history.jsonl");
    fs::write(&file, history).expect("written");
    let mut command = rumormill();
    command.args(["sim", "check"]).arg(&file).args(more);
    let name = file.display().to_string();
    (command.output().expect("it runs"), name)
}

#[test]
fn a_history_is_judged() {
    let (held, _) = check(HOLDS, &[]);
    assert_eq!(code(&held), 0, "{}", text(&held.stderr));
    let said = text(&held.stdout);
    assert!(
        said.starts_with("key \"x\": linearizable (3 operations, "),
        "{said}"
    );
    assert!(
        said.ends_with(": 1 linearizable, 0 not linearizable, 0 undecided\n"),
        "{said}"
    );
    let (broken, _) = check(&format!("{HOLDS}{STALE}"), &[]);
    assert_eq!(code(&broken), 1);
    let said = text(&broken.stdout);
    assert!(
        said.contains("process 1 read null (lines 7 to 8) fits nowhere"),
        "{said}"
    );
    let (broken, _) = check(&format!("{HOLDS}{STALE}"), &["--json"]);
    assert_eq!(code(&broken), 1);
    let report: Value = serde_json::from_slice(&broken.stdout).expect("JSON");
    let key = &report["keys"][0];
    assert_eq!(
        (&report["linearizable"], &report["operations"]),
        (&json!(false), &json!(4))
    );
    assert_eq!(
        (&key["verdict"], &key["line"]),
        (&json!("not linearizable"), &json!(8))
    );
    assert_eq!(key["could_hold"], json!(["1"]));
}

#[test]
fn what_is_undecided_does_not_pass() {
    let (given_up, _) = check(&format!("{HOLDS}{STALE}"), &["--steps", "1"]);
    assert_eq!(code(&given_up), 1);
    assert!(text(&given_up.stdout).contains("undecided"));
    assert!(text(&given_up.stderr).contains("--steps"));
}

#[test]
fn a_history_without_an_answer_does_not_pass() {
    let open: String = HOLDS
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    let cases = [
        ("", "nothing was judged: the history is empty\n"),
        ("\n \n", "nothing was judged: the history is empty\n"),
        (&open, "nothing was judged: none of the 2 calls is ok\n"),
    ];
    for (history, why) in cases {
        let (nothing, _) = check(history, &["--json"]);
        assert_eq!(code(&nothing), 1, "{history:?}");
        assert!(text(&nothing.stderr).ends_with(why), "{nothing:?}");
        let report: Value = serde_json::from_slice(&nothing.stdout).expect("JSON");
        assert_eq!(report["linearizable"], Value::Null);
    }
}

#[test]
fn a_bad_history_is_refused_with_its_place() {
    let (refused, file) = check(&format!("{HOLDS}{}", HOLDS.replace("invoke", "call")), &[]);
    assert_eq!(code(&refused), 2);
    let said = text(&refused.stderr);
    assert!(
        said.contains(&format!("{file}: line 7, column 21: expected \"invoke\"")),
        "{said}"
    );
    assert_eq!(text(&refused.stdout), "");
    let missing = rumormill().args(["sim", "check", "/no/such/file"]).output();
    let missing = missing.expect("it runs");
    assert_eq!(code(&missing), 2);
    assert!(text(&missing.stderr).contains("/no/such/file"));
}
