//! Tells an application the events of its process: messages, timers, and news from the node.

use bytes::Bytes;
use rumormill_core::{TableId, Token, errors::RequestError, io::Response};

use super::slot::News;
use super::{Application, Context, SHOWN_BYTES};
use crate::event::Event;
use crate::recording::Outcome;
use crate::trace::{Field, Weight};
use crate::world::World;

/// An application hears this much later of what it caused itself, in microseconds, so that time goes on.
pub(super) const HEARS_AFTER_US: u64 = 1;
/// Something that happens to an application.
pub(crate) enum AppEvent {
    /// A message arrives.
    Message {
        to: usize,
        from: usize,
        number: u64,
        message: Bytes,
    },
    /// A timer may be due.
    Alarm { node: usize, boot: u32 },
    /// There is news from the node.
    News { node: usize, boot: u32 },
}

impl AppEvent {
    /// The machine whose process has to deal with it.
    pub(crate) fn node(&self) -> usize {
        match self {
            AppEvent::Message { to, .. } => *to,
            AppEvent::Alarm { node, .. } | AppEvent::News { node, .. } => *node,
        }
    }
}

impl World {
    pub(crate) fn application_starts(&mut self, node: usize) {
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        self.slots[node].running = Some(deployment.start(node));
        self.with_application(node, |application, context| application.started(context));
    }

    pub(crate) fn application_stops(&mut self, node: usize) {
        if let Some(slot) = self.slots.get_mut(node) {
            slot.stop();
        }
    }

    /// The same timers are now due at another true time.
    pub(crate) fn reset_alarm(&mut self, node: usize) {
        if let Some(slot) = self.slots.get_mut(node) {
            slot.alarm_us = None;
            self.schedule_alarm(node);
        }
    }

    pub(crate) fn application_rests(&self) -> bool {
        let deployment = self.deployment.as_ref();
        deployment.is_none_or(|deployment| deployment.rests(self))
    }

    pub(crate) fn judge_application(&mut self) {
        // It looks at the world, and so cannot be in it.
        if let Some(mut deployment) = self.deployment.take() {
            let found = deployment.judge(self);
            self.observers.on_found(found);
            self.deployment = Some(deployment);
        }
    }

    pub(crate) fn application_event(&mut self, event: AppEvent) {
        match event {
            AppEvent::Message {
                to,
                from,
                number,
                message,
            } => self.message_arrives((from, to), number, &message),
            AppEvent::Alarm { node, boot } => {
                if self.still_runs(node, boot) {
                    self.ring(node);
                }
            }
            AppEvent::News { node, boot } => {
                if self.still_runs(node, boot) {
                    self.tell(node);
                }
            }
        }
    }

    /// A table of the node has changes.
    pub(crate) fn table_changed(&mut self, node: usize, table: TableId) {
        let Some(slot) = self.slots.get_mut(node) else {
            return;
        };
        let known = |news: &News| matches!(news, News::Changed(known) if *known == table);
        if slot.tables.contains(&table) && !slot.news.iter().any(known) {
            self.has_news(node, News::Changed(table));
        }
    }

    /// The node answers a request that no client of the plan has made.
    pub(crate) fn request_answered(
        &mut self,
        node: usize,
        token: Token,
        result: Result<Response, RequestError>,
    ) {
        let slot = self.slots.get_mut(node);
        if slot.is_some_and(|slot| slot.requests.remove(&token)) {
            self.has_news(node, News::Reply(token, result));
        }
    }

    fn has_news(&mut self, node: usize, news: News) {
        let slot = &mut self.slots[node];
        slot.news.push_back(news);
        if slot.news.len() == 1 {
            let boot = self.hosts[node].boot;
            let event = AppEvent::News { node, boot };
            self.push(
                self.now_us + HEARS_AFTER_US,
                Event::Application(Box::new(event)),
            );
        }
    }

    fn tell(&mut self, node: usize) {
        self.slots[node].count_wake(self.now_us, node);
        for news in std::mem::take(&mut self.slots[node].news) {
            self.with_application(node, |application, context| match news {
                News::Changed(table) => application.changed(context, table),
                News::Reply(token, result) => application.replied(context, token, result),
            });
        }
    }

    fn ring(&mut self, node: usize) {
        let slot = &mut self.slots[node];
        if slot.alarm_us.is_none_or(|at_us| at_us > self.now_us) {
            return;
        }
        slot.alarm_us = None;
        slot.count_wake(self.now_us, node);
        let now = self.hosts[node].now(self.now_us).mono;
        while let Some(timer) = self.slots[node].due(now) {
            self.slots[node].timers.remove(&timer);
            self.with_application(node, |application, context| {
                application.timer(context, timer);
            });
        }
        self.schedule_alarm(node);
    }

    fn message_arrives(&mut self, (from, to): (usize, usize), number: u64, message: &Bytes) {
        self.slots[from].in_flight -= 1;
        // A transport's checksum finds the bit that flipped.
        if self.wire.is_some() && self.net.corrupts(from).is_some() {
            return self.never_arrives((from, to), number, "lost");
        }
        if self.slots[to].running.is_none() {
            return self.trace.vanished(number, Outcome::Missed);
        }
        let fields = [
            Field::Node("from", from),
            Field::Num("bytes", message.len() as u64),
            Field::Bytes("begins", &message[..message.len().min(SHOWN_BYTES)]),
        ];
        self.trace
            .event(self.now_us, to, Weight::Story, "app", &fields);
        self.trace.ended(number, Outcome::Arrived);
        self.with_application(to, |application, context| {
            application.message(context, from, message);
        });
    }

    pub(super) fn never_arrives(
        &mut self,
        (from, to): (usize, usize),
        number: u64,
        verb: &'static str,
    ) {
        self.count(verb);
        let fields = [Field::Node("to", to), Field::Word("what", "app")];
        self.trace
            .event(self.now_us, from, Weight::Story, verb, &fields);
        let lost = verb == "lost";
        let outcome = if lost {
            Outcome::Lost
        } else {
            Outcome::Swallowed
        };
        self.trace.ended(number, outcome);
    }

    /// Lets the application of a machine act, if it runs. Its node's turn ends like any other.
    fn with_application(
        &mut self,
        machine: usize,
        act: impl FnOnce(&mut dyn Application, &mut Context<'_>),
    ) {
        self.touch(machine);
        let Some(mut application) = self.slots[machine].running.take() else {
            return;
        };
        self.tally.events += 1;
        self.count("app_calls");
        self.charge(machine);
        self.observers.on_call(machine);
        let world = self;
        act(application.as_mut(), &mut Context { world, machine });
        world.slots[machine].running = Some(application);
    }
}
