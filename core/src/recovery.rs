//! From stored records back to a node.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::config::{Config, Storage};
use crate::effects::Effects;
use crate::error::RecoverError;
use crate::id::{Actor, ClusterId, NodeId};
use crate::io::Record;
use crate::node::{Node, Parts};
use crate::rng::{Rng, Seed, Stream};
use crate::store::record::{self, ClusterRecord, Identity, Known, RowRecord};
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
    ceiling: Hlc,
    rows: Vec<(Domain, String, Actor, RowRecord)>,
    covered: Vec<(Domain, Actor, Runs)>,
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
            ceiling: Hlc(0),
            rows: Vec::new(),
            covered: Vec::new(),
        }
    }

    /// Takes in one record of the store; order does not matter.
    ///
    /// # Errors
    /// [`RecoverError`] when the record is damaged or too new; the recovery cannot go on.
    pub fn record(&mut self, record: Record) -> Result<(), RecoverError> {
        match record::read(&record)? {
            Known::Format(found) if found > record::FORMAT => {
                return Err(RecoverError::Version {
                    found,
                    known: record::FORMAT,
                });
            }
            Known::Format(found) => self.format = Some(found),
            Known::Identity(identity) => self.identity = Some(identity),
            Known::Cluster(cluster) => self.cluster = Some(cluster),
            Known::Ceiling(ceiling) => self.ceiling = ceiling,
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
    /// [`RecoverError::ClusterName`] when the store belongs to a cluster of another name.
    pub fn finish(self, now: Now) -> Result<Node, RecoverError> {
        if let Some(cluster) = &self.cluster
            && cluster.name != self.config.cluster_name
        {
            return Err(RecoverError::ClusterName {
                found: cluster.name.clone(),
                configured: self.config.cluster_name.clone(),
            });
        }
        let mut rng = Rng::new(self.seed, Stream::Identity);
        let (node, run, cluster_id) = (rng.next(), rng.next(), rng.next());
        let wall = now.wall.as_millis();
        let identity = match &self.identity {
            Some(last) => Identity {
                node: last.node,
                run,
                epoch: wall.max(last.epoch + 1),
            },
            None => Identity {
                node: NodeId(node),
                run,
                epoch: wall.max(1),
            },
        };
        let cluster = self.cluster.unwrap_or_else(|| ClusterRecord {
            name: self.config.cluster_name.to_string(),
            id: ClusterId(cluster_id),
            settled: false,
            // Without anybody to join through, it is the first of its cluster.
            joined: self.config.seeds.is_empty(),
            away: None,
        });
        let mut fx = Effects::new(self.config.storage);
        fx.set_now(now);
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
            self.ceiling,
        );
        for (domain, actor, runs) in &self.covered {
            gossip.cover_mut().restore_runs(*domain, *actor, runs);
        }
        for (domain, table, actor, row) in self.rows {
            gossip.restore_row(domain, &table, actor, row);
        }
        gossip.finish_restore(&mut fx);
        let parts = Parts {
            config: self.config,
            seed: self.seed,
            fx,
            identity,
            cluster,
            gossip,
            fresh: self.identity.is_none(),
        };
        Ok(Node::assemble(now, parts))
    }
}
