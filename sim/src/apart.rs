//! The state of a cluster while some of its ways stay cut.
//!
//! Cuts between two groups that are in force when a plan ends, and that leave all machines connected through others, stay for a while: the cluster
//! has to come to rest without them being healed.

use std::collections::BTreeSet;

use rumormill_core::{Node, members::MemberState};

use crate::checkers::convergence::waits;
use crate::checkers::neighbours::{self, View};
use crate::trace::Field;
use crate::world::World;

/// How long a cluster may take, in microseconds of virtual time: a suspicion, and then a question for each member by each other.
const PATIENCE_US: u64 = 120_000_000;
const STEP_US: u64 = 500_000;
/// Larger clusters only make the run long.
const MAX_NODES: usize = 7;
/// The numbers of the cuts that stay: no fault of a plan has them.
const FIRST_NUMBER: usize = usize::MAX / 2;

impl World {
    /// Ends all faults but for cuts that leave the machines connected, and waits until members that meet through others have what is
    /// promised to them; then those cuts end too.
    pub(crate) fn end_faults_but_cuts(&mut self) {
        let cuts = self.net.standing_cuts();
        self.end_all_faults();
        let nodes = self.hosts.len();
        if cuts.is_empty() || nodes > MAX_NODES {
            return;
        }
        for (number, cut) in cuts.iter().enumerate() {
            self.net.begin(FIRST_NUMBER + number, cut);
        }
        if neighbours::all_connected(nodes, |from, to| self.net.reaches(from, to)) {
            self.count("rests_apart");
            self.rest_apart();
        }
        self.net.heal();
    }

    /// The patience counts from when all nodes are full members: one that is joining promises nothing yet.
    fn rest_apart(&mut self) {
        let give_up_us = self.now_us + PATIENCE_US;
        let mut begun: Option<(u64, Vec<View>)> = None;
        let found = loop {
            self.run_until(self.now_us + STEP_US);
            // A node may need to meet all others before it is a member: that is for when the cuts are healed.
            let Some(mut views) = self.views_apart() else {
                begun = None;
                if self.now_us >= give_up_us {
                    break Vec::new();
                }
                continue;
            };
            let (begun_us, before) = begun.take().unzip();
            // A member that has few neighbours in common with another may take it for dead now and then, and not for good.
            for (view, before) in views.iter_mut().zip(before.iter().flatten()) {
                view.down.retain(|node| before.down.contains(node));
            }
            let reaches = |from, to| self.net.reaches(from, to);
            let found = neighbours::check(self.now_us, &views, reaches);
            let begun_us = begun_us.unwrap_or(self.now_us);
            if found.is_empty() || self.now_us >= begun_us + PATIENCE_US {
                break found;
            }
            begun = Some((begun_us, views));
        };
        self.note("apart", &[Field::Num("broken", found.len() as u64)]);
        self.observers.on_found(found);
    }

    /// Returns the views of the nodes, if all of them are full members.
    fn views_apart(&self) -> Option<Vec<View>> {
        let running = self.hosts.iter().enumerate();
        let views = running.map(|(index, host)| {
            let node = host.node.as_ref().filter(|node| node.is_full())?;
            self.is_member(index).then(|| self.view_apart(index, node))
        });
        views.collect()
    }

    fn view_apart(&self, index: usize, node: &Node) -> View {
        let now = self.hosts[index].now(self.now_us);
        let members = node.members();
        // An old boot is waited for until a member reaches a majority, or for good.
        let old_boot = members.iter().any(|member| {
            self.operator.gone.contains(&member.id) && member.state != MemberState::Left
        });
        let machine = |id| self.hosts.iter().position(|host| host.id == Some(id));
        let down = members
            .iter()
            .filter(|member| member.state == MemberState::Down);
        let down: BTreeSet<usize> = down.filter_map(|member| machine(member.id)).collect();
        let status = node.status(now);
        // All of them wait for what an operator has to declare lost.
        let mut waits_for = status.waiting_for.iter();
        let for_nothing =
            !status.waiting_for.is_empty() && waits_for.all(|wait| self.never_comes(wait));
        let kept = self.model().keeps_deletes() || old_boot || for_nothing;
        View {
            node: index,
            down,
            tombstones: if kept { 0 } else { status.tombstones },
            waits: waits(&status),
        }
    }
}
