//! Clients: they write, delete, are told that it is done, and watch what changes.

use bytes::Bytes;
use rumormill_core::{Accepted, ChangeKind, Wall, Write};

use crate::model::{self, Effect};
use crate::plan::{Op, OpVerb, Table};
use crate::trace::{Field, Weight};
use crate::world::World;

/// Changes the watch reads at once.
const CHANGES: usize = 256;

impl World {
    /// Tells clients what the node says is durable, right or wrong.
    pub(crate) fn acknowledge(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(durable) = host.node.as_ref().map(|node| node.durable()) else {
            return;
        };
        while let Some((_, op)) = host.unacked.pop_front_if(|(seq, _)| *seq <= durable) {
            self.model.acked(op);
            let line = [Field::Num("op", op as u64)];
            self.trace
                .event(self.now_us, node, Weight::Story, "acked", &line);
        }
    }

    /// Reads what changed on the node since the last turn, as a watching client would.
    pub(crate) fn watch(&mut self, node: usize) {
        while let Some(slot) = self.hosts[node].changed.pop() {
            let host = &mut self.hosts[node];
            let Some(running) = &host.node else { return };
            let view = running.view(host.clock.now(self.now_us));
            let changes = match view.changes(host.tables[slot], host.cursors[slot], CHANGES) {
                Ok(changes) => changes,
                Err(lagged) => {
                    host.cursors[slot] = lagged.restart;
                    continue;
                }
            };
            host.cursors[slot] = changes.next;
            if changes.more {
                host.changed.push(slot);
            }
            let table = Table::ALL[slot];
            for change in &changes.changes {
                let Some((key, verb)) = key_of(&change.kind) else {
                    continue;
                };
                let shown = view.get(host.tables[slot], key).row();
                let value = shown
                    .and_then(|row| row.value())
                    .map_or(&[][..], |value| value);
                let fields = [
                    Field::Word("table", table.name()),
                    Field::Bytes("key", key),
                    Field::Bytes("value", value),
                ];
                let len = if value.is_empty() { 2 } else { 3 };
                self.trace
                    .event(self.now_us, node, Weight::Story, verb, &fields[..len]);
                // Whether a row has expired depends on the wall clock, which may go back.
                if shown.is_some_and(|row| row.expires().is_some()) {
                    continue;
                }
                let version = shown.map(|row| row.version());
                self.violations
                    .extend(host.watch.observe(self.now_us, node, table, key, version));
            }
        }
    }

    /// A client acts, on the node that was named or the next one that runs. Returns whether the store accepted.
    pub(crate) fn perform(&mut self, op: &Op) -> bool {
        let Some(node) = self.running_from(op.node) else {
            self.count("ops_nowhere");
            return false;
        };
        if self.hosts[node]
            .node
            .as_ref()
            .is_some_and(|node| node.pressure())
        {
            self.count("ops_held_back");
            return false;
        }
        let key = Bytes::from(format!("k{}", op.key));
        let value = Bytes::from(format!("v{}", self.model.len()));
        let accepted = self.write(node, op.table, &key, op.verb, value);
        self.read_sometimes(node, op.table);
        accepted
    }

    /// A client writes to or deletes from a node that runs. Returns whether the store accepted.
    pub(crate) fn write(
        &mut self,
        node: usize,
        table: Table,
        key: &Bytes,
        verb: OpVerb,
        value: Bytes,
    ) -> bool {
        self.touch(node);
        self.events += 1;
        let host = &mut self.hosts[node];
        host.spins = 0;
        let now = host.clock.now(self.now_us);
        let id = host.tables[table as usize];
        let Some(running) = &mut host.node else {
            return false;
        };
        let expires = match verb {
            OpVerb::PutFor { ttl_ms } => Some(Wall::from_millis(now.wall.as_millis() + ttl_ms)),
            OpVerb::Put | OpVerb::Delete => None,
        };
        let write = match verb {
            OpVerb::Delete => Write::Delete { key },
            OpVerb::Put | OpVerb::PutFor { .. } => Write::Put {
                key,
                value: value.clone(),
                expires,
            },
        };
        let Ok(accepted) = running.write(now, id, write) else {
            self.count("ops_refused");
            let fields = [Field::Bytes("key", key)];
            self.trace
                .event(self.now_us, node, Weight::Story, "refused_op", &fields);
            return false;
        };
        let (word, counted, effect) = match verb {
            OpVerb::Put => ("put", "puts", Effect::Put(value)),
            OpVerb::PutFor { .. } => ("put_for", "puts_expiring", Effect::PutFor(value)),
            OpVerb::Delete => ("delete", "deletes", Effect::Delete),
        };
        let fields = [
            Field::Word("table", table.name()),
            Field::Bytes("key", key),
            Field::Mute(accepted.version.clock.0),
            Field::Bytes("value", effect.value().map_or(b"", |value| &value[..])),
        ];
        let len = if effect == Effect::Delete { 3 } else { 4 };
        self.trace
            .event(self.now_us, node, Weight::Story, word, &fields[..len]);
        self.promise(node, table, key, accepted, counted, effect);
        true
    }

    /// Takes down what the store has promised by accepting.
    fn promise(
        &mut self,
        node: usize,
        table: Table,
        key: &Bytes,
        accepted: Accepted,
        counted: &'static str,
        effect: Effect,
    ) {
        // Deleting what is not there writes nothing and promises nothing.
        if effect == Effect::Delete && !accepted.existed {
            return self.count("deletes_of_nothing");
        }
        self.count(counted);
        let op = model::Accepted {
            at_us: self.now_us,
            node,
            version: accepted.version,
            effect,
            alone: self.hosts[node].alone,
        };
        let number = self.model.accepted(table, key, op);
        if accepted.sync {
            self.hosts[node].unacked.push_back((accepted.seq, number));
        } else {
            self.model.acked(number);
        }
        if table != Table::Memory {
            self.hosts[node].unsynced.push_back((accepted.seq, number));
        }
    }
}

fn key_of(kind: &ChangeKind) -> Option<(&Bytes, &'static str)> {
    match kind {
        ChangeKind::Put { key, .. } => Some((key, "shows")),
        ChangeKind::Deleted { key } => Some((key, "hides")),
        ChangeKind::Expired { key } => Some((key, "expires")),
        ChangeKind::Flushed => None,
    }
}
