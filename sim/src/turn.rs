//! What a driver does, in virtual time: hands inputs to nodes, ends their turns, and carries out what they ask for.

use std::sync::Arc;

use rumormill_core::wire::Message;
use rumormill_core::{
    DialId, HaltReason, Input, LinkError, LinkId, Links, Output, Seq, StoreOp, Timer,
};

use crate::checkers::Violation;
use crate::checkers::no_resurrection::Watch;
use crate::faults::FaultKind;
use crate::network::{DIAL_TIMEOUT_US, Fate, Network};
use crate::story;
use crate::trace::{Field, WORLD, Weight};
use crate::world::{Call, Event, Why, World};

/// A node whose deadline stays in the past for so many turns, without anything else happening to it, will never rest.
const MAX_SPINS: u32 = 1_000;
/// A sync takes from the first to the second, in microseconds.
const SYNC_US: (u64, u64) = (200, 4_000);

impl Why {
    fn error(self) -> LinkError {
        match self {
            Why::Closed => LinkError::Closed,
            Why::Broken => LinkError::Broken,
            Why::TimedOut => LinkError::TimedOut,
            Why::Unreachable => LinkError::Unreachable,
        }
    }
}

impl World {
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Start { node } => self.start(node),
            Event::Wake { node } => self.wake(node),
            Event::Deliver { node, link, msg } => self.deliver(node as usize, link, msg),
            Event::Up { link, hello } => {
                let Some((ours, side)) = self.net.link(link) else {
                    return;
                };
                let dial = (side == 0).then_some(ours.dial);
                let (node, life) = (ours.ends[side].node, ours.ends[side].life);
                if self.lives(node, life) {
                    self.net.set_up(link, true);
                    self.link_line(node, "up", link, None);
                    self.input(
                        node,
                        Input::LinkUp {
                            link,
                            dial,
                            hello: *hello,
                        },
                    );
                } else {
                    self.net.set_closing(link);
                }
            }
            Event::Down { link, why } => self.down(link, why),
            Event::DialArrives { call } => self.dial_arrives(*call),
            Event::DialFails {
                node,
                life,
                dial,
                why,
            } => {
                if self.lives(node, life) {
                    let why = why.error();
                    self.count("dials_failed");
                    let fields = [
                        Field::Word("why", story::link_error(&why)),
                        Field::Mute(dial.0),
                    ];
                    self.trace
                        .event(self.now_us, node, Weight::Story, "dial_failed", &fields);
                    self.input(node, Input::DialFailed { dial, why });
                }
            }
            Event::Synced { node, life } => {
                if self.hosts[node].life == life && self.hosts[node].node.is_some() {
                    self.synced(node);
                }
            }
            Event::Loaded { node, life, answer } => {
                if self.lives(node, life) {
                    self.loaded(node, *answer);
                }
            }
            Event::FaultEnds { number } => self.fault_is_over(number),
        }
    }

    fn lives(&self, node: usize, life: u32) -> bool {
        self.hosts[node].life == life && self.hosts[node].node.is_some()
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        self.touch(node);
        self.events += 1;
        let host = &mut self.hosts[node];
        host.spins = 0;
        let now = host.clock.now(self.now_us);
        if let Some(node) = &mut host.node {
            node.handle(now, input);
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.hosts[node].node.is_some() {
            return;
        }
        let (now_us, timing) = (self.now_us, &self.timing);
        let resident = self.resident_value;
        let sabotage = self.sabotage.as_mut();
        match self.hosts[node].start(now_us, node, timing, resident, sabotage) {
            Ok(id) => {
                self.ids.insert(id, node);
                self.count("starts");
                let life = Field::Num("life", u64::from(self.hosts[node].life));
                self.trace.event(
                    now_us,
                    node,
                    Weight::Story,
                    "start",
                    &[life, Field::Mute(id.0)],
                );
                self.touch(node);
            }
            Err(error) => {
                let text = format!("n{node} cannot start from its disk: {error}");
                self.violations.push(Violation {
                    checker: "recovery",
                    at_us: now_us,
                    text,
                });
            }
        }
    }

    pub(crate) fn crash(&mut self, node: usize, clean: bool) {
        if let Some(dirty) = self.dirty.take() {
            self.end_turn(dirty);
        }
        let host = &mut self.hosts[node];
        if host.node.is_none() {
            return;
        }
        let unsynced = host.disk.unsynced() as u64;
        let keep = host.disk_rng.below(unsynced + 1) as usize;
        let (upto, lost) = host.disk.crash(keep);
        host.stop();
        host.answers = clean;
        for (seq, op) in std::mem::take(&mut host.unsynced) {
            if seq > upto {
                self.model.at_risk(op);
            }
        }
        self.model.crashed();
        self.count(FaultKind::Crash.name());
        self.count_by("batches_lost", lost as u64);
        let fields = [
            Field::Num("kept", keep as u64),
            Field::Num("lost", lost as u64),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "crash", &fields);
        for end in self.net.open_ends(node) {
            self.net.set_up(end, false);
            // A dead process's connections are reset by its machine; a machine without power says nothing.
            let other = Network::other(end);
            let peer = self.net.end(other).map_or(node, |end| end.node);
            if clean && self.net.reaches(node, peer) {
                let at_us = self.net.close_arrival(self.now_us, end);
                self.push(
                    at_us,
                    Event::Down {
                        link: other,
                        why: Why::Broken,
                    },
                );
            }
        }
    }

    fn wake(&mut self, node: usize) {
        if self.hosts[node].wake_us != Some(self.now_us) {
            return;
        }
        self.hosts[node].wake_us = None;
        let Some(deadline) = self.hosts[node]
            .node
            .as_ref()
            .and_then(|node| node.next_deadline())
        else {
            return;
        };
        if self.hosts[node].clock.when(deadline.at, 0) > self.now_us {
            self.schedule(node);
            return;
        }
        if deadline.why != Timer::Flush {
            self.events += 1;
        }
        let why = Field::Word("why", story::timer(deadline.why));
        self.trace
            .event(self.now_us, node, Weight::Detail, "wake", &[why]);
        self.hosts[node].spins += 1;
        if self.hosts[node].spins == MAX_SPINS {
            let text = format!(
                "n{node} never rests: its {} deadline stays in the past",
                story::timer(deadline.why)
            );
            self.violations.push(Violation {
                checker: "liveness",
                at_us: self.now_us,
                text,
            });
        }
        self.touch(node);
    }

    /// Queues the next wake-up of a node, unless one is queued that comes first.
    fn schedule(&mut self, node: usize) {
        let host = &self.hosts[node];
        let Some(deadline) = host.node.as_ref().and_then(|node| node.next_deadline()) else {
            return;
        };
        let due_us = host.clock.when(deadline.at, self.now_us);
        // A deadline that is still due after the turn that met it costs time, so that the world goes on.
        let due_us = due_us.max(self.now_us + u64::from(host.spins > 0));
        if host.wake_us.is_none_or(|wake| due_us < wake) && host.spins < MAX_SPINS {
            self.hosts[node].wake_us = Some(due_us);
            self.push(due_us, Event::Wake { node });
        }
    }

    fn deliver(&mut self, node: usize, link: LinkId, msg: Arc<Message>) {
        let open = self
            .net
            .end(link)
            .is_some_and(|end| end.up && !end.closing && self.lives(node, end.life));
        if !open {
            return;
        }
        let from = self
            .net
            .end(Network::other(link))
            .map_or(WORLD, |end| end.node);
        story::received(&mut self.trace, &self.ids, self.now_us, from, node, &msg);
        self.input(
            node,
            Input::Message {
                link,
                msg: Arc::unwrap_or_clone(msg),
            },
        );
    }

    fn down(&mut self, link: LinkId, why: Why) {
        let Some(end) = self.net.end(link) else {
            return;
        };
        let (node, life, up) = (end.node, end.life, end.up);
        if !up || !self.lives(node, life) {
            return;
        }
        self.net.set_up(link, false);
        let why = why.error();
        self.link_line(node, "down", link, Some(&why));
        self.input(node, Input::LinkDown { link, why });
    }

    fn link_line(
        &mut self,
        node: usize,
        verb: &'static str,
        link: LinkId,
        why: Option<&LinkError>,
    ) {
        let peer = self
            .net
            .end(Network::other(link))
            .map_or(WORLD, |end| end.node);
        let link = Field::Num("link", link.0);
        match why {
            None => self.trace.event(
                self.now_us,
                node,
                Weight::Story,
                verb,
                &[Field::Node("peer", peer), link],
            ),
            Some(why) => {
                let why = Field::Word("why", story::link_error(why));
                self.trace.event(
                    self.now_us,
                    node,
                    Weight::Story,
                    verb,
                    &[Field::Node("peer", peer), link, why],
                );
            }
        }
    }

    fn dial(&mut self, from: usize, dial: DialId, addr: &str) {
        self.count("dials");
        let life = self.hosts[from].life;
        let to = addr
            .strip_prefix('n')
            .and_then(|index| index.parse().ok())
            .filter(|to| *to < self.hosts.len());
        let to_field = Field::Node("to", to.unwrap_or(WORLD));
        self.trace.event(
            self.now_us,
            from,
            Weight::Detail,
            "dial",
            &[to_field, Field::Mute(dial.0)],
        );
        let fails = |why| Event::DialFails {
            node: from,
            life,
            dial,
            why,
        };
        let Some(to) = to else {
            return self.push(self.now_us, fails(Why::Unreachable));
        };
        if !self.net.reaches(from, to) {
            return self.push(self.now_us + DIAL_TIMEOUT_US, fails(Why::TimedOut));
        }
        let Some(hello) = self.hosts[from].node.as_ref().map(|node| node.hello()) else {
            return;
        };
        let at_us = self.now_us + self.net.latency(from, to);
        self.push(
            at_us,
            Event::DialArrives {
                call: Box::new(Call {
                    from,
                    life,
                    to,
                    dial,
                    hello,
                }),
            },
        );
    }

    fn dial_arrives(&mut self, call: Call) {
        let Call {
            from,
            life,
            to,
            dial,
            hello,
        } = call;
        if !self.lives(from, life) {
            return;
        }
        let fails = |why| Event::DialFails {
            node: from,
            life,
            dial,
            why,
        };
        let back = self.net.reaches(to, from);
        let Some(ours) = self.hosts[to]
            .node
            .as_ref()
            .map(|node| node.hello())
            .filter(|_| back)
        else {
            if back && self.hosts[to].answers {
                let at_us = self.now_us + self.net.latency(to, from);
                return self.push(at_us, fails(Why::Unreachable));
            }
            return self.push(self.now_us + DIAL_TIMEOUT_US, fails(Why::TimedOut));
        };
        let to_life = self.hosts[to].life;
        let (link, back_us) = self
            .net
            .accept(self.now_us, (from, life), (to, to_life), dial);
        self.push(
            self.now_us,
            Event::Up {
                link: Network::other(link),
                hello: Box::new(hello),
            },
        );
        self.push(
            back_us,
            Event::Up {
                link,
                hello: Box::new(ours),
            },
        );
    }

    pub(crate) fn end_turn(&mut self, node: usize) {
        self.dirty = None;
        let now = self.hosts[node].clock.now(self.now_us);
        let Some(running) = &mut self.hosts[node].node else {
            return;
        };
        if let Some(input) = self.sabotage.injects(node) {
            running.handle(now, input);
        }
        if !self.sabotage.forgets_tick(node) {
            running.handle(now, Input::Tick);
        }
        while let Some(output) = self.hosts[node]
            .node
            .as_mut()
            .and_then(|node| node.poll_output())
        {
            self.carry_out(node, output);
        }
        if let Some(running) = &self.hosts[node].node {
            running.check();
        }
        self.acknowledge(node);
        self.watch(node);
        self.schedule(node);
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, lane: _, msg } => self.send(node, &to, &msg),
            Output::Dial { dial, addr } => self.dial(node, dial, &addr),
            Output::Hangup { link, why: _ } => self.hang_up(node, link),
            Output::Store { seq, batch, sync } => self.store(node, seq, batch, sync),
            Output::Load { load, query } => self.load(node, load, query),
            Output::Changed { table } => {
                let slot = self.hosts[node].tables.iter().position(|id| *id == table);
                self.hosts[node].changed.extend(slot);
            }
            Output::Event(event) => {
                if matches!(
                    event,
                    rumormill_core::Event::Joined { .. } | rumormill_core::Event::Reunited { .. }
                ) {
                    // It shows its cluster's rows from now on, and no longer those of its time alone.
                    self.hosts[node].alone = false;
                    self.hosts[node].watch = Watch::default();
                }
                let name = story::event(&mut self.trace, &self.ids, self.now_us, node, &event);
                self.count(name);
            }
            Output::Reply { token, result } => {
                let fields = [
                    Field::Num("token", token.0),
                    Field::Num("ok", u64::from(result.is_ok())),
                ];
                self.trace
                    .event(self.now_us, node, Weight::Story, "reply", &fields);
                self.answered(node, token, result);
            }
            Output::Halt(reason) => {
                let left = reason == HaltReason::Left;
                self.trace.event(
                    self.now_us,
                    node,
                    Weight::Story,
                    "halt",
                    &[Field::Num("left", u64::from(left))],
                );
                self.hosts[node].stop();
                self.hosts[node].answers = true;
            }
        }
    }

    fn send(&mut self, node: usize, to: &Links, msg: &Arc<Message>) {
        for &link in to.as_slice() {
            let other = Network::other(link);
            let Some(peer) = self.net.end(other).map(|end| end.node) else {
                continue;
            };
            self.messages += 1;
            if self.sabotage.swallows(node, peer, msg) {
                continue;
            }
            let powered = self.hosts[peer].node.is_some();
            match self.net.send(self.now_us, link, powered) {
                Fate::Arrives(at_us) => {
                    self.push(
                        at_us,
                        Event::Deliver {
                            node: peer as u32,
                            link: other,
                            msg: msg.clone(),
                        },
                    );
                }
                Fate::Twice(at_us, again_us) => {
                    for at_us in [at_us, again_us] {
                        self.push(
                            at_us,
                            Event::Deliver {
                                node: peer as u32,
                                link: other,
                                msg: msg.clone(),
                            },
                        );
                    }
                }
                Fate::Lost => self.gone(node, peer, "lost", msg),
                Fate::Swallowed { breaks } => {
                    self.gone(node, peer, "swallowed", msg);
                    if breaks {
                        self.net.set_closing(link);
                        self.push(
                            self.now_us,
                            Event::Down {
                                link,
                                why: Why::TimedOut,
                            },
                        );
                    }
                }
                Fate::Forgotten(at_us) => {
                    self.net.set_closing(link);
                    self.push(
                        at_us,
                        Event::Down {
                            link,
                            why: Why::Broken,
                        },
                    );
                }
                Fate::Closed => {}
            }
        }
    }

    fn gone(&mut self, from: usize, to: usize, verb: &'static str, msg: &Message) {
        self.count(verb);
        let fields = [Field::Node("to", to), Field::Word("what", story::kind(msg))];
        self.trace
            .event(self.now_us, from, story::weight(msg), verb, &fields);
    }

    fn hang_up(&mut self, node: usize, link: LinkId) {
        let Some(end) = self.net.end(link) else {
            return;
        };
        if !end.up || end.closing {
            return;
        }
        let other = Network::other(link);
        let peer = self.net.end(other).map_or(node, |end| end.node);
        if self.net.reaches(node, peer) {
            let at_us = self.net.close_arrival(self.now_us, link);
            self.push(
                at_us,
                Event::Down {
                    link: other,
                    why: Why::Closed,
                },
            );
        }
        self.net.set_closing(link);
        self.push(
            self.now_us,
            Event::Down {
                link,
                why: Why::Closed,
            },
        );
    }

    fn store(&mut self, node: usize, seq: Seq, batch: Vec<StoreOp>, sync: bool) {
        let fields = [
            Field::Num("seq", seq.0),
            Field::Num("ops", batch.len() as u64),
            Field::Num("sync", u64::from(sync)),
        ];
        self.trace
            .event(self.now_us, node, Weight::Detail, "store", &fields);
        let lies = sync && self.sabotage.syncs_early(node);
        if self.hosts[node].disk.store(seq, batch, sync && !lies) {
            self.begin_sync(node);
        }
        if lies {
            self.input(node, Input::Stored { upto: seq });
        }
    }

    fn begin_sync(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let at_us = self.now_us + host.disk_rng.between(SYNC_US.0, SYNC_US.1);
        let life = host.life;
        self.push(at_us, Event::Synced { node, life });
    }

    fn synced(&mut self, node: usize) {
        let (upto, again) = self.hosts[node].disk.sync_done();
        if again {
            self.begin_sync(node);
        }
        let Some(upto) = upto else { return };
        self.count("syncs");
        self.trace.event(
            self.now_us,
            node,
            Weight::Detail,
            "synced",
            &[Field::Num("upto", upto.0)],
        );
        let unsynced = &mut self.hosts[node].unsynced;
        while unsynced.pop_front_if(|(seq, _)| *seq <= upto).is_some() {}
        self.input(node, Input::Stored { upto });
    }
}
