//! Rows that were accepted under a name before its definition made it a table of siblings: when this node moves them, and for which writers.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::table::catalog::Catalog;
use crate::table::env::{Env, Look};
use crate::table::gossip::Gossip;
use crate::time::Instant;

/// How often rows that are not moved yet are looked at again. In a new boot so long passes before the first, in which the node hears
/// of what it had moved in the last one.
const PERIOD: Duration = Duration::from_secs(5);

/// Rows of a table that are not shown, because they were accepted before its definition had come to their writers, or because that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StrayRows {
    /// The table's name.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// Whether the definition is known here. If not a crash took it before it was synced: they show when the table is created again.
    pub defined: bool,
}

impl core::fmt::Display for StrayRows {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let StrayRows {
            table,
            rows,
            defined,
        } = self;
        let why = match defined {
            true => {
                "for their writers, which accepted them before the definition of the table had come"
            }
            false => {
                "until the table is created again to keep siblings: a crash took its definition"
            }
        };
        write!(f, "{table}: {rows} rows wait {why}")
    }
}

impl Gossip {
    /// Rows that wait to become siblings, by table.
    pub(crate) fn stray_rows(&self, catalog: &Catalog) -> Vec<StrayRows> {
        let strays = self.replica.strays(catalog).into_iter();
        strays
            .map(|(table, rows, defined)| StrayRows {
                table: table.to_string(),
                rows,
                defined,
            })
            .collect()
    }

    /// Returns whether this node moves rows: a member does that stays.
    pub(in super::super) fn moves_strays(&self, env: &Look<'_>) -> bool {
        self.replica.has_strays()
            && env.seat.is_full()
            && !env.seat.is_leaving
            && env.fx.rules().moves_strays()
    }

    /// When rows have to be moved next.
    pub(crate) fn strays_deadline(&self, env: &Look<'_>) -> Option<Instant> {
        if !self.moves_strays(env) {
            return None;
        }
        let next = match self.replica.strays_due(env.fx.durable()) {
            true => env.fx.now().mono,
            false => self.strays_at,
        };
        Some(next.max(env.seat.begun + PERIOD))
    }

    /// Moves rows that this node wrote, and those of writers that are no members any more if it has the smallest id.
    pub(crate) fn strays_due(&mut self, env: &mut Env<'_>) {
        if !self.moves_strays(&env.look()) {
            return;
        }
        let now = env.fx.now().mono;
        if now < env.seat.begun + PERIOD {
            return;
        }
        if self.strays_at <= now {
            self.strays_at = now + PERIOD;
            self.replica.look_for_strays(env.catalog);
        }
        if !self.replica.strays_due(env.fx.durable()) {
            return;
        }
        let (me, membership) = (env.seat.me, env.seat.members);
        let is_first = membership.others().all(|(node, _)| me < node);
        let is_mine = |node: NodeId| node == me || is_first && !membership.is_present(node);
        for place in self.replica.move_strays(&mut env.rows(), &is_mine) {
            if !env.loads.wants(&place) {
                self.replica.stray_not_loaded(&place);
            }
        }
    }
}
