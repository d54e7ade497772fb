//! Faults begin and end.

use rumormill_core::{
    LinkId,
    io::{Input, Request},
};

use crate::checkers::convergence;
use crate::event::Event;
use crate::faults::FaultKind;
use crate::hurt::Hurt;
use crate::plan::FaultWhat;
use crate::trace::{Field, Weight};
use crate::world::World;

/// A fault without effect so far is asked again after this long, in microseconds, whether it is over.
const FRESH_STEP_US: u64 = 500_000;

/// The fate of a machine when a fault ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// It starts.
    Start(usize),
    /// It starts when it has left.
    Return(usize),
    /// Its clocks are set right.
    SetClock(usize),
    /// One hurt of it is healed.
    Heal(usize),
    /// It is started again, and finds what its disk has lost.
    Reboot(usize),
    /// It starts from the copy of its disk.
    PutBack,
    /// Nothing: it lasts until it is known what became of the eviction.
    Answered,
}

impl World {
    pub(crate) fn begin_fault(&mut self, number: usize, what: &FaultWhat) {
        let calm = match *what {
            FaultWhat::Leave { node } => {
                (self.running_from(node)).filter(|node| self.is_calm_for(*node))
            }
            _ => None,
        };
        self.disturb();
        match *what {
            FaultWhat::Crash { node, clean } => self.begin_crash(number, what, node, clean),
            FaultWhat::Wipe { node } => self.begin_wipe(number, what, node),
            FaultWhat::Leave { node } => {
                self.begin_leave(number, what, node);
                if let Some(node) = calm {
                    self.observers.on_calm_leave(node);
                }
            }
            FaultWhat::Skew { node, by_ms, ppm } => {
                self.trace.fault_begins(self.now_us, number, what);
                self.course.endings.insert(number, Ending::SetClock(node));
                self.skew(node, by_ms, ppm);
                self.count(FaultKind::Skew.name());
            }
            FaultWhat::Evict { node, force } => self.begin_evict(number, what, node, force),
            FaultWhat::Rot { node, bits } => self.begin_rot(number, what, node, bits),
            FaultWhat::Older { node } => self.begin_older(number, what, node),
            FaultWhat::Restart { node } => self.begin_restart(number, what, node),
            FaultWhat::Vanish { node, rows } => self.begin_vanish(number, what, node, rows),
            FaultWhat::Pause { node } => self.begin_hurt(number, what, node, Hurt::Paused),
            FaultWhat::Slow { node, by_us } => {
                self.begin_hurt(number, what, node, Hurt::Slow(by_us))
            }
            FaultWhat::Congest { node } => self.begin_hurt(number, what, node, Hurt::Congested),
            FaultWhat::FailDisk { node } => self.begin_hurt(number, what, node, Hurt::DiskFails),
            FaultWhat::ShortDisk { node } => self.begin_hurt(number, what, node, Hurt::DiskShort),
            FaultWhat::FullDisk { node } => self.begin_hurt(number, what, node, Hurt::DiskFull),
            FaultWhat::SlowDisk { node, by_us } => {
                self.begin_hurt(number, what, node, Hurt::DiskSlow(by_us))
            }
            FaultWhat::Loss { .. }
            | FaultWhat::Dup { .. }
            | FaultWhat::Reorder { .. }
            | FaultWhat::Delay { .. }
            | FaultWhat::Corrupt { .. }
            | FaultWhat::Partition { .. }
            | FaultWhat::OneWay { .. }
            | FaultWhat::Partial { .. }
            | FaultWhat::Bridge { .. }
            | FaultWhat::Flap { .. } => self.begin_in_network(number, what),
        }
    }

    fn begin_crash(&mut self, number: usize, what: &FaultWhat, node: usize, clean: bool) {
        let Some(node) = self.running_from(node) else {
            return;
        };
        // A machine without a disk forgets its cluster. One machine has to be left that knows it.
        if self.hosts[node].has_disk || self.is_survived(node) {
            self.strikes(number, what, node);
            self.course.endings.insert(number, Ending::Start(node));
            self.crash(node, clean);
        }
    }

    /// There is nothing to strike at present.
    pub(crate) fn try_again(&mut self, number: usize) {
        self.push(self.now_us + FRESH_STEP_US, Event::Again { number });
    }

    fn begin_wipe(&mut self, number: usize, what: &FaultWhat, node: usize) {
        let known = self
            .running_from(node)
            .filter(|node| self.is_known_elsewhere(*node));
        if let Some(node) = known {
            self.strikes(number, what, node);
            self.course.endings.insert(number, Ending::Start(node));
            self.wipe(node);
        } else {
            self.try_again(number);
        }
    }

    fn begin_leave(&mut self, number: usize, what: &FaultWhat, node: usize) {
        let Some(node) = self.running_from(node) else {
            return;
        };
        // The last to leave must be able to come back and find the members it waits for. A node whose disk has rotted needs a member that
        // did not go.
        let whole = self.hosts.iter().all(|host| host.ties.rotten.is_none());
        let returns = self.hosts[node].has_disk && self.operator.gone.is_empty() && whole;
        if !returns && !self.is_survived(node) || self.hosts[node].ties.stopping {
            return;
        }
        self.strikes(number, what, node);
        let host = &mut self.hosts[node];
        // A node that is leaving already answers this time with the first.
        if !host.ties.leaving {
            host.ties.leaving = true;
            let now = host.now(self.now_us).mono;
            self.observers.on_leave(node, now);
        }
        self.course.endings.insert(number, Ending::Return(node));
        self.count(FaultKind::Leave.name());
        self.trace
            .event(self.now_us, node, Weight::Story, "leave", &[]);
        self.request(node, None, Request::Leave);
    }

    fn begin_restart(&mut self, number: usize, what: &FaultWhat, node: usize) {
        let stops = |node: usize| {
            let host = &self.hosts[node];
            host.has_disk && !host.ties.leaving && !host.ties.stopping
        };
        let Some(node) = self.running_where(node, stops) else {
            return self.try_again(number);
        };
        self.strikes(number, what, node);
        self.hosts[node].ties.stopping = true;
        self.course.endings.insert(number, Ending::Return(node));
        self.count(FaultKind::Restart.name());
        self.trace
            .event(self.now_us, node, Weight::Story, "stop", &[]);
        self.request(node, None, Request::Stop);
    }

    fn begin_hurt(&mut self, number: usize, what: &FaultWhat, node: usize, hurt: Hurt) {
        let of_disk = matches!(
            hurt,
            Hurt::DiskFails | Hurt::DiskFull | Hurt::DiskShort | Hurt::DiskSlow(_)
        );
        let fits = |node: usize| !of_disk || self.hosts[node].has_disk;
        let Some(node) = self.running_where(node, fits) else {
            return self.try_again(number);
        };
        self.finish_turn();
        self.strikes(number, what, node);
        self.hosts[node].hurts.begin(number, hurt);
        self.observers.on_hurt(node);
        self.course.endings.insert(number, Ending::Heal(node));
        let kind = what.kind();
        self.trace.event(
            self.now_us,
            node,
            Weight::Story,
            kind.begins(),
            &[Field::Num("fault", number as u64)],
        );
        match hurt {
            Hurt::Paused => self.count(kind.name()),
            Hurt::Congested => {
                for link in self.net.open_ends(node) {
                    self.congest(node, link);
                }
            }
            _ => {}
        }
    }

    /// A fault that names one node strikes this one.
    pub(crate) fn strikes(&mut self, number: usize, what: &FaultWhat, node: usize) {
        self.trace
            .fault_begins(self.now_us, number, &what.striking(node));
    }

    /// The write queue of a link is above its mark.
    pub(crate) fn congest(&mut self, node: usize, link: LinkId) {
        self.hosts[node].hurts.strike(Hurt::Congested);
        self.count(FaultKind::Congest.name());
        self.input(node, Input::Congested { link });
    }

    fn begin_in_network(&mut self, number: usize, what: &FaultWhat) {
        let kind = what.kind();
        self.note(kind.begins(), &[Field::Num("fault", number as u64)]);
        match *what {
            FaultWhat::Delay { node, by_us } => {
                let node = self.running_from(node).unwrap_or(node);
                self.strikes(number, what, node);
                return self.net.begin(number, &FaultWhat::Delay { node, by_us });
            }
            // These count the messages they strike.
            FaultWhat::Loss { .. } | FaultWhat::Dup { .. } | FaultWhat::Reorder { .. } => {}
            FaultWhat::Corrupt { .. } if self.wire.is_none() => return,
            FaultWhat::Corrupt { .. } => {}
            FaultWhat::Flap { every_us, .. } => {
                self.count(kind.name());
                self.push(self.now_us + every_us, Event::Flip { number, every_us });
            }
            _ => self.count(kind.name()),
        }
        self.trace.fault_begins(self.now_us, number, what);
        self.net.begin(number, what);
    }

    /// The next half of a flap.
    pub(crate) fn flip(&mut self, number: usize, every_us: u64) {
        if let Some(on) = self.net.flip(number) {
            if on {
                self.count(FaultKind::Flap.name());
            }
            self.note("flips", &[Field::Num("on", u64::from(on))]);
            self.push(self.now_us + every_us, Event::Flip { number, every_us });
        }
    }

    /// Ends a fault of the plan. One that strikes messages, inputs or syncs lasts until it has struck one: cuts and crashes may leave
    /// it none.
    pub(crate) fn fault_is_over(&mut self, number: usize) {
        let goes_on = match self.course.endings.get(&number) {
            Some(Ending::Return(node)) => self.hosts[*node].node.is_some(),
            Some(Ending::Heal(node)) => self.hosts[*node].hurts.is_fresh(number),
            Some(Ending::Answered) => self.is_evicting(),
            Some(Ending::Start(_) | Ending::SetClock(_) | Ending::Reboot(_) | Ending::PutBack) => {
                false
            }
            None => self.net.is_fresh(number),
        };
        if goes_on {
            self.push(self.now_us + FRESH_STEP_US, Event::FaultEnds { number });
        } else {
            self.end_fault(number);
        }
    }

    pub(crate) fn end_fault(&mut self, number: usize) {
        self.disturb();
        self.trace.fault_ends(self.now_us, number);
        match self.course.endings.remove(&number) {
            Some(Ending::Start(node) | Ending::Return(node)) => self.start(node),
            Some(Ending::SetClock(node)) => self.skew(node, 0, 0),
            Some(Ending::Heal(node)) => self.heal(number, node),
            Some(Ending::Reboot(node)) => self.reboot_rotten(node),
            Some(Ending::PutBack) => self.put_back(number),
            Some(Ending::Answered) => {}
            None => self.end_in_network(number),
        }
    }

    fn end_in_network(&mut self, number: usize) {
        if self.net.is_cut(number) {
            let contents = self.all_contents();
            let apart = convergence::apart(&contents);
            self.count_by("rows_apart_at_heal", apart);
            self.note("heals", &[Field::Num("apart", apart)]);
        }
        self.note("fault_ends", &[Field::Num("fault", number as u64)]);
        self.net.end_fault(number);
    }

    fn heal(&mut self, number: usize, node: usize) {
        self.finish_turn();
        let healed = self.hosts[node].hurts.end(number);
        self.trace.event(
            self.now_us,
            node,
            Weight::Story,
            "fault_ends",
            &[Field::Num("fault", number as u64)],
        );
        match healed {
            Some(Hurt::Paused | Hurt::Slow(_)) => self.release(node),
            Some(Hurt::DiskFull) => self.space_returns(node),
            Some(Hurt::DiskShort) => self.space_suffices(node),
            // A machine whose disk has failed gets another controller; its node starts from what is there.
            Some(Hurt::DiskFails) => self.start(node),
            Some(Hurt::Congested) => self.drain(node),
            Some(Hurt::DiskSlow(_)) | None => {}
        }
    }

    /// The write queues of all links of a node are low again.
    fn drain(&mut self, node: usize) {
        if self.hosts[node].hurts.has(Hurt::Congested) {
            return;
        }
        for link in self.net.open_ends(node) {
            self.input(node, Input::Drained { link });
        }
    }

    /// Whatever is wrong is put right, and every machine runs.
    pub(crate) fn end_all_faults(&mut self) {
        self.disturb();
        self.finish_turn();
        self.net.heal();
        self.course.endings.clear();
        self.course.copies.clear();
        for node in 0..self.hosts.len() {
            self.skew(node, 0, 0);
            self.finish_turn();
            self.hosts[node].hurts.clear();
            self.release(node);
            self.space_returns(node);
            self.space_suffices(node);
            self.drain(node);
            self.start(node);
            self.reboot_rotten(node);
        }
    }

    pub(crate) fn skew(&mut self, node: usize, by_ms: i64, ppm: i64) {
        let shown = self.shown(node);
        self.clock_drifts(ppm);
        self.compare_clocks();
        self.hosts[node].clock.set(self.now_us, by_ms, ppm);
        self.clock_is_set(node);
        self.compare_clocks();
        // A step takes rows out of sight, or brings them back, before the node has done anything about it.
        let steps = self.shown(node);
        self.count_by("rows_a_clock_hid", shown.saturating_sub(steps));
        self.count_by("rows_a_clock_showed", steps.saturating_sub(shown));
        // The same deadline is now at another true time.
        self.hosts[node].process.wake_us = None;
        self.reset_alarm(node);
        let fields = [
            Field::Word("ahead", if by_ms < 0 { "no" } else { "yes" }),
            Field::Num("by_ms", by_ms.unsigned_abs()),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "clock", &fields);
        if self.hosts[node].node.is_some() {
            self.touch(node);
        }
    }

    /// Counts the rows that a node shows; none while it is down.
    fn shown(&self, node: usize) -> u64 {
        let contents = self.contents(node);
        contents.map_or(0, |contents| contents.rows().count() as u64)
    }
}
