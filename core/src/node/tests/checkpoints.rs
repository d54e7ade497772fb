//! Nodes that begin with a checkpoint of another node.

use super::*;

type Disk = BTreeMap<Bytes, Bytes>;

impl Lab {
    /// Starts one more node on a checkpoint that was restored.
    fn begin_with(&mut self, checkpoint: &Disk, seeds: &[usize]) -> usize {
        let i = self.nodes.len();
        let mut config = Config::new(&std::format!("n{i}"), &i.to_string());
        config.storage = Storage::Ordered;
        config.seeds = seeds.iter().map(ToString::to_string).collect();
        let mut disk = checkpoint.clone();
        let note = Record::restored();
        disk.insert(note.key, note.value);
        self.configs.push(config);
        self.disks.push(disk);
        self.nodes.push(None);
        self.start(i);
        i
    }

    fn has_note(&self, i: usize) -> bool {
        self.disks[i].contains_key(&Record::restored().key)
    }

    fn cluster_of(&self, i: usize) -> Vec<u8> {
        let cluster = &self.disks[i][&b"mcluster"[..]];
        // A name, its length before it, and the id.
        let len = 4 + u32::from_le_bytes(cluster[..4].try_into().unwrap()) as usize;
        cluster[len..len + 8].to_vec()
    }
}

#[test]
pub(super) fn a_node_that_begins_with_a_checkpoint_is_a_new_member_and_revives_nothing() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    lab.start(2);
    lab.run(5_000);
    let new = lab.begin_with(&copy, &[0]);
    let id = lab.node(new).id();
    assert_ne!(id, lab.node(2).id(), "another node");
    assert_eq!(lab.get(new, "gone"), value("v"), "it serves what it has");
    while lab.phase_of(new) != "member" {
        lab.run(10);
    }
    // At once: it frees deletes when all members that it knows have them.
    assert_eq!(lab.node(new).members().len(), 4, "it knows all members");
    assert!(lab.marked(new, "rejoined"));
    let repaired = lab.marked(new, "row-repaired");
    assert!(!repaired, "rows of members are found missing");
    lab.run(10_000);
    assert_eq!(lab.node(0).members().len(), 4);
    assert_eq!(lab.everywhere("gone"), std::vec![None; 4]);
    assert_eq!(lab.everywhere("kept"), std::vec![value("newer"); 4]);
    assert_eq!(lab.everywhere("own"), std::vec![value("v"); 4]);
    assert!(!lab.has_note(new));
    assert_eq!(lab.cluster_of(new), lab.cluster_of(0));
    lab.put(new, "after", "v");
    lab.delete(new, "own");
    lab.run(10_000);
    assert_eq!(lab.everywhere("after"), std::vec![value("v"); 4]);
    assert_eq!(lab.tombstones(), [0, 0, 0, 0], "deletes are freed");
    lab.stop(new);
    lab.start(new);
    assert_eq!(lab.node(new).id(), id, "it stays that node");
}

#[test]
fn a_node_that_begins_with_a_checkpoint_fetches_what_has_changed_since() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    (0..500).for_each(|n| lab.put(0, &std::format!("k{n}"), "v"));
    lab.run(3_000);
    let copy = lab.disks[1].clone();
    for n in 0..5 {
        lab.put(0, &std::format!("k{n}"), "newer");
        lab.delete(0, &std::format!("k{}", 10 + n));
        lab.put(0, &std::format!("later{n}"), "v");
    }
    lab.run(5_000);
    assert_eq!(lab.tombstones(), [0, 0], "the deletes are freed");
    let new = lab.begin_with(&copy, &[0]);
    let key = |key: &str| {
        let mut keys = lab.disks[new].keys();
        let found = keys.find(|record| record.ends_with(key.as_bytes()));
        found.cloned().unwrap()
    };
    // Records that are the same when the node has rejoined were not written, since these ones are of no form.
    let (same, gone) = (key("k77"), key("k12"));
    lab.disks[new].insert(same.clone(), Bytes::new());
    lab.run(5_000);
    assert_eq!(lab.phase_of(new), "member");
    assert!(lab.marked(new, "rejoined"));
    let now = lab.now;
    let fetched = lab.node(new).status(now).received.fetched;
    // The rows of members are among them.
    assert!((10..30).contains(&fetched), "{fetched}");
    assert!(lab.disks[new][&same].is_empty() && !lab.disks[new].contains_key(&gone));
    assert_eq!(lab.everywhere("k0"), std::vec![value("newer"); 3]);
    assert_eq!(lab.everywhere("k12"), std::vec![None; 3]);
    assert_eq!(lab.everywhere("k77"), std::vec![value("v"); 3]);
    assert_eq!(lab.everywhere("later4"), std::vec![value("v"); 3]);
}

/// Three members delete a row, and free that, between two checkpoints of one of them; then all are lost.
fn lost_cluster() -> (Lab, Disk, Disk) {
    let (mut lab, older) = Lab::with_an_old_copy();
    lab.start(2);
    lab.run(5_000);
    let newer = lab.disks[2].clone();
    (0..3).for_each(|i| lab.stop(i));
    (lab, older, newer)
}

#[test]
fn a_checkpoint_of_a_cluster_that_is_lost_begins_another_cluster_at_once() {
    let (mut lab, older, newer) = lost_cluster();
    let first = lab.begin_with(&newer, &[]);
    assert_eq!(lab.phase_of(first), "member");
    assert_eq!(lab.node(first).members().len(), 1, "it waits for none");
    lab.quiesce();
    assert!(!lab.has_note(first));
    assert_ne!(lab.cluster_of(first), lab.cluster_of(2));
    assert_eq!(lab.get(first, "kept"), value("newer"));
    lab.delete(first, "own");
    lab.put(first, "kept", "newest");
    lab.run(3_000);
    assert_eq!(lab.tombstones(), [0], "freed at once");
    // Two more begin with checkpoints of the lost cluster: one of them the same, one that is older.
    let second = lab.begin_with(&newer, &[first]);
    let third = lab.begin_with(&older, &[first]);
    lab.run(10_000);
    let ids: std::collections::BTreeSet<_> = (first..=third).map(|i| lab.node(i).id()).collect();
    assert_eq!(ids.len(), 3);
    for i in [first, second, third] {
        assert_eq!(lab.phase_of(i), "member");
        assert_eq!(lab.node(i).members().len(), 3);
    }
    assert_eq!(lab.everywhere("own"), std::vec![None; 3]);
    assert_eq!(lab.everywhere("gone"), std::vec![None; 3]);
    assert_eq!(lab.everywhere("kept"), std::vec![value("newest"); 3]);
}

#[test]
pub(super) fn a_member_of_a_lost_cluster_that_turns_up_is_not_mixed_with_the_one_from_a_checkpoint()
{
    let (mut lab, _, newer) = lost_cluster();
    let first = lab.begin_with(&newer, &[]);
    lab.delete(first, "own");
    lab.run(3_000);
    assert_eq!(lab.tombstones(), [0], "freed at once");
    lab.configs[0].seeds = std::vec![first.to_string()];
    lab.start(0);
    lab.run(10_000);
    assert_eq!(lab.get(first, "own"), None, "the delete stands");
    assert_eq!(lab.node(first).members().len(), 1);
    assert_ne!(lab.cluster_of(first), lab.cluster_of(0));
}

#[test]
fn what_only_the_checkpoint_has_is_written_again() {
    let (mut lab, _) = Lab::with_an_old_copy();
    lab.start(2);
    lab.run(5_000);
    lab.cut = Box::new(|from, _, _| from == 2);
    lab.put(2, "alone", "v");
    lab.quiesce();
    let copy = lab.disks[2].clone();
    lab.stop(2);
    lab.cut = Box::new(|_, _, _| false);
    let new = lab.begin_with(&copy, &[0]);
    // Members lack the row, and are put off for half a minute.
    lab.run(10_000);
    assert_eq!(lab.phase_of(new), "joining");
    lab.run(40_000);
    assert_eq!(lab.phase_of(new), "member");
    assert_eq!(lab.everywhere("alone"), std::vec![value("v"); 3]);
}

#[test]
pub(super) fn a_node_that_begins_with_a_checkpoint_waits_for_a_member_that_has_all_of_it() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.stop(0);
    lab.put(1, "k", "v");
    lab.run(3_000);
    let copy = lab.disks[1].clone();
    lab.delete(1, "k");
    lab.run(3_000);
    lab.start(0);
    // The one that has heard of neither is all that the new node finds.
    lab.cut = Box::new(|from, to, _| from == 1 || to == 1);
    let new = lab.begin_with(&copy, &[0]);
    lab.run(3_000);
    // It is remembered that it began with a checkpoint.
    lab.stop(new);
    lab.start(new);
    lab.run(3_000);
    let phase = lab.phase_of(new);
    assert_eq!(
        phase, "joining",
        "a member that lacks some of it is put off"
    );
    lab.cut = Box::new(|_, _, _| false);
    lab.run(20_000);
    assert_eq!(lab.phase_of(new), "member");
    assert_eq!(lab.everywhere("k"), std::vec![None; 3], "the delete stands");
}

#[test]
fn a_damaged_note_of_a_checkpoint_makes_a_new_node_too() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    lab.start(2);
    lab.run(5_000);
    let new = lab.begin_with(&copy, &[0]);
    lab.stop(new);
    lab.disks[new] = copy;
    let note = Record::restored();
    lab.disks[new].insert(note.key.clone(), note.value);
    lab.rot(new, &note.key, 3);
    lab.recover(new, &[]).unwrap();
    assert_ne!(lab.node(new).id(), lab.node(2).id());
    lab.run(10_000);
    assert_eq!(lab.node(0).members().len(), 4);
    assert_eq!(lab.everywhere("gone"), std::vec![None; 4]);
    assert!(!lab.has_note(new));
}

#[test]
fn a_store_whose_damage_brings_the_former_node_back_goes_by_the_copy_of_its_identity() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    lab.start(2);
    lab.run(5_000);
    let new = lab.begin_with(&copy, &[0]);
    lab.run(10_000);
    let (id, spares) = (lab.id_on_disk(new), lab.spares(new));
    lab.stop(new);
    // All that was written since is lost: the records of the checkpoint are all that is left.
    lab.disks[new] = copy;
    let note = Record::damage("db/log/1.log is damaged");
    lab.disks[new].insert(note.key, note.value);
    lab.recover(new, &spares).unwrap();
    assert_eq!(lab.node(new).id(), id);
    lab.run(10_000);
    assert_eq!(lab.damage(new), None);
    assert_eq!(lab.everywhere("gone"), std::vec![None; 4]);
    assert_eq!(lab.node(0).members().len(), 4);
}
