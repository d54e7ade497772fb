//! The acts of applications: they write, ask, send, and set timers.

use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    TableId, Token,
    errors::{TableError, WriteError},
    io::Request,
    table::{Accepted, TableOptions, Write},
};

use super::driver::{AppEvent, HEARS_AFTER_US};
use super::{MAX_IN_FLIGHT, MAX_TIMERS, SHOWN_BYTES};
use crate::event::Event;
use crate::network::Fate;
use crate::trace::{Field, Weight};
use crate::world::World;

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
            Write::Replace { key, value, .. } => ("app_put", *key, value.clone()),
            Write::Delete { key } | Write::Remove { key, .. } => ("app_delete", *key, Bytes::new()),
        };
        let key = Bytes::copy_from_slice(key);
        let now = self.hosts[machine].now(self.now_us);
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
        let token = self.request(machine, None, request);
        self.slots[machine].requests.insert(token);
        token
    }

    pub(crate) fn post(&mut self, from: usize, to: usize, message: Bytes) {
        self.tally.messages += 1;
        self.count("app_messages");
        let number = self.tally.messages;
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
    pub(super) fn schedule_alarm(&mut self, node: usize) {
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
            let boot = host.boot;
            let event = AppEvent::Alarm { node, boot };
            self.push(at_us, Event::Application(Box::new(event)));
        }
    }
}
