//! From stored records back to a node.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::cluster::Past;
use crate::config::{Config, Storage};
use crate::effects::Effects;
use crate::error::RecoverError;
use crate::id::{Actor, ClusterId, NodeId};
use crate::io::{Event, Record, StoreOp};
use crate::marks::Mark;
use crate::node::{Node, Parts};
use crate::rng::{Rng, Seed, Stream};
use crate::rules::Rules;
use crate::store::Owner;
use crate::store::bytes::hash_words;
use crate::store::record::{
    self, Agreement, Boots, ClusterRecord, FromCheckpoint, Identity, Known, OwnRecord,
};
use crate::table::modes::{Boot, Restored};
use crate::table::shared::Shared;
use crate::table::{Hlc, Mode};
use crate::time::Now;
use crate::wire::ClaimNumber;

/// Builds a node from its configuration, a seed, and what its store holds.
///
/// ```
/// use rumormill_core::{Config, Instant, Now, Recovery, Seed, Wall};
///
/// let recovery = Recovery::new(Config::new("alpha", "127.0.0.1:7400"), Seed::from_u64(7));
/// // With a store, hand in every record it holds: recovery.record(record)?
/// let node = recovery.finish(Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000)))?;
/// assert_eq!(node.members().len(), 1);
/// # Ok::<(), rumormill_core::errors::RecoverError>(())
/// ```
pub struct Recovery {
    config: Config,
    seed: Seed,
    format: Option<u64>,
    identity: Option<Identity>,
    cluster: Option<ClusterRecord>,
    ceiling: Option<Hlc>,
    agreed: Vec<Agreement>,
    /// The last batch of the boot before, and the generations before that.
    batch: Option<ClaimNumber>,
    boots: Boots,
    modes: Restored,
    /// Keys of rows and contexts that cannot be read.
    damaged: Vec<Bytes>,
    fitness: Fitness,
    /// How many records could not be read, those counted that are no rows and contexts.
    unread: u64,
    /// Copies of the records of its identity.
    spare: Spare,
    /// The store was made from a checkpoint.
    restored: Option<FromCheckpoint>,
    empty: bool,
}

/// The damage of a store, for each part of the node: a mode that has all its records need not care for the damage of another.
#[derive(Default)]
struct Fitness {
    /// The first fault of a record of the node itself, of one that no part knows, or the driver's note.
    own: Option<RecoverError>,
    /// The first fault of a record of each mode.
    modes: BTreeMap<Mode, RecoverError>,
    /// Whether the fault of the node itself came first.
    own_first: bool,
}

impl Fitness {
    /// Notes a fault of a record with this key.
    fn note(&mut self, key: &[u8], fault: RecoverError) {
        match Owner::of(key) {
            Some(Owner::Mode(mode)) if mode.is_built() => {
                self.modes.entry(mode).or_insert(fault);
            }
            Some(Owner::Node | Owner::Mode(_)) | None => self.note_own(fault),
        }
    }

    /// Notes a fault of the node itself: without what it says of members and clocks no mode can trust its records.
    fn note_own(&mut self, fault: RecoverError) {
        self.own_first |= self.modes.is_empty();
        self.own.get_or_insert(fault);
    }

    /// Returns whether the rows and contexts of gossip tables may be less than the node once claimed to hold: so the node has to rejoin.
    fn gossip_is_behind(&self) -> bool {
        self.own.is_some() || self.modes.contains_key(&Mode::Gossip)
    }

    /// Takes the first fault of all, if there is one.
    fn take(&mut self) -> Option<RecoverError> {
        // No part but gossip tables acts on a fault of its own yet, so that of another mode makes the whole node rejoin.
        let others = |modes: &mut BTreeMap<_, _>| modes.pop_first().map(|(_, fault)| fault);
        let gossip = self
            .modes
            .remove(&Mode::Gossip)
            .or_else(|| others(&mut self.modes));
        let own = self.own.take();
        match self.own_first {
            true => own.or(gossip),
            false => gossip.or(own),
        }
    }
}

/// Copies of records, from beside the store.
#[derive(Default)]
struct Spare {
    identity: Option<Identity>,
    cluster: Option<ClusterRecord>,
    /// The store was made from a checkpoint, and its node has no identity of its own yet.
    restored: bool,
}

impl Recovery {
    /// Begins with an empty store.
    pub fn new(config: Config, seed: Seed) -> Self {
        Recovery {
            config,
            seed,
            format: None,
            identity: None,
            cluster: None,
            ceiling: None,
            agreed: Vec::new(),
            batch: None,
            boots: Boots::default(),
            modes: Restored::default(),
            damaged: Vec::new(),
            fitness: Fitness::default(),
            unread: 0,
            spare: Spare::default(),
            restored: None,
            empty: true,
        }
    }

    /// Takes in one record of the store; order does not matter, but records in the order of their keys are taken in faster. Copies what it keeps
    /// of the record, whose bytes may lie in memory that is shared. A damaged one is set aside: the node will rejoin through a
    /// member, which has what was in it.
    ///
    /// # Errors
    /// [`RecoverError::Version`] and [`RecoverError::UnknownRecord`] when the record is too new, [`RecoverError::ModeNotBuilt`] when it is
    /// a row of a gossip table under a name of another mode; the recovery cannot go on.
    pub fn record(&mut self, record: Record) -> Result<(), RecoverError> {
        self.empty = false;
        let known = match record::read(&record) {
            Ok(known) => known,
            Err(newer @ RecoverError::UnknownRecord { .. }) => return Err(newer),
            Err(damage) => {
                self.fitness.note(&record.key, damage);
                self.unread += 1;
                if record.key == record::restored_key() {
                    // The identity may be that of another node, which lives.
                    self.restored = Some(FromCheckpoint::Anew);
                }
                // Records of the identity and of damage are written anew in any case.
                if !record::is_meta(&record.key) && record.key != record::damage_key() {
                    self.damaged.push(Bytes::copy_from_slice(&record.key));
                }
                return Ok(());
            }
        };
        match known {
            Known::Node(own) => self.own_record(own),
            Known::Mode(record) => self.modes.take(&self.config, record),
        }
    }

    fn own_record(&mut self, record: OwnRecord) -> Result<(), RecoverError> {
        match record {
            OwnRecord::Format(found) if found > record::FORMAT => {
                return Err(RecoverError::Version {
                    found,
                    known: record::FORMAT,
                });
            }
            OwnRecord::Format(found) => self.format = Some(found),
            OwnRecord::Identity(identity) => self.identity = Some(identity),
            OwnRecord::Cluster(cluster) => self.cluster = Some(cluster),
            OwnRecord::Ceiling(ceiling) => self.ceiling = Some(ceiling),
            OwnRecord::Agreed(agreed) => self.agreed = agreed,
            OwnRecord::Batch(batch) => self.batch = Some(batch),
            OwnRecord::Boots(boots) => self.boots = boots,
            OwnRecord::Damage(what) => self.fitness.note_own(RecoverError::Lost { what }),
            OwnRecord::Restored(restored) => self.restored = Some(restored),
        }
        Ok(())
    }

    /// Takes in a copy of a record that [says which node it is](Record::says_which_node), or that the node is a new one
    /// ([`Record::restored`]), from beside the store: it takes the place of one that is damaged or missing, and is else without effect. A damaged
    /// copy is none.
    pub fn spare(&mut self, record: &Record) {
        match record::read(record) {
            Ok(Known::Node(OwnRecord::Identity(identity))) => self.spare.identity = Some(identity),
            Ok(Known::Node(OwnRecord::Cluster(cluster))) => self.spare.cluster = Some(cluster),
            Ok(Known::Node(OwnRecord::Restored(_))) => self.spare.restored = true,
            _ => {}
        }
    }

    /// The node, in a new boot. Its first outputs store that boot durably. Where something is damaged or missing it rejoins through a
    /// member, whatever its own records say of it. A node whose identity cannot be read becomes another one, and so does the node of a store that
    /// was [restored](Record::restored) from a checkpoint: it enters the cluster of its seeds with the rows that it has, or founds one with
    /// them where it has no seeds.
    ///
    /// # Errors
    /// [`RecoverError::ClusterName`] when the store belongs to a cluster of another name; [`RecoverError::Incomplete`],
    /// [`RecoverError::Damaged`] and [`RecoverError::Lost`] when something is missing or damaged, no other member is known that could
    /// have it, there are no seeds to find one, and [`Config::accept_damage`] is not set.
    pub fn finish(mut self, now: Now) -> Result<Node, RecoverError> {
        self.fill()?;
        let restored = self.restored == Some(FromCheckpoint::Anew);
        if restored && Rules::of(&self.config).restored_is_new() {
            self.forget_itself();
            // The other node agreed, and this one has not.
            self.agreed.clear();
        }
        let fresh = self.identity.is_none();
        let Some(damage) = self.fitness.take() else {
            let behind = self.config.restored && !self.empty && !restored;
            return Ok(self.assemble(now, fresh, behind, None));
        };
        let accepted = self.config.accept_damage;
        let may_be_alone = accepted || !self.config.seeds.is_empty();
        if fresh || self.cluster.is_none() {
            self.forget_itself();
        }
        let said = self.describe(&damage);
        let mut node = self.assemble(now, fresh, true, Some(said));
        if node.cluster.is_alone() {
            if !may_be_alone {
                return Err(damage);
            }
            node.begin_outside(accepted);
        }
        Ok(node)
    }

    /// Drops what the node knew of members: it is a new one, and comes to them with the rows that are left.
    fn forget_itself(&mut self) {
        self.identity = None;
        self.cluster = None;
        // The claims were those of the other node.
        self.batch = None;
        self.boots = Boots::default();
        let rules = Rules::of(&self.config);
        self.damaged.extend(self.modes.forget_members(rules));
    }

    /// Describes the damage, for operators.
    fn describe(&self, damage: &RecoverError) -> String {
        let mut said = damage.to_string();
        if self.unread > 1 {
            said = format!("{said}, and {} more records", self.unread - 1);
        }
        let is_restored = self.restored.is_some();
        if self.identity.is_none() && !is_restored && !said.ends_with(LOST_ITSELF) {
            said.push_str(LOST_ITSELF);
        }
        said
    }

    /// Notes what is missing of that which every store holds from its first batch on, and fills it in from copies.
    ///
    /// # Errors
    /// [`RecoverError::ClusterName`]: the store is of another cluster.
    fn fill(&mut self) -> Result<(), RecoverError> {
        let missing = [
            ("format", self.format.is_none()),
            ("identity", self.identity.is_none()),
            ("cluster", self.cluster.is_none()),
            ("ceiling", self.ceiling.is_none()),
        ];
        if let Some((what, _)) = missing.into_iter().find(|(_, missing)| *missing)
            && !self.empty
        {
            self.fitness.note_own(RecoverError::Incomplete { what });
        }
        if self.fitness.gossip_is_behind() {
            if self.spare.restored {
                self.restored = Some(FromCheckpoint::Anew);
            }
            self.drop_former_node();
            self.identity = self.identity.take().or(self.spare.identity.take());
            self.cluster = self.cluster.take().or(self.spare.cluster.take());
        }
        match &self.cluster {
            Some(cluster) if cluster.name != self.config.cluster_name => {
                Err(RecoverError::ClusterName {
                    found: cluster.name.clone(),
                    configured: self.config.cluster_name.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Drops an identity that the copies contradict: what a damaged store has left may be the records of the node whose checkpoint it began with.
    fn drop_former_node(&mut self) {
        let found = self.identity.as_ref().map(|identity| identity.node);
        let copied = self.spare.identity.as_ref().map(|copy| copy.node);
        if found.is_some() && copied.is_some() && found != copied {
            self.identity = None;
            self.cluster = None;
        }
    }

    /// Makes the new boot durable, and ends the last one.
    fn store_boot(
        &mut self,
        fx: &mut Effects,
        identity: &Identity,
        cluster: &ClusterRecord,
        fresh: bool,
        damage: Option<&str>,
    ) {
        if self.config.storage != Storage::Ordered {
            return;
        }
        fx.store(record::format());
        fx.store(record::identity(identity));
        fx.store(record::cluster(cluster));
        fx.sync_this_turn();
        if let Some(last) = self.batch {
            self.boots.end(last);
            fx.store(record::boots(&self.boots));
        } else if fresh && !self.empty {
            // The ones in the store are of another node.
            fx.store(record::boots(&self.boots));
            fx.store(StoreOp::Delete(record::batch_key()));
        }
        if self.restored.is_some() {
            self.note_restored(fx, cluster.joined);
        }
        if let Some(said) = damage.filter(|_| fx.rules().notes_damage()) {
            // Until it has rejoined: what is missing cannot be seen in what is left.
            fx.store(record::damage(said));
        }
    }

    fn assemble(mut self, now: Now, fresh: bool, behind: bool, damage: Option<String>) -> Node {
        let mut fx = Effects::new(self.config.storage, Rules::of(&self.config));
        fx.set_now(now);
        let mut rng = Rng::new(self.seed, Stream::Identity);
        let (node, draw, cluster_id) = (rng.next(), rng.next(), rng.next());
        let wall = now.wall.as_millis();
        let identity = next_identity(&fx, self.identity.as_ref(), (NodeId(node), draw), wall);
        // It begins with the rows of a cluster. Should a member of that turn up, the two do not merge: deletes of this one would be lost.
        let founds_from_checkpoint = self.restored.is_some()
            && self.config.seeds.is_empty()
            && fx.rules().restored_founds_as_stranger();
        let mut cluster = self.cluster.take().unwrap_or_else(|| ClusterRecord {
            name: self.config.cluster_name.to_string(),
            id: ClusterId(cluster_id),
            has_fellows: founds_from_checkpoint,
            // Without anybody to join through, it is the first of its cluster.
            joined: self.config.seeds.is_empty(),
            rejoining: None,
        });
        // A node that looked for a cluster in vain, and is started again without anything to look for.
        let alone = self.config.seeds.is_empty() && fx.rules().founds_without_seeds();
        if alone && damage.is_none() && !cluster.joined && cluster.rejoining.is_none() {
            cluster.joined = true;
            cluster.has_fellows |= founds_from_checkpoint;
            fx.mark(Mark::Founds);
            fx.event(Event::Founded);
        }
        self.store_boot(&mut fx, &identity, &cluster, fresh, damage.as_deref());
        let looks = self.restored.is_some() && !cluster.joined;
        let actor = Actor {
            node: identity.node,
            boot: identity.boot,
        };
        if damage.is_some() {
            fx.mark(Mark::DamagedRecords);
            fx.event(Event::Damaged {
                records: self.unread,
            });
        }
        let boot = Boot {
            actor,
            config: &self.config,
            ceiling: self.ceiling.unwrap_or(Hlc(0)),
            whole: damage.is_none(),
        };
        let rng = Rng::new(self.seed, Stream::Gossip);
        let mut shared = Shared::new(&self.config.limits);
        let mut env = shared.rows(&mut fx);
        let modes = self.modes.begin(&mut env, &boot, rng, self.damaged);
        let parts = Parts {
            config: self.config,
            seed: self.seed,
            fx,
            past: Past {
                identity,
                record: cluster,
                boots: self.boots,
                agreed: self.agreed,
                damage,
                restored: looks,
            },
            modes,
            shared,
            fresh,
            behind,
        };
        Node::assemble(now, parts)
    }
}

impl Recovery {
    /// Stores what a restored store becomes with the identity of its node, in the same batch.
    fn note_restored(&self, fx: &mut Effects, joined: bool) {
        if self.restored == Some(FromCheckpoint::Anew) {
            fx.mark(Mark::Restored);
            fx.store(record::agreed(&self.agreed));
        }
        // Until it is in: what it holds, a member has to have before it enters through that.
        fx.store(match joined {
            true => StoreOp::Delete(record::restored_key()),
            false => record::restored_looks(),
        });
    }
}

/// Said of a node that became another one.
const LOST_ITSELF: &str = "; it cannot be read which member this was: the node is a new one, and the old one has to be evicted";

/// Returns the number of a boot: other than those of earlier boots, though they may have had the same seed.
fn boot_of(draw: u64, generation: u64) -> u64 {
    hash_words(&[draw, generation])
}

/// Makes the identity of the boot that begins: with new numbers for its dots, and in a later generation.
fn next_identity(
    fx: &Effects,
    last: Option<&Identity>,
    (node, draw): (NodeId, u64),
    wall: u64,
) -> Identity {
    let generation = last.map_or(wall.max(1), |last| wall.max(last.generation + 1));
    let boot = boot_of(draw, generation);
    match last {
        Some(last) => Identity {
            node: last.node,
            boot: match fx.rules().renews_dots() {
                true => boot,
                false => last.boot,
            },
            generation: match fx.rules().raises_generation() {
                true => generation,
                false => last.generation,
            },
        },
        None => Identity {
            node,
            boot,
            generation,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(what: &str) -> RecoverError {
        let what = what.into();
        RecoverError::Lost { what }
    }

    #[test]
    fn a_fault_is_of_the_part_that_owns_the_record_and_the_first_is_told() {
        let mut fitness = Fitness::default();
        assert!(!fitness.gossip_is_behind());
        fitness.note(b"r\x01\x01tk", fault("a row"));
        assert!(fitness.gossip_is_behind() && fitness.own.is_none());
        fitness.note(b"midentity", fault("who it is"));
        assert_eq!(fitness.own, Some(fault("who it is")));
        assert_eq!(fitness.take(), Some(fault("a row")));
        let mut fitness = Fitness::default();
        fitness.note(b"?", fault("of no part"));
        fitness.note(b"c", fault("a context"));
        assert!(fitness.gossip_is_behind());
        assert_eq!(fitness.take(), Some(fault("of no part")));
        assert!(!fitness.gossip_is_behind());
    }
}
