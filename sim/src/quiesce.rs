//! The end of a run: all faults end, the cluster comes to rest, and the checkers judge it.

use bytes::Bytes;
use rumormill_core::Mark;

use crate::checkers::{Contents, RowState, convergence};
use crate::observers::AtEnd;
use crate::trace::Field;
use crate::world::World;

/// How long a cluster of up to 20 nodes may take to come to rest after the last fault, in microseconds of virtual time.
pub const QUIESCE_US: u64 = 60_000_000;
const QUIESCE_PER_NODE_US: u64 = 3_000_000;
const QUIESCE_STEP_US: u64 = 500_000;
/// Steps in which rows that wait to become siblings are moved by a node that has just started, unless their writer is gone for good.
const STRAYS_STEPS: u64 = 12;

impl World {
    /// Ends all faults, starts every machine and waits until the cluster is at rest, or for [`QUIESCE_US`].
    pub fn quiesce(&mut self) {
        self.note("faults_end", &[]);
        self.course.quiescing = true;
        self.trace.all_faults_end(self.now_us);
        self.end_faults_but_cuts();
        let begun_us = self.now_us;
        let rests = self.come_to_rest();
        self.count_by("quiesce_ms", (self.now_us - begun_us) / 1000);
        self.note("at_rest", &[Field::Num("is", u64::from(rests))]);
    }

    /// Waits until the cluster is at rest, or for as long as it may take; whether it is.
    pub(crate) fn come_to_rest(&mut self) -> bool {
        // Before deletes are forgotten every node has to hear from every other, and a node asks one after the other.
        let patience_us = QUIESCE_US.max(self.hosts.len() as u64 * QUIESCE_PER_NODE_US);
        let limit_us = self.now_us + patience_us;
        let mut quiet = 0;
        while self.now_us < limit_us && (quiet < 2 || quiet < STRAYS_STEPS && self.has_strays()) {
            self.run_until(self.now_us + QUIESCE_STEP_US);
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
        self.check_watching();
        let walls = self.hosts.iter().map(|host| host.now(self.now_us).wall);
        let end = AtEnd {
            at_us: self.now_us,
            contents: self.all_contents(),
            lasting: self.lasting_contents(),
            walls: walls.collect(),
            views: self.views(),
            siblings: self.all_siblings(),
            grafts: self.plan.is_calm().then(|| self.grafts_sent()),
        };
        self.observers.on_end(&end);
        self.judge_application();
    }

    /// Counts the rows that nodes have asked for one by one.
    fn grafts_sent(&self) -> u64 {
        let grafts = self.hosts.iter().filter_map(|host| {
            let marks = host.marks();
            marks.get(Mark::GraftSent.name()).copied()
        });
        grafts.sum()
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

    /// Returns the rows on which all nodes have to agree.
    fn lasting_contents(&self) -> Vec<Option<Contents>> {
        let lasts =
            |table: &str, key: &Bytes, row: &RowState| self.observers.lasts(table, key, row);
        let contents = self.all_contents().into_iter();
        contents
            .map(|contents| contents.map(|contents| contents.only(lasts)))
            .collect()
    }

    /// Returns the view that each running node has of the cluster.
    fn views(&self) -> Vec<convergence::ClusterView> {
        let hosts = self.hosts.iter().enumerate();
        let running = hosts.filter_map(|(index, host)| Some((index, host, host.node.as_ref()?)));
        let gone = (&self.operator.gone, self.model().keeps_deletes());
        running
            .map(|(index, host, node)| {
                convergence::ClusterView::read(index, node, host.now(self.now_us), gone)
            })
            .collect()
    }
}
