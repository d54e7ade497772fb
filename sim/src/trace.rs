//! The trace of a run: one line per event, and a rolling hash over all of it.
//!
//! A line is `time sequence node verb fields`: virtual microseconds, a running number, `n` and the node's index (`-` for
//! the world), a verb, and short fields. The hash covers the same data whether lines are kept or not.

use std::fmt::Write as _;

use bytes::Bytes;
use rumormill_core::io::StoreOp;
use rumormill_core::wire::Message;

use crate::plan::FaultWhat;
use crate::recording::{self, Outcome, Recording};

/// Which lines are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None: the hash only.
    #[default]
    Nothing,
    /// Lines that tell the story: data, membership, links, faults; no probes, timers and syncs.
    Story,
    /// All.
    All,
}

/// A short field of a line.
#[derive(Clone, Copy)]
pub(crate) enum Field<'a> {
    /// A number.
    Num(&'static str, u64),
    /// A number of no meaning to a reader: hashed, never printed.
    Mute(u64),
    /// A node by its index.
    Node(&'static str, usize),
    /// One of a fixed set of words.
    Word(&'static str, &'static str),
    /// A key or value, printed as text where it is text.
    Bytes(&'static str, &'a [u8]),
}

/// Whether a line belongs to the story.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Detail,
    Story,
}

/// The node field of lines about the world as a whole.
pub(crate) const WORLD: usize = usize::MAX;

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    keep: Keep,
    seq: u64,
    hash: u64,
    lines: Vec<String>,
    recording: Option<Box<Recording>>,
}

impl Trace {
    /// An empty trace.
    pub fn new(keep: Keep) -> Self {
        Trace {
            keep,
            seq: 0,
            hash: 0x5275_6d6f_724d_696c,
            lines: Vec::new(),
            recording: None,
        }
    }

    /// The rolling hash over everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines kept.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The run as values, if it was asked for.
    pub fn recording(&self) -> Option<&Recording> {
        self.recording.as_deref()
    }

    /// Returns whether the run is kept for reading: as lines, or as a recording.
    pub(crate) fn is_kept(&self) -> bool {
        self.keep != Keep::Nothing || self.recording.is_some()
    }

    pub(crate) fn into_parts(self) -> (Vec<String>, Option<Recording>) {
        (self.lines, self.recording.map(|recording| *recording))
    }

    /// Records from now on, at most `limit` events.
    pub(crate) fn record(&mut self, limit: usize) {
        self.recording = Some(Box::new(Recording::new(limit)));
    }

    pub(crate) fn event(
        &mut self,
        at_us: u64,
        node: usize,
        weight: Weight,
        verb: &'static str,
        fields: &[Field<'_>],
    ) {
        self.seq += 1;
        self.mix(at_us);
        self.mix(node as u64);
        self.mix_bytes(verb.as_bytes());
        for field in fields {
            match *field {
                Field::Num(_, number) | Field::Mute(number) => self.mix(number),
                Field::Node(_, index) => self.mix(index as u64),
                Field::Word(_, word) => self.mix_bytes(word.as_bytes()),
                Field::Bytes(_, bytes) => self.mix_bytes(bytes),
            }
        }
        let kept = match self.keep {
            Keep::Nothing => false,
            Keep::Story => weight == Weight::Story,
            Keep::All => true,
        };
        if kept {
            let line = self.line(at_us, node, verb, fields);
            self.lines.push(line);
        }
        if let Some(recording) = &mut self.recording {
            recording.event(at_us, self.seq, node, weight, verb, fields);
        }
    }

    /// A message was handed to the network. Not a line: the trace tells of arrivals and losses.
    pub(crate) fn sent(
        &mut self,
        at_us: u64,
        number: u64,
        link: u64,
        way: (usize, usize),
        msg: &Message,
    ) {
        if let Some(recording) = &mut self.recording {
            let flight = recording::flight(number, msg, link, way, (at_us, self.seq));
            recording.sent(flight, msg);
        }
    }

    /// A message of an application was handed to the network.
    pub(crate) fn posted(&mut self, at_us: u64, number: u64, way: (usize, usize)) {
        if let Some(recording) = &mut self.recording {
            let flight = recording::app_flight(number, way, (at_us, self.seq));
            recording.flies(flight);
        }
    }

    /// The line just written is the end of a message's way.
    pub(crate) fn ended(&mut self, number: u64, outcome: Outcome) {
        if let Some(recording) = &mut self.recording {
            recording.ended(number, outcome);
        }
    }

    /// A message came to nothing, without a line.
    pub(crate) fn vanished(&mut self, number: u64, outcome: Outcome) {
        if let Some(recording) = &mut self.recording {
            recording.vanished(number, outcome);
        }
    }

    /// An operation got its number.
    pub(crate) fn promised(&mut self, op: u64, table: &str, key: &Bytes) {
        if let Some(recording) = &mut self.recording {
            recording.promised(op, table, key);
        }
    }

    /// The line just written tells of this batch of the node.
    pub(crate) fn stored(&mut self, node: usize, batch: &[StoreOp]) {
        if let Some(recording) = &mut self.recording {
            recording.stored(node, batch);
        }
    }

    /// A fault is in force, with the nodes it really strikes.
    pub(crate) fn fault_begins(&mut self, at_us: u64, number: usize, what: &FaultWhat) {
        if let Some(recording) = &mut self.recording {
            recording.fault_begins(at_us, number, what);
        }
    }

    /// A fault is over.
    pub(crate) fn fault_ends(&mut self, at_us: u64, number: usize) {
        if let Some(recording) = &mut self.recording {
            recording.fault_ends(at_us, number);
        }
    }

    /// All faults are over.
    pub(crate) fn all_faults_end(&mut self, at_us: u64) {
        if let Some(recording) = &mut self.recording {
            recording.all_faults_end(at_us);
        }
    }

    fn line(&self, at_us: u64, node: usize, verb: &'static str, fields: &[Field<'_>]) -> String {
        let mut line = match node {
            WORLD => format!("{at_us} {} - {verb}", self.seq),
            _ => format!("{at_us} {} n{node} {verb}", self.seq),
        };
        for field in fields {
            // Writing to a string cannot fail.
            let _ = match *field {
                Field::Num(name, number) => write!(line, " {name}={number}"),
                Field::Mute(_) => Ok(()),
                Field::Node(name, WORLD) => write!(line, " {name}=?"),
                Field::Node(name, index) => write!(line, " {name}=n{index}"),
                Field::Word(name, word) => write!(line, " {name}={word}"),
                Field::Bytes(name, bytes) => write!(line, " {name}={}", bytes.escape_ascii()),
            };
        }
        line
    }

    fn mix(&mut self, word: u64) {
        // A multiply, a fold and an addition: cheap, and no input leads to a fixed point.
        let wide = u128::from(self.hash ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.hash = ((wide >> 64) as u64 ^ wide as u64).wrapping_add(0xd1b5_4a32_d192_ed03);
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let shifted = |(place, byte): (usize, &u8)| u64::from(*byte) << (8 * place);
            self.mix(rest.iter().enumerate().map(shifted).sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_depend_on_what_is_kept() {
        let mut hashes = Vec::new();
        for keep in [Keep::Nothing, Keep::Story, Keep::All] {
            let mut trace = Trace::new(keep);
            trace.event(
                5,
                1,
                Weight::Detail,
                "probe",
                &[Field::Mute(9), Field::Num("n", 2)],
            );
            trace.event(
                7,
                WORLD,
                Weight::Story,
                "heal",
                &[Field::Bytes("key", b"a\n")],
            );
            hashes.push(trace.hash());
            let kept = trace.lines().to_vec();
            match keep {
                Keep::Nothing => assert!(kept.is_empty()),
                Keep::Story => assert_eq!(kept, ["7 2 - heal key=a\\n"]),
                Keep::All => assert_eq!(kept, ["5 1 n1 probe n=2", "7 2 - heal key=a\\n"]),
            }
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    }

    #[test]
    fn the_hash_sees_every_field() {
        let hash = |fields: &[Field<'_>]| {
            let mut trace = Trace::new(Keep::Nothing);
            trace.event(1, 0, Weight::Detail, "x", fields);
            trace.hash()
        };
        let all = [
            hash(&[]),
            hash(&[Field::Num("a", 0)]),
            hash(&[Field::Mute(1)]),
            hash(&[Field::Bytes("k", b"k")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
    }
}
