//! Lost writes: records vanish from a disk without a word, and nothing is damaged that a checksum would show.

use std::collections::BTreeSet;

use bytes::Bytes;
use rumormill_core::table::Version;

use crate::checkers::Contents;
use crate::faults::FaultKind;
use crate::injection::Ending;
use crate::plan::{FaultWhat, Table};
use crate::rot::row_of;
use crate::trace::{Field, Weight};
use crate::world::World;

impl World {
    /// Stops the node and makes some of its rows vanish from its disk; it starts again when the fault ends. Only rows that another member
    /// shows too may vanish: a row that no member has cannot be brought back.
    pub(crate) fn begin_vanish(&mut self, number: usize, what: &FaultWhat, node: usize, rows: u32) {
        self.finish_turn();
        let Some(node) = self.member_with_disk(node) else {
            return self.try_again(number);
        };
        let elsewhere = self.shown_elsewhere(node);
        let vanishing = self.vanishing(node, rows, &elsewhere);
        if vanishing.is_empty() {
            return self.try_again(number);
        }
        for (table, key) in vanishing.iter().filter_map(row_of) {
            self.observers.on_row_lost(node, table, &key);
        }
        self.observers.on_loss(node);
        self.outdate_copies(node);
        let keep = self.hosts[node].disk.unsynced();
        self.power_off(node, keep, true);
        self.break_links(node, true);
        self.hosts[node].disk.lose(&vanishing);
        self.strikes(number, what, node);
        self.course.endings.insert(number, Ending::Start(node));
        self.count_by(FaultKind::Vanish.name(), vanishing.len() as u64);
        let fields = [Field::Num("rows", vanishing.len() as u64)];
        self.trace
            .event(self.now_us, node, Weight::Story, "loses", &fields);
    }

    /// A node has repaired rows that it lacked. Rows of members whose contexts agree differ only where a disk has lost some: a repair
    /// would hide any other reason.
    pub(crate) fn repaired(&mut self, node: usize) {
        let shown = self.contents(node);
        self.observers
            .on_repair((self.now_us, node), shown.as_ref());
    }

    /// Returns the contents that the other members show.
    fn shown_elsewhere(&self, node: usize) -> Vec<Contents> {
        let others = (0..self.hosts.len()).filter(|other| *other != node && self.is_member(*other));
        others.filter_map(|other| self.contents(other)).collect()
    }

    /// Keys of records whose rows this node and another member show in one version.
    fn vanishing(&mut self, node: usize, rows: u32, elsewhere: &[Contents]) -> BTreeSet<Bytes> {
        let Some(here) = self.contents(node) else {
            return BTreeSet::new();
        };
        let is_elsewhere = |table: Table, key: &Bytes, version: Version| {
            let mut shown = elsewhere
                .iter()
                .filter_map(|contents| contents.get(table, key));
            shown.any(|row| row.version == version)
        };
        let host = &mut self.hosts[node];
        let stored = host.disk.records();
        let shown = stored.keys().filter(|record| {
            let place = row_of(record);
            let row = place.and_then(|(table, key)| {
                let version = here.get(table, &key)?.version;
                Some((table, key, version))
            });
            row.is_some_and(|(table, key, version)| is_elsewhere(table, &key, version))
        });
        let mut candidates: Vec<Bytes> = shown.cloned().collect();
        let mut vanishing = BTreeSet::new();
        while !candidates.is_empty() && vanishing.len() < rows as usize {
            let at = host.drive.disk_rng.below(candidates.len() as u64) as usize;
            vanishing.insert(candidates.swap_remove(at));
        }
        vanishing
    }
}
