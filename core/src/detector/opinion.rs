//! This node's opinion of each member, and the causes that change it: evidence of its own, rumors, and time.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::id::NodeId;
use crate::time::Instant;
use crate::wire::{Rumor, RumorState};

use super::suspicion::{CONFIRMATIONS, Suspicion};
use super::{Action, Detector, Due, Member, period, rumors};

/// Rumors read of one message; an honest peer sends no more than [`rumors::PER_MESSAGE`].
const MAX_READ: usize = 64;

/// An incarnation this large is made up, and could not be refuted for ever.
const MAX_INCARNATION: u64 = 1 << 62;

impl Detector {
    /// Takes in what a peer says. Rumors about strangers or other generations count for nothing.
    pub(super) fn learn(&mut self, heard: &[Rumor], out: &mut Vec<Action>) {
        for rumor in heard.iter().take(MAX_READ) {
            if rumor.incarnation >= MAX_INCARNATION {
                continue;
            }
            if rumor.node == self.me {
                self.defend(rumor, out);
            } else {
                self.weigh(rumor, out);
            }
        }
    }

    /// A message from `node` itself, in the generation we know.
    pub(super) fn heard(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let now = self.now;
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        member.heard = Some(now);
        member.indirect = 0;
        let revived = member.state != RumorState::Alive;
        if self.end_probe(node) {
            self.health.improve();
        }
        self.urgent.remove(&node);
        if revived {
            self.rumors.remove(node);
            self.set_state(node, RumorState::Alive, out);
        }
    }

    /// `node` started anew: nothing known of its former generation holds.
    pub(super) fn reborn(&mut self, node: NodeId, generation: u64, out: &mut Vec<Action>) {
        self.end_probe(node);
        self.rumors.remove(node);
        self.set_state(node, RumorState::Alive, out);
        if let Some(member) = self.members.get_mut(&node) {
            *member = Member::new(generation, member.zone);
        }
    }

    /// Our own evidence: `node` did not answer.
    pub(super) fn accuse(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let Some(member) = self.members.get(&node) else {
            return;
        };
        let rumor = Rumor {
            node,
            generation: member.generation,
            incarnation: member.incarnation,
            state: RumorState::Suspect,
            from: self.me,
        };
        match member.state {
            RumorState::Alive => self.suspect(rumor, out),
            RumorState::Suspect => self.confirm(rumor),
            RumorState::Down => {}
        }
    }

    /// A suspect's time to refute is over, unless this node has just stood still: the refutation may be among what it has not read.
    pub(super) fn condemn(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let until = self.resumed.map(|at| at + period(&self.timing));
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        if let Some(suspicion) = &mut member.suspicion
            && let Some(until) = until.filter(|until| *until > self.now)
        {
            suspicion.put_off(until);
            self.timers.insert((until, Due::Suspicion(node)));
            return;
        }
        let rumor = Rumor {
            node,
            generation: member.generation,
            incarnation: member.incarnation,
            state: RumorState::Down,
            from: self.me,
        };
        self.bury(rumor, out);
    }

    /// Takes the word of `node` that its `generation` stops: it is taken for dead at once, as if its time to refute were over. An unknown
    /// node, or another generation, is ignored.
    pub(crate) fn stopped(&mut self, now: Instant, node: NodeId, generation: u64) -> Vec<Action> {
        self.advance(now);
        let mut out = Vec::new();
        let Some(member) = self.members.get(&node) else {
            return out;
        };
        if member.generation != generation && self.rules.goodbyes_end_one_generation() {
            return out;
        }
        let rumor = Rumor {
            node,
            generation: member.generation,
            incarnation: member.incarnation,
            state: RumorState::Down,
            from: self.me,
        };
        if member.state != RumorState::Down {
            self.bury(rumor, &mut out);
        }
        out
    }

    /// Cancels the probe of `node`; true when there was one.
    pub(super) fn end_probe(&mut self, node: NodeId) -> bool {
        let nonce = self
            .members
            .get_mut(&node)
            .and_then(|member| member.probe.take());
        let Some(probe) = nonce.and_then(|nonce| self.probes.remove(&nonce)) else {
            return false;
        };
        self.timers.remove(&probe.timer);
        true
    }

    pub(super) fn end_suspicion(&mut self, node: NodeId) {
        let suspicion = self
            .members
            .get_mut(&node)
            .and_then(|member| member.suspicion.take());
        if let Some(suspicion) = suspicion {
            self.timers
                .remove(&(suspicion.deadline(), Due::Suspicion(node)));
        }
    }

    /// Puts `node` on the rosters of its state.
    pub(super) fn place(&mut self, node: NodeId, state: RumorState) {
        let Some(zone) = self.members.get(&node).map(|member| member.zone) else {
            return;
        };
        if state == RumorState::Down {
            if self.down.is_empty() {
                self.next_down = self.now + period(&self.timing);
            }
            self.active.remove(node);
            self.urgent.remove(&node);
            self.down.insert(node);
        } else {
            self.down.remove(node);
            self.active.insert(node, zone == self.zone);
        }
        if state == RumorState::Alive {
            self.alive.insert(node, zone);
        } else {
            self.alive.remove(node, zone);
        }
    }

    /// Returns the rumor to say first to `node`: the accusation against it.
    pub(super) fn accusation(&self, node: NodeId) -> Option<Rumor> {
        self.members
            .get(&node)
            .and_then(|member| member.accused.clone())
    }

    pub(super) fn take_rumors(&mut self, first: Option<Rumor>) -> Vec<Rumor> {
        self.rumors
            .take(first, rumors::limit(self.members.len() + 1))
    }

    /// Answers a rumor about this node.
    fn defend(&mut self, rumor: &Rumor, out: &mut Vec<Action>) {
        if rumor.generation != self.generation {
            return;
        }
        let accused = rumor.state != RumorState::Alive;
        let refute = (rumor.incarnation > self.incarnation
            || accused && rumor.incarnation == self.incarnation)
            && self.rules.refutes_accusations();
        if refute {
            self.incarnation = rumor.incarnation + 1;
            self.health.worsen(1);
            out.push(Action::Refuted);
        }
        // An accusation of an earlier incarnation shows that its sender missed the refutation.
        if refute || accused {
            self.rumors.put(Rumor {
                node: self.me,
                generation: self.generation,
                incarnation: self.incarnation,
                state: RumorState::Alive,
                from: self.me,
            });
        }
    }

    /// Weighs a rumor about another member.
    fn weigh(&mut self, rumor: &Rumor, out: &mut Vec<Action>) {
        let now = self.now;
        let recent = period(&self.timing);
        let Some(member) = self.members.get_mut(&rumor.node) else {
            return;
        };
        if rumor.generation != member.generation || rumor.incarnation < member.incarnation {
            return;
        }
        if rumor.incarnation > member.incarnation {
            member.incarnation = rumor.incarnation;
            member.accused = None;
            if member.state == RumorState::Down && rumor.state == RumorState::Down {
                member.accused = Some(rumor.clone());
                self.rumors.put(rumor.clone());
                return;
            }
            self.end_suspicion(rumor.node);
            self.rumors.put(Rumor {
                state: RumorState::Alive,
                ..rumor.clone()
            });
            self.set_state(rumor.node, RumorState::Alive, out);
        }
        let Some(member) = self.members.get_mut(&rumor.node) else {
            return;
        };
        let fresh = member.heard.is_some_and(|heard| now.since(heard) < recent);
        if rumor.state != RumorState::Alive && rumor.state > member.state && fresh {
            if member
                .accused
                .as_ref()
                .is_none_or(|known| known.state < rumor.state)
            {
                member.accused = Some(rumor.clone());
            }
            return;
        }
        match (member.state, rumor.state) {
            (RumorState::Alive, RumorState::Suspect) => {
                self.suspect(rumor.clone(), out);
                self.second(rumor.node);
            }
            (RumorState::Suspect, RumorState::Suspect) => self.confirm(rumor.clone()),
            (RumorState::Alive | RumorState::Suspect, RumorState::Down) => {
                self.bury(rumor.clone(), out)
            }
            (RumorState::Down, RumorState::Alive) if !self.rules.trusts_contact_alone() => {
                self.set_state(rumor.node, RumorState::Alive, out);
            }
            (_, RumorState::Alive) | (RumorState::Down, _) => {}
        }
    }

    fn suspect(&mut self, rumor: Rumor, out: &mut Vec<Action>) {
        let node = rumor.node;
        let suspicion = Suspicion::new(self.now, &self.timing, self.active.len() + 1, rumor.from);
        self.set_state(node, RumorState::Suspect, out);
        if let Some(member) = self.members.get_mut(&node) {
            self.timers
                .insert((suspicion.deadline(), Due::Suspicion(node)));
            member.suspicion = Some(Box::new(suspicion));
            member.accused = Some(rumor.clone());
        }
        self.rumors.put(rumor);
    }

    /// Makes this node ask the suspect at once with a small probability: on the average four times as many members ask as have to agree,
    /// since some hear of the suspicion late. Either they agree within a period, or the suspect hears the accusation.
    fn second(&mut self, node: NodeId) {
        let members = self.members.len() as u64;
        if self.rng.below(members) < 4 * CONFIRMATIONS as u64 {
            self.urgent.insert(node);
        }
    }

    /// Only a member can confirm, and passing it on lets others count it too.
    fn confirm(&mut self, rumor: Rumor) {
        let known = rumor.from == self.me || self.members.contains_key(&rumor.from);
        if !known || rumor.from == rumor.node {
            return;
        }
        let Some(suspicion) = self
            .members
            .get_mut(&rumor.node)
            .and_then(|member| member.suspicion.as_mut())
        else {
            return;
        };
        let before = suspicion.deadline();
        if suspicion.confirm(self.now, rumor.from) {
            self.timers.remove(&(before, Due::Suspicion(rumor.node)));
            self.timers
                .insert((suspicion.deadline(), Due::Suspicion(rumor.node)));
            self.rumors.put(rumor);
        }
    }

    fn bury(&mut self, rumor: Rumor, out: &mut Vec<Action>) {
        self.end_probe(rumor.node);
        self.set_state(rumor.node, RumorState::Down, out);
        if let Some(member) = self.members.get_mut(&rumor.node) {
            member.accused = Some(rumor.clone());
        }
        self.rumors.put(rumor);
    }

    /// Changes the state, ends a suspicion, and gives the verdict.
    fn set_state(&mut self, node: NodeId, state: RumorState, out: &mut Vec<Action>) {
        self.end_suspicion(node);
        let buried = !self.rules.takes_back_down();
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        if member.state == state || buried && member.state == RumorState::Down {
            return;
        }
        member.state = state;
        self.place(node, state);
        out.push(match state {
            RumorState::Alive => Action::Up(node),
            RumorState::Suspect => Action::Suspect(node),
            RumorState::Down => Action::Down(node),
        });
    }
}
