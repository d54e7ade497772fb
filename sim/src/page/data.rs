//! The data of a page about a run, as compact JSON: columns of numbers that refer to lists of texts.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::CHECKERS;
use crate::recording::{Recorded, Recording};
use crate::report::Report;

/// The data of a page, escaped for a script element.
pub(super) fn json(report: &Report, recording: &Recording) -> String {
    let mut texts = Texts::default();
    let data = json!({
        "run": run(report, recording),
        "events": events(recording, &mut texts),
        "messages": messages(recording),
        "spans": spans(recording),
        "keys": recording
            .keys()
            .iter()
            .map(|(table, key)| format!("{table}/{}", key.escape_ascii()))
            .collect::<Vec<_>>(),
        "texts": texts.list,
    });
    escape(&data.to_string())
}

/// Makes JSON safe inside a script element: no `<` can end it or begin a comment, and the line separators that JSON
/// allows and scripts did not are written as escapes. Outside of strings JSON has none of these.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '<' => out.push_str("\\u003c"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            _ => out.push(char),
        }
    }
    out
}

fn run(report: &Report, recording: &Recording) -> Value {
    let broken = |name: &str| {
        let violations = report.violations.iter();
        violations.filter(|found| found.checker == name).count()
    };
    let promises: Vec<Value> = CHECKERS
        .iter()
        .map(|name| json!([name, broken(name)]))
        .collect();
    let violations: Vec<Value> = report
        .violations
        .iter()
        .map(|found| json!([found.checker, found.at_us, found.text]))
        .collect();
    json!({
        "seed": report.seed.to_string(),
        "hash": format!("{:016x}", report.hash),
        "nodes": report.nodes,
        "requested": report.requested.to_string(),
        "inputs": report.events,
        "end_us": report.sim_ms.saturating_mul(1_000),
        "rows": report.rows,
        "faults": report.faults,
        "counts": report.counts,
        "promises": promises,
        "violations": violations,
        "cut_us": recording.cut_us(),
        "events_seen": recording.events_seen(),
    })
}

/// Texts that occur more than once are written once.
#[derive(Default)]
struct Texts {
    list: Vec<String>,
    index: BTreeMap<String, u32>,
}

impl Texts {
    fn index(&mut self, text: String) -> u32 {
        if let Some(&index) = self.index.get(&text) {
            return index;
        }
        let index = self.list.len() as u32;
        self.list.push(text.clone());
        self.index.insert(text, index);
        index
    }
}

/// One column per property, an entry per event. Times are differences to the event before; node 0 is the world; a key, a
/// message's number and a text's index of 0 mean none, others are 1 too large.
#[derive(Default, Serialize)]
struct Events {
    first_seq: u64,
    verbs: Vec<&'static str>,
    at: Vec<u64>,
    node: Vec<u32>,
    verb: Vec<u32>,
    detail: Vec<u8>,
    text: Vec<u32>,
    key: Vec<u32>,
    message: Vec<u64>,
}

fn events(recording: &Recording, texts: &mut Texts) -> Events {
    let mut out = Events {
        first_seq: recording.events().first().map_or(1, |event| event.seq),
        ..Events::default()
    };
    let mut verbs: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut last_us = 0;
    for event in recording.events() {
        let next = verbs.len() as u32;
        let verb = *verbs.entry(event.verb).or_insert_with(|| {
            out.verbs.push(event.verb);
            next
        });
        out.at.push(event.at_us - last_us);
        last_us = event.at_us;
        out.node.push(event.node.map_or(0, |node| node as u32 + 1));
        out.verb.push(verb);
        out.detail.push(u8::from(event.detail));
        out.text.push(texts.index(fields(event)));
        // A batch of the store has many keys: they are its detail, not its subject.
        let key = event.keys.first().filter(|_| event.verb != "store");
        out.key.push(key.map_or(0, |key| key + 1));
        out.message.push(event.message.unwrap_or(0));
    }
    out
}

/// The fields as in the trace.
fn fields(event: &Recorded) -> String {
    let line = event.to_string();
    let rest = line.strip_prefix(event.verb).unwrap_or(&line);
    rest.trim_start().to_string()
}

/// One column per property, an entry per message; `numbers` and `sent` are differences. `arrivals` has per arrival the
/// place of the message and the time on its way. `rows` has per message with rows its place,
/// their number and then their keys.
#[derive(Default, Serialize)]
struct Messages {
    kinds: Vec<&'static str>,
    outcomes: Vec<&'static str>,
    numbers: Vec<u64>,
    sent: Vec<u64>,
    from: Vec<u32>,
    to: Vec<u32>,
    link: Vec<Option<u64>>,
    kind: Vec<u32>,
    detail: Vec<u8>,
    outcome: Vec<u32>,
    arrivals: Vec<u64>,
    rows: Vec<u64>,
}

fn messages(recording: &Recording) -> Messages {
    let mut out = Messages::default();
    let (mut last_number, mut last_us) = (0, 0);
    for (place, flight) in recording.flights().iter().enumerate() {
        out.numbers.push(flight.number - last_number);
        out.sent.push(flight.sent_us - last_us);
        (last_number, last_us) = (flight.number, flight.sent_us);
        out.from.push(flight.from as u32);
        out.to.push(flight.to as u32);
        out.link.push(flight.link);
        out.kind.push(place_of(&mut out.kinds, flight.kind));
        out.detail.push(u8::from(flight.detail));
        out.outcome
            .push(place_of(&mut out.outcomes, flight.outcome.name()));
        for (at_us, _) in &flight.arrivals {
            out.arrivals.extend([place as u64, at_us - flight.sent_us]);
        }
        if !flight.keys.is_empty() {
            out.rows.extend([place as u64, flight.keys.len() as u64]);
            out.rows
                .extend(flight.keys.iter().map(|key| u64::from(*key)));
        }
    }
    out
}

/// The place of a word in a short list, which grows when it is new.
fn place_of(list: &mut Vec<&'static str>, word: &'static str) -> u32 {
    let place = list.iter().position(|own| *own == word);
    let place = place.unwrap_or_else(|| {
        list.push(word);
        list.len() - 1
    });
    place as u32
}

fn spans(recording: &Recording) -> Vec<Value> {
    let spans = recording.spans().iter();
    spans
        .map(|span| {
            json!({
                "kind": span.kind,
                "text": span.text,
                "nodes": span.nodes,
                "others": span.others,
                "from": span.from_us,
                "until": span.until_us,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_string_ends_the_script() {
        let hostile = "</script><!--\u{2028}\u{2029}\"\\";
        let escaped = escape(&json!([hostile]).to_string());
        assert!(!escaped.contains(['<', '\u{2028}', '\u{2029}']));
        let back: Vec<String> = serde_json::from_str(&escaped).unwrap();
        assert_eq!(back, [hostile]);
    }
}
