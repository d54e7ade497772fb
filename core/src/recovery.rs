//! From stored records back to a node.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::{Config, Storage};
use crate::effects::Effects;
use crate::error::RecoverError;
use crate::id::{Actor, ClusterId, NodeId};
use crate::io::{Event, Record, StoreOp};
use crate::marks::Mark;
#[cfg(feature = "mutants")]
use crate::mutants::Mutant;
use crate::mutants::mutated;
use crate::node::{Node, Parts};
use crate::rng::{Rng, Seed, Stream};
use crate::store::bytes::hash_words;
use crate::store::record::{self, Agreement, ClusterRecord, Identity, Known, RowRecord};
use crate::table::gossip::Gossip;
use crate::table::{Domain, Hlc, Runs};
use crate::time::Now;

/// Builds a node from its configuration, a seed, and what its store holds.
///
/// ```
/// use rumormill_core::{Config, Instant, Now, Recovery, Seed, Wall};
///
/// let recovery = Recovery::new(Config::new("alpha", "127.0.0.1:7400"), Seed::from_u64(7));
/// // With a store, hand in every record it holds: recovery.record(record)?
/// let node = recovery.finish(Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000)))?;
/// assert_eq!(node.members().len(), 1);
/// # Ok::<(), rumormill_core::RecoverError>(())
/// ```
pub struct Recovery {
    config: Config,
    seed: Seed,
    format: Option<u64>,
    identity: Option<Identity>,
    cluster: Option<ClusterRecord>,
    ceiling: Option<Hlc>,
    agreed: Vec<Agreement>,
    rows: Vec<(Domain, String, Actor, RowRecord)>,
    covered: Vec<(Domain, Actor, Runs)>,
    /// Keys of rows and contexts that cannot be read.
    damaged: Vec<Bytes>,
    /// What was wrong with the first of them.
    damage: Option<RecoverError>,
    empty: bool,
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
            rows: Vec::new(),
            covered: Vec::new(),
            damaged: Vec::new(),
            damage: None,
            empty: true,
        }
    }

    /// Takes in one record of the store; order does not matter. A damaged row or context is set aside: the node will reunite
    /// with a member, which has what was in it.
    ///
    /// # Errors
    /// [`RecoverError`] when the record is too new, or says who the node is and is damaged; the recovery cannot go on.
    pub fn record(&mut self, record: Record) -> Result<(), RecoverError> {
        self.empty = false;
        let known = match record::read(&record) {
            Ok(known) => known,
            Err(damage) if record::is_meta(&record.key) => return Err(damage),
            Err(damage) => {
                self.damage.get_or_insert(damage);
                self.damaged.push(record.key);
                return Ok(());
            }
        };
        match known {
            Known::Format(found) if found > record::FORMAT => {
                return Err(RecoverError::Version {
                    found,
                    known: record::FORMAT,
                });
            }
            Known::Format(found) => self.format = Some(found),
            Known::Identity(identity) => self.identity = Some(identity),
            Known::Cluster(cluster) => self.cluster = Some(cluster),
            Known::Ceiling(ceiling) => self.ceiling = Some(ceiling),
            Known::Agreed(agreed) => self.agreed = agreed,
            Known::Row {
                domain,
                table,
                actor,
                mut row,
            } => {
                let resident = self.config.resident_value;
                // The store's own rows stay in memory: the node reads them itself.
                if domain != Domain::Sys
                    && self.config.storage == Storage::Ordered
                    && resident.is_some_and(|limit| row.value.len() > limit as usize)
                {
                    row.value.cool();
                }
                self.rows.push((domain, table, actor, row));
            }
            Known::Covered {
                domain,
                actor,
                runs,
            } => self.covered.push((domain, actor, runs)),
        }
        Ok(())
    }

    /// The node, in a new life. Its first outputs store that life durably.
    ///
    /// # Errors
    /// [`RecoverError::ClusterName`] when the store belongs to a cluster of another name; [`RecoverError::Incomplete`] when it
    /// does not say who the node is; [`RecoverError::Damaged`] when rows are damaged and no other member could have them.
    pub fn finish(mut self, now: Now) -> Result<Node, RecoverError> {
        self.is_whole()?;
        #[cfg(feature = "mutants")]
        self.mutate();
        let restored = self.config.restored && !self.empty;
        let damage = self.damage.take();
        let fresh = self.identity.is_none();
        let node = self.assemble(now, fresh, restored || damage.is_some());
        match damage {
            Some(damage) if node.is_alone() => Err(damage),
            _ => Ok(node),
        }
    }

    /// What bugs make of what was read.
    #[cfg(feature = "mutants")]
    fn mutate(&mut self) {
        match self.config.mutant {
            Some(Mutant::DamageTrusted) => {
                self.damage = None;
                self.damaged.clear();
            }
            Some(Mutant::CeilingIgnored) => self.ceiling = self.ceiling.map(|_| Hlc(0)),
            _ => {}
        }
    }

    /// Whether everything that every store holds from its first batch on is there, and of this cluster.
    fn is_whole(&self) -> Result<(), RecoverError> {
        let missing = [
            ("format", self.format.is_none()),
            ("identity", self.identity.is_none()),
            ("cluster", self.cluster.is_none()),
            ("ceiling", self.ceiling.is_none()),
        ];
        if let Some((what, _)) = missing.into_iter().find(|(_, missing)| *missing)
            && !self.empty
        {
            return Err(RecoverError::Incomplete { what });
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

    fn assemble(mut self, now: Now, fresh: bool, behind: bool) -> Node {
        let mut fx = Effects::new(self.config.storage);
        fx.set_now(now);
        #[cfg(feature = "mutants")]
        {
            fx.mutant = self.config.mutant;
        }
        let mut rng = Rng::new(self.seed, Stream::Identity);
        let (node, draw, cluster_id) = (rng.next(), rng.next(), rng.next());
        let wall = now.wall.as_millis();
        let identity = next_life(&fx, self.identity.as_ref(), (NodeId(node), draw), wall);
        let mut cluster = self.cluster.take().unwrap_or_else(|| ClusterRecord {
            name: self.config.cluster_name.to_string(),
            id: ClusterId(cluster_id),
            settled: false,
            // Without anybody to join through, it is the first of its cluster.
            joined: self.config.seeds.is_empty(),
            away: None,
        });
        // A node that looked for a cluster in vain, and is started again without anything to look for.
        let alone = self.config.seeds.is_empty() && !mutated!(fx, JoinsForEver);
        if alone && !cluster.joined && cluster.away.is_none() {
            cluster.joined = true;
            fx.mark(Mark::Founds);
            fx.event(Event::Founded);
        }
        if self.config.storage == Storage::Ordered {
            fx.store(record::format());
            fx.store(record::identity(&identity));
            fx.store(record::cluster(&cluster));
            fx.sync_this_turn();
        }
        let actor = Actor {
            node: identity.node,
            run: identity.run,
        };
        let mut gossip = Gossip::new(
            actor,
            self.config.limits.clone(),
            self.config.resident_value,
            self.ceiling.unwrap_or(Hlc(0)),
        );
        self.restore(&mut fx, &mut gossip);
        let parts = Parts {
            config: self.config,
            seed: self.seed,
            fx,
            identity,
            cluster,
            agreed: self.agreed,
            gossip,
            fresh,
            behind,
        };
        Node::assemble(now, parts)
    }

    /// Puts back what was read.
    fn restore(&mut self, fx: &mut Effects, gossip: &mut Gossip) {
        for (domain, actor, runs) in &self.covered {
            if self.damaged.is_empty() {
                gossip.cover_mut().restore_runs(*domain, *actor, runs);
            } else {
                // It covers dots whose rows are damaged: what the rows that are left show is all that may be covered.
                fx.store(StoreOp::Delete(record::covered_key(*domain, *actor)));
            }
        }
        if !self.damaged.is_empty() {
            let records = self.damaged.len() as u64;
            fx.mark(Mark::DamagedRecords);
            fx.event(Event::Damaged { records });
        }
        for key in core::mem::take(&mut self.damaged) {
            fx.store(StoreOp::Delete(key));
        }
        for (domain, table, actor, row) in core::mem::take(&mut self.rows) {
            gossip.restore_row(domain, &table, actor, row);
        }
        gossip.finish_restore(fx);
    }
}

/// The run of a life: other than those of earlier lives, though they may have had the same seed.
fn run_of(draw: u64, epoch: u64) -> u64 {
    hash_words(&[draw, epoch])
}

/// Who the node is in the life that begins: with new numbers for its dots, and in a later epoch.
fn next_life(
    fx: &Effects,
    last: Option<&Identity>,
    (node, draw): (NodeId, u64),
    wall: u64,
) -> Identity {
    let epoch = last.map_or(wall.max(1), |last| wall.max(last.epoch + 1));
    let run = run_of(draw, epoch);
    match last {
        Some(last) if mutated!(fx, RevivedEpoch) => Identity {
            run,
            ..last.clone()
        },
        Some(last) if mutated!(fx, ReusedDots) => Identity {
            epoch,
            ..last.clone()
        },
        Some(last) => Identity {
            node: last.node,
            run,
            epoch,
        },
        None => Identity { node, run, epoch },
    }
}
