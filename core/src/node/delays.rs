//! Tables that answer later than they could, so that tests see a mode that has to wait before there is one.
//!
//! An operation on such a table waits for a time, and then takes effect as on a gossip table. Nothing about it can be had at once: a direct write
//! and a view refuse, as they will for a table whose members agree first.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::Node;
use crate::id::{TableId, Token};
use crate::requests::Waits;
use crate::table::{Mode, TableRequest};
use crate::time::Instant;

/// Operations that wait for their time.
#[derive(Default)]
pub(super) struct Delays {
    tables: BTreeMap<TableId, Duration>,
    held: BTreeMap<(Instant, Token), TableRequest>,
    due: BTreeMap<Token, Instant>,
    /// Operations that were looked at to find those whose time has come.
    pub(super) looked_at: u64,
}

impl Delays {
    /// Returns when the next operation takes effect.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.held.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes back an operation that was given up.
    pub(super) fn forget(&mut self, token: Token) {
        if let Some(at) = self.due.remove(&token) {
            self.held.remove(&(at, token));
        }
    }

    fn hold(&mut self, now: Instant, token: Token, request: TableRequest) {
        let delay = self.tables.get(&request.table).copied();
        let at = now + delay.unwrap_or_default();
        self.due.insert(token, at);
        self.held.insert((at, token), request);
    }

    /// Returns the next operation whose time has come.
    fn next(&mut self, now: Instant) -> Option<(Token, TableRequest)> {
        let first = self.held.first_entry()?;
        self.looked_at += 1;
        if first.key().0 > now {
            return None;
        }
        let ((_, token), request) = first.remove_entry();
        self.due.remove(&token);
        Some((token, request))
    }
}

impl Node {
    /// Lets a user table answer later from now on: each operation on it waits so long before it takes effect. For tests of programs that will
    /// meet tables of such a mode.
    pub fn delay_table(&mut self, table: TableId, by: Duration) {
        self.delays.tables.insert(table, by);
        let catalog = self.gossip.replica_mut().catalog_mut();
        catalog.set_mode(table, Mode::Strong);
    }

    /// Lets an operation on a table that answers later wait.
    pub(super) fn delay(&mut self, token: Token, deadline: Option<Instant>, request: TableRequest) {
        self.requests.wait(token, Waits::Later, deadline);
        self.delays.hold(self.fx.now().mono, token, request);
    }

    /// Carries out the operations whose time has come.
    pub(super) fn delays_due(&mut self) {
        let now = self.fx.now().mono;
        while let Some((token, request)) = self.delays.next(now) {
            if let Some((_, deadline)) = self.requests.remove(token) {
                self.gossip_door(|gossip, env| gossip.request(env, token, deadline, request));
            }
        }
    }
}
