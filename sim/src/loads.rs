//! Values that are only on a disk: the disk answers loads late, and clients read them.

use bytes::Bytes;
use rumormill_core::{
    LoadId, Token,
    errors::{ReadError, RequestError},
    io::{Input, Response},
    table::{Row, TableOp, TableRequest},
};

use crate::checkers::rows_of;
use crate::checkers::{Violation, durability};
use crate::event::Event;
use crate::plan::Table;
use crate::rng::CERTAIN;
use crate::sessions;
use crate::trace::{Field, Weight};
use crate::world::World;

/// A load takes from the first to the second, in microseconds; one in eight takes eight times as long.
const LOAD_US: (u64, u64) = (50, 2_000);
/// How long the last reads may take, in microseconds.
const LAST_READS_US: u64 = 10_000_000;
const LAST_READS_STEP_US: u64 = 100_000;

/// The value under a key, or why the disk cannot read it.
type Found = Result<Option<Bytes>, String>;

/// An answer of a disk to come.
pub(crate) struct FromDisk {
    load: LoadId,
    query: Bytes,
    /// The value at the time when the load was issued. `None`: the disk looks when it answers.
    early: Option<Found>,
}

impl World {
    /// A node wants a record. The disk looks at once or at the end: both show what was stored before.
    pub(crate) fn load(&mut self, node: usize, load: LoadId, query: Bytes) {
        self.count("loads");
        let fields = [Field::Num("load", load.0), Field::Bytes("key", &query)];
        self.trace
            .event(self.now_us, node, Weight::Detail, "load", &fields);
        let host = &mut self.hosts[node];
        let mut wait_us = host.drive.load_rng.between(LOAD_US.0, LOAD_US.1);
        if host.drive.load_rng.chance(CERTAIN / 8) {
            wait_us *= 8;
        }
        let looks_now = host.drive.load_rng.chance(CERTAIN / 2);
        let early = looks_now.then(|| host.disk.read(&query));
        let boot = host.boot;
        let answer = Box::new(FromDisk { load, query, early });
        self.push(self.now_us + wait_us, Event::Loaded { node, boot, answer });
    }

    pub(crate) fn loaded(&mut self, node: usize, answer: FromDisk) {
        let FromDisk { load, query, early } = answer;
        let mut value = early.unwrap_or_else(|| self.hosts[node].disk.read(&query));
        if self.sabotage.misreads(node) {
            value = value.map(|value| value.map(|value| value.slice(1..)));
        }
        let found = value.as_ref().ok().and_then(Option::as_ref);
        let len = found.map_or(0, Bytes::len) as u64;
        let fields = [Field::Num("load", load.0), Field::Num("bytes", len)];
        self.trace
            .event(self.now_us, node, Weight::Detail, "loaded", &fields);
        self.input(
            node,
            Input::Loaded {
                load,
                result: value,
            },
        );
    }

    /// Reads a row whose value is not in memory. The answer goes to this exchange of a client, if there is one.
    pub(crate) fn ask(&mut self, node: usize, table: Table, key: Bytes, exchange: Option<usize>) {
        self.count("reads_from_disk");
        let op = TableOp::Get { key: key.clone() };
        let request = TableRequest::new(self.hosts[node].tables[table as usize], op);
        let token = self.request(node, None, request.into());
        self.clients.on_ask(node, token, (table, key, exchange));
    }

    /// A read is answered: a value must be what was written under its version.
    pub(crate) fn answered(
        &mut self,
        node: usize,
        token: Token,
        result: Result<Response, RequestError>,
    ) {
        let Some((table, key, exchange)) = self.clients.on_reply(node, token) else {
            return self.request_answered(node, token, result);
        };
        if let Some(number) = exchange
            && let Ok(Response::Row(row)) = &result
        {
            let found = row.as_ref().map(|row| sessions::Found {
                version: row.version,
                value: row.value.clone(),
                expires: row.expires.is_some(),
            });
            let at = (self.now_us, node);
            if let Some(exchange) = self.observers.on_answer(number, at, found) {
                self.sabotage.answers(exchange);
            }
        }
        match result {
            Ok(Response::Row(Some(row))) => {
                let Row { value, version, .. } = row;
                let (at, place) = ((self.now_us, node), (table, &key));
                self.observers.on_value(at, place, version, &value);
                self.clients.on_value(node, version, value);
            }
            Ok(_) => {}
            // It left, or its disk failed: the client asks another.
            Err(RequestError::Halted) => self.count("reads_cut_off"),
            Err(RequestError::Read(ReadError::Damaged { .. } | ReadError::Store(_)))
                if self.has_rotted(node) =>
            {
                self.count("reads_of_rot");
            }
            Err(error) => {
                self.count("reads_failed");
                let text = format!(
                    "{}/{} cannot be read: {error}",
                    table.name(),
                    key.escape_ascii()
                );
                self.blame(node, &text);
            }
        }
    }

    fn blame(&mut self, node: usize, text: &str) {
        let at_us = self.now_us;
        self.observers.on_found([Violation {
            checker: durability::NAME,
            at_us,
            text: format!("n{node}: {text}"),
        }]);
    }

    /// Reads every value that is only on a disk, so that the judges see all values.
    pub(crate) fn read_cold_rows(&mut self) {
        if self.plan.resident_value.is_none() {
            return;
        }
        for node in 0..self.hosts.len() {
            for (table, key) in self.cold_rows(node) {
                self.ask(node, table, key, None);
            }
        }
        let limit_us = self.now_us + LAST_READS_US;
        while self.now_us < limit_us
            && (0..self.hosts.len()).any(|node| self.clients.reads_at(node) > 0)
        {
            self.run_until(self.now_us + LAST_READS_STEP_US);
        }
        for node in 0..self.hosts.len() {
            let waiting = self.clients.reads_at(node);
            if waiting > 0 {
                self.blame(node, &format!("{waiting} reads are never answered"));
            }
        }
        // Rows may have expired meanwhile.
        self.come_to_rest();
    }

    fn cold_rows(&self, node: usize) -> Vec<(Table, Bytes)> {
        let host = &self.hosts[node];
        let Some(running) = &host.node else {
            return Vec::new();
        };
        let view = running.view(host.now(self.now_us));
        let mut out = Vec::new();
        for (slot, table) in Table::ALL.into_iter().enumerate() {
            let rows = rows_of(&view, host.tables[slot]);
            let cold = rows.filter(|row| row.value().is_none() && row.sibling_count() == 1);
            out.extend(cold.map(|row| (table, row.key().clone())));
        }
        out
    }
}
