//! Values that are only on a disk: the disk answers loads late, and clients read them.

use bytes::Bytes;
use rumormill_core::{
    Input, LoadId, Request, RequestError, Response, Row, ScanRange, Token, Version,
};

use crate::checkers::{Violation, durability};
use crate::plan::Table;
use crate::rng::CERTAIN;
use crate::trace::{Field, Weight};
use crate::world::{Event, World};

/// A load takes from the first to the second, in microseconds; one in eight takes eight times as long.
const LOAD_US: (u64, u64) = (50, 2_000);
/// Reads per operation, in parts per million, where values leave memory.
const READS_PPM: u32 = CERTAIN / 2;
/// Keys that clients read.
const READ_KEYS: u64 = 16;
/// How long the last reads may take, in microseconds.
const LAST_READS_US: u64 = 10_000_000;
const LAST_READS_STEP_US: u64 = 100_000;

/// What a disk will answer.
pub(crate) struct Answer {
    load: LoadId,
    query: Bytes,
    /// What was there when the load was issued. `None`: the disk looks when it answers.
    early: Option<Option<Bytes>>,
}

impl World {
    /// A node wants a record. The disk looks at once or at the end: both show what was stored before.
    pub(crate) fn load(&mut self, node: usize, load: LoadId, query: Bytes) {
        self.count("loads");
        let fields = [Field::Num("load", load.0), Field::Bytes("key", &query)];
        self.trace
            .event(self.now_us, node, Weight::Detail, "load", &fields);
        let host = &mut self.hosts[node];
        let mut wait_us = host.load_rng.between(LOAD_US.0, LOAD_US.1);
        if host.load_rng.chance(CERTAIN / 8) {
            wait_us *= 8;
        }
        let looks_now = host.load_rng.chance(CERTAIN / 2);
        let early = looks_now.then(|| host.disk.read(&query));
        let life = host.life;
        let answer = Box::new(Answer { load, query, early });
        self.push(self.now_us + wait_us, Event::Loaded { node, life, answer });
    }

    pub(crate) fn loaded(&mut self, node: usize, answer: Answer) {
        let Answer { load, query, early } = answer;
        let mut value = early.unwrap_or_else(|| self.hosts[node].disk.read(&query));
        if self.sabotage.misreads(node) {
            value = value.map(|value| value.slice(1..));
        }
        let len = value.as_ref().map_or(0, Bytes::len) as u64;
        let fields = [Field::Num("load", load.0), Field::Num("bytes", len)];
        self.trace
            .event(self.now_us, node, Weight::Detail, "loaded", &fields);
        let result = Ok(value);
        self.input(node, Input::Loaded { load, result });
    }

    /// Where values leave memory, clients also read now and then.
    pub(crate) fn read_sometimes(&mut self, node: usize, table: Table) {
        if self.resident_value.is_some() && self.hosts[node].load_rng.chance(READS_PPM) {
            let number = self.hosts[node].load_rng.below(READ_KEYS);
            self.ask(node, table, Bytes::from(format!("k{number}")));
        }
    }

    fn ask(&mut self, node: usize, table: Table, key: Bytes) {
        self.count("reads");
        self.last_token += 1;
        let token = Token(self.last_token);
        let host = &mut self.hosts[node];
        host.asked.insert(token, (table, key.clone()));
        let table = host.tables[table as usize];
        let request = Request::Get { table, key };
        let deadline = None;
        self.input(
            node,
            Input::Request {
                token,
                deadline,
                request,
            },
        );
    }

    /// A read is answered: a value must be what was written under its version.
    pub(crate) fn answered(
        &mut self,
        node: usize,
        token: Token,
        result: Result<Response, RequestError>,
    ) {
        let Some((table, key)) = self.hosts[node].asked.remove(&token) else {
            return;
        };
        match result {
            Ok(Response::Row(Some(row))) => {
                let Row { value, version, .. } = row;
                let text = durability::check_read(table, &key, version, &value, &self.model);
                self.blame(node, text);
                self.hosts[node].values.insert(version, value);
            }
            Ok(_) => {}
            Err(error) => {
                self.count("reads_failed");
                let text = format!(
                    "{}/{} cannot be read: {error}",
                    table.name(),
                    key.escape_ascii()
                );
                self.blame(node, Some(text));
            }
        }
    }

    fn blame(&mut self, node: usize, text: Option<String>) {
        let at_us = self.now_us;
        self.violations.extend(text.map(|text| Violation {
            checker: durability::NAME,
            at_us,
            text: format!("n{node}: {text}"),
        }));
    }

    /// Reads every value that is only on a disk, so that the judges see all values.
    pub(crate) fn read_cold_rows(&mut self) {
        if self.resident_value.is_none() {
            return;
        }
        for node in 0..self.hosts.len() {
            for (table, key) in self.cold_rows(node) {
                self.ask(node, table, key);
            }
        }
        let limit_us = self.now_us + LAST_READS_US;
        while self.now_us < limit_us && self.hosts.iter().any(|host| !host.asked.is_empty()) {
            self.run_until(self.now_us + LAST_READS_STEP_US);
        }
        for node in 0..self.hosts.len() {
            let waiting = self.hosts[node].asked.len();
            if waiting > 0 {
                self.blame(node, Some(format!("{waiting} reads are never answered")));
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
            let rows = view.scan(host.tables[slot], ScanRange::default());
            let cold = rows.filter(|row| row.value().is_none());
            out.extend(cold.map(|row| (table, row.key().clone())));
        }
        out
    }
}

/// Values that clients of one node have read, by version.
pub(crate) type Values = std::collections::BTreeMap<Version, Bytes>;
