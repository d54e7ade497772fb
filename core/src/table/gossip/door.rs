//! The part of the door that the cluster uses: the rows of the store's own tables, what is covered, and the clock.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Contexts, Gossip};
use crate::effects::Effects;
use crate::id::{Seq, TableId};
use crate::table::catalog::Catalog;
use crate::table::env::RowEnv;
use crate::table::{Accepted, Context, Hlc, RowClass};
use crate::time::Wall;
use crate::wire::RowBatch;

/// A row of one of the store's own tables.
pub(crate) struct SysRow {
    pub(crate) value: Bytes,
    pub(crate) clock: Hlc,
    /// The batch that stores it.
    pub(crate) seq: Seq,
}

impl Gossip {
    /// Writes a row of one of the store's own tables.
    pub(crate) fn write_sys(
        &mut self,
        env: &mut RowEnv<'_>,
        table: TableId,
        key: &[u8],
        value: impl Into<Option<Bytes>>,
    ) -> Accepted {
        self.replica.write_sys(env, table, key, value)
    }

    /// Returns a row of one of the store's own tables, unless it is deleted.
    pub(crate) fn sys_row(&self, table: TableId, key: &[u8]) -> Option<SysRow> {
        let row = self.replica.rows().get(table, key)?;
        Some(SysRow {
            value: row.value.resident()?.clone(),
            clock: row.clock,
            seq: row.seq,
        })
    }

    /// Returns the keys of one of the store's own tables. O(its rows).
    pub(crate) fn sys_keys(&self, table: TableId) -> Vec<Bytes> {
        self.replica.live_keys(table)
    }

    /// Takes the rows of the store's own tables that changed since the last call.
    #[must_use = "these rows have to take effect"]
    pub(crate) fn take_sys_changes(&mut self) -> Vec<(TableId, Bytes)> {
        self.replica.take_sys_changes()
    }

    /// Takes the rows of members that changed since the last call; those of settings stay.
    #[must_use = "these rows have to take effect"]
    pub(crate) fn take_member_changes(&mut self) -> Vec<(TableId, Bytes)> {
        self.replica.take_member_changes()
    }

    /// Returns those of these rows that are here, for a greeting.
    pub(crate) fn greeting_rows(&self, catalog: &Catalog, keys: &[(TableId, Vec<u8>)]) -> RowBatch {
        self.replica.greeting_rows(catalog, keys)
    }

    /// Returns what is covered, by row class.
    pub(crate) fn contexts(&self) -> Contexts {
        self.replica.contexts()
    }

    /// Returns whether all of these contexts have been seen here. O(their actors).
    pub(crate) fn has_seen<'a>(
        &self,
        contexts: impl IntoIterator<Item = &'a (RowClass, Context)>,
    ) -> bool {
        let coverage = self.replica.coverage();
        let mut contexts = contexts.into_iter();
        contexts.all(|(class, context)| coverage.includes(*class, context))
    }

    /// Returns whether all of these contexts are durable here. O(their actors).
    pub(crate) fn holds_durably<'a>(
        &self,
        contexts: impl IntoIterator<Item = &'a (RowClass, Context)>,
    ) -> bool {
        let coverage = self.replica.coverage();
        let mut contexts = contexts.into_iter();
        contexts.all(|(class, context)| coverage.holds_durably(*class, context))
    }

    /// Returns the hybrid logical clock.
    pub(crate) fn clock(&self) -> Hlc {
        self.replica.clock()
    }

    /// Follows a clock that a peer told.
    pub(crate) fn follow_clock(&mut self, fx: &mut Effects, clock: Hlc) {
        self.replica.follow_clock(fx, clock);
    }

    /// Sets the time that the settled clocks of most members have passed, and the time that most peers show.
    pub(crate) fn set_others_time(&mut self, agreed: Option<Option<Wall>>, shown: Option<Wall>) {
        if let Some(agreed) = agreed {
            self.replica.set_agreed_time(agreed);
        }
        self.replica.set_shown_by_others(shown);
    }
}
