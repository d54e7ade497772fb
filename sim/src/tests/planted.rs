//! Planted bugs: each checker catches what it claims to catch, and finds nothing where no bug is planted.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::link::{Hello, VERSIONS};
use rumormill_core::wire::{Message, RowBatch};
use rumormill_core::{Actor, ClusterId, LinkId, NodeId, io::Input, table::Version};

use crate::Scenario;
use crate::checkers::{convergence, durability, no_resurrection, sessions};
use crate::faults::{FaultKind, FaultSet};
use crate::plan::{Plan, Shape};
use crate::run::report;
use crate::sabotage::Sabotage;
use crate::sessions::{Answer, Exchange, Found};
use crate::trace::Keep;
use crate::world::World;

/// Finds a seed whose run breaks a promise of `checker` with the bug, and makes sure that it breaks none without.
fn caught(checker: &str, faults: FaultSet, bug: impl Fn() -> Box<dyn Sabotage>) {
    for seed in 0..100 {
        let shape = Shape {
            seed,
            nodes: 3,
            active_us: 17_000_000,
            faults,
            ops_per_s: None,
        };
        let mut world = World::new(Plan::from_seed(&shape), Keep::Nothing);
        world.sabotage(bug());
        let planted = report(world, seed, faults);
        if planted
            .violations
            .iter()
            .any(|found| found.checker == checker)
        {
            let honest = report(
                World::new(Plan::from_seed(&shape), Keep::Nothing),
                seed,
                faults,
            );
            assert!(honest.held(), "{honest}");
            return;
        }
    }
    panic!("{checker} does not catch it in 100 seeds");
}

/// A disk that says it has synced, and has not.
struct LyingDisk;

impl Sabotage for LyingDisk {
    fn syncs_early(&mut self, _: usize) -> bool {
        true
    }
}

/// A disk that reads single records badly.
struct ShortReads;

impl Sabotage for ShortReads {
    fn misreads(&mut self, _: usize) -> bool {
        true
    }
}

#[test]
fn a_disk_that_misreads_is_caught() {
    caught(durability::NAME, FaultSet::NONE, || Box::new(ShortReads));
}

/// Batches about one key never arrive, in whatever message they travel.
struct BlindSpot(&'static [u8]);

impl BlindSpot {
    fn has(&self, batch: &RowBatch) -> bool {
        batch.rows.iter().any(|row| row.key == self.0)
    }
}

impl Sabotage for BlindSpot {
    fn swallows(&mut self, _: usize, _: usize, message: &Message) -> bool {
        message.rows().is_some_and(|batch| self.has(batch))
    }
}

/// A node whose rows, and nothing else, come back as they were at its start before: its disk forgot writes that it had synced.
#[derive(Default)]
struct OldRows(BTreeMap<usize, BTreeMap<Bytes, Bytes>>);

impl Sabotage for OldRows {
    fn before_start(&mut self, node: usize, records: &mut BTreeMap<Bytes, Bytes>) {
        if let Some(old) = self.0.insert(node, records.clone()) {
            records.extend(
                old.into_iter()
                    .filter(|(key, _)| key.first() == Some(&b'r')),
            );
        }
    }
}

/// A driver that forgets to end one node's turns once they have begun to matter.
struct ForgottenTick(u32);

impl Sabotage for ForgottenTick {
    fn forgets_tick(&mut self, node: usize) -> bool {
        self.0 += u32::from(node == 0);
        node == 0 && self.0 > 100
    }
}

/// A driver that gives two links one number.
struct ReusedLink(u32);

impl Sabotage for ReusedLink {
    fn injects(&mut self, node: usize) -> Option<Input> {
        if node != 0 || self.0 == 2 {
            return None;
        }
        self.0 += 1;
        let peer = u64::from(self.0);
        let hello = Hello {
            versions: VERSIONS,
            cluster_name: "rumormill".to_string(),
            cluster: ClusterId(1),
            actor: Actor {
                node: NodeId(peer),
                boot: peer,
            },
            generation: 1,
            name: "stranger".to_string(),
            addr: "nowhere".to_string(),
        };
        Some(Input::LinkUp {
            link: LinkId(u64::MAX),
            dial: None,
            hello,
        })
    }
}

/// A disk that gives back garbage for all that it was given. A single record of that kind a member repairs.
struct Garbage;

impl Sabotage for Garbage {
    fn before_start(&mut self, _: usize, records: &mut BTreeMap<Bytes, Bytes>) {
        for value in records.values_mut() {
            *value = Bytes::from_static(b"garbage");
        }
    }
}

/// A front end that keeps the first answer to each read.
#[derive(Default)]
struct StaleCache(BTreeMap<(usize, Option<Bytes>), Option<Found>>);

impl Sabotage for StaleCache {
    fn answers(&mut self, exchange: &mut Exchange) {
        let place = (exchange.node, exchange.key.clone());
        // Requests that wait for the disk are answered later.
        if let (Answer::Read(found), Some(_)) = (&mut exchange.answer, exchange.returned_us) {
            *found = self.0.entry(place).or_insert(found.clone()).clone();
        }
    }
}

/// A front end that tells the writers of a key the version of its first write, one after the other.
#[derive(Default)]
struct StaleVersions(BTreeMap<(usize, Option<Bytes>), Version>);

impl Sabotage for StaleVersions {
    fn answers(&mut self, exchange: &mut Exchange) {
        let place = (exchange.node, exchange.key.clone());
        if let Answer::Wrote { version, .. } = &mut exchange.answer {
            *version = *self.0.entry(place).or_insert(*version);
        }
    }
}

#[test]
fn seeds_catch_a_stale_cache() {
    for checker in [sessions::READ_YOUR_WRITES, sessions::MONOTONIC_READS] {
        caught(checker, FaultSet::NONE, || Box::<StaleCache>::default());
    }
}

#[test]
fn seeds_catch_stale_versions() {
    for checker in [sessions::MONOTONIC_WRITES, sessions::WRITES_FOLLOW_READS] {
        caught(checker, FaultSet::NONE, || Box::<StaleVersions>::default());
    }
}

#[test]
fn seeds_catch_a_lying_disk() {
    caught(
        durability::NAME,
        FaultSet::NONE.with(FaultKind::Crash),
        || Box::new(LyingDisk),
    );
}

#[test]
fn seeds_catch_a_blind_spot() {
    caught(
        convergence::NAME,
        FaultSet::NONE.with(FaultKind::Dup),
        || Box::new(BlindSpot(b"k3")),
    );
}

#[test]
fn a_setting_that_does_not_reach_all_is_caught() {
    let plan = "
        seed 7
        node n0 start=0s
        node n1 start=20ms
        stop 6s
        4s set node=n0 name=detector.probe_interval value=200ms
        5s set node=n1 name=detector.suspicion_mult value=3
    ";
    let plan: Plan = plan.parse().unwrap();
    let honest = report(World::new(plan.clone(), Keep::Nothing), 7, FaultSet::NONE);
    assert!(honest.held(), "{honest}");
    assert_eq!(honest.counts["setting_set"], 2);
    assert_eq!(honest.counts["setting_changed"], 4);
    let mut world = World::new(plan, Keep::Nothing);
    world.sabotage(Box::new(BlindSpot(b"detector.probe_interval")));
    let planted = report(world, 7, FaultSet::NONE);
    let found = planted.violations.iter();
    let found = found.filter(|found| found.checker == convergence::NAME);
    let told = found.map(|found| found.text.as_str()).collect::<String>();
    assert!(told.contains("has the settings"), "{told}");
}

#[test]
fn seeds_catch_a_forgotten_tick() {
    caught("liveness", FaultSet::NONE, || Box::new(ForgottenTick(0)));
}

#[test]
fn seeds_catch_a_reused_link() {
    caught("invariants", FaultSet::NONE, || Box::new(ReusedLink(0)));
}

#[test]
fn seeds_catch_garbage() {
    caught("recovery", FaultSet::NONE.with(FaultKind::Crash), || {
        Box::new(Garbage)
    });
}

/// Returns the checkers that found something.
fn lost_sync(bug: Option<LyingDisk>) -> Vec<&'static str> {
    let mut story = Scenario::new(2);
    if let Some(bug) = bug {
        story.sabotage(bug);
    }
    story
        .at(3_000)
        .partition(&[0], &[1])
        .put_safe(0, "color", "red")
        .wait(50)
        .crash(0)
        .restart(0);
    story
        .finish()
        .into_iter()
        .map(|found| found.checker)
        .collect()
}

#[test]
fn durability_catches_a_lying_disk() {
    assert!(lost_sync(Some(LyingDisk)).contains(&durability::NAME));
    assert!(lost_sync(None).is_empty());
}

fn old_rows(bug: Option<OldRows>) -> Vec<&'static str> {
    let mut story = Scenario::new(3);
    if let Some(bug) = bug {
        story.sabotage(bug);
    }
    story.at(3_000).put(0, "color", "red");
    // The copy that is brought back later is made here, with the row in it.
    story.at(6_000).kill(1).wait(100).restart(1);
    story.at(9_000).delete(0, "color");
    story.at(15_000).kill(1).wait(100).restart(1);
    story
        .finish()
        .into_iter()
        .map(|found| found.checker)
        .collect()
}

#[test]
fn no_resurrection_catches_old_rows() {
    assert!(old_rows(Some(OldRows::default())).contains(&no_resurrection::NAME));
    assert!(old_rows(None).is_empty());
}
