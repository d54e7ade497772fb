//! What a driver does, in virtual time: hands inputs to nodes, ends their turns, and carries out what they ask for.

use std::sync::Arc;

use rumormill_core::link::Hello;
use rumormill_core::wire::Message;
use rumormill_core::{
    DialId, Input, Lane, LinkError, LinkId, Links, Node, Now, Output, Response, Timer,
};

use crate::checkers::Violation;
use crate::checkers::no_resurrection::Watch;
use crate::faults::FaultKind;
use crate::hurt::Hurt;
use crate::network::{DIAL_TIMEOUT_US, Fate, Network};
use crate::recording::Outcome;
use crate::story;
use crate::trace::{Field, WORLD, Weight};
use crate::world::{Call, Event, Why, World};

/// A node whose deadline stays in the past for so many turns, without anything else happening to it, will never rest.
const MAX_SPINS: u32 = 1_000;
/// A node asserts all of its invariants once in so many turns.
const TURNS_PER_SWEEP: u64 = 32;
/// A frame begins with its length in so many bytes.
const LENGTH_BYTES: usize = 4;

impl Why {
    fn error(self) -> LinkError {
        match self {
            Why::Closed => LinkError::Closed,
            Why::Broken => LinkError::Broken,
            Why::Malformed => LinkError::Malformed,
            Why::TimedOut => LinkError::TimedOut,
            Why::Unreachable => LinkError::Unreachable,
        }
    }
}

impl World {
    /// Something is due. What is for a process that is stopped or busy waits for it, in order.
    pub(crate) fn happen(&mut self, event: Event) {
        let node = self.concerns(&event);
        match node.filter(|node| self.hosts[*node].is_busy(self.now_us)) {
            None => self.take_place(event),
            // The process looks at its clock when it goes on.
            Some(_) if matches!(event, Event::Wake { .. }) => {}
            Some(node) => self.hosts[node].held.push_back(event),
        }
    }

    /// The node whose process has to deal with an event.
    fn concerns(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Deliver { node, .. } => Some(*node as usize),
            Event::Wake { node }
            | Event::Synced { node, .. }
            | Event::Loaded { node, .. }
            | Event::DialFails { node, .. }
            | Event::StoreFails { node, .. }
            | Event::StoreStalls { node, .. } => Some(*node),
            Event::Up { link, .. } | Event::Down { link, .. } => {
                self.net.end(*link).map(|end| end.node)
            }
            Event::Application(event) => Some(event.node()),
            Event::Start { .. }
            | Event::DialArrives { .. }
            | Event::Ready { .. }
            | Event::Flip { .. }
            | Event::Again { .. }
            | Event::FaultEnds { .. } => None,
        }
    }

    /// What had to wait for a node takes place, for as long as the node is not busy again.
    pub(crate) fn release(&mut self, node: usize) {
        while !self.hosts[node].is_busy(self.now_us)
            && let Some(event) = self.hosts[node].held.pop_front()
        {
            self.take_place(event);
        }
        if !self.hosts[node].is_busy(self.now_us) && self.hosts[node].node.is_some() {
            self.hosts[node].wake_us = None;
            self.touch(node);
        }
    }

    fn take_place(&mut self, event: Event) {
        match event {
            Event::Start { node } => self.start(node),
            Event::Wake { node } => self.wake(node),
            Event::Deliver {
                node,
                lane,
                link,
                number,
                msg,
            } => self.deliver((node as usize, link), lane, number, msg),
            Event::Up { link, hello } => self.up(link, *hello),
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
                if self.lives(node, life) {
                    self.synced(node);
                }
            }
            Event::StoreFails { node, life } => {
                if self.lives(node, life) {
                    self.store_failed(node);
                }
            }
            Event::StoreStalls { node, life } => {
                if self.lives(node, life) {
                    self.store_stalls(node);
                }
            }
            Event::Ready { node } => self.release(node),
            Event::Flip { number, every_us } => self.flip(number, every_us),
            Event::Again { number } => self.again(number),
            Event::Loaded { node, life, answer } => {
                if self.lives(node, life) {
                    self.loaded(node, *answer);
                }
            }
            Event::FaultEnds { number } => self.fault_is_over(number),
            Event::Application(event) => self.application_event(*event),
        }
    }

    /// An end of a link comes up, and its peer has said `hello`.
    fn up(&mut self, link: LinkId, hello: Hello) {
        let Some((ours, side)) = self.net.link(link) else {
            return;
        };
        let dial = (side == 0).then_some(ours.dial);
        let (node, life) = (ours.ends[side].node, ours.ends[side].life);
        if !self.lives(node, life) {
            return self.net.set_closing(link);
        }
        let mine = self.hosts[node].node.as_ref().map(|node| node.hello());
        let hello = match (&mut self.wire, mine) {
            (Some(wire), Some(mine)) => match wire.open(link, mine, hello) {
                Ok(hello) => hello,
                // All nodes speak one version in one cluster.
                Err(why) => panic!("the handshake of link {} fails: {why:?}", link.0),
            },
            _ => hello,
        };
        self.net.set_up(link, true);
        self.link_line(node, "up", link, None);
        self.input(node, Input::LinkUp { link, dial, hello });
        if self.hosts[node].hurts.has(Hurt::Congested) {
            self.congest(node, link);
        }
    }

    pub(crate) fn lives(&self, node: usize, life: u32) -> bool {
        self.hosts[node].life == life && self.hosts[node].node.is_some()
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        self.with_node(node, |running, now| running.handle(now, input));
        self.charge(node);
    }

    /// Something other than its own deadline calls a node, if it runs. The call is part of the node's turn.
    pub(crate) fn with_node<T>(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut Node, Now) -> T,
    ) -> Option<T> {
        self.touch(node);
        self.events += 1;
        let host = &mut self.hosts[node];
        host.spins = 0;
        let now = host.now(self.now_us);
        host.node.as_mut().map(|running| call(running, now))
    }

    /// An input costs a slow machine time.
    pub(crate) fn charge(&mut self, node: usize) {
        let cost_us = self.hosts[node].hurts.input_us();
        if cost_us > 0 {
            let ready_us = self.hosts[node].busy_us.max(self.now_us) + cost_us;
            self.hosts[node].busy_us = ready_us;
            self.count(FaultKind::Slow.name());
            self.push(ready_us, Event::Ready { node });
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

    fn deliver(
        &mut self,
        (node, link): (usize, LinkId),
        lane: Lane,
        number: u64,
        msg: Arc<Message>,
    ) {
        let from = self
            .net
            .end(Network::other(link))
            .map_or(WORLD, |end| end.node);
        if let Some(sender) = self.hosts.get_mut(from) {
            sender.in_flight -= 1;
        }
        let open = self
            .net
            .end(link)
            .is_some_and(|end| end.up && !end.closing && self.lives(node, end.life));
        if !open {
            return self.trace.vanished(number, Outcome::Missed);
        }
        let flip = match self.wire {
            Some(_) => self.net.corrupts(from),
            None => None,
        };
        let harm = |bytes: &mut [u8]| {
            // A length that grew is noticed only when so many bytes have come, and an idle link may take hours for that.
            if let (Some(flip), Some(bytes)) = (flip, bytes.get_mut(LENGTH_BYTES..)) {
                let bit = flip % (bytes.len() as u64 * 8);
                bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        };
        let msg = match &mut self.wire {
            None => Arc::unwrap_or_clone(msg),
            Some(wire) => match wire.carry(link, &msg, lane, harm) {
                Ok(Some(msg)) => msg,
                Ok(None) => return self.trace.vanished(number, Outcome::Missed),
                Err(_) => {
                    self.trace.vanished(number, Outcome::Missed);
                    return self.down(link, Why::Malformed);
                }
            },
        };
        story::received(&mut self.trace, &self.ids, self.now_us, from, node, &msg);
        self.trace.ended(number, Outcome::Arrived);
        self.input(node, Input::Message { link, msg });
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
        if let Some(wire) = &mut self.wire {
            wire.close(link);
        }
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
            .filter(|_| back && !self.hosts[to].hurts.has(Hurt::Paused))
        else {
            let refuses = self.hosts[to].node.is_none() && self.hosts[to].answers;
            if back && refuses {
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
        self.measure(node);
        while let Some(output) = self.hosts[node]
            .node
            .as_mut()
            .and_then(|node| node.poll_output())
        {
            self.carry_out(node, output);
        }
        self.check(node);
        self.acknowledge(node);
        self.watch(node);
        self.schedule(node);
    }

    /// A node asserts its invariants: the cheap ones after each turn, all of them now and then. Where a reader wants the
    /// run, so that he sees the turn which broke one, all of them each time.
    fn check(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        host.turns += 1;
        let sweeps = host.turns.is_multiple_of(TURNS_PER_SWEEP) || self.trace.is_kept();
        match &host.node {
            Some(running) if sweeps => running.check(),
            Some(running) => running.check_turn(),
            None => {}
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, lane, msg } => self.send(node, &to, lane, &msg),
            Output::Dial { dial, addr } => self.dial(node, dial, &addr),
            Output::Hangup { link, why: _ } => self.hang_up(node, link),
            Output::Store { seq, batch, sync } => self.store(node, seq, batch, sync),
            Output::Load { load, query } => self.load(node, load, query),
            Output::Changed { table } => {
                let slot = self.hosts[node].tables.iter().position(|id| *id == table);
                self.hosts[node].changed.extend(slot);
                self.table_changed(node, table);
            }
            Output::Event(event) => {
                if matches!(
                    event,
                    rumormill_core::Event::Joined { .. } | rumormill_core::Event::Reunited { .. }
                ) {
                    // It shows its cluster's rows from now on, and no longer those of its time alone.
                    self.hosts[node].alone = false;
                    self.hosts[node].rotten = None;
                    self.hosts[node].watch = Watch::default();
                    self.hosts[node].view += 1;
                }
                let name = story::event(&mut self.trace, &self.ids, self.now_us, node, &event);
                self.count(name);
            }
            Output::Reply { token, result } => {
                if let Ok(Response::Left { handed_over }) = result {
                    self.hosts[node].handed_over = Some(handed_over);
                }
                let fields = [
                    Field::Num("token", token.0),
                    Field::Num("ok", u64::from(result.is_ok())),
                ];
                self.trace
                    .event(self.now_us, node, Weight::Story, "reply", &fields);
                self.answered(node, token, result);
            }
            Output::Halt(why) => self.halted(node, &why),
        }
    }

    fn send(&mut self, node: usize, to: &Links, lane: Lane, msg: &Arc<Message>) {
        if lane != Lane::Control && self.hosts[node].hurts.has(Hurt::Congested) {
            // The pages of sessions, each asked for when the last one has come, and what had waited for the disk.
            self.count("sent_while_congested");
        }
        for &link in to.as_slice() {
            let other = Network::other(link);
            let Some(peer) = self.net.end(other).map(|end| end.node) else {
                continue;
            };
            self.messages += 1;
            let number = self.messages;
            if self.sabotage.swallows(node, peer, msg) {
                self.trace
                    .sent(self.now_us, number, link.0, (node, peer), msg);
                self.trace.vanished(number, Outcome::Stolen);
                continue;
            }
            let powered = self.hosts[peer].node.is_some();
            let fate = self.net.send(self.now_us, link, powered);
            if fate != Fate::Closed {
                self.trace
                    .sent(self.now_us, number, link.0, (node, peer), msg);
            }
            let way = (number, lane, other);
            match fate {
                Fate::Arrives(at_us) => self.dispatch(at_us, (node, peer), way, msg),
                Fate::Twice(at_us, again_us) => {
                    self.dispatch(at_us, (node, peer), way, msg);
                    self.dispatch(again_us, (node, peer), way, msg);
                }
                Fate::Lost => {
                    self.gone(node, peer, "lost", msg);
                    self.trace.ended(number, Outcome::Lost);
                }
                Fate::Swallowed { breaks } => {
                    self.gone(node, peer, "swallowed", msg);
                    self.trace.ended(number, Outcome::Swallowed);
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
                    self.trace.vanished(number, Outcome::Reset);
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

    /// A message is on its way to the end `link`.
    fn dispatch(
        &mut self,
        at_us: u64,
        (from, to): (usize, usize),
        (number, lane, link): (u64, Lane, LinkId),
        msg: &Arc<Message>,
    ) {
        self.hosts[from].in_flight += 1;
        self.push(
            at_us,
            Event::Deliver {
                node: to as u32,
                lane,
                link,
                number,
                msg: msg.clone(),
            },
        );
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
}
