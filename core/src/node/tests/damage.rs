//! Stores that are damaged: what a node makes of what is left, with members and without.

use std::string::String;
use std::vec::Vec;

use super::*;
use crate::table::RowClass;
use crate::table::gossip;

impl Lab {
    /// Recovers the node from its disk, with copies of the records of its identity, or without.
    pub(super) fn recover(&mut self, i: usize, spare: &[Record]) -> Result<(), RecoverError> {
        #[cfg(feature = "mutants")]
        {
            self.configs[i].mutant = planted::awake();
        }
        let seed = Seed::from_u64(7 + self.now.mono.as_micros());
        let mut recovery = Recovery::new(self.configs[i].clone(), seed);
        spare.iter().for_each(|record| recovery.spare(record));
        for record in self.records(i) {
            recovery.record(record)?;
        }
        self.nodes[i] = Some(recovery.finish(self.now)?);
        Ok(())
    }

    fn records(&self, i: usize) -> Vec<Record> {
        let records = self.disks[i].iter();
        let record = |(key, value): (&Bytes, &Bytes)| Record {
            key: key.clone(),
            value: value.clone(),
        };
        records.map(record).collect()
    }

    pub(super) fn spares(&self, i: usize) -> Vec<Record> {
        let mut records = self.records(i);
        records.retain(Record::says_which_node);
        assert_eq!(records.len(), 2);
        records
    }

    pub(super) fn rot(&mut self, i: usize, key: &Bytes, bit: usize) {
        let mut rotten = self.disks[i][key].to_vec();
        let at = bit % rotten.len();
        rotten[at] ^= 0x10;
        self.disks[i].insert(key.clone(), rotten.into());
    }

    /// Puts a note into an empty store, as a driver does that could read nothing of the old one.
    fn lose_everything(&mut self, i: usize) {
        self.disks[i].clear();
        let note = Record::damage("db/0.jnl is damaged");
        self.disks[i].insert(note.key, note.value);
    }

    pub(super) fn damage(&self, i: usize) -> Option<String> {
        let node = self.nodes[i].as_ref();
        node.and_then(Node::damage).map(ToString::to_string)
    }
}

#[test]
fn whatever_record_is_damaged_a_member_repairs_it() {
    let (lab, _) = Lab::with_an_old_copy();
    let keys: Vec<Bytes> = lab.disks[2].keys().cloned().collect();
    for (number, key) in keys.iter().enumerate() {
        let (mut lab, _) = Lab::with_an_old_copy();
        let (spare, id) = (lab.spares(2), lab.id_on_disk(2));
        lab.rot(2, key, number);
        lab.recover(2, &spare).unwrap();
        let node = lab.node(2);
        assert_eq!(node.id(), id, "it stays the same member");
        assert!(!node.is_full(), "record {number} counts for nothing");
        assert!(node.damage().unwrap().contains("is damaged"));
        lab.run(10_000);
        assert!(lab.marked(2, "damaged-records") && lab.marked(2, "rejoined"));
        assert_eq!(lab.damage(2), None, "it is repaired");
        lab.expect_only_kept_and_own();
        lab.put(2, "more", "v");
        lab.run(3_000);
        lab.stop(2);
        // Its disk can be read now, and says the same.
        lab.start(2);
        assert!(
            !lab.marked(2, "damaged-records"),
            "record {number} is still damaged"
        );
        lab.run(5_000);
        lab.expect_only_kept_and_own();
    }
}

impl Lab {
    /// Which node the disk says it is.
    pub(super) fn id_on_disk(&self, i: usize) -> NodeId {
        let identity = &self.disks[i][&b"midentity"[..]];
        NodeId(u64::from_le_bytes(identity[..8].try_into().unwrap()))
    }

    /// Every member has all rows, and no other is waited for.
    fn expect_whole(&mut self) {
        self.expect_only_kept_and_own();
        self.delete(1, "own");
        self.run(10_000);
        assert_eq!(self.tombstones(), [0, 0, 0], "deletes are freed");
        assert_eq!(self.everywhere("own"), std::vec![None; 3]);
    }
}

#[test]
fn a_node_that_has_lost_everything_but_its_identity_comes_back_as_the_same_member() {
    let (mut lab, _) = Lab::with_an_old_copy();
    let (spare, id) = (lab.spares(2), lab.id_on_disk(2));
    (0..2).for_each(|i| lab.stop(i));
    lab.lose_everything(2);
    lab.recover(2, &spare).unwrap();
    assert_eq!((lab.node(2).id(), lab.phase_of(2)), (id, "joining"));
    assert_eq!(lab.damage(2).unwrap(), "db/0.jnl is damaged");
    // The note outlives a restart: nothing else on this disk tells that rows are missing.
    lab.quiesce();
    lab.stop(2);
    lab.start(2);
    assert!(lab.damage(2).is_some(), "the damage is remembered");
    (0..2).for_each(|i| lab.start(i));
    lab.run(10_000);
    assert_eq!(lab.damage(2), None);
    assert_eq!(lab.node(0).members().len(), 3, "no ghost is left");
    lab.expect_whole();
}

#[test]
pub(super) fn the_damage_of_a_row_is_remembered_until_the_node_has_rejoined() {
    let (mut lab, _) = Lab::with_an_old_copy();
    let spare = lab.spares(2);
    (0..2).for_each(|i| lab.stop(i));
    let row = gossip::record::row_key(RowClass::UsrDurable, "default", b"kept");
    lab.rot(2, &row, 7);
    lab.recover(2, &spare).unwrap();
    assert!(lab.damage(2).unwrap().contains("is damaged"));
    lab.run(3_000);
    for _ in 0..2 {
        lab.stop(2);
        lab.start(2);
        // The record is gone from the disk: nothing but the note tells of it.
        assert!(!lab.disks[2].contains_key(&row));
        assert!(lab.damage(2).is_some(), "the damage is remembered");
        lab.run(3_000);
    }
    (0..2).for_each(|i| lab.start(i));
    lab.run(10_000);
    assert_eq!(lab.damage(2), None);
    lab.expect_only_kept_and_own();
    lab.stop(2);
    lab.start(2);
    assert_eq!(lab.damage(2), None, "the note is gone");
}

#[test]
fn a_node_that_cannot_read_its_identity_is_a_new_member_and_says_so() {
    for keep_rows in [false, true] {
        let (mut lab, _) = Lab::with_an_old_copy();
        let id = lab.id_on_disk(2);
        match keep_rows {
            true => lab.rot(2, &Bytes::from_static(b"midentity"), 3),
            false => lab.lose_everything(2),
        }
        lab.recover(2, &[]).unwrap();
        assert_ne!(lab.node(2).id(), id);
        let said = lab.damage(2).unwrap();
        assert!(said.ends_with("the old one has to be evicted"), "{said}");
        lab.run(10_000);
        lab.expect_only_kept_and_own();
        let ghost = lab.node(0).members();
        let ghost = ghost.iter().find(|member| member.id == id).unwrap();
        assert_eq!(ghost.state, MemberState::Down, "the old one is waited for");
        assert_eq!(lab.node(0).members().len(), 4);
    }
}

#[test]
pub(super) fn a_damaged_node_begins_no_cluster_though_it_was_told_to_found_one() {
    let (mut lab, _) = Lab::with_an_old_copy();
    let spare = lab.spares(2);
    (0..2).for_each(|i| lab.stop(i));
    lab.configs[2].found = true;
    lab.lose_everything(2);
    lab.recover(2, &spare).unwrap();
    lab.run(30_000);
    assert_eq!(lab.phase_of(2), "joining", "rows are missing here");
    lab.stop(2);
    lab.start(2);
    lab.run(30_000);
    assert_eq!(lab.phase_of(2), "joining", "rows are missing here");
    (0..2).for_each(|i| lab.start(i));
    lab.run(10_000);
    lab.expect_whole();
}

#[test]
fn a_store_without_an_identity_does_not_start() {
    let (mut lab, _) = Lab::with_an_old_copy();
    lab.configs[2].seeds.clear();
    let disk = lab.disks[2].clone();
    for key in [&b"midentity"[..], b"mcluster"] {
        lab.disks[2] = disk.clone();
        lab.disks[2].remove(key);
        let outcome = lab.recover(2, &[]);
        assert!(
            matches!(outcome, Err(RecoverError::Incomplete { .. })),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_lone_node_does_not_start_on_a_damaged_store_unless_it_is_told_to() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    lab.put(0, "k", "v");
    lab.put(0, "other", "v");
    lab.run(3_000);
    lab.stop(0);
    let disk = lab.disks[0].clone();
    let row = disk.keys().find(|key| key.ends_with(b"defaultk")).unwrap();
    lab.rot(0, row, 0);
    let outcome = lab.recover(0, &[]);
    assert!(
        matches!(outcome, Err(RecoverError::Damaged { .. })),
        "{outcome:?}"
    );
    lab.configs[0].accept_damage = true;
    lab.recover(0, &[]).unwrap();
    assert_eq!(lab.phase_of(0), "member");
    assert!(lab.damage(0).is_some());
    assert_eq!((lab.get(0, "k"), lab.get(0, "other")), (None, value("v")));
    lab.run(3_000);
    lab.stop(0);
    // It was accepted once and for all.
    lab.configs[0].accept_damage = false;
    lab.recover(0, &[]).unwrap();
    assert_eq!((lab.damage(0), lab.get(0, "other")), (None, value("v")));
    // A note alone is damage too.
    lab.stop(0);
    lab.disks[0] = disk;
    let note = Record::damage("a table is damaged");
    lab.disks[0].insert(note.key, note.value);
    let outcome = lab.recover(0, &[]).map_err(|error| error.to_string());
    assert_eq!(outcome, Err("a table is damaged".to_string()));
}
