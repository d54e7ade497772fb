//! Requests that wait for an answer.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use crate::error::{ReadError, RequestError};
use crate::id::{Seq, TableId, Token};
use crate::io::{Request, Response};
use crate::requests::Waits;
use crate::table::gossip::{Loaded, Place, Replica};
use crate::table::{CausalToken, Row, TableOptions, Write};
use crate::time::{Instant, Wall};

fn put_or_delete(key: &[u8], value: Option<Bytes>, expires: Option<Wall>) -> Write<'_> {
    match value {
        Some(value) => Write::Put {
            key,
            value,
            expires,
        },
        None => Write::Delete { key },
    }
}

fn replace_or_remove<'a>(
    key: &'a [u8],
    value: Option<Bytes>,
    context: &'a CausalToken,
) -> Write<'a> {
    match value {
        Some(value) => Write::Replace {
            key,
            value,
            context,
        },
        None => Write::Remove { key, context },
    }
}

/// The row that a request is about.
fn place_of(gossip: &Replica, request: &Request) -> Option<Place> {
    match request {
        Request::Write { table, key, .. } | Request::Get { table, key } => {
            Some(gossip.place_of(*table, key.clone()))
        }
        _ => None,
    }
}

impl Node {
    pub(super) fn request(&mut self, token: Token, deadline: Option<Instant>, request: Request) {
        let limit = self.config.limits.requests;
        if self.requests.len() >= limit {
            return self.fx.reply(token, Err(RequestError::Busy { limit }));
        }
        match place_of(self.gossip.replica(), &request) {
            Some(place) if self.loads.is_awaited(&place) => {
                self.await_value(&place, token, deadline, request);
            }
            _ => self.carry_out(token, deadline, request, None),
        }
    }

    /// Carries out a request whose turn has come, with what was loaded for it.
    pub(super) fn carry_out(
        &mut self,
        token: Token,
        deadline: Option<Instant>,
        request: Request,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        match request {
            Request::Write {
                table,
                key,
                value,
                expires,
            } => {
                let write = put_or_delete(&key, value, expires);
                self.write_requested(table, write, token, deadline);
            }
            Request::Replace {
                table,
                key,
                value,
                context,
            } => {
                let write = replace_or_remove(&key, value, &context);
                self.write_requested(table, write, token, deadline);
            }
            Request::Get { table, key } => {
                let place = self.gossip.replica().place_of(table, key);
                self.read(place, token, deadline, loaded);
            }
            Request::Sync => {
                self.fx.sync_this_turn();
                let done = Ok((self.fx.open_seq(), Response::Synced));
                self.reply_durably(token, deadline, done);
            }
            Request::CreateTable { name, options } => {
                self.table_requested(&name, options, token, deadline);
            }
            Request::ChangeSettings { changes } => {
                let changes: Vec<(&str, Option<&str>)> = changes
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_deref()))
                    .collect();
                let changed = self.change_settings(self.fx.now(), &changes);
                let done = changed.map(|seq| (seq, Response::SettingsChanged));
                self.reply_durably(token, deadline, done.map_err(RequestError::Setting));
            }
            Request::Join { addr } => {
                self.wait(token, Waits::Join, deadline);
                let (cluster, mut env) = self.cluster_door();
                cluster.join(&mut env, token, addr);
            }
            Request::Leave => {
                self.wait(token, Waits::Leave, deadline);
                if self.cluster.leaving.is_none() {
                    // Flushed rows are deleted before others are asked to hold the rest.
                    self.flushes_due(usize::MAX);
                }
                let (cluster, mut env) = self.cluster_door();
                cluster.leave(&mut env, token);
            }
            Request::Evict { member, force } => {
                self.wait(token, Waits::Evict, deadline);
                let (cluster, mut env) = self.cluster_door();
                cluster.evict(&mut env, token, &member, force);
            }
            Request::DeclareLost { node } => {
                let (cluster, mut env) = self.cluster_door();
                let lost = cluster.declare_lost(&mut env, &node);
                let done = lost.map(|node| (self.fx.open_seq(), Response::DeclaredLost(node)));
                self.reply_durably(token, deadline, done.map_err(RequestError::Lost));
            }
            Request::Flush { table } => self.flush_requested(table, token, deadline),
            Request::Resume => {
                let (cluster, mut env) = self.cluster_door();
                let resumed = cluster.resume(&mut env);
                let done =
                    resumed.map(|without| (self.fx.open_seq(), Response::Resumed { without }));
                self.reply_durably(token, deadline, done.map_err(RequestError::Resume));
            }
        }
    }

    /// Answers once a batch is durable, or refuses at once.
    fn reply_durably(
        &mut self,
        token: Token,
        deadline: Option<Instant>,
        done: Result<(Seq, Response), RequestError>,
    ) {
        match done {
            Ok((seq, response)) => self.reply_safely((seq, true), token, deadline, Ok(response)),
            Err(error) => self.fx.reply(token, Err(error)),
        }
    }

    fn write_requested(
        &mut self,
        table: TableId,
        write: Write<'_>,
        token: Token,
        deadline: Option<Instant>,
    ) {
        let result = self
            .admit(table)
            .and_then(|()| self.gossip.replica_mut().write(&mut self.fx, table, write));
        match result {
            Ok(accepted) => {
                let shown = Ok(Response::Written(accepted));
                self.reply_safely((accepted.seq, accepted.sync), token, deadline, shown);
            }
            Err(error) => self.fx.reply(token, Err(RequestError::Write(error))),
        }
    }

    fn flush_requested(&mut self, table: Option<TableId>, token: Token, deadline: Option<Instant>) {
        if let Err(error) = self.admit_flush(table) {
            return self.fx.reply(token, Err(RequestError::Write(error)));
        }
        match self
            .gossip
            .replica_mut()
            .flush_table(&mut self.fx, table, Some(token))
        {
            (accepted, None) => {
                let shown = Ok(Response::Written(accepted));
                self.reply_safely((accepted.seq, accepted.sync), token, deadline, shown);
            }
            (_, Some(_)) => self.wait(token, Waits::Flush, deadline),
        }
    }

    /// Deletes what flushes have left, and answers those that are done.
    pub(super) fn flushes_due(&mut self, budget: usize) {
        for (token, accepted) in self.gossip.replica_mut().flush_on(&mut self.fx, budget) {
            if let Some(deadline) = self.stop_waiting(token) {
                let shown = Ok(Response::Written(accepted));
                self.reply_safely((accepted.seq, accepted.sync), token, deadline, shown);
            }
        }
    }

    fn table_requested(
        &mut self,
        name: &str,
        options: TableOptions,
        token: Token,
        deadline: Option<Instant>,
    ) {
        let result = self
            .admit(TableId::DEFAULT)
            .map_err(Into::into)
            .and_then(|()| {
                self.gossip
                    .replica_mut()
                    .create_table(&mut self.fx, name, options)
            });
        match result {
            Ok((table, seq)) => {
                self.fx.sync_this_turn();
                let created = Ok(Response::Table(table));
                self.reply_safely((seq, true), token, deadline, created);
            }
            Err(error) => self.fx.reply(token, Err(RequestError::Table(error))),
        }
    }

    /// Answers with a row, or waits for its value.
    fn read(
        &mut self,
        place: Place,
        token: Token,
        deadline: Option<Instant>,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        let wall_ms = self.fx.now().wall.as_millis();
        let row = self.gossip.replica().rows().get(place.0, &place.1);
        let Some(row) = row.filter(|row| row.is_live_at(wall_ms)) else {
            return self.fx.reply(token, Ok(Response::Row(None)));
        };
        if let Some(siblings) = self.gossip.replica().siblings(row) {
            let gate = (row.seq, self.gossip.replica().is_sync(place.0));
            return self.reply_safely(gate, token, deadline, Ok(Response::Siblings(siblings)));
        }
        let came = loaded.and_then(|loaded| loaded.as_ref().ok());
        match (Replica::value_of(row, came), loaded) {
            (Some(value), _) => {
                let shown = Row {
                    value: value.clone(),
                    expires: (row.expires != 0).then(|| Wall::from_millis(row.expires)),
                    version: self.gossip.replica().version(row),
                };
                let gate = (row.seq, self.gossip.replica().is_sync(place.0));
                self.reply_safely(gate, token, deadline, Ok(Response::Row(Some(shown))));
            }
            (None, Some(Err(error))) => {
                let error = RequestError::Read(error.clone());
                self.fx.reply(token, Err(error));
            }
            (None, _) => {
                let (table, key) = place.clone();
                self.await_value(&place, token, deadline, Request::Get { table, key });
            }
        }
    }

    /// Replies, after batch `seq` is durable when that is promised.
    pub(super) fn reply_safely(
        &mut self,
        gate: (Seq, bool),
        token: Token,
        deadline: Option<Instant>,
        shown: Result<Response, RequestError>,
    ) {
        self.requests
            .reply_safely(&mut self.fx, gate, token, deadline, shown);
    }

    pub(super) fn wait_for_load(&mut self, token: Token, deadline: Option<Instant>) {
        self.wait(token, Waits::Load, deadline);
    }

    /// The wait for a value is over: the request's deadline, `None` when it was given up meanwhile.
    pub(super) fn stop_waiting(&mut self, token: Token) -> Option<Option<Instant>> {
        self.requests.remove(token).map(|(_, deadline)| deadline)
    }

    fn wait(&mut self, token: Token, what: Waits, deadline: Option<Instant>) {
        self.requests.wait(token, what, deadline);
    }

    pub(super) fn cancel(&mut self, token: Token) {
        self.give_up(token, RequestError::Cancelled);
    }

    pub(super) fn requests_due(&mut self) {
        let now = self.fx.now().mono;
        let (cluster, mut env) = self.cluster_door();
        cluster.joins_due(&mut env);
        for token in self.requests.due(now) {
            self.give_up(token, RequestError::DeadlineExceeded);
        }
    }

    fn give_up(&mut self, token: Token, error: RequestError) {
        let Some((what, _)) = self.requests.remove(token) else {
            return;
        };
        let open = match what {
            Waits::Durable => self.fx.withdraw(token),
            Waits::Join => {
                self.cluster.links.unask(token);
                true
            }
            // Its place in the queue is passed over later.
            Waits::Load => true,
            // A leave or a flush cannot be taken back; only its answer is.
            Waits::Leave | Waits::Flush => true,
            Waits::Evict => {
                self.cluster.evictions.forget_token(token);
                true
            }
        };
        if open {
            self.fx.reply(token, Err(error));
        }
    }

    /// The gate has let these replies through: they are waited for no longer.
    pub(super) fn let_through(&mut self, tokens: Vec<Token>) {
        for token in tokens {
            self.requests.end(token);
        }
    }
}
