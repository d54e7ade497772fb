//! Applies an eviction record: effects on the evicted node, on nodes that its author did not count, and on their links.

use crate::cluster::membership::{LinkPhase, Verdict};
use crate::cluster::{Cluster, Env};
use crate::id::LinkId;
use crate::io::{Event, HangupReason};
use crate::marks::Mark;

impl Cluster {
    /// Applies an eviction that has come to be known here: it ends that generation, and a node that its author did not count has to rejoin.
    pub(crate) fn judge_eviction(&mut self, env: &mut Env<'_>, verdict: &Verdict) {
        self.close_evicted(env, verdict);
        let by = verdict.eviction.by;
        // Its own word that it goes on: see `resume`.
        if by == self.id() && verdict.node == by {
            return;
        }
        let mine = verdict.node == self.id();
        if !mine && verdict.counted.contains(&self.id()) {
            return;
        }
        let ends = if mine { verdict.generation } else { 0 };
        // It ended this very generation, and not only an earlier one.
        let ended = mine && verdict.generation >= self.identity.generation;
        if !self.is_full() {
            self.wait_for(env, verdict.clock, &verdict.counted);
            if ended {
                self.begin_generation(env, ends);
            }
            return;
        }
        let outranked = self.membership.outranks(verdict);
        if outranked || !env.fx.rules().evicted_rejoin() {
            env.fx.mark(Mark::EvictionOutranked);
            env.fx.event(Event::EvictionOutranked { by });
        } else {
            env.fx.mark(Mark::Evicted);
            env.fx.event(Event::Evicted { by });
            let mut active = verdict.counted.clone();
            active.retain(|node| *node != self.id());
            self.begin_rejoining(env, verdict.clock, active);
            self.look_for_members(env);
        }
        let another = match &self.leaving {
            None => mine || !outranked,
            // A leaver that has to rejoin does so when it comes back. One that goes on hands over in a generation that counts.
            Some(leaving) => mine && outranked && !leaving.announced,
        };
        if another {
            self.begin_generation(env, ends);
        }
    }

    /// Nothing more is taken from a generation that was ended. One that was ended by force is looked for: it may have done the same.
    fn close_evicted(&mut self, env: &mut Env<'_>, verdict: &Verdict) {
        let node = verdict.node;
        if node == self.id() {
            return;
        }
        self.release_agreements(env, |agreed| {
            agreed.node == node && agreed.generation <= verdict.generation
        });
        if verdict.eviction.forced
            && let Some(member) = self.membership.get(node)
        {
            let (now, addr) = (env.fx.now().mono, member.record.addr.clone());
            self.links.want(now, node, &addr);
        }
        let Some(link) = self.links.of(node) else {
            return;
        };
        let known = self.links.get(link);
        match known.map(|known| (known.phase(), known.generation <= verdict.generation)) {
            Some((LinkPhase::Ready, true)) => self.hang_up(env, link, HangupReason::Evicted),
            // The greeting that it got did not tell.
            Some((LinkPhase::Greeting | LinkPhase::Rejoining, true)) => self.greet(env, link),
            _ => {}
        }
    }

    /// Starts an entry anew when an eviction was heard from another node than the one through which this node is entering: that one has to
    /// hear of it first.
    pub(crate) fn join_anew(&mut self, env: &mut Env<'_>, told_by: LinkId) {
        if let Some(link) = self.joining.filter(|link| *link != told_by) {
            self.hang_up(env, link, HangupReason::Retry);
        }
    }
}
