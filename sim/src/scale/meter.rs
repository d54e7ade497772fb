//! Counts while a cluster is measured: frames as they are sent, writes as they are shown, verdicts as they are told.

use bytes::Bytes;
use rumormill_core::link::encode;
use rumormill_core::wire::{Message, RowBatch};
use rumormill_core::{
    NodeId,
    io::{Event, Lane},
    table::RowClass,
};

/// A number of frames' messages and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Traffic {
    fn add(&mut self, other: Traffic) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// A message as it is counted for each link it is sent on.
#[derive(Clone, Copy)]
pub(crate) struct Parcel {
    whole: Traffic,
    /// Users' rows in it.
    rows: u64,
}

impl Parcel {
    pub(crate) fn of(msg: &Message, lane: Lane) -> Self {
        let rows = msg.rows().map_or(0, users_rows);
        // A node emits no message without frames.
        let bytes = encode(msg, lane).map_or(0, |frames| frames.len() as u64);
        Parcel {
            whole: Traffic { messages: 1, bytes },
            rows,
        }
    }
}

fn users_rows(batch: &RowBatch) -> u64 {
    let of_users = |table: u32| {
        let table = batch.tables.get(table as usize);
        table.is_some_and(|table| table.class != RowClass::Sys as u8)
    };
    batch.rows.iter().filter(|row| of_users(row.table)).count() as u64
}

/// A node took a member for suspect or dead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) at_us: u64,
    pub(super) about: NodeId,
    pub(super) dead: bool,
}

/// The counters of one stage.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    nodes: usize,
    pub(super) all: Traffic,
    /// Messages with rows of users' tables.
    pub(super) carrying: Traffic,
    /// The rows in them.
    pub(super) copies: u64,
    /// When each write was accepted.
    writes: Vec<u64>,
    /// A bit for each write and node: shown there.
    seen: Vec<u64>,
    /// From acceptance to showing, for each write and each other node, in microseconds.
    pub(super) delays: Vec<u64>,
    /// When a write was last shown somewhere for the first time.
    pub(super) last_us: u64,
    pub(super) verdicts: Vec<Verdict>,
}

impl Meter {
    pub(super) fn new(nodes: usize) -> Self {
        Meter {
            nodes,
            ..Meter::default()
        }
    }

    /// A message was handed to the network for one link.
    pub(crate) fn sent(&mut self, parcel: Parcel) {
        self.all.add(parcel.whole);
        if parcel.rows > 0 {
            self.carrying.add(parcel.whole);
            self.copies += parcel.rows;
        }
    }

    /// The number that the next write's value begins with.
    pub(super) fn next(&self) -> u64 {
        self.writes.len() as u64
    }

    /// A node accepts the next write.
    pub(super) fn accepted(&mut self, at_us: u64, node: usize) {
        let number = self.writes.len();
        self.writes.push(at_us);
        let bits = self.writes.len() * self.nodes;
        self.seen.resize(bits.div_ceil(64), 0);
        self.take_seen(number, node);
    }

    /// A node shows a value, perhaps one that was written before this stage.
    pub(crate) fn shown(&mut self, at_us: u64, node: usize, value: &Bytes) {
        let Some(number) = value.first_chunk().map(|lead| u64::from_le_bytes(*lead)) else {
            return;
        };
        let number = number as usize;
        let Some(accepted_us) = self.writes.get(number).copied() else {
            return;
        };
        if self.take_seen(number, node) {
            self.delays.push(at_us - accepted_us);
            self.last_us = at_us;
        }
    }

    /// Whether this is the first time.
    fn take_seen(&mut self, number: usize, node: usize) -> bool {
        let bit = number * self.nodes + node;
        let (word, mask) = (&mut self.seen[bit / 64], 1_u64 << (bit % 64));
        let first = *word & mask == 0;
        *word |= mask;
        first
    }

    /// Showings that are still to come.
    pub(super) fn missing(&self) -> u64 {
        (self.writes.len() * (self.nodes - 1)) as u64 - self.delays.len() as u64
    }

    /// A node told something to its operator.
    pub(crate) fn told(&mut self, at_us: u64, event: &Event) {
        let (about, dead) = match *event {
            Event::MemberSuspect(about) => (about, false),
            Event::MemberDown(about) => (about, true),
            _ => return,
        };
        self.verdicts.push(Verdict { at_us, about, dead });
    }
}
