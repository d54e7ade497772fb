//! What a process does around its application: messages, timers and news come in, and what they lead to goes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    Accepted, Instant, Now, Request, RequestError, Response, TableError, TableId, TableOptions,
    Token, Write, WriteError,
};

use super::{Application, Context, MAX_IN_FLIGHT, MAX_TIMERS, SHOWN_BYTES};
use crate::network::Fate;
use crate::recording::Outcome;
use crate::rng::{Rng, Stream};
use crate::trace::{Field, Weight};
use crate::world::{Event, World};

/// An application hears this much later of what it caused itself, in microseconds, so that time goes on.
const HEARS_AFTER_US: u64 = 1;
/// An application that is woken more often than this in so many microseconds, by its own timers and changes, will never rest.
const MAX_WAKES: u32 = 1_000;
const WAKES_IN_US: u64 = 10_000;

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
    Alarm { node: usize, life: u32 },
    /// There is news from the node.
    News { node: usize, life: u32 },
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

/// What a node has to say to its application.
enum News {
    Changed(TableId),
    Reply(Token, Result<Response, RequestError>),
}

/// The place of an application on a machine.
pub(crate) struct Slot {
    running: Option<Box<dyn Application>>,
    /// When timers are due, by the machine's monotonic clock.
    timers: BTreeMap<u64, Instant>,
    /// When the earliest alarm in the queue is due.
    alarm_us: Option<u64>,
    /// The tables it has opened.
    tables: BTreeSet<TableId>,
    /// Requests without an answer.
    requests: BTreeSet<Token>,
    /// What it will be told by the event that is in the queue if this is not empty.
    news: VecDeque<News>,
    /// Messages on their way, of all lives.
    in_flight: usize,
    /// Since when wakes are counted, and how many there were.
    wakes: (u64, u32),
    rng: Rng,
}

impl Slot {
    pub(crate) fn new(seed: u64, machine: usize) -> Self {
        Slot {
            running: None,
            timers: BTreeMap::new(),
            alarm_us: None,
            tables: BTreeSet::new(),
            requests: BTreeSet::new(),
            news: VecDeque::new(),
            in_flight: 0,
            wakes: (0, 0),
            rng: Rng::new(seed, Stream::Application, machine as u32),
        }
    }

    pub(crate) fn running(&self) -> Option<&dyn Application> {
        self.running.as_deref()
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub(crate) fn cancel_timer(&mut self, timer: u64) {
        self.timers.remove(&timer);
    }

    /// The process ends. What it has sent is on its way all the same.
    fn stop(&mut self) {
        self.running = None;
        self.timers.clear();
        self.alarm_us = None;
        self.tables.clear();
        self.requests.clear();
        self.news.clear();
    }

    /// The timer that is due first, if one is due.
    fn due(&self, now: Instant) -> Option<u64> {
        let due = self.timers.iter().filter(|(_, at)| **at <= now);
        due.min_by_key(|(timer, at)| (**at, **timer))
            .map(|(timer, _)| *timer)
    }

    /// # Panics
    /// If the application never rests: each of its wakes leads to the next.
    fn count_wake(&mut self, now_us: u64, machine: usize) {
        if now_us - self.wakes.0 > WAKES_IN_US {
            self.wakes = (now_us, 0);
        }
        self.wakes.1 += 1;
        assert!(
            self.wakes.1 <= MAX_WAKES,
            "the application of n{machine} never rests: its own timers and writes wake it again and again"
        );
    }
}

/// What happens to applications.
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
            self.violations.extend(found);
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
            AppEvent::Alarm { node, life } => {
                if self.lives(node, life) {
                    self.ring(node);
                }
            }
            AppEvent::News { node, life } => {
                if self.lives(node, life) {
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
            let life = self.hosts[node].life;
            let event = AppEvent::News { node, life };
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

    fn never_arrives(&mut self, (from, to): (usize, usize), number: u64, verb: &'static str) {
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
        self.events += 1;
        self.count("app_calls");
        self.charge(machine);
        self.hosts[machine].spins = 0;
        let world = self;
        act(application.as_mut(), &mut Context { world, machine });
        world.slots[machine].running = Some(application);
    }
}

/// What applications do.
impl World {
    pub(crate) fn open_table(
        &mut self,
        machine: usize,
        name: &str,
        options: TableOptions,
    ) -> Result<TableId, TableError> {
        let now = self.hosts[machine].now(self.now_us);
        let table = match &mut self.hosts[machine].node {
            Some(node) => node.create_table(now, name, options)?.0,
            None => unreachable!("an application lives as long as its node"),
        };
        self.slots[machine].tables.insert(table);
        Ok(table)
    }

    pub(crate) fn write_row(
        &mut self,
        machine: usize,
        table: TableId,
        write: Write<'_>,
    ) -> Result<Accepted, WriteError> {
        let (verb, key, value) = match &write {
            Write::Put { key, value, .. } => ("app_put", *key, value.clone()),
            Write::Delete { key } => ("app_delete", *key, Bytes::new()),
        };
        let key = Bytes::copy_from_slice(key);
        let now: Now = self.hosts[machine].now(self.now_us);
        let accepted = match &mut self.hosts[machine].node {
            Some(node) => node.write(now, table, write)?,
            None => unreachable!("an application lives as long as its node"),
        };
        let fields = [
            Field::Bytes("key", &key),
            Field::Mute(accepted.version.clock.0),
            Field::Bytes("value", &value[..value.len().min(SHOWN_BYTES)]),
        ];
        self.trace
            .event(self.now_us, machine, Weight::Story, verb, &fields);
        Ok(accepted)
    }

    pub(crate) fn ask_for(&mut self, machine: usize, request: Request) -> Token {
        self.request(machine, None, request);
        let token = Token(self.requests);
        self.slots[machine].requests.insert(token);
        token
    }

    pub(crate) fn post(&mut self, from: usize, to: usize, message: Bytes) {
        self.messages += 1;
        self.count("app_messages");
        let number = self.messages;
        self.trace.posted(self.now_us, number, (from, to));
        if self.slots[from].in_flight >= MAX_IN_FLIGHT {
            return self.never_arrives((from, to), number, "crowded_out");
        }
        let powered = self.hosts[to].node.is_some();
        match self.net.post(self.now_us, (from, to), powered) {
            Fate::Arrives(at_us) => self.carry((from, to), number, message, at_us),
            Fate::Twice(at_us, again_us) => {
                self.carry((from, to), number, message.clone(), at_us);
                self.carry((from, to), number, message, again_us);
            }
            Fate::Lost => self.never_arrives((from, to), number, "lost"),
            Fate::Swallowed { .. } | Fate::Forgotten(_) | Fate::Closed => {
                self.never_arrives((from, to), number, "swallowed");
            }
        }
    }

    fn carry(&mut self, (from, to): (usize, usize), number: u64, message: Bytes, at_us: u64) {
        self.slots[from].in_flight += 1;
        let event = AppEvent::Message {
            to,
            from,
            number,
            message,
        };
        self.push(at_us, Event::Application(Box::new(event)));
    }

    pub(crate) fn set_timer(&mut self, machine: usize, timer: u64, after: Duration) {
        let now = self.hosts[machine].now(self.now_us).mono;
        let slot = &mut self.slots[machine];
        slot.timers
            .insert(timer, now + after.max(Duration::from_micros(1)));
        assert!(
            slot.timers.len() <= MAX_TIMERS,
            "the application of n{machine} sets more than {MAX_TIMERS} timers"
        );
        self.schedule_alarm(machine);
    }

    /// Queues the next alarm of an application, unless one is queued that comes first.
    fn schedule_alarm(&mut self, node: usize) {
        let slot = &mut self.slots[node];
        let Some(due) = slot.timers.values().min() else {
            return;
        };
        let host = &self.hosts[node];
        let at_us = host
            .clock
            .when(*due, self.now_us)
            .max(self.now_us + HEARS_AFTER_US);
        if slot.alarm_us.is_none_or(|alarm_us| at_us < alarm_us) {
            slot.alarm_us = Some(at_us);
            let life = host.life;
            let event = AppEvent::Alarm { node, life };
            self.push(at_us, Event::Application(Box::new(event)));
        }
    }
}
