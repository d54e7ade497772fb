//! Lost writes: records vanish from a disk without a word, and nothing is damaged that a checksum would show.

use std::collections::BTreeSet;

use bytes::Bytes;
use rumormill_core::wire::{GossipMessage, Message};
use rumormill_core::{RowClass, Version};

use crate::checkers::{Contents, Violation};
use crate::faults::FaultKind;
use crate::injection::Ending;
use crate::plan::{FaultWhat, Table};
use crate::rot::row_of;
use crate::trace::{Field, Weight};
use crate::world::World;

/// The name in reports of the checker that rows are repaired only where a disk has lost some.
pub(crate) const NAME: &str = "repairs";

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
            self.model.lost_key(node, table, &key);
        }
        self.hosts[node].lacks = true;
        let keep = self.hosts[node].disk.unsynced();
        self.power_off(node, keep, true);
        self.break_links(node, true);
        self.hosts[node].disk.change_durable(|durable| {
            durable.retain(|key, _| !vanishing.contains(key));
        });
        self.strikes(number, what, node);
        self.endings.insert(number, Ending::Start(node));
        self.count_by(FaultKind::Vanish.name(), vanishing.len() as u64);
        let fields = [Field::Num("rows", vanishing.len() as u64)];
        self.trace
            .event(self.now_us, node, Weight::Story, "loses", &fields);
    }

    /// A session ends with what its server covers: if that lacks rows of it, so may its client from now on. And a row with siblings
    /// that was written where others were lost replaces or covers some that it does not hold.
    pub(crate) fn takes_over(&mut self, from: usize, node: usize, msg: &Message) {
        let ends = matches!(msg, Message::Gossip(GossipMessage::Page(page)) if page.last.is_some());
        let has_siblings = || {
            let domain = RowClass::UsrDurableSiblings as u8;
            let tables = msg.rows().into_iter().flat_map(|rows| &rows.tables);
            tables.into_iter().any(|table| table.domain == domain)
        };
        if (ends || has_siblings()) && self.hosts.get(from).is_some_and(|host| host.lacks) {
            self.hosts[node].lacks = true;
        }
    }

    /// A node has repaired rows that it lacked. Rows of members whose contexts agree differ only where a disk has lost some: a repair
    /// would hide any other reason.
    pub(crate) fn repaired(&mut self, node: usize) {
        let found = (!self.hosts[node].lacks).then(|| Violation {
            checker: NAME,
            at_us: self.now_us,
            text: format!("n{node} repaired rows that no disk had lost"),
        });
        self.found_once(found);
        if let Some(shown) = self.contents(node) {
            self.model.repaired(node, &shown);
        }
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
        let shown = host.disk.keys().into_iter().filter(|record| {
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
            let at = host.disk_rng.below(candidates.len() as u64) as usize;
            vanishing.insert(candidates.swap_remove(at));
        }
        vanishing
    }
}
