//! The judgement of what nodes show at the end of a run.

use bytes::Bytes;
use rumormill_core::Wall;

use super::Observers;
use crate::checkers::convergence::{self, ClusterView};
use crate::checkers::siblings::Shown;
use crate::checkers::{Contents, RowState, Violation, durability, no_resurrection};
use crate::model::{Effect, Told};
use crate::plan::Table;

/// The state of the world at the end of a run, by machine.
pub(crate) struct AtEnd {
    /// The moment, in virtual microseconds.
    pub(crate) at_us: u64,
    /// The rows that each node shows, if it runs.
    pub(crate) contents: Vec<Option<Contents>>,
    /// The rows among these on which all nodes have to agree.
    pub(crate) lasting: Vec<Option<Contents>>,
    /// The times that the wall clocks show.
    pub(crate) walls: Vec<Wall>,
    /// The view that each running node has of the cluster.
    pub(crate) views: Vec<ClusterView>,
    /// The rows that each running node shows of the table that keeps siblings.
    pub(crate) siblings: Vec<(usize, Shown)>,
    /// How many rows were asked for one by one, in a run in which nothing went wrong.
    pub(crate) grafts: Option<u64>,
}

impl Observers {
    /// The run ends, and nodes show this.
    pub(crate) fn on_end(&mut self, end: &AtEnd) {
        let AtEnd { at_us, .. } = *end;
        let mut found = convergence::check(at_us, &end.lasting);
        found.extend(
            self.answers
                .sessions
                .check(&self.answers.model, &self.agreed),
        );
        found.extend(convergence::check_members(at_us, &end.views));
        let nodes = end.contents.iter().zip(&end.walls).enumerate();
        for (node, (contents, wall)) in nodes {
            if let Some(contents) = contents {
                found.extend(self.check_rows((at_us, node), contents, *wall));
            }
        }
        if let Some(grafts) = end.grafts {
            let sent = self.answers.model.len() * (end.contents.len() - 1);
            found.extend(self.pushes.check(at_us, grafts, sent as u64));
        }
        found.extend(
            self.siblings
                .check(at_us, &end.siblings, &self.answers.model),
        );
        self.found.add(found);
    }

    /// Judges the rows that a node shows, whose wall clock shows this time.
    fn check_rows(
        &self,
        (at_us, node): (u64, usize),
        contents: &Contents,
        wall: Wall,
    ) -> Vec<Violation> {
        let expired = |op: &Told| self.has_expired(wall, op);
        let ended_by = |op: &Told, by_us| self.agreed.may_have_ended_by(op, by_us);
        let (model, ends) = (&self.answers.model, (expired, ended_by));
        let mut found = durability::check(at_us, node, contents, model, ends);
        found.extend(no_resurrection::check(
            at_us, node, contents, model, expired,
        ));
        found
    }

    /// Whether a row that was written to expire is hidden on a node whose wall clock shows this time, or may have ended: the settled clocks of
    /// more than half of the members that some member counts have passed its expiry since it was written.
    fn has_expired(&self, wall: Wall, op: &Told) -> bool {
        let wall_ms = wall.as_millis();
        let hidden = matches!(op.effect, Effect::PutFor(_, expires_ms) if expires_ms <= wall_ms);
        hidden || self.agreed.may_have_ended(op)
    }

    /// Whether all nodes have to agree on a row. Not on one that may have ended on some member and not on another, since the clocks of most
    /// members that one counts had passed its expiry after it was written. Guarantees, "Expiry": such a row may be lost before its time. Nor on
    /// one that expires and that a disk has lost without a word. Guarantees, "Damage": members do not compare rows that expire, so it does not
    /// come back there.
    pub(crate) fn lasts(&self, table: &str, key: &Bytes, row: &RowState) -> bool {
        let Some(expires_ms) = row.expires_ms else {
            return true;
        };
        let mut tables = Table::ALL.into_iter();
        let table = tables.find(|known| known.name() == table);
        let history = table.and_then(|table| self.answers.model.history(table, key));
        // By its value or version; the beginning where neither tells.
        let written = history.and_then(|history| history.author(row));
        let written_us = written.map_or(0, |op| op.at_us);
        let is_lost = || table.is_some_and(|table| self.answers.model.is_lost(table, key));
        expires_ms > self.agreed.passed_since(written_us) && !is_lost()
    }
}
