//! Requests that wait for an answer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use crate::effects::Effects;
use crate::error::{ReadError, RequestError};
use crate::id::{NodeId, Seq, TableId, Token};
use crate::io::{Request, Response};
use crate::table::gossip::{Loaded, Place, Replica};
use crate::table::{CausalToken, Row, TableOptions, Write};
use crate::time::{Instant, Wall};
use crate::wire::RumorState;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// A batch: the reply is held at the gate.
    Durable,
    /// A value from the store.
    Load,
    /// A link.
    Join,
    /// The leave.
    Leave,
    /// The eviction of a member.
    Evict,
    /// The deletes of a flush.
    Flush,
}

/// The requests that wait. One that waits costs nothing until it is answered or its deadline comes.
#[derive(Default)]
pub(crate) struct Requests {
    waiting: BTreeMap<Token, (Waits, Option<Instant>)>,
    /// The deadlines of those that have one.
    deadlines: BTreeSet<(Instant, Token)>,
    /// Joins whose link is up and whose greetings are under way.
    greeting: BTreeMap<NodeId, Vec<(Token, String)>>,
    /// Joins that are greeted, and wait until this node has caught up and is linked with every member that answers.
    settling: Vec<(Token, NodeId, Instant)>,
}

impl Requests {
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.deadlines.first().map(|(at, _)| *at);
        let settling = self.settling.iter().map(|(_, _, until)| *until);
        settling.chain(waiting).min()
    }

    pub(crate) fn fail_all(&mut self, fx: &mut Effects) {
        self.deadlines.clear();
        for token in core::mem::take(&mut self.waiting).into_keys() {
            fx.withdraw(token);
            fx.reply(token, Err(RequestError::Halted));
        }
    }

    /// The link that these requests wait for is up.
    pub(crate) fn join_waits(&mut self, node: NodeId, addr: &str, tokens: Vec<Token>) {
        if !tokens.is_empty() {
            let waits = tokens.into_iter().map(|token| (token, String::from(addr)));
            self.greeting.entry(node).or_default().extend(waits);
        }
    }

    /// The greetings with a node are through, or came to nothing.
    pub(crate) fn joined(&mut self, node: NodeId) -> Vec<(Token, String)> {
        self.greeting.remove(&node).unwrap_or_default()
    }

    /// The greetings with a node are through: the answer waits a little for the rest of the cluster.
    pub(crate) fn settle(&mut self, token: Token, node: NodeId, until: Instant) {
        self.settling.push((token, node, until));
    }

    pub(crate) fn is_settling(&self) -> bool {
        !self.settling.is_empty()
    }

    /// The joins to answer: all when `settled`, else those that waited long enough.
    pub(crate) fn settled(&mut self, now: Instant, settled: bool) -> Vec<(Token, NodeId)> {
        let due = |(_, _, until): &(Token, NodeId, Instant)| settled || *until <= now;
        let done = self.settling.iter().filter(|join| due(join));
        let done = done.map(|(token, node, _)| (*token, *node)).collect();
        self.settling.retain(|join| !due(join));
        done
    }

    fn wait(&mut self, token: Token, what: Waits, deadline: Option<Instant>) {
        self.remove(token);
        self.waiting.insert(token, (what, deadline));
        self.deadlines.extend(deadline.map(|at| (at, token)));
    }

    fn remove(&mut self, token: Token) -> Option<(Waits, Option<Instant>)> {
        let (what, deadline) = self.waiting.remove(&token)?;
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, token));
        }
        Some((what, deadline))
    }

    /// The requests whose deadline has come.
    fn due(&self, now: Instant) -> Vec<Token> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, token)| *token).collect()
    }

    /// Ends the wait for a request; whether it still waited.
    pub(crate) fn end(&mut self, token: Token) -> bool {
        self.remove(token).is_some()
    }
}

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
        if self.requests.waiting.len() >= limit {
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
                let changed = self.settings_requested(&changes);
                let done = changed.map(|seq| (seq, Response::SettingsChanged));
                self.reply_durably(token, deadline, done.map_err(RequestError::Setting));
            }
            Request::Join { addr } => {
                self.wait(token, Waits::Join, deadline);
                self.join(token, addr);
            }
            Request::Leave => {
                self.wait(token, Waits::Leave, deadline);
                self.leave(token);
            }
            Request::Evict { member, force } => {
                self.wait(token, Waits::Evict, deadline);
                self.evict(token, &member, force);
            }
            Request::DeclareLost { node } => {
                let lost = self.declare_lost(&node);
                let done = lost.map(|node| (self.fx.open_seq(), Response::DeclaredLost(node)));
                self.reply_durably(token, deadline, done.map_err(RequestError::Lost));
            }
            Request::Flush { table } => self.flush_requested(table, token, deadline),
            Request::Resume => {
                let resumed = self.resume();
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
        (seq, sync): (Seq, bool),
        token: Token,
        deadline: Option<Instant>,
        shown: Result<Response, RequestError>,
    ) {
        if sync && seq > self.fx.durable() {
            self.wait(token, Waits::Durable, deadline);
            self.fx.reply_after(seq, token, shown);
        } else {
            self.fx.reply(token, shown);
        }
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
        if self.requests.is_settling() {
            let settled = self.is_linked_with_all();
            for (token, node) in self.requests.settled(now, settled) {
                self.answer(token, Ok(Response::Joined(node)));
            }
        }
        for token in self.requests.due(now) {
            self.give_up(token, RequestError::DeadlineExceeded);
        }
    }

    /// Whether this node has caught up and writes reach every member that answers at once.
    fn is_linked_with_all(&self) -> bool {
        let linked = |node| {
            let link = self.links.of(node);
            link.is_some_and(|link| self.links.is_ready(link))
                || self.detector.state(node) == Some(RumorState::Down)
        };
        self.is_full()
            && self.gossip.sessions() == 0
            && self.membership.others().all(|(node, _)| linked(node))
    }

    fn give_up(&mut self, token: Token, error: RequestError) {
        let Some((what, _)) = self.requests.remove(token) else {
            return;
        };
        let open = match what {
            Waits::Durable => self.fx.withdraw(token),
            Waits::Join => {
                self.links.unask(token);
                true
            }
            // Its place in the queue is passed over later.
            Waits::Load => true,
            // A leave or a flush cannot be taken back; only its answer is.
            Waits::Leave | Waits::Flush => true,
            Waits::Evict => {
                self.evictions.forget_token(token);
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

    /// Answers a request that waited.
    pub(super) fn answer(&mut self, token: Token, result: Result<Response, RequestError>) {
        if self.requests.end(token) {
            self.fx.reply(token, result);
        }
    }
}
