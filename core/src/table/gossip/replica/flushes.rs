//! Flushes of this node's clients: a drop marker, and a delete for each row that is here and above it.
//!
//! A drop marker has this node's clock, so a row whose clock is further ahead than that stays above it, though the client that flushes has seen
//! the row. Each such row is deleted by a version with the next clock after the row's own. The list of them is taken at the
//! flush: a row that is written later is not on it.

use alloc::vec::Vec;

use bytes::Bytes;

use super::drop_markers;
use super::write::Fresh;
use super::{Replica, StoredRow};
use crate::id::{Seq, TableId, Token};
use crate::marks::Mark;
use crate::table::Slot;
use crate::table::catalog::Catalog;
use crate::table::env::RowEnv;
use crate::table::siblings::Sibling;
use crate::table::sys;
use crate::table::{Accepted, Hlc};

/// Rows above drop markers that one turn deletes, and as many in the turn of the flush itself.
pub(crate) const AT_ONCE: usize = 256;

/// Flushes that may have rows left to delete. Each write that hides or shows a row looks at all of them.
pub(crate) const WAITING: usize = 1_024;

/// A flush that has rows left to delete.
pub(super) struct Flush {
    number: u64,
    table: Option<TableId>,
    /// The last row that was looked at: all others above the drop marker come after it.
    at: (Hlc, Slot),
    /// Rows that arrive under this number or a larger one were written later.
    before: u64,
    token: Option<Token>,
    /// The batch that the answer waits for grows with the deletes.
    accepted: Accepted,
}

impl Replica {
    /// Drops every row of a table, or of all user tables: those at or below this node's clock by a drop marker, one row of `sys.drop_markers`, and
    /// those above it one by one, in the turns that follow if they are many. Returns the number of the flush unless all are deleted:
    /// [`Replica::flush_on`] gives the answer for the token, and [`Replica::flush_more`] that for the number.
    pub(crate) fn flush_table(
        &mut self,
        env: &mut RowEnv<'_>,
        table: Option<TableId>,
        token: Option<Token>,
    ) -> (Accepted, Option<u64>) {
        let key = match table {
            Some(table) => drop_markers::drop_marker_key(env.catalog.name(table)),
            None => drop_markers::DROP_MARKER_OF_ALL.to_vec(),
        };
        // A table's drop marker is freed as a tombstone is; the one row that is the drop marker of all stays.
        let value = table.is_none().then(Bytes::new);
        let accepted = self.write_sys(env, sys::DROP_MARKERS, &key, value);
        // Rows of which the drop marker has removed some siblings were placed anew: they were here before all the same.
        let before = env.changes.next();
        self.last_flush += 1;
        let mut flush = Flush {
            number: self.last_flush,
            table,
            at: (accepted.version.clock, Slot::LAST),
            before,
            token,
            accepted,
        };
        let mut left = AT_ONCE;
        if !env.fx.rules().flushes_rows_ahead() || self.delete_ahead(env, &mut flush, &mut left) {
            return (flush.accepted, None);
        }
        let (accepted, number) = (flush.accepted, flush.number);
        self.flushes.push_back(flush);
        (accepted, Some(number))
    }

    /// Whether a flush of one of these tables has rows left to delete.
    pub(super) fn is_flushed(&self, tables: &[TableId]) -> bool {
        let mut flushes = self.flushes.iter();
        flushes.any(|flush| flush.table.is_some_and(|table| tables.contains(&table)))
    }

    /// Whether as many flushes have rows left to delete as may wait.
    pub(crate) fn is_full_of_flushes(&self) -> bool {
        self.flushes.len() >= WAITING
    }

    /// Whether flushes have rows left to delete.
    pub(crate) fn is_flushing(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Deletes up to `budget` rows that flushes have on their lists; returns the answers to those that are done.
    pub(crate) fn flush_on(
        &mut self,
        env: &mut RowEnv<'_>,
        budget: usize,
    ) -> Vec<(Token, Accepted)> {
        let (mut left, mut done) = (budget, Vec::new());
        while let Some(mut flush) = self.flushes.pop_front() {
            if !self.delete_ahead(env, &mut flush, &mut left) {
                self.flushes.push_front(flush);
                break;
            }
            done.extend(flush.token.map(|token| (token, flush.accepted)));
        }
        done
    }

    /// Deletes up to `budget` of the rows that a flush has left, and those of the flushes before it; once all are deleted, the last batch
    /// with deletes of flushes whose tables promise to sync first.
    pub(crate) fn flush_more(
        &mut self,
        env: &mut RowEnv<'_>,
        number: u64,
        budget: usize,
    ) -> Option<Seq> {
        let mut left = budget;
        while let Some(mut flush) = self.flushes.pop_front() {
            let is_meant = flush.number <= number && flush.token.is_none();
            if !is_meant || !self.delete_ahead(env, &mut flush, &mut left) {
                self.flushes.push_front(flush);
                break;
            }
        }
        let mut open = self.flushes.iter();
        (!open.any(|flush| flush.number == number)).then_some(self.flushed)
    }

    /// Deletes the rows of a flush, of which `left` may be looked at; whether all are done.
    fn delete_ahead(&mut self, env: &mut RowEnv<'_>, flush: &mut Flush, left: &mut usize) -> bool {
        while *left > 0 {
            let Some(at) = self.ahead.after(flush.at) else {
                return true;
            };
            *left -= 1;
            flush.at = at;
            let Some(row) = self.rows.row(at.1) else {
                continue;
            };
            if self.is_listed(env.catalog, flush, row) {
                self.delete_row(env, at.1, &mut flush.accepted);
            }
        }
        self.ahead.after(flush.at).is_none()
    }

    /// Whether a row that is above the drop marker was here when the flush came, and is one of those that it removes.
    fn is_listed(&self, catalog: &Catalog, flush: &Flush, row: &StoredRow) -> bool {
        let is_meant = match flush.table {
            Some(table) => catalog.public(row.table) == catalog.public(table),
            None => catalog.listed(row.table).is_some(),
        };
        is_meant && row.arrival < flush.before && !row.value.is_dead()
    }

    /// Deletes a row at once that a flush has yet to come to, because it is about to be hidden or shown again: with the number that
    /// it gets it would look like one that was written later. Returns whether it was deleted. O(flushes).
    pub(super) fn flush_row(&mut self, env: &mut RowEnv<'_>, slot: Slot) -> bool {
        let Some(row) = self.rows.row(slot).filter(|_| self.is_flushing()) else {
            return false;
        };
        let is_left =
            |flush: &Flush| (row.clock, slot) > flush.at && self.is_listed(env.catalog, flush, row);
        let Some(at) = self.flushes.iter().position(is_left) else {
            return false;
        };
        if !env.fx.rules().flushes_hidden_rows() {
            return false;
        }
        let mut accepted = self.flushes[at].accepted;
        self.delete_row(env, slot, &mut accepted);
        self.flushes[at].accepted = accepted;
        true
    }

    /// Deletes one row by a version with the next clock after its own; in a table with siblings one that has seen all of them.
    /// A row with the last of all clocks stays: nothing is newer.
    fn delete_row(&mut self, env: &mut RowEnv<'_>, slot: Slot, answer: &mut Accepted) {
        let Some(row) = self.rows.row(slot) else {
            return;
        };
        let (table, key) = (row.table, row.key.clone());
        let siblings = row.value.siblings().cloned();
        let Ok(above) = self.clock_to_beat(table, Some(row)) else {
            return;
        };
        let clock = self.issue_clock(env.fx, above);
        let accepted = match siblings {
            None => {
                let fresh = Fresh {
                    table,
                    key: &key,
                    found: Some(slot),
                    value: None,
                    expires: 0,
                };
                self.put(env, fresh, clock, true)
            }
            Some(mut siblings) => {
                let dot = self.next_dot(env, table);
                let version = Sibling {
                    origin: dot,
                    dot,
                    clock,
                    value: None,
                };
                let seen = siblings.seen().clone();
                siblings.write(version, &seen);
                self.put_siblings(env, table, &key, (dot, clock, true), siblings)
            }
        };
        env.fx.mark(Mark::FlushedAhead);
        if accepted.sync {
            self.flushed = self.flushed.max(accepted.seq);
        }
        // An answer that waits for the disk does not wait for deletes that promise nothing.
        if accepted.sync || !answer.sync {
            answer.seq = answer.seq.max(accepted.seq);
        }
        answer.sync |= accepted.sync;
    }
}
