//! Tables that answer later than they could, so that tests see a mode that has to wait before there is one.
//!
//! An operation on such a table waits for a time, and then takes effect as on a gossip table. Nothing about it can be had at once: a direct write
//! and a view refuse, as they will for a table whose members agree first.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::id::{TableId, Token};
use crate::io::Timer;
use crate::requests::Waits;
use crate::table::TableRequest;
use crate::table::env::Env;
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
    /// Lets operations on a table wait so long from now on.
    pub(super) fn delay(&mut self, table: TableId, by: Duration) {
        self.tables.insert(table, by);
    }

    /// Returns when the next operation takes effect.
    pub(super) fn next_deadline(&self) -> Option<(Instant, Timer)> {
        let first = self.held.first_key_value();
        first.map(|((at, _), _)| (*at, Timer::Request))
    }

    /// Takes back an operation that was given up.
    pub(super) fn forget(&mut self, token: Token) {
        if let Some(at) = self.due.remove(&token) {
            self.held.remove(&(at, token));
        }
    }

    /// Lets an operation wait for its time.
    pub(super) fn request(
        &mut self,
        env: &mut Env<'_>,
        token: Token,
        deadline: Option<Instant>,
        request: TableRequest,
    ) {
        env.requests.wait(token, Waits::Table, deadline);
        let delay = self.tables.get(&request.table).copied();
        let at = env.fx.now().mono + delay.unwrap_or_default();
        self.due.insert(token, at);
        self.held.insert((at, token), request);
    }

    /// Returns the next operation whose time has come, with its deadline.
    pub(super) fn next(
        &mut self,
        env: &mut Env<'_>,
    ) -> Option<(Token, Option<Instant>, TableRequest)> {
        loop {
            let first = self.held.first_entry()?;
            self.looked_at += 1;
            if first.key().0 > env.fx.now().mono {
                return None;
            }
            let ((_, token), request) = first.remove_entry();
            self.due.remove(&token);
            if let Some((_, deadline)) = env.requests.remove(token) {
                return Some((token, deadline, request));
            }
        }
    }
}
