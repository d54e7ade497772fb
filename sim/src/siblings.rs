//! Clients of the table that keeps siblings: they read, keep the context, and write with it.

use bytes::Bytes;
use rumormill_core::table::{Conflict, Version, Write};

use crate::checkers::rows_of;
use crate::checkers::siblings::Shown;
use crate::model::Effect;
use crate::plan::Table;
use crate::trace::{Field, Weight};
use crate::world::World;

impl World {
    /// A client puts or deletes a key of the table that keeps siblings, at a node that runs.
    pub(crate) fn write_siblings(
        &mut self,
        client: u32,
        node: usize,
        key: &Bytes,
        value: Option<Bytes>,
    ) {
        let held = self.clients.contexts.get(&(client, key.clone())).cloned();
        let (context, seen) = held.unzip();
        let write = match (&value, &context) {
            (Some(value), Some(context)) => Write::Replace {
                key,
                value: value.clone(),
                context,
            },
            (Some(value), None) => Write::Put {
                key,
                value: value.clone(),
                expires: None,
            },
            (None, Some(context)) => Write::Remove { key, context },
            // A client that has read nothing has nothing to remove.
            (None, None) => return self.count("ops_without_context"),
        };
        let id = self.hosts[node].tables[Table::Siblings as usize];
        let is_early = self.takes_for_last_writer_wins(node);
        let result = self.with_node(node, |running, now| running.write(now, id, write));
        let Some(accepted) = self.unless_refused(node, Some(key), result) else {
            return;
        };
        let (word, counted) = match value {
            Some(_) => ("put", "sibling_puts"),
            None => ("delete", "sibling_deletes"),
        };
        let fields = [
            Field::Word("table", Table::Siblings.name()),
            Field::Bytes("key", key),
            Field::Num("seen", seen.as_ref().map_or(0, Vec::len) as u64),
            Field::Bytes("value", value.as_deref().unwrap_or_default()),
        ];
        let len = if value.is_some() { 4 } else { 3 };
        self.trace
            .event(self.now_us, node, Weight::Story, word, &fields[..len]);
        self.count(counted);
        let seen = seen.unwrap_or_default();
        self.observers.on_sibling_write(seen, is_early);
        if is_early {
            self.count("sibling_puts_early");
        }
        let effect = value.map_or(Effect::Delete, Effect::Put);
        self.promise(
            (None, node),
            (Table::Siblings, Some(key)),
            accepted,
            effect,
            true,
        );
    }

    /// Whether a node that runs has not heard yet that the table keeps siblings.
    fn takes_for_last_writer_wins(&self, node: usize) -> bool {
        let host = &self.hosts[node];
        let Some(running) = &host.node else {
            return false;
        };
        let view = running.view(host.now(self.now_us));
        let info = view.table_info(host.tables[Table::Siblings as usize]);
        info.is_some_and(|info| info.options.conflict != Conflict::Siblings)
    }

    /// A client reads a key of that table and keeps the context.
    pub(crate) fn read_siblings(&mut self, client: u32, node: usize, key: Bytes) {
        self.tally.events += 1;
        let host = &self.hosts[node];
        let Some(running) = &host.node else { return };
        let view = running.view(host.now(self.now_us));
        let row = view.get(host.tables[Table::Siblings as usize], &key).row();
        let siblings = row.and_then(|row| row.siblings());
        let shown = siblings
            .as_ref()
            .map_or(0, |siblings| siblings.values.len());
        let place = (client, key.clone());
        match siblings {
            Some(siblings) => {
                let values = siblings.values.into_iter().map(|(value, _)| value);
                let held = (siblings.context, values.collect());
                self.clients.contexts.insert(place, held);
            }
            None => drop(self.clients.contexts.remove(&place)),
        }
        let fields = [
            Field::Word("table", Table::Siblings.name()),
            Field::Bytes("key", &key),
            Field::Num("siblings", shown as u64),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "get", &fields);
        self.count("sibling_gets");
    }

    /// The value of a version in that table, which may be only on disks by now, as it was read from one of them or written.
    fn written(&self, key: &Bytes, version: Version) -> Option<Bytes> {
        let read = self.clients.read(version);
        let history = self.model().history(Table::Siblings, key)?;
        let mut ops = history.ops();
        let op = ops.find(|op| op.version == version);
        read.or_else(|| op?.effect.value()).cloned()
    }

    /// Returns the rows that running nodes show of the table that keeps siblings.
    pub(crate) fn all_siblings(&self) -> Vec<(usize, Shown)> {
        let hosts = self.hosts.iter().enumerate();
        let shown = hosts.filter_map(|(index, host)| {
            let node = host.node.as_ref()?;
            let view = node.view(host.now(self.now_us));
            let id = host.tables[Table::Siblings as usize];
            let rows = rows_of(&view, id);
            let rows = rows.map(|row| {
                let values = match row.siblings() {
                    Some(siblings) => siblings
                        .values
                        .into_iter()
                        .map(|(value, _)| value)
                        .collect(),
                    // Where no definition has made it a table of siblings.
                    None => {
                        let value = row.value().cloned();
                        let value = value.or_else(|| self.written(row.key(), row.version()));
                        value.into_iter().collect()
                    }
                };
                (row.key().clone(), values)
            });
            Some((index, rows.collect()))
        });
        shown.collect()
    }
}
