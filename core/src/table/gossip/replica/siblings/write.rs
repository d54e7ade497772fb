//! Clients' writes to tables that keep siblings.

use bytes::Bytes;

use super::super::{Arrival, Replica};
use crate::config::MAX_SIBLING_BYTES;
use crate::effects::Effects;
use crate::error::{TokenError, WriteError};
use crate::id::TableId;
use crate::marks::Mark;
use crate::table::catalog::Catalog;
use crate::table::causal::{CausalToken, Dot, Vector};
use crate::table::env::RowEnv;
use crate::table::siblings::{Sibling, SiblingRow};
use crate::table::{Accepted, Hlc, Write};

impl Replica {
    /// A client's write to a table that keeps siblings.
    pub(in super::super) fn write_sibling(
        &mut self,
        env: &mut RowEnv<'_>,
        table: TableId,
        write: Write<'_>,
    ) -> Result<Accepted, WriteError> {
        let (key, value, context) = match write {
            Write::Put {
                expires: Some(_), ..
            } => return Err(WriteError::ExpiryUnsupported),
            Write::Put { key, value, .. } => (key, Some(value), None),
            Write::Delete { .. } => return Err(WriteError::ContextRequired),
            Write::Replace {
                key,
                value,
                context,
            } => (key, Some(value), Some(context)),
            Write::Remove { key, context } => (key, None, Some(context)),
        };
        self.check_limits(key, value.as_ref())?;
        let seen = self.seen_by(env.catalog, table, key, context)?;
        let seen = match env.fx.rules().replaces_seen() {
            true => seen,
            false => Vector::default(),
        };
        self.sweep_key(env, table, key);
        let found = self.rows.find(table, key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let row = current.and_then(|row| row.value.siblings());
        if let Some(value) = &value {
            self.check_siblings(env.fx, row, &seen, value)?;
        } else if !self.removes(env.catalog, table, row, &seen) {
            return Ok(self.unchanged(env, table, current));
        }
        let existed = row.is_some_and(|row| !row.is_dead());
        let above = self.clock_to_beat(table, current)?;
        let mut row = row.cloned().unwrap_or_default();
        let clock = self.issue_clock(env.fx, above);
        if row.versions().iter().any(|version| version.value.is_none()) {
            env.fx.mark(Mark::DeleteTakenIn);
        }
        let dot = self.next_dot(env, table);
        let version = Sibling {
            origin: dot,
            dot,
            clock,
            value,
        };
        row.write(version, &seen);
        if row.live().nth(1).is_some() {
            env.fx.mark(Mark::SiblingAdded);
        }
        Ok(self.put_siblings(env, table, key, (dot, clock, existed), row))
    }

    /// Returns the versions that the author of a write has seen.
    fn seen_by(
        &self,
        catalog: &Catalog,
        table: TableId,
        key: &[u8],
        context: Option<&CausalToken>,
    ) -> Result<Vector, TokenError> {
        let Some(context) = context else {
            return Ok(Vector::default());
        };
        let seen = context.seen(catalog.name(table), key)?;
        let class = catalog.class(table);
        let me = self.actor(self.me);
        let issued = self
            .coverage
            .seen_runs(class, me)
            .map_or(0, |runs| runs.max());
        match seen.get(me) <= issued {
            true => Ok(seen.clone()),
            false => Err(TokenError::Unissued),
        }
    }

    fn check_siblings(
        &self,
        fx: &mut Effects,
        row: Option<&SiblingRow>,
        seen: &Vector,
        value: &Bytes,
    ) -> Result<(), WriteError> {
        let left = row.map(|row| row.left_by(seen));
        let (count, bytes) = left
            .into_iter()
            .flatten()
            .fold((0, 0), |(count, bytes), len| (count + 1, bytes + len));
        let limit = self.limits.siblings;
        if count >= limit {
            fx.mark(Mark::SiblingsRefused);
            return Err(WriteError::TooManySiblings { limit });
        }
        let (size, limit) = (bytes + value.len(), MAX_SIBLING_BYTES);
        match count > 0 && size > limit {
            true => Err(WriteError::SiblingsTooLarge { size, limit }),
            false => Ok(()),
        }
    }

    /// Whether a delete removes anything: siblings that are here, or some that its author has seen and that are not here yet.
    fn removes(
        &self,
        catalog: &Catalog,
        table: TableId,
        row: Option<&SiblingRow>,
        seen: &Vector,
    ) -> bool {
        let class = catalog.class(table);
        let here =
            row.is_some_and(|row| row.live().any(|(version, _)| seen.contains(version.origin)));
        let unknown = |dot: &Dot| {
            let runs = self.coverage.seen_runs(class, dot.actor);
            !row.is_some_and(|row| row.seen().contains(*dot))
                && !runs.is_some_and(|runs| runs.contains(dot.counter))
        };
        here || seen.as_slice().iter().any(unknown)
    }

    /// Puts a row in place that a write of this node's has changed, and pushes it whole.
    pub(in super::super) fn put_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        table: TableId,
        key: &[u8],
        (dot, clock, existed): (Dot, Hlc, bool),
        row: SiblingRow,
    ) -> Accepted {
        let seq = env.fx.open_seq();
        let key = self.key_of(self.rows.find(table, key), key);
        self.collect_siblings(env, (table, &key), (dot, clock), &row);
        self.place_siblings(env, table, key, row);
        self.accepted(env, table, seq, (clock, dot.counter), existed)
    }

    /// A row with a fresh dot of this node's goes out whole, under that dot.
    pub(super) fn collect_siblings(
        &mut self,
        env: &RowEnv<'_>,
        (table, key): (TableId, &Bytes),
        (dot, clock): (Dot, Hlc),
        row: &SiblingRow,
    ) {
        if self.outbox.is_open() {
            let fresh = Arrival {
                table,
                actor: self.me,
                counter: dot.counter,
                clock,
                expires: 0,
                key: key.clone(),
                value: Some(row.encode()),
                siblings: None,
            };
            self.collect(env, &fresh);
        }
    }
}
