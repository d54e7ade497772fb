//! Machines start, lose their power, their disks, or only their processes.

use std::time::Duration;

use rumormill_core::{
    Instant, Node, Token,
    errors::RecoverError,
    io::{HaltReason, Input, Request},
    members::NodePhase,
};

use crate::checkers::Violation;
use crate::event::{Event, Why};
use crate::faults::FaultKind;
use crate::host::Started;
use crate::model::Held;
use crate::network::Network;
use crate::opening::is_alone;
use crate::plan::WARM_UP_US;
use crate::trace::{Field, Weight};
use crate::world::World;

/// A machine that has to wait for a member of its cluster looks again after this long, in microseconds.
const LOOK_AGAIN_US: u64 = 500_000;
/// How long an operator waits for a join.
const JOIN_PATIENCE: Duration = Duration::from_secs(5);
/// A newcomer asks so many others for its cluster.
const SEEDS: usize = 8;

impl World {
    pub(crate) fn start(&mut self, node: usize) {
        if self.hosts[node].node.is_some() {
            return;
        }
        self.disturb();
        let Some(seeds) = self.seeds(node) else {
            self.usher();
            return self.push(self.now_us + LOOK_AGAIN_US, Event::Start { node });
        };
        let now_us = self.now_us;
        let is_rotten = self.hosts[node].ties.rotten.is_some();
        let started = match self.boot(node, seeds) {
            // The rows that name the other members have rotted: an operator names them.
            Err(error) if is_rotten && is_alone(&error) => {
                self.boot(node, self.members_first(node))
            }
            started => started,
        };
        match started {
            Ok(started) => {
                let Started { id, cursors, .. } = &started;
                let host = &self.hosts[node];
                if let Some(running) = &host.node {
                    let view = running.view(host.now(now_us));
                    let tables = (host.opened(), &cursors[..]);
                    self.observers.on_start((now_us, node), &view, tables);
                }
                self.ids.insert(*id, node);
                self.count("starts");
                if self.hosts[node].boot == 1 && now_us > WARM_UP_US {
                    self.count("late_newcomers");
                }
                let boot = Field::Num("boot", u64::from(self.hosts[node].boot));
                self.trace.event(
                    now_us,
                    node,
                    Weight::Story,
                    "start",
                    &[boot, Field::Mute(id.0)],
                );
                self.opened(node, &started);
                self.definitions_lost(node);
                self.starts_as(node);
                if self.is_rejoining(node) {
                    self.call_operator();
                }
                self.clock_is_set(node);
                self.touch(node);
                self.application_starts(node);
            }
            Err(error) => {
                let text = format!("n{node} cannot start from its disk: {error}");
                self.observers.on_found([Violation {
                    checker: "recovery",
                    at_us: now_us,
                    text,
                }]);
            }
        }
    }

    /// Returns the machine that a node asks for its cluster: n0, until some machine has forgotten its node. From then on a newcomer that
    /// asks another newcomer, or is found by one under an address of old, founds a second cluster with it, and clusters with members never
    /// merge. So newcomers ask members, one after the other; `None` says that this one has to wait. Only when no machine remembers the
    /// cluster it is founded anew.
    pub(crate) fn seeds(&self, node: usize) -> Option<Vec<String>> {
        let host = &self.hosts[node];
        let founder = || (node > 0).then(|| "n0".to_string()).into_iter().collect();
        if self.operator.gone.is_empty() {
            return Some(founder());
        }
        let count = self.hosts.len();
        let others = (1..count).map(|step| (node + step) % count);
        let a_newcomer = || others.clone().any(|other| self.is_joining(other));
        if host.ties.alone && self.is_survived(node) && a_newcomer() {
            return None;
        }
        if !host.disk.is_empty() && !host.ties.alone {
            return Some(founder());
        }
        let remembers = |other: usize| {
            let host = &self.hosts[other];
            host.node.is_none() && !host.disk.is_empty() && host.ties.remembers
        };
        if !others.clone().any(|other| self.is_member(other)) {
            let mut knowing = others.filter(|other| remembers(*other) || self.is_rejoining(*other));
            let waits = knowing.next().is_some() && !host.ties.remembers;
            return if waits { None } else { Some(founder()) };
        }
        Some(self.members_first(node))
    }

    /// Returns the addresses of some others. Members come first: the list is short, and those it names may go again before they answer.
    fn members_first(&self, node: usize) -> Vec<String> {
        let count = self.hosts.len();
        let mut seeds: Vec<usize> = (1..count).map(|step| (node + step) % count).collect();
        seeds.sort_by_key(|other| !self.is_member(*other));
        let seeds = seeds.into_iter().take(SEEDS);
        seeds.map(|other| format!("n{other}")).collect()
    }

    fn boot(&mut self, node: usize, seeds: Vec<String>) -> Result<Started, RecoverError> {
        let limits = (self.plan.resident_value, &self.plan.caps);
        let (timing, sabotage) = (&self.timing, self.sabotage.as_mut());
        self.hosts[node].start(self.now_us, (node, seeds), timing, limits, sabotage)
    }

    /// Sends a newcomer to a member, as an operator does: the machine it was told to ask may have gone for good.
    fn usher(&mut self) {
        let nodes = 0..self.hosts.len();
        let newcomer = nodes.clone().find(|node| self.is_joining(*node));
        let member = nodes.clone().find(|node| self.is_member(*node));
        let (Some(newcomer), Some(member)) = (newcomer, member) else {
            return;
        };
        let deadline = self.hosts[newcomer].now(self.now_us).mono + JOIN_PATIENCE;
        let addr = format!("n{member}");
        self.request(newcomer, Some(deadline), Request::Join { addr });
    }

    /// Asks something of a node that runs. Returns the token of the answer.
    pub(crate) fn request(
        &mut self,
        node: usize,
        deadline: Option<Instant>,
        request: Request,
    ) -> Token {
        self.tally.requests += 1;
        let token = Token(self.tally.requests);
        self.input(
            node,
            Input::Request {
                token,
                deadline,
                request,
            },
        );
        token
    }

    /// Returns whether the node runs, is a member that none has evicted, and is not about to leave or to lose what it holds.
    pub(crate) fn is_member(&self, node: usize) -> bool {
        let host = &self.hosts[node];
        let goes = host.ties.leaving || host.ties.stopping;
        let stays = !goes && host.ties.rotten.is_none() && !self.is_outcast(node);
        let full = host.node.as_ref().is_some_and(Node::is_full);
        full && !host.ties.alone && stays
    }

    fn is_joining(&self, node: usize) -> bool {
        self.hosts[node].phase() == Some(NodePhase::Joining)
    }

    /// Whether the node has to rejoin first.
    pub(crate) fn is_rejoining(&self, node: usize) -> bool {
        self.hosts[node].phase() == Some(NodePhase::Rejoining)
    }

    /// Returns the first member with a disk, counting from `node`, that is not the last one: another may have what its disk loses.
    pub(crate) fn member_with_disk(&self, node: usize) -> Option<usize> {
        self.running_where(node, |node| {
            self.hosts[node].has_disk && self.is_member(node) && self.is_survived(node)
        })
    }

    /// Whether some other node is a member and runs: the cluster goes on when this one forgets everything.
    pub(crate) fn is_survived(&self, node: usize) -> bool {
        (0..self.hosts.len()).any(|other| other != node && self.is_member(other))
    }

    /// Whether some other node runs and knows the cluster: a member, or one that is rejoining and that an operator can let go on.
    pub(crate) fn is_known_elsewhere(&self, node: usize) -> bool {
        let knows = |other: usize| {
            let host = &self.hosts[other];
            self.is_rejoining(other) && !host.ties.leaving && host.ties.rotten.is_none()
        };
        let mut others = (0..self.hosts.len()).filter(|other| *other != node);
        self.is_survived(node) || others.any(knows)
    }

    /// The node loses its power, or only its process dies. Of the unsynced batches a prefix survives.
    pub(crate) fn crash(&mut self, node: usize, clean: bool) {
        self.finish_turn();
        let host = &mut self.hosts[node];
        if host.node.is_none() {
            return;
        }
        let unsynced = host.disk.unsynced() as u64;
        let keep = host.drive.disk_rng.below(unsynced + 1) as usize;
        self.crash_keeping(node, clean, keep);
    }

    /// The same where the first `keep` of the unsynced batches survive.
    pub(crate) fn crash_keeping(&mut self, node: usize, clean: bool, keep: usize) {
        self.finish_turn();
        if self.hosts[node].node.is_none() {
            return;
        }
        let lost = self.power_off(node, keep, clean);
        self.count(FaultKind::Crash.name());
        let fields = [
            Field::Num("kept", keep as u64),
            Field::Num("lost", lost as u64),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "crash", &fields);
        if !self.hosts[node].has_disk {
            self.forget(node);
        }
        self.break_links(node, clean);
    }

    /// The node loses its power, and its disk.
    pub(crate) fn wipe(&mut self, node: usize) {
        self.finish_turn();
        if self.hosts[node].node.is_none() {
            return;
        }
        let lost = self.power_off(node, 0, false);
        self.count(FaultKind::Wipe.name());
        let fields = [Field::Num("lost", lost as u64)];
        self.trace
            .event(self.now_us, node, Weight::Story, "wipe", &fields);
        self.forget(node);
        self.break_links(node, false);
    }

    /// The node has stopped by itself.
    pub(crate) fn halted(&mut self, node: usize, why: &HaltReason) {
        let left = matches!(why, HaltReason::Left(_));
        self.trace.event(
            self.now_us,
            node,
            Weight::Story,
            "halt",
            &[Field::Num("left", u64::from(left))],
        );
        let host = &mut self.hosts[node];
        let unsynced = host.disk.unsynced();
        let stopped = matches!(why, HaltReason::Stopped(_));
        if stopped {
            let synced = host.disk.synced();
            self.observers.on_stopped((self.now_us, node), synced);
        }
        let host = &mut self.hosts[node];
        // A driver closes its store in good order, unless that is what failed.
        let keep = match left || stopped {
            true => unsynced,
            false => host.drive.disk_rng.below(unsynced as u64 + 1) as usize,
        };
        let held = self.held(node).filter(|_| left);
        // A node that has left has said what it takes along.
        self.hosts[node].ties.leaving &= !left;
        self.power_off(node, keep, true);
        if left {
            // The other members have what it leaves behind, and a copy from before may not.
            self.course.copies.clear();
            self.left(node, held);
        }
        self.break_links(node, true);
        if self.course.quiescing {
            self.push(self.now_us, Event::Start { node });
        }
    }

    /// Notes that a starting node that is no member proposes anew what it holds, if its disk had rotted or if it crashed while it left.
    /// Writes that a leaver was told others hold stay promised as before.
    fn starts_as(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if !host.ties.alone {
            // All that was damaged on its disk had been written anew.
            host.belongs();
        } else if host.ties.rotten.is_some() || host.ties.takes_along {
            let held = self.held(node);
            self.observers.on_went_alone(node, held.as_ref());
        }
    }

    /// Notes what a member took along when it left without having handed it over: it proposes that anew when it returns, its own writes and
    /// others'. Without a disk nothing is left of it, handed over or not: the member that holds it now may have no disk either.
    fn left(&mut self, node: usize, held: Option<Held>) {
        let host = &mut self.hosts[node];
        let handed_over = host.ties.handed_over.take() == Some(true);
        if !host.has_disk {
            // Perhaps no member has heard that it left.
            return self.forget(node);
        }
        if !handed_over {
            self.observers.on_went_alone(node, held.as_ref());
        }
    }

    /// Returns how many unsynced batches are lost when the first `keep` survive.
    pub(crate) fn power_off(&mut self, node: usize, keep: usize, answers: bool) -> usize {
        let host = &mut self.hosts[node];
        host.ties.takes_along |= host.ties.leaving;
        let crash = host.disk.crash(self.now_us, keep, answers);
        self.observers.on_stop(node, host.node.as_ref(), crash.upto);
        self.clients.on_stop(node);
        host.stop();
        host.process.answers = answers;
        self.clock_ends(node);
        self.application_stops(node);
        self.count_broken(&crash);
        let lost = crash.lost;
        if lost > 0 {
            self.operator.lost_writes.extend(self.hosts[node].id);
        }
        self.count_by("batches_lost", lost as u64);
        lost
    }

    /// Forgets what the machine's node knew, its id included.
    fn forget(&mut self, node: usize) {
        self.outdate_copies(node);
        let host = &mut self.hosts[node];
        host.ties.alone = true;
        host.ties.remembers = false;
        host.ties.rotten = None;
        host.ties.takes_along = false;
        host.disk.wipe();
        self.operator.gone.extend(host.id);
        self.observers.on_forget(node);
    }

    /// A dead process's connections are reset by its machine; a machine without power says nothing.
    pub(crate) fn break_links(&mut self, node: usize, says_so: bool) {
        for end in self.net.open_ends(node) {
            self.net.set_up(end, false);
            if let Some(wire) = &mut self.wire {
                wire.close(end);
            }
            let other = Network::other(end);
            let peer = self.net.end(other).map_or(node, |end| end.node);
            if says_so && self.net.reaches(node, peer) {
                let at_us = self.net.close_arrival(self.now_us, end);
                let why = Why::Broken;
                self.push(at_us, Event::Down { link: other, why });
            }
        }
        self.release(node);
    }
}
