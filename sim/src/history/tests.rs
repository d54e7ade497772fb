use super::*;

const INVOKE: &str = r#"{"process":0,"type":"invoke","f":"write","key":"x","value":1,"time":5}"#;

fn parse(lines: &[&str]) -> Result<History, String> {
    History::parse(lines.join("\n").as_bytes()).map_err(|error| error.to_string())
}

/// The error of a bad line after a write by process 0 was called in line 1.
#[track_caller]
fn refused(line: &str, at: &str, text: &str) {
    let error = parse(&[INVOKE, line]).expect_err("it is refused");
    assert!(
        error.starts_with(&format!("line 2, column {at}: ")),
        "{error}"
    );
    assert!(error.contains(text), "{error}");
}

#[test]
fn calls_and_their_ends_become_operations() {
    let history = parse(&[
        r#"{"process":"a","type":"invoke","f":"cas","key":7,"value":[null,"z"],"time":1}"#,
        "",
        r#"{"process":0,"type":"invoke","f":"read","key":7,"value":null,"time":1,"index":3}"#,
        r#"{"process":0,"type":"ok","f":"read","key":7,"value":null,"time":2}"#,
        r#"{"process":"a","type":"info","f":"cas","key":7,"value":[0,1],"time":3}"#,
        r#"{"process":"a","type":"invoke","f":"write","key":"\u006b","value":1.50,"time":4}"#,
        r#"{"process":"a","type":"ok","f":"write","key":"k","value":null,"time":4}"#,
        r#"{"process":"a","type":"invoke","f":"read","key":"k","time":9}"#,
        "",
    ]);
    let history = history.expect("a history");
    let [cas, read, write, open] = history.operations() else {
        panic!("{history:?}");
    };
    let (old, new) = (Scalar::null(), Scalar::text("z"));
    assert_eq!(cas.call, Call::Cas { old, new });
    assert_eq!(cas.ended, Some((Outcome::Info, Place { line: 5, time: 3 })));
    assert_eq!(
        (&read.key, &read.seen),
        (&Scalar::number(7), &Some(Scalar::null()))
    );
    assert_eq!(write.key, Scalar::text("k"));
    assert_eq!(write.call, Call::Write(Scalar("1.5".to_string())));
    assert_eq!((open.called.line, open.ended), (8, None));
    assert_eq!(write.to_string(), r#"process "a" write 1.5 (lines 6 to 7)"#);
}

#[test]
fn what_is_no_event_is_refused_with_its_place() {
    refused("{", "1", "EOF");
    refused("[1]", "1", "\"process\"");
    refused("{\"process\": x}", "13", "expected value");
    refused(
        r#"{"process":1,"type":"invoke"}"#,
        "29",
        "missing field `f`",
    );
    refused(
        &INVOKE.replace("time", "when"),
        "70",
        "missing field `time`",
    );
    refused(&format!("{INVOKE} {INVOKE}"), "72", "trailing");
    let field = |from: &str, to: &str| INVOKE.replacen(":0", ":1", 1).replacen(from, to, 1);
    refused(
        &field("\"process\":1", "\"process\":null"),
        "12",
        "a string or a number",
    );
    refused(
        &field("\"process\":1", "\"process\":{}"),
        "12",
        "a string or a number",
    );
    refused(&field("invoke", "call"), "21", "\"invoke\", \"ok\"");
    refused(
        &field("write", "swap"),
        "34",
        "\"read\", \"write\" or \"cas\"",
    );
    refused(&field("\"x\"", "[\"x\"]"), "48", "a string or a number");
    refused(
        &field(":1,\"time", ":[1],\"time"),
        "60",
        "a string, a number, true, false or null",
    );
    refused(&field(",\"value\":1", ""), "34", "expected a value");
    refused(&field("write", "cas"), "58", "[old,new]");
    refused(&field("write", "read"), "59", "null");
    refused(
        &field(":1,\"time", ":123456789012345678901,\"time"),
        "60",
        "within 64 bits",
    );
    refused(&field(":5}", ":-5}"), "69", "not negative");
    refused(&field(":5}", ":\"5\"}"), "69", "not negative");
    let error = History::parse(b"\n\n {\"\xff\"}").expect_err("no UTF-8");
    assert_eq!((error.line, error.column), (3, 4));
    let long = format!("{{\"process\":\"{}\"}}", "x".repeat(MAX_LINE_BYTES));
    refused(&long, "1048577", "at most 1048576 bytes");
}

#[test]
fn events_that_cannot_follow_are_refused() {
    let ok = INVOKE.replace("invoke", "ok");
    refused(INVOKE, "21", "line 1");
    refused(&ok.replacen(":0", ":1", 1), "21", "no open call");
    refused(&ok.replacen("write", "read", 1), "30", "the open write");
    refused(
        &ok.replacen("\"x\"", "\"y\"", 1),
        "44",
        "the key of the open call, \"x\"",
    );
    refused(
        &ok.replacen(":1,\"time", ":2,\"time", 1),
        "56",
        "the value of the open call",
    );
    refused(&ok.replacen(":5}", ":4}", 1), "65", "the last event, 5");
    let read = INVOKE
        .replacen("write", "read", 1)
        .replacen(":1,", ":null,", 1);
    let bare = ok
        .replacen("write", "read", 1)
        .replacen("\"value\":1,", "", 1);
    let error = parse(&[&read, &bare]).expect_err("nothing was read");
    assert!(error.contains("the value that was read"), "{error}");
}

#[test]
fn a_refused_event_changes_nothing() {
    let mut history = History::new();
    let (process, key) = (Scalar::number(1), Scalar::text("k"));
    let at = |line| Place { line, time: line };
    let mut read = |line| history.invoke(at(line), process.clone(), key.clone(), Call::Read);
    assert_eq!(read(3), Ok(()));
    assert_eq!(read(4), Err(Misuse::StillOpen { since: at(3) }));
    assert_eq!(read(2), Err(Misuse::TimeGoesBack { last: 3 }));
    let completion = |seen| Completion {
        process: process.clone(),
        key: key.clone(),
        outcome: Outcome::Ok,
        answer: Answer::Read(seen),
    };
    assert_eq!(
        history.complete(at(5), completion(None)),
        Err(Misuse::NothingSeen)
    );
    assert_eq!(
        history.complete(at(4), completion(Some(Scalar::null()))),
        Ok(())
    );
    assert_eq!(history.operations().len(), 1);
}

#[test]
fn any_bytes_are_a_history_or_an_error() {
    arbtest::arbtest(|u| {
        let mut text: Vec<u8> = INVOKE.as_bytes().to_vec();
        for _ in 0..u.int_in_range(1..=8)? {
            let at = u.choose_index(text.len())?;
            text[at] = u.arbitrary()?;
        }
        if let Err(error) = History::parse(&text) {
            assert!(
                error.line >= 1 && error.column as usize <= text.len() + 1,
                "{error}"
            );
        }
        Ok(())
    })
    .budget_ms(500);
}
