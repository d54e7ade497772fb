//! Whether anything disturbs a leave: only an undisturbed one has to be handed over.

use std::time::Duration;

use rumormill_core::members::MemberState;

use crate::world::World;

/// A leave that gives up sooner by its settings may do so although nothing is wrong.
const PATIENT: Duration = Duration::from_secs(1);

impl World {
    /// A fault begins or ends, or a machine starts or stops: whatever is under way is disturbed.
    pub(crate) fn disturb(&mut self) {
        self.observers.on_disturbance(self.now_us);
    }

    /// Whether a leave that begins now is undisturbed: nothing has been wrong for a while, and the leaver is linked with all others, which
    /// are members too and answer.
    pub(crate) fn is_calm_for(&self, leaver: usize) -> bool {
        let quiet = self.observers.is_quiet(self.now_us);
        let whole = self.course.endings.is_empty() && !self.net.is_faulty();
        let others = || (0..self.hosts.len()).filter(|node| *node != leaver);
        let well = others().all(|node| self.is_member(node) && !self.hosts[node].hurts.is_hurt());
        quiet
            && whole
            && well
            && self.is_member(leaver)
            && self.answers_to(leaver, others().count())
    }

    /// Whether the leaver is linked with so many others and takes them for alive, and gives them time.
    fn answers_to(&self, leaver: usize, others: usize) -> bool {
        let host = &self.hosts[leaver];
        let Some(node) = &host.node else {
            return false;
        };
        let members = node.members();
        let alive = members
            .iter()
            .filter(|member| !member.me && member.state == MemberState::Alive)
            .count();
        let down = members
            .iter()
            .filter(|member| matches!(member.state, MemberState::Suspect | MemberState::Down))
            .count();
        let status = node.status(host.now(self.now_us));
        let patient = node.config().timing.leave_timeout >= PATIENT;
        patient && !host.hurts.is_hurt() && alive == others && down == 0 && status.links >= others
    }
}
