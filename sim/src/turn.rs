//! The loop of a driver, in virtual time: hands inputs to nodes, ends their turns, and carries out their outputs.

use rumormill_core::{
    Node, Now,
    io::{Event as NodeEvent, Handover, Input, Output, Response, Timer},
};

use crate::event::Event;
use crate::faults::FaultKind;
use crate::story;
use crate::trace::{Field, Weight};
use crate::world::World;

/// A node asserts all of its invariants once in so many turns.
const TURNS_PER_SWEEP: u64 = 32;
/// Which costs as much as there are nodes: in large clusters it comes once in so many turns per node.
const TURNS_PER_SWEEP_AND_NODE: u64 = 2;

impl World {
    /// Something is due. What is for a process that is stopped or busy waits for it, in order.
    pub(crate) fn happen(&mut self, event: Event) {
        let node = self.concerns(&event);
        match node.filter(|node| self.hosts[*node].is_busy(self.now_us)) {
            None => self.take_place(event),
            // The process looks at its clock when it goes on.
            Some(_) if matches!(event, Event::Wake { .. }) => {}
            Some(node) => self.hosts[node].process.held.push_back(event),
        }
    }

    /// The node whose process has to deal with an event.
    fn concerns(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Up { link, .. } | Event::Down { link, .. } => {
                self.net.end(*link).map(|end| end.node)
            }
            _ => event.node(),
        }
    }

    /// Lets the events that had to wait for a node take place, for as long as the node is not busy again.
    pub(crate) fn release(&mut self, node: usize) {
        while !self.hosts[node].is_busy(self.now_us)
            && let Some(event) = self.hosts[node].process.held.pop_front()
        {
            self.take_place(event);
        }
        if !self.hosts[node].is_busy(self.now_us) && self.hosts[node].node.is_some() {
            self.hosts[node].process.wake_us = None;
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
                boot,
                dial,
                why,
            } => {
                if self.still_runs(node, boot) {
                    self.dial_failed(node, dial, why);
                }
            }
            Event::Synced { node, boot } => {
                if self.still_runs(node, boot) {
                    self.synced(node);
                }
            }
            Event::StoreFails { node, boot } => {
                if self.still_runs(node, boot) {
                    self.store_failed(node);
                }
            }
            Event::StoreStalls { node, boot } => {
                if self.still_runs(node, boot) {
                    self.store_stalls(node);
                }
            }
            Event::StoreIsShort { node, boot } => {
                if self.still_runs(node, boot) {
                    self.store_is_short(node);
                }
            }
            Event::Ready { node } => self.release(node),
            Event::Flip { number, every_us } => self.flip(number, every_us),
            Event::Again { number } => self.again(number),
            Event::Loaded { node, boot, answer } => {
                if self.still_runs(node, boot) {
                    self.loaded(node, *answer);
                }
            }
            Event::FaultEnds { number } => self.fault_is_over(number),
            Event::Operator => self.operator_looks(),
            Event::Application(event) => self.application_event(*event),
        }
    }

    pub(crate) fn still_runs(&self, node: usize, boot: u32) -> bool {
        self.hosts[node].boot == boot && self.hosts[node].node.is_some()
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
        self.tally.events += 1;
        self.observers.on_call(node);
        let host = &mut self.hosts[node];
        let now = host.now(self.now_us);
        host.node.as_mut().map(|running| call(running, now))
    }

    /// An input costs a slow machine time.
    pub(crate) fn charge(&mut self, node: usize) {
        let cost_us = self.hosts[node].hurts.input_us();
        if cost_us > 0 {
            let ready_us = self.hosts[node].process.busy_us.max(self.now_us) + cost_us;
            self.hosts[node].process.busy_us = ready_us;
            self.count(FaultKind::Slow.name());
            self.push(ready_us, Event::Ready { node });
        }
    }

    fn wake(&mut self, node: usize) {
        if self.hosts[node].process.wake_us != Some(self.now_us) {
            return;
        }
        self.hosts[node].process.wake_us = None;
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
            self.tally.events += 1;
        }
        let why = Field::Word("why", story::timer(deadline.why));
        self.trace
            .event(self.now_us, node, Weight::Detail, "wake", &[why]);
        let why = story::timer(deadline.why);
        self.observers.on_wake((self.now_us, node), why);
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
        let due_us = due_us.max(self.now_us + u64::from(self.observers.spins(node)));
        let rests = !self.observers.never_rests(node);
        if host.process.wake_us.is_none_or(|wake| due_us < wake) && rests {
            self.hosts[node].process.wake_us = Some(due_us);
            self.push(due_us, Event::Wake { node });
        }
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
        let net = &self.net;
        let is_open = |link| net.end(link).is_some_and(|end| end.up && !end.closing);
        let sight = self.hosts[node].sight((self.now_us, node));
        self.observers.on_turn_end(&sight, is_open);
        self.clocks_counted_by(node);
        self.acknowledge(node);
        self.watch(node);
        self.schedule(node);
    }

    /// A node asserts its invariants: the cheap ones after each turn, all of them now and then. Where a reader wants the
    /// run, so that each run shows the turn which broke one, all of them each time.
    fn check(&mut self, node: usize) {
        let per_sweep = TURNS_PER_SWEEP.max(self.hosts.len() as u64 * TURNS_PER_SWEEP_AND_NODE);
        let host = &mut self.hosts[node];
        host.turns += 1;
        let sweeps = host.turns.is_multiple_of(per_sweep) || self.trace.is_kept();
        match &host.node {
            Some(running) if sweeps => running.inspect().check(),
            Some(running) => running.inspect().check_turn(),
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
                if let Some(slot) = slot {
                    self.observers.on_changed(node, slot);
                }
                self.table_changed(node, table);
            }
            Output::Event(event) => {
                if let Some(meter) = &mut self.meter {
                    meter.told(self.now_us, &event);
                }
                self.hears_of_eviction(node, &event);
                let sight = self.hosts[node].sight((self.now_us, node));
                self.observers.on_event(&sight, &event);
                self.takes_stock(node, &event);
                let name = story::event(&mut self.trace, &self.ids, self.now_us, node, &event);
                self.count(name);
            }
            Output::Reply { token, result } => {
                if let Ok(Response::Left(handover)) = result {
                    self.has_left(node, &handover);
                }
                let fields = [
                    Field::Num("token", token.0),
                    Field::Num("ok", u64::from(result.is_ok())),
                ];
                self.trace
                    .event(self.now_us, node, Weight::Story, "reply", &fields);
                if !self.eviction_answered(node, token, &result) {
                    self.answered(node, token, result);
                }
            }
            Output::Halt(why) => self.halted(node, &why),
        }
    }

    fn has_left(&mut self, node: usize, handover: &Handover) {
        let host = &mut self.hosts[node];
        host.ties.handed_over = Some(handover.holders > 0);
        let now = host.now(self.now_us).mono;
        if self.observers.is_calm_leave(node) {
            self.count("calm_leaves");
        }
        self.observers.on_left((self.now_us, node), now, handover);
    }

    /// Takes in a node's news of its rows.
    fn takes_stock(&mut self, node: usize, event: &NodeEvent) {
        let host = &mut self.hosts[node];
        match event {
            NodeEvent::Joined { .. } | NodeEvent::Rejoined { .. } => {
                // It shows its cluster's rows from now on, and no longer those of its time alone.
                host.belongs();
                if matches!(event, NodeEvent::Rejoined { .. }) {
                    self.operator.lost_writes.extend(host.id);
                }
            }
            NodeEvent::Resumed { .. } => host.belongs(),
            NodeEvent::Repaired { .. } => self.repaired(node),
            _ => {}
        }
    }
}
