//! The end of a run: all faults end, the cluster comes to rest, and the checkers judge it.

use bytes::Bytes;
use rumormill_core::Mark;

use crate::checkers::{Contents, RowState, Violation, convergence, durability, no_resurrection};
use crate::model::{Effect, Told};
use crate::plan::Table;
use crate::trace::Field;
use crate::world::World;

/// How long a cluster of up to 20 nodes may take to come to rest after the last fault, in microseconds of virtual time.
pub const SETTLE_US: u64 = 60_000_000;
const SETTLE_PER_NODE_US: u64 = 3_000_000;
const SETTLE_STEP_US: u64 = 500_000;
/// Steps in which rows that wait to become siblings are moved by a node that has just started, unless their writer is gone for good.
const STRAYS_STEPS: u64 = 12;

impl World {
    /// Ends all faults, starts every machine and waits until the cluster is at rest, or for [`SETTLE_US`].
    pub fn settle(&mut self) {
        self.note("faults_end", &[]);
        self.course.settling = true;
        self.trace.all_faults_end(self.now_us);
        self.end_faults_but_cuts();
        let begun_us = self.now_us;
        let rests = self.come_to_rest();
        self.count_by("settle_ms", (self.now_us - begun_us) / 1000);
        self.note("at_rest", &[Field::Num("is", u64::from(rests))]);
    }

    /// Waits until the cluster is at rest, or for as long as it may take; whether it is.
    pub(crate) fn come_to_rest(&mut self) -> bool {
        // Before deletes are forgotten every node has to hear from every other, and a node asks one after the other.
        let patience_us = SETTLE_US.max(self.hosts.len() as u64 * SETTLE_PER_NODE_US);
        let limit_us = self.now_us + patience_us;
        let mut quiet = 0;
        while self.now_us < limit_us && (quiet < 2 || quiet < STRAYS_STEPS && self.has_strays()) {
            self.run_until(self.now_us + SETTLE_STEP_US);
            self.operator_declares_lost();
            quiet = if self.is_at_rest() { quiet + 1 } else { 0 };
        }
        quiet >= 2
    }

    /// Judges what the nodes show now, as at the end of a run.
    ///
    /// # Panics
    /// When an invariant of a node does not hold.
    pub fn judge(&mut self) {
        self.hosts
            .iter()
            .filter_map(|host| host.node.as_ref())
            .for_each(|node| node.inspect().check());
        let contents = self.all_contents();
        self.check_watching();
        let mut found = convergence::check(self.now_us, &self.lasting_contents());
        let told = &self.observers.sessions;
        found.extend(told.check(&self.model, &self.observers.agreed));
        found.extend(convergence::check_members(self.now_us, &self.views()));
        for (node, contents) in contents.iter().enumerate() {
            if let Some(contents) = contents {
                let expired = |op: &Told| self.has_expired(node, op);
                let (at_us, model) = (self.now_us, &self.model);
                let ended_by =
                    |op: &Told, by_us| self.observers.agreed.may_have_ended_by(op, by_us);
                let ends = (expired, ended_by);
                found.extend(durability::check(at_us, node, contents, model, ends));
                found.extend(no_resurrection::check(
                    at_us, node, contents, model, expired,
                ));
            }
        }
        found.extend(self.check_pushes());
        let authors = &self.observers.siblings;
        found.extend(authors.check(self.now_us, &self.all_siblings(), &self.model));
        self.observers.found.add(found);
        self.judge_application();
    }

    /// In a cluster that has formed, and where nothing is done but what clients do.
    fn check_pushes(&self) -> Option<Violation> {
        if !self.plan.is_calm() {
            return None;
        }
        let grafts = self.hosts.iter().filter_map(|host| {
            let marks = host.marks();
            marks.get(Mark::GraftSent.name()).copied()
        });
        let grafts = grafts.sum::<u64>();
        let sent = self.model.len() * (self.hosts.len() - 1);
        let pushes = &self.observers.pushes;
        pushes.check(self.now_us, grafts, sent as u64)
    }

    fn has_strays(&self) -> bool {
        let mut nodes = self
            .hosts
            .iter()
            .filter_map(|host| Some((host, host.node.as_ref()?)));
        nodes.any(|(host, node)| {
            let strays = node.status(host.now(self.now_us)).strays;
            strays.iter().any(|strays| strays.defined)
        })
    }

    fn is_at_rest(&self) -> bool {
        // The views of the members are the shorter to read.
        convergence::check_members(self.now_us, &self.views()).is_empty()
            && convergence::holds(&self.lasting_contents())
            && self.application_rests()
    }

    /// Whether a row that was written to expire is hidden on a node, or may have ended: the settled clocks of more than half of the members
    /// that some member counts have passed its expiry since it was written.
    fn has_expired(&self, node: usize, op: &Told) -> bool {
        let wall_ms = self.hosts[node].now(self.now_us).wall.as_millis();
        let hidden = matches!(op.effect, Effect::PutFor(_, expires_ms) if expires_ms <= wall_ms);
        hidden || self.observers.agreed.may_have_ended(op)
    }

    /// Without rows that may have ended on some member and not on another, since the clocks of most members that one counts had passed
    /// their expiry after they were written. Guarantees, "Expiry": such a row may be lost before its time. And without those that expire and
    /// that a disk has lost without a word. Guarantees, "Damage": members do not compare rows that expire, so they do not come back there.
    fn lasting_contents(&self) -> Vec<Option<Contents>> {
        let lasts = |table: &str, key: &Bytes, row: &RowState| {
            let written_us = || self.written_us(table, key, row);
            let is_lost = || {
                let mut tables = Table::ALL.into_iter();
                let table = tables.find(|known| known.name() == table);
                table.is_some_and(|table| self.model.is_lost(table, key))
            };
            row.expires_ms.is_none_or(|at_ms| {
                at_ms > self.observers.agreed.passed_since(written_us()) && !is_lost()
            })
        };
        let contents = self.all_contents().into_iter();
        contents
            .map(|contents| contents.map(|contents| contents.only(lasts)))
            .collect()
    }

    /// When a client wrote this row, by its value or version; the beginning where neither tells.
    fn written_us(&self, table: &str, key: &Bytes, row: &RowState) -> u64 {
        let mut tables = Table::ALL.into_iter();
        let table = tables.find(|known| known.name() == table);
        let history = table.and_then(|table| self.model.history(table, key));
        let written = history.and_then(|history| history.author(row));
        written.map_or(0, |op| op.at_us)
    }

    /// Returns the view that each running node has of the cluster.
    fn views(&self) -> Vec<convergence::ClusterView> {
        let hosts = self.hosts.iter().enumerate();
        let running = hosts.filter_map(|(index, host)| Some((index, host, host.node.as_ref()?)));
        let gone = (&self.operator.gone, self.operator.keeps_deletes);
        running
            .map(|(index, host, node)| {
                convergence::ClusterView::read(index, node, host.now(self.now_us), gone)
            })
            .collect()
    }
}
