//! The report of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use crate::checkers::Violation;
use crate::faults::FaultSet;
use crate::recording::Recording;

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many nodes took part.
    pub nodes: usize,
    /// The kinds of faults asked for.
    pub requested: FaultSet,
    /// The rolling hash over the trace: equal for equal runs, on any machine and in any build.
    pub hash: u64,
    /// Inputs that nodes handled: messages, timers, links, syncs and client operations.
    pub events: u64,
    /// Virtual time that passed, in milliseconds.
    pub sim_ms: u64,
    /// How often each kind of fault took effect: messages struck, cuts made, crashes, clocks set wrong.
    pub faults: BTreeMap<String, u64>,
    /// Other events, and how often they happened.
    pub counts: BTreeMap<String, u64>,
    /// Rare branches of the core, and how often all nodes together reached them.
    pub marks: BTreeMap<String, u64>,
    /// Live rows at the end.
    pub rows: u64,
    /// Broken promises; empty when all held.
    pub violations: Vec<Violation>,
    /// The lines of the trace, if they were asked for.
    pub trace: Vec<String>,
    /// The run as values, if it was recorded.
    pub recording: Option<Recording>,
}

impl Report {
    /// Whether every promise held.
    pub fn held(&self) -> bool {
        self.violations.is_empty()
    }

    /// Says in one line whether every promise held, and which did not.
    pub fn verdict(&self) -> String {
        if self.held() {
            return "every promise held".to_string();
        }
        let mut broken: BTreeMap<&str, usize> = BTreeMap::new();
        for found in &self.violations {
            *broken.entry(found.checker).or_default() += 1;
        }
        let broken: Vec<String> = broken
            .into_iter()
            .map(|(checker, count)| format!("{checker} ({count})"))
            .collect();
        format!("BROKEN: {}", broken.join(", "))
    }

    /// The report as one JSON object. The hash is text of 16 hex digits, since JSON readers round large numbers.
    pub fn to_json(&self) -> String {
        let violations: Vec<Value> = self
            .violations
            .iter()
            .map(|found| json!({ "checker": found.checker, "at_us": found.at_us, "text": found.text }))
            .collect();
        json!({
            "seed": self.seed,
            "nodes": self.nodes,
            "requested": self.requested.to_string(),
            "hash": format!("{:016x}", self.hash),
            "events": self.events,
            "sim_ms": self.sim_ms,
            "rows": self.rows,
            "faults": object(&self.faults),
            "counts": object(&self.counts),
            "marks": object(&self.marks),
            "held": self.held(),
            "violations": violations,
        })
        .to_string()
    }
}

pub(crate) fn object(counts: &BTreeMap<String, u64>) -> Map<String, Value> {
    counts
        .iter()
        .map(|(name, count)| (name.clone(), json!(count)))
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.sim_ms / 1000, self.sim_ms % 1000);
        writeln!(f, "seed {}  hash {:016x}", self.seed, self.hash)?;
        writeln!(
            f,
            "{} nodes, {seconds}.{millis:03} s of virtual time, {} events",
            self.nodes, self.events
        )?;
        writeln!(f, "\nfaults ({})", self.requested)?;
        section(f, &self.faults)?;
        writeln!(f, "\nhappened")?;
        section(f, &self.counts)?;
        if !self.marks.is_empty() {
            writeln!(f, "\nmarks")?;
            section(f, &self.marks)?;
        }
        writeln!(f, "\npromises")?;
        for checker in crate::CHECKERS {
            let broken = self
                .violations
                .iter()
                .filter(|found| found.checker == checker)
                .count();
            let word = if broken == 0 { "held" } else { "BROKEN" };
            writeln!(f, "  {checker:<24} {word}")?;
        }
        for found in &self.violations {
            writeln!(
                f,
                "  {} at {} us: {}",
                found.checker, found.at_us, found.text
            )?;
        }
        writeln!(f, "{} rows at the end", self.rows)?;
        write!(f, "\nverdict: {}", self.verdict())
    }
}

pub(crate) fn section(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<String, u64>) -> fmt::Result {
    for (name, count) in counts.iter().filter(|(_, count)| **count > 0) {
        writeln!(f, "  {name:<24} {count}")?;
    }
    Ok(())
}
