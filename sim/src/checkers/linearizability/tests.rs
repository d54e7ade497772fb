//! Histories that hold and that break, and what a second judge says of random ones.

mod random;

use super::*;
use crate::history::{Answer, Call, Completion, Outcome, Place};

/// A history in a short notation, an event per word: `1:w5` process 1 calls write 5, `1:r` calls read, `1:c5>6` calls a cas,
/// `1:ok`, `1:ok=5` (a read), `1:fail`, `1:info`. Before a `/` may stand another key than `x`.
fn history(text: &str) -> History {
    let mut history = History::new();
    let mut open: BTreeMap<String, (Scalar, Call)> = BTreeMap::new();
    for (line, word) in (1..).zip(text.split_whitespace()) {
        let at = Place { line, time: 0 };
        let (key, word) = word.split_once('/').unwrap_or(("x", word));
        let (process, event) = word.split_once(':').expect("a process");
        let scalar = |text: &str| match text {
            "-" => Scalar::null(),
            text => Scalar::number(text.parse().expect("a number")),
        };
        let name = Scalar::text(process);
        let (event, seen) = event.split_once('=').unwrap_or((event, ""));
        let outcome = match event {
            "ok" => Outcome::Ok,
            "fail" => Outcome::Fail,
            "info" => Outcome::Info,
            call => {
                let call = match call.split_at(1) {
                    ("r", _) => Call::Read,
                    ("w", value) => Call::Write(scalar(value)),
                    (_, pair) => {
                        let (old, new) = pair.split_once('>').expect("two values");
                        let (old, new) = (scalar(old), scalar(new));
                        Call::Cas { old, new }
                    }
                };
                let key = Scalar::text(key);
                open.insert(process.to_string(), (key.clone(), call.clone()));
                history.invoke(at, name, key, call).expect("it fits");
                continue;
            }
        };
        let (key, call) = open.remove(process).expect("a call");
        let answer = match call {
            Call::Read => Answer::Read((!seen.is_empty()).then(|| scalar(seen))),
            Call::Write(_) => Answer::Write(None),
            Call::Cas { .. } => Answer::Cas(None),
        };
        let completion = Completion {
            process: name,
            key,
            outcome,
            answer,
        };
        history.complete(at, completion).expect("it fits");
    }
    history
}

#[track_caller]
fn holds(text: &str) {
    for judged in check(&history(text), STEPS) {
        assert_eq!(judged.verdict, Verdict::Linearizable, "{text}: {judged}");
    }
}

/// The line whose answer ends the shortest bad prefix.
#[track_caller]
fn breaks_at(line: u64, text: &str) -> Counterexample {
    let judged = check(&history(text), STEPS).remove(0);
    let Verdict::Broken(found) = judged.verdict else {
        panic!("{text}: {judged}");
    };
    let (outcome, end) = found.stuck.ended.expect("it is answered");
    assert_eq!((outcome, end.line), (Outcome::Ok, line), "{text}: {found}");
    *found
}

#[test]
fn one_after_another() {
    holds("");
    holds("1:r 1:ok=- 1:w1 1:ok 2:r 2:ok=1 2:c1>2 2:ok 1:r 1:ok=2 1:w- 1:ok 2:r 2:ok=-");
    breaks_at(2, "1:r 1:ok=1");
    breaks_at(4, "1:w1 1:ok 2:r 2:ok=- 2:r 2:ok=1");
    breaks_at(4, "1:w1 1:ok 2:c2>3 2:ok");
    breaks_at(8, "1:w1 1:ok 1:w2 1:ok 2:r 2:ok=2 2:r 2:ok=1");
}

#[test]
fn overlapping_operations_may_take_either_order() {
    holds("1:w1 2:w2 3:r 3:ok=1 3:r 3:ok=2 1:ok 2:ok 3:r 3:ok=2");
    holds("1:w1 2:w2 3:r 3:ok=2 3:r 3:ok=1 1:ok 2:ok 3:r 3:ok=1");
    holds("1:w1 2:w2 3:w3 4:r 4:ok=3 4:r 4:ok=2 4:r 4:ok=1 1:ok 2:ok 3:ok");
    breaks_at(8, "1:w1 2:w2 3:r 3:ok=1 3:r 3:ok=2 3:r 3:ok=1 1:ok 2:ok");
    // Two readers must not see two writes in different orders.
    holds("1:w1 2:w2 1:ok 2:ok 3:r 4:r 3:ok=1 4:ok=1");
    breaks_at(8, "1:w1 2:w2 1:ok 2:ok 3:r 4:r 3:ok=1 4:ok=2");
    // Only one of two cas from the same value succeeds.
    breaks_at(4, "1:c->1 2:c->2 1:ok 2:ok");
    holds("1:c->1 2:c1>2 2:ok 1:ok 3:r 3:ok=2");
}

#[test]
fn what_failed_did_not_happen() {
    holds("1:w1 1:fail 2:r 2:ok=- 1:r 1:fail");
    breaks_at(4, "1:w1 1:fail 2:r 2:ok=1");
    holds("1:w1 1:ok 2:c1>2 2:fail 2:r 2:ok=1");
}

#[test]
fn an_unknown_outcome_may_happen_late_or_never() {
    for end in ["1:info", ""] {
        holds(&format!(
            "1:w1 {end} 2:r 2:ok=- 2:r 2:ok=- 3:r 3:ok=1 2:w2 2:ok 2:r 2:ok=2"
        ));
        holds(&format!("1:w1 {end} 2:w2 2:ok 2:r 2:ok=2 2:r 2:ok=1"));
        let once = "2:w2 2:ok 2:r 2:ok=1 2:w2 2:ok 2:r 2:ok=1";
        let line = if end.is_empty() { 9 } else { 10 };
        breaks_at(line, &format!("1:w1 {end} {once}"));
        holds(&format!("0:w1 1:w1 {end} {once}"));
        holds(&format!("1:c->1 {end} 2:r 2:ok=- 2:r 2:ok=1"));
        // Only a cas tells that it happened.
        holds(&format!("1:w1 {end} 2:c1>2 2:ok 2:r 2:ok=2"));
        holds(&format!("1:w1 {end} 3:c1>2 2:r 2:ok=2"));
        holds(&format!("1:r {end} 2:w2 2:ok"));
    }
    // Not before it was called.
    breaks_at(2, "2:r 2:ok=1 1:w1 1:info");
    // A process goes on after it.
    holds("1:w1 1:info 1:w2 1:ok 1:r 1:ok=2 1:r 1:ok=1");
}

#[test]
fn keys_are_judged_alone() {
    let judged = check(
        &history("y/1:w1 1:ok 2:w2 2:ok 3:r 3:ok=2 y/3:r 3:ok=2"),
        STEPS,
    );
    let names: Vec<&str> = judged.iter().map(|one| one.verdict.name()).collect();
    assert_eq!(names, ["linearizable", "not linearizable"]);
    assert_eq!((judged[0].operations, judged[1].operations), (2, 2));
}

#[test]
fn a_counterexample_tells_a_person_where_to_look() {
    let found = breaks_at(9, "1:w1 1:ok 2:r 2:ok=1 3:w2 3:ok 4:w3 2:r 2:ok=1 4:ok");
    let text = r#"  process "2" read 1 (lines 8 to 9) fits nowhere: line 9 ends the shortest prefix that has no order
  what comes before has one, of 4
    process "1" write 1 (lines 1 to 2)
    process "2" read 1 (lines 3 to 4)
    process "3" write 2 (lines 5 to 6)
    process "4" write 3 (lines 7 to 10)
  the register could then hold 2 or 3"#;
    assert_eq!(found.to_string(), text);
}

#[test]
fn a_search_that_reaches_its_limit_says_so() {
    // Twelve writes overlap and the reads then ask for an order that one write too few makes impossible.
    let mut text: String = (1..=12).map(|n| format!("{n}:w{n} ")).collect();
    (1..=6)
        .chain(1..=1)
        .for_each(|n| text += &format!("0:r 0:ok={n} "));
    let judged = check(&history(&text), STEPS).remove(0);
    assert!(matches!(judged.verdict, Verdict::Broken(_)), "{judged}");
    let judged = check(&history(&text), judged.steps - 1).remove(0);
    assert_eq!(judged.verdict, Verdict::Undecided(Undecided::Steps));
}
