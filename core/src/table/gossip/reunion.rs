//! Reunion: the one way back for a node whose coverage can no longer be trusted.
//!
//! It compares its live rows with everything one member holds. A row whose dot the member covers and that the member does not
//! have was deleted meanwhile: it is dropped. A row whose dot the member does not cover is written again as a new dot, unless the
//! member's row is newer. Its clock stays, but is raised above that of any tombstone the member has freed: such a delete could
//! no longer be seen to win. (A fresh clock would be as safe, and would override newer writes that the member has not seen.) Then it adopts the member's contexts in the same batch. Deletes that the
//! member does not cover are treated like such rows where the member still has the key.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::anti_entropy::Contexts;
use super::{Arrival, Gossip, Slot};
use crate::effects::Effects;
use crate::id::TableId;
use crate::io::StoreOp;
use crate::mutants::mutated;
use crate::store::record;
use crate::table::{Context, Domain, Hlc};
use crate::wire::RowBatch;

/// A write of this node's that the member did not know.
struct Proposal {
    table: TableId,
    key: Bytes,
    value: Option<Bytes>,
    expires: u64,
    clock: Hlc,
}

impl Gossip {
    /// Replaces this node's user rows by the member's and proposes what the member did not know. Returns the rows dropped
    /// and proposed. One batch. O(rows of both).
    ///
    /// # Errors
    /// What is wrong with the member's rows; nothing was changed.
    pub(crate) fn reunite(
        &mut self,
        fx: &mut Effects,
        batches: Vec<RowBatch>,
        adopt: &Contexts,
        freed: Hlc,
    ) -> Result<(u64, u64), &'static str> {
        let mut theirs: BTreeMap<(TableId, Bytes), Arrival> = BTreeMap::new();
        let mut sys = Vec::new();
        for batch in batches {
            for row in self.intern_batch(batch)? {
                if self.tables.domain(row.table) == Domain::Sys {
                    sys.push(row);
                } else {
                    theirs.insert((row.table, row.key.clone()), row);
                }
            }
        }
        // The store's own tables know no deletes: they merge as ever.
        for row in sys {
            self.merge(fx, row);
        }
        let (proposals, dropped) = self.compare(fx, &theirs, adopt);
        self.remove_user_rows(fx);
        for (domain, context) in adopt {
            if *domain == Domain::Sys || mutated!(fx, ReunionKeepsCoverage) {
                self.cover.adopt(self.me, *domain, context, fx);
            } else {
                self.reset_cover(fx, *domain, context);
            }
        }
        for ((table, _), row) in theirs {
            if row.clock > self.floor(table) {
                let domain = self.tables.domain(table);
                self.cover.insert(domain, row.actor, row.counter, fx);
                self.follow_clock(fx, row.clock);
                self.place(fx, domain, None, row);
            }
        }
        let proposed = proposals.len() as u64;
        for proposal in proposals {
            let found = self.rows.find(proposal.table, &proposal.key);
            let Proposal {
                table,
                key,
                value,
                expires,
                clock,
            } = proposal;
            // Above its own old version too, which others may still hold.
            let freed = if mutated!(fx, ReunionKeepsClock) {
                Hlc(0)
            } else {
                freed
            };
            let above = clock.max(freed).max(self.floor(table));
            let clock = above.next();
            self.put_at(fx, table, &key, found, value, expires, (clock, false));
        }
        Ok((dropped, proposed))
    }

    fn compare(
        &self,
        fx: &Effects,
        theirs: &BTreeMap<(TableId, Bytes), Arrival>,
        adopt: &Contexts,
    ) -> (Vec<Proposal>, u64) {
        let mut proposals = Vec::new();
        let mut dropped = 0;
        for (_, row) in self.rows.iter() {
            let domain = self.tables.domain(row.table);
            if domain == Domain::Sys {
                continue;
            }
            let context = adopt
                .iter()
                .find(|(name, _)| *name == domain)
                .map(|(_, context)| context);
            let actor = self.actor(row.actor);
            let covered = context.is_some_and(|context| context.contains(actor, row.counter))
                && !mutated!(fx, ReunionRevives);
            let other = theirs.get(&(row.table, row.key.clone()));
            let newer = other.is_some_and(|other| {
                (other.clock, self.actor(other.actor), other.counter)
                    >= (row.clock, actor, row.counter)
            });
            match (covered, &row.value) {
                (true, Some(_)) if other.is_none() => dropped += 1,
                (true, _) => {}
                (false, _) if newer => {}
                (false, None) if other.is_none_or(|other| other.value.is_none()) => {}
                (false, value) => proposals.push(Proposal {
                    table: row.table,
                    key: row.key.clone(),
                    value: value.clone(),
                    expires: row.expires,
                    clock: row.clock,
                }),
            }
        }
        (proposals, dropped)
    }

    fn remove_user_rows(&mut self, fx: &mut Effects) {
        let slots: Vec<(Slot, TableId)> = self
            .rows
            .iter()
            .filter(|(_, row)| self.tables.domain(row.table) != Domain::Sys)
            .map(|(slot, row)| (slot, row.table))
            .collect();
        for (slot, table) in slots {
            let domain = self.tables.domain(table);
            self.unlink(domain, slot);
            if let Some(row) = self.rows.remove(slot) {
                self.delete_stored(fx, domain, table, &row.key);
            }
        }
        for table in self.tables.user_ids() {
            self.log.push(super::Entry::Flushed(table));
            fx.changed(table);
        }
    }

    /// Coverage of this node's earlier dots that the member lacks would hide rows that others still have: it goes, but for
    /// the present actor's own, which nobody has seen.
    fn reset_cover(&mut self, fx: &mut Effects, domain: Domain, context: &Context) {
        for actor in self.cover.reset(domain, self.me) {
            if domain.is_durable() && fx.has_storage() {
                fx.store(StoreOp::Delete(record::covered_key(domain, actor)));
            }
        }
        self.cover.adopt(self.me, domain, context, fx);
    }
}
