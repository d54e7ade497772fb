//! A run kept as values: what happened, every message on its way, and when faults were in force.
//!
//! The trace is text for a hash and for reviewers. A recording is the same run for programs: the page that draws it and
//! [`explain`](crate::explain) read it. A message is known by its number, which counts all messages of the run from 1.

mod event;
mod flight;

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::store::RecordKind;
use rumormill_core::wire::{Message, RowBatch};
use rumormill_core::{io::StoreOp, table::RowClass};

pub use self::event::{FieldValue, Recorded};
use self::event::{known, value};
pub use self::flight::{Flight, Outcome};
pub(crate) use self::flight::{app_flight, flight};
use crate::plan::FaultWhat;
use crate::trace::{Field, Weight};

/// A key by its place in [`Recording::keys`].
pub type KeyIndex = u32;

/// A time during which a fault was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The name of its kind.
    pub kind: &'static str,
    /// The fault in the words of a plan.
    pub text: String,
    /// The nodes it strikes; of a cut, one side. Empty when it strikes all.
    pub nodes: Vec<usize>,
    /// The other side of a cut.
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
    /// The records of rows that each node has stored, by which a range of them is told.
    stored_rows: BTreeMap<(usize, Bytes), KeyIndex>,
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
        let batch = msg.rows();
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
            if let Some(table) = table.filter(|table| table.class != RowClass::Sys as u8) {
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

    /// The `store` of the node just recorded carries these.
    pub(crate) fn stored(&mut self, node: usize, batch: &[StoreOp]) {
        if self.cut_us.is_some() {
            return;
        }
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        for op in batch {
            let (key, into) = match op {
                StoreOp::Put(record) => (&record.key, &mut kept),
                StoreOp::Delete(key) => (key, &mut removed),
                StoreOp::DeleteRange { from, .. } => {
                    let rows = self.stored_rows.range((node, from.clone())..);
                    let rows = rows.take_while(|((of, key), _)| *of == node && op.decides(key));
                    let keys: Vec<_> = rows.map(|(key, _)| key.clone()).collect();
                    removed.extend(keys.iter().filter_map(|key| self.stored_rows.remove(key)));
                    continue;
                }
            };
            if let Some((table, row)) = RecordKind::of(key).user_row() {
                let index = self.intern(table, &key.slice_ref(row));
                let stored = (node, key.clone());
                match op {
                    StoreOp::Put(_) => self.stored_rows.insert(stored, index),
                    _ => self.stored_rows.remove(&stored),
                };
                into.push(index);
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

#[cfg(test)]
mod tests;
