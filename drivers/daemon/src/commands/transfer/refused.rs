//! The lines of a file that did not become rows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Lines shown as examples of a reason.
const EXAMPLES: usize = 3;

/// Different reasons that are told apart; further ones are counted together.
const MAX_REASONS: usize = 32;

/// Reasons, each with the number of its lines and the first of them.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<String, (u64, Vec<u64>)>);

impl Refused {
    pub(super) fn add(&mut self, reason: &str, line: u64) {
        self.count(reason, 1, &[line]);
    }

    /// Takes in the lines of another part of the work.
    pub(super) fn merge(&mut self, other: Refused) {
        for (reason, (count, lines)) in other.0 {
            self.count(&reason, count, &lines);
        }
    }

    fn count(&mut self, reason: &str, more: u64, lines: &[u64]) {
        let is_new = !self.0.contains_key(reason);
        let reason = match is_new && self.0.len() >= MAX_REASONS {
            true => "other reasons",
            false => reason,
        };
        let (count, examples) = self.0.entry(reason.to_string()).or_default();
        *count += more;
        let room = EXAMPLES - examples.len();
        examples.extend(lines.iter().take(room));
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    pub(super) fn to_json(&self) -> Value {
        let reasons: BTreeMap<_, _> = self
            .0
            .iter()
            .map(|(reason, (count, lines))| (reason, json!({ "count": count, "lines": lines })))
            .collect();
        json!(reasons)
    }

    /// A line for each reason.
    pub(super) fn to_lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(reason, (count, lines))| {
            let lines: Vec<String> = lines.iter().map(u64::to_string).collect();
            format!("  {count} x {reason} (line {})", lines.join(", "))
        })
    }
}
