//! Rot: bits of stored records flip, and the node finds out when it reads them or starts.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use rumormill_core::store::RecordKind;

use crate::disk::Disk;
use crate::faults::FaultKind;
use crate::injection::Ending;
use crate::plan::{FaultWhat, Table};
use crate::rng::Rng;
use crate::trace::{Field, Weight};
use crate::world::World;

impl World {
    pub(crate) fn begin_rot(&mut self, number: usize, what: &FaultWhat, node: usize, bits: u32) {
        self.finish_turn();
        let Some(node) = self.member_with_disk(node) else {
            return self.try_again(number);
        };
        let host = &mut self.hosts[node];
        let struck = flip(&mut host.disk, &mut host.drive.disk_rng, bits);
        if struck.is_empty() {
            return self.try_again(number);
        }
        host.ties.rotten = Some(host.boot);
        self.outdate_copies(node);
        self.strikes(number, what, node);
        self.course.endings.insert(number, Ending::Reboot(node));
        self.count_by(FaultKind::Rot.name(), struck.len() as u64);
        let fields = [Field::Num("bits", struck.len() as u64)];
        self.trace
            .event(self.now_us, node, Weight::Story, "rots", &fields);
        for (table, key) in struck.iter().filter_map(row_of) {
            // Only this disk may have held it: no other member need have synced what a client was told.
            self.observers.on_rot(node, table, &key);
        }
        // Whatever else no other member has is proposed anew.
        let held = self.held(node);
        self.observers.on_went_alone(node, held.as_ref());
    }

    /// Whether the node runs on a disk that has rotted: it may be unable to read a value, and has to say so.
    pub(crate) fn has_rotted(&self, node: usize) -> bool {
        let host = &self.hosts[node];
        host.ties.rotten == Some(host.boot)
    }

    /// An operator restarts a node whose disk has rotted, unless it has been restarted since.
    pub(crate) fn reboot_rotten(&mut self, node: usize) {
        self.finish_turn();
        if self.hosts[node].node.is_none() || !self.has_rotted(node) {
            return;
        }
        let keep = self.hosts[node].disk.unsynced();
        self.power_off(node, keep, true);
        self.trace
            .event(self.now_us, node, Weight::Story, "reboot", &[]);
        self.break_links(node, true);
        self.start(node);
    }
}

/// Flips so many bits of rows of users' tables and of contexts. Returns the keys of the records, one for each bit.
fn flip(disk: &mut Disk, rng: &mut Rng, bits: u32) -> Vec<Bytes> {
    let mut struck = Vec::new();
    disk.change_durable(|durable| struck = flip_in(durable, rng, bits));
    struck
}

fn flip_in(durable: &mut BTreeMap<Bytes, Bytes>, rng: &mut Rng, bits: u32) -> Vec<Bytes> {
    let keys = durable.keys().filter(|key| {
        matches!(RecordKind::of(key), RecordKind::Context { .. }) || row_of(key).is_some()
    });
    let keys: Vec<Bytes> = keys.cloned().collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let mut struck = Vec::new();
    for _ in 0..bits {
        let key = &keys[rng.below(keys.len() as u64) as usize];
        let Some(value) = durable.get_mut(key) else {
            continue;
        };
        let mut rotten = BytesMut::from(&value[..]);
        let bit = rng.below(rotten.len() as u64 * 8);
        rotten[(bit / 8) as usize] ^= 1 << (bit % 8);
        *value = rotten.freeze();
        struck.push(key.clone());
    }
    struck
}

/// The table and key of a stored row of a client.
pub(crate) fn row_of(record: &Bytes) -> Option<(Table, Bytes)> {
    let (name, key) = RecordKind::of(record).user_row()?;
    let key = record.slice_ref(key);
    let mut tables = Table::ALL.into_iter();
    let table = tables.find(|table| table.name() == name)?;
    Some((table, key))
}
