//! A run kept as values: what happened, every message on its way, and when faults were in force.
//!
//! The trace is text for a hash and for reviewers. A recording is the same run for programs: the page that draws it and
//! [`explain`](crate::explain) read it. A message is known by its number, which counts all messages of the run from 1.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use rumormill_core::wire::{Message, RowBatch};
use rumormill_core::{Domain, StoreOp};

use crate::plan::FaultWhat;
use crate::record_key::user_row;
use crate::story;
use crate::trace::{Field, WORLD, Weight};

/// A key by its place in [`Recording::keys`].
pub type KeyIndex = u32;

/// The value of a field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A number.
    Num(u64),
    /// A node by its index; `None` for one that the world does not know.
    Node(Option<usize>),
    /// One of a fixed set of words.
    Word(&'static str),
    /// A key or value.
    Bytes(Bytes),
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Num(number) => write!(f, "{number}"),
            FieldValue::Node(Some(node)) => write!(f, "n{node}"),
            FieldValue::Node(None) => f.write_str("?"),
            FieldValue::Word(word) => f.write_str(word),
            FieldValue::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii()),
        }
    }
}

/// A line of the trace as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// Its number in the trace.
    pub seq: u64,
    /// The node, or `None` for the world.
    pub node: Option<usize>,
    /// What happened.
    pub verb: &'static str,
    /// Whether it is only detail: probes without news, timers, syncs.
    pub detail: bool,
    /// The fields, in the order of the line.
    pub fields: Vec<(&'static str, FieldValue)>,
    /// The message that arrived or was lost here.
    pub message: Option<u64>,
    /// The users' keys that it is about, beside those of its message.
    pub keys: Vec<KeyIndex>,
    /// Of a `store`: the users' keys whose records it removes.
    pub removed: Vec<KeyIndex>,
}

impl Recorded {
    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&FieldValue> {
        let mut fields = self.fields.iter();
        fields.find(|(own, _)| *own == name).map(|(_, value)| value)
    }
}

/// The verb and the fields, as in the trace.
impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb)?;
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was on its way when the recording ended.
    Flying,
    /// It arrived, once or twice.
    Arrived,
    /// A lossy window took it.
    Lost,
    /// A cut lay in its way, or its receiver had no power.
    Swallowed,
    /// The receiver had forgotten the link.
    Reset,
    /// The link ended before it arrived.
    Missed,
    /// A planted bug took it.
    Stolen,
}

impl Outcome {
    /// Its name, as pages and explanations show it.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Flying => "flying",
            Outcome::Arrived => "arrived",
            Outcome::Lost => "lost",
            Outcome::Swallowed => "swallowed",
            Outcome::Reset => "reset",
            Outcome::Missed => "missed",
            Outcome::Stolen => "stolen",
        }
    }
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Its number among all messages of the run, from 1.
    pub number: u64,
    /// What it is: `push`, `probe`, ...; `app` when it is the application's own.
    pub kind: &'static str,
    /// Whether it is only detail.
    pub detail: bool,
    /// The link, by the number of its sending end; an application's messages have none.
    pub link: Option<u64>,
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// When it was sent, in virtual microseconds.
    pub sent_us: u64,
    /// The number of the last event before it was sent.
    pub sent_after: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Each arrival: when, in virtual microseconds, and the number of its event.
    pub arrivals: Vec<(u64, u64)>,
    /// The users' keys of the rows it carries.
    pub keys: Vec<KeyIndex>,
}

/// A time during which a fault was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The name of its kind.
    pub kind: &'static str,
    /// The fault in the words of a plan.
    pub text: String,
    /// The nodes it strikes; of a cut, one side. Empty when it strikes all.
    pub nodes: Vec<usize>,
    /// Of a cut, the other side.
    pub others: Vec<usize>,
    /// Its first moment, in virtual microseconds.
    pub from_us: u64,
    /// When it ended; `None` if it was in force when the recording ended.
    pub until_us: Option<u64>,
}

/// A run as values. Bounded: it ends at a number of events or messages given beforehand.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    limit: usize,
    events: Vec<Recorded>,
    flights: Vec<Flight>,
    spans: Vec<Span>,
    keys: Vec<(String, Bytes)>,
    key_index: BTreeMap<(String, Bytes), KeyIndex>,
    ops: BTreeMap<u64, KeyIndex>,
    open_spans: BTreeMap<usize, usize>,
    cut_us: Option<u64>,
    seen: u64,
}

impl Recording {
    /// An empty recording that takes at most `limit` events and as many messages.
    pub fn new(limit: usize) -> Self {
        Recording {
            limit,
            ..Recording::default()
        }
    }

    /// The events, in the order of the trace.
    pub fn events(&self) -> &[Recorded] {
        &self.events
    }

    /// The messages, in the order they were sent.
    pub fn flights(&self) -> &[Flight] {
        &self.flights
    }

    /// The message with a number.
    pub fn flight(&self, number: u64) -> Option<&Flight> {
        let place = self
            .flights
            .binary_search_by_key(&number, |flight| flight.number);
        place.ok().and_then(|place| self.flights.get(place))
    }

    /// The faults, in the order they began. Crashes are told by the events `crash` and `start`.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The users' keys that occurred, as table and key.
    pub fn keys(&self) -> &[(String, Bytes)] {
        &self.keys
    }

    /// The place of a key, if it occurred.
    pub fn key(&self, table: &str, key: &[u8]) -> Option<KeyIndex> {
        let wanted = (table.to_string(), Bytes::copy_from_slice(key));
        self.key_index.get(&wanted).copied()
    }

    /// When the limit cut the recording short, in virtual microseconds.
    pub fn cut_us(&self) -> Option<u64> {
        self.cut_us
    }

    /// Events that happened while it was recording, with those beyond the limit.
    pub fn events_seen(&self) -> u64 {
        self.seen
    }

    pub(crate) fn event(
        &mut self,
        at_us: u64,
        seq: u64,
        node: usize,
        weight: Weight,
        verb: &'static str,
        fields: &[Field<'_>],
    ) {
        self.seen += 1;
        if self.cut_us.is_some() || self.events.len() == self.limit {
            self.cut_us.get_or_insert(at_us);
            return;
        }
        let keys = self.keys_of(verb, fields);
        self.events.push(Recorded {
            at_us,
            seq,
            node: known(node),
            verb,
            detail: weight == Weight::Detail,
            fields: fields.iter().filter_map(value).collect(),
            message: None,
            keys,
            removed: Vec::new(),
        });
    }

    fn keys_of(&mut self, verb: &str, fields: &[Field<'_>]) -> Vec<KeyIndex> {
        let (mut table, mut key, mut op) = (None, None, None);
        for field in fields {
            match *field {
                Field::Word("table", word) => table = Some(word),
                Field::Bytes("key", bytes) => key = Some(bytes),
                Field::Num("op", number) if verb == "acked" => op = Some(number),
                _ => {}
            }
        }
        let of_op = op.and_then(|op| self.ops.get(&op).copied());
        let named = table
            .zip(key)
            .map(|(table, key)| self.intern(table, &Bytes::copy_from_slice(key)));
        of_op.into_iter().chain(named).collect()
    }

    fn intern(&mut self, table: &str, key: &Bytes) -> KeyIndex {
        let named = (table.to_string(), key.clone());
        if let Some(&index) = self.key_index.get(&named) {
            return index;
        }
        let index = self.keys.len() as KeyIndex;
        self.keys.push(named.clone());
        self.key_index.insert(named, index);
        index
    }

    /// A message was handed to the network, after the event numbered `sent_after`.
    pub(crate) fn sent(&mut self, mut flight: Flight, msg: &Message) {
        let batch = match msg {
            Message::Push(batch) => Some(batch),
            Message::Page(page) => Some(&page.rows),
            _ => None,
        };
        if self.cut_us.is_none() && self.flights.len() < self.limit {
            flight.keys = batch.map_or_else(Vec::new, |batch| self.keys_of_rows(batch));
        }
        self.flies(flight);
    }

    /// A message of whatever kind was handed to the network.
    pub(crate) fn flies(&mut self, flight: Flight) {
        if self.cut_us.is_some() || self.flights.len() == self.limit {
            self.cut_us.get_or_insert(flight.sent_us);
            return;
        }
        self.flights.push(flight);
    }

    fn keys_of_rows(&mut self, batch: &RowBatch) -> Vec<KeyIndex> {
        let mut keys = Vec::new();
        for row in &batch.rows {
            let table = batch.tables.get(row.table as usize);
            if let Some(table) = table.filter(|table| table.domain != Domain::Sys as u8) {
                keys.push(self.intern(&table.name, &row.key));
            }
        }
        keys
    }

    fn flight_mut(&mut self, number: u64) -> Option<&mut Flight> {
        let place = self
            .flights
            .binary_search_by_key(&number, |flight| flight.number);
        place.ok().and_then(|place| self.flights.get_mut(place))
    }

    /// The event just recorded is the end of a message's way.
    pub(crate) fn ended(&mut self, number: u64, outcome: Outcome) {
        if self.cut_us.is_some() {
            return;
        }
        let Some(event) = self.events.last_mut() else {
            return;
        };
        event.message = Some(number);
        let arrival = (event.at_us, event.seq);
        if let Some(flight) = self.flight_mut(number) {
            flight.outcome = outcome;
            if outcome == Outcome::Arrived {
                flight.arrivals.push(arrival);
            }
        }
    }

    /// A message came to nothing, and no event tells of it.
    pub(crate) fn vanished(&mut self, number: u64, outcome: Outcome) {
        let flight = self.flight_mut(number);
        // The other copy of a doubled message may have arrived.
        if let Some(flight) = flight.filter(|flight| flight.outcome == Outcome::Flying) {
            flight.outcome = outcome;
        }
    }

    /// An operation got its number, by which its acknowledgement will be told.
    pub(crate) fn promised(&mut self, op: u64, table: &str, key: &Bytes) {
        if self.cut_us.is_none() {
            let index = self.intern(table, key);
            self.ops.insert(op, index);
        }
    }

    /// The `store` just recorded carries these.
    pub(crate) fn stored(&mut self, batch: &[StoreOp]) {
        if self.cut_us.is_some() {
            return;
        }
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        for op in batch {
            let (key, into) = match op {
                StoreOp::Put(record) => (&record.key, &mut kept),
                StoreOp::Delete(key) => (key, &mut removed),
            };
            if let Some((table, key)) = user_row(key) {
                into.push(self.intern(table, &key));
            }
        }
        if let Some(event) = self.events.last_mut() {
            event.keys.extend(kept);
            event.removed.extend(removed);
        }
    }

    pub(crate) fn fault_begins(&mut self, at_us: u64, number: usize, what: &FaultWhat) {
        if self.cut_us.is_some() {
            return;
        }
        let [nodes, others] = what.nodes();
        self.open_spans.insert(number, self.spans.len());
        self.spans.push(Span {
            kind: what.kind().name(),
            text: what.to_string(),
            nodes,
            others,
            from_us: at_us,
            until_us: None,
        });
    }

    pub(crate) fn fault_ends(&mut self, at_us: u64, number: usize) {
        let place = self.open_spans.remove(&number);
        if let Some(span) = place.and_then(|place| self.spans.get_mut(place)) {
            span.until_us = Some(at_us);
        }
    }

    pub(crate) fn all_faults_end(&mut self, at_us: u64) {
        for (_, place) in std::mem::take(&mut self.open_spans) {
            if let Some(span) = self.spans.get_mut(place) {
                span.until_us = Some(at_us);
            }
        }
    }
}

/// A message that was just sent.
pub(crate) fn flight(
    number: u64,
    msg: &Message,
    link: u64,
    way: (usize, usize),
    at: (u64, u64),
) -> Flight {
    Flight {
        kind: story::kind(msg),
        detail: story::weight(msg) == Weight::Detail,
        link: Some(link),
        ..app_flight(number, way, at)
    }
}

/// A message that an application just sent.
pub(crate) fn app_flight(number: u64, way: (usize, usize), at: (u64, u64)) -> Flight {
    Flight {
        number,
        kind: "app",
        detail: false,
        link: None,
        from: way.0,
        to: way.1,
        sent_us: at.0,
        sent_after: at.1,
        outcome: Outcome::Flying,
        arrivals: Vec::new(),
        keys: Vec::new(),
    }
}

fn known(node: usize) -> Option<usize> {
    (node != WORLD).then_some(node)
}

fn value(field: &Field<'_>) -> Option<(&'static str, FieldValue)> {
    match *field {
        Field::Num(name, number) => Some((name, FieldValue::Num(number))),
        Field::Mute(_) => None,
        Field::Node(name, index) => Some((name, FieldValue::Node(known(index)))),
        Field::Word(name, word) => Some((name, FieldValue::Word(word))),
        Field::Bytes(name, bytes) => Some((name, FieldValue::Bytes(Bytes::copy_from_slice(bytes)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{FaultKind, FaultSet};
    use crate::run::{Options, record, run};

    const RUN: Options = Options {
        seed: 7,
        nodes: 3,
        minutes: 0,
        faults: FaultSet::ALL,
        trace: true,
    };

    #[test]
    fn a_recording_is_the_trace_and_changes_nothing() {
        let report = record(&RUN, usize::MAX);
        assert_eq!(report.hash, run(&RUN).hash);
        let recording = report.recording.unwrap();
        assert_eq!(recording.cut_us(), None);
        let lines = recording.events().iter().map(|event| {
            let node = event
                .node
                .map_or_else(|| "-".to_string(), |node| format!("n{node}"));
            format!("{} {} {node} {event}", event.at_us, event.seq)
        });
        assert!(lines.eq(report.trace));
    }

    #[test]
    fn every_message_has_its_end() {
        let report = record(&RUN, usize::MAX);
        let recording = report.recording.unwrap();
        let mut ends = 0;
        for event in recording.events() {
            let Some(flight) = event.message.and_then(|number| recording.flight(number)) else {
                assert!(
                    event.field("rows").is_none() || event.verb == "caught_up",
                    "{event}"
                );
                continue;
            };
            ends += 1;
            if flight.outcome == Outcome::Arrived {
                assert_eq!(event.verb, flight.kind);
                assert_eq!(event.node, Some(flight.to));
                assert_eq!(
                    event.field("from"),
                    Some(&FieldValue::Node(Some(flight.from)))
                );
                assert!(flight.arrivals.contains(&(event.at_us, event.seq)));
                assert!(flight.sent_us <= event.at_us && flight.sent_after < event.seq);
            } else {
                assert_eq!(event.verb, flight.outcome.name());
                assert_eq!(event.node, Some(flight.from));
            }
        }
        let told: usize = recording
            .flights()
            .iter()
            .map(|flight| match flight.outcome {
                Outcome::Arrived => flight.arrivals.len(),
                Outcome::Lost | Outcome::Swallowed => 1,
                _ => 0,
            })
            .sum();
        assert_eq!(ends, told);
        // The numbers also count what was sent into links that had just closed.
        assert!(recording.flights().len() as u64 <= report.counts["messages"]);
    }

    #[test]
    fn a_doubled_message_arrives_twice() {
        let faults = FaultSet::NONE.with(FaultKind::Dup);
        let report = record(&Options { faults, ..RUN }, usize::MAX);
        let recording = report.recording.unwrap();
        let flights = recording.flights().iter();
        let twice = flights.filter(|flight| flight.arrivals.len() == 2).count() as u64;
        // A copy that comes late may find its link gone.
        assert!((1..=report.faults["dup"]).contains(&twice), "{twice}");
    }

    #[test]
    fn faults_have_their_time_and_nodes() {
        let report = record(&RUN, usize::MAX);
        let recording = report.recording.unwrap();
        let mut kinds: Vec<&str> = recording.spans().iter().map(|span| span.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert!(
            FaultKind::ALL
                .iter()
                .all(|kind| kinds.contains(&kind.name())),
            "{kinds:?}"
        );
        for span in recording.spans() {
            assert!(
                span.until_us
                    .is_some_and(|until_us| until_us > span.from_us),
                "{span:?}"
            );
            let cut = ["partition", "oneway", "partial", "bridge", "flap"].contains(&span.kind);
            assert_eq!(!span.others.is_empty(), cut, "{span:?}");
        }
    }
}
