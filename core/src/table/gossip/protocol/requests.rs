//! Requests on gossip tables, and those among them that wait for a value or for the deletes of a flush.

use crate::error::{ReadError, RequestError, WriteError};
use crate::id::{TableId, Token};
use crate::io::Response;
use crate::marks::Mark;
use crate::requests::Waits;
use crate::table::catalog::Catalog;
use crate::table::env::Env;
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::{Loaded, Place, Replica, WAITING};
use crate::table::{Namespace, Row, TableOp, TableRequest, Write};
use crate::time::{Instant, Wall};

/// Whether requests on this key wait for each other.
fn takes_turns(op: &TableOp) -> bool {
    matches!(
        op,
        TableOp::Put { .. } | TableOp::Delete { .. } | TableOp::Get { .. }
    )
}

impl Gossip {
    /// Takes a request: answers it at once, once a batch is durable, or once a value has been loaded.
    pub(crate) fn request(
        &mut self,
        env: &mut Env<'_>,
        token: Token,
        deadline: Option<Instant>,
        request: TableRequest,
    ) {
        if request.idempotency.is_some() && !matches!(request.op, TableOp::Get { .. }) {
            let error = RequestError::IdempotencyUnsupported;
            return env.fx.reply(token, Err(error));
        }
        match self.place_of(env.catalog, &request) {
            Some(place) if env.loads.is_awaited(&place) => {
                await_value(env, &place, token, deadline, request);
            }
            _ => self.carry_out(env, token, deadline, request, None),
        }
    }

    /// Carries out a request whose turn has come, with what was loaded for it.
    pub(crate) fn carry_out(
        &mut self,
        env: &mut Env<'_>,
        token: Token,
        deadline: Option<Instant>,
        request: TableRequest,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        match (request.op.as_write(), &request.op) {
            (Some(write), _) => self.write_requested(env, request.table, write, token, deadline),
            (None, TableOp::Flush) => {
                self.flush_requested(env, Some(request.table), token, deadline);
            }
            (None, _) => self.read(env, token, deadline, request, loaded),
        }
    }

    /// Deletes what flushes have left, and answers those that are done.
    pub(crate) fn flushes_due(&mut self, env: &mut Env<'_>, budget: usize) {
        for (token, accepted) in self.replica.flush_on(&mut env.rows(), budget) {
            if let Some((_, deadline)) = env.requests.remove(token) {
                let shown = Ok(Response::Written(accepted));
                env.reply_safely((accepted.seq, accepted.sync), token, deadline, shown);
            }
        }
    }

    /// Flushes a table, or all of them, and answers once that is done.
    pub(crate) fn flush_requested(
        &mut self,
        env: &mut Env<'_>,
        table: Option<TableId>,
        token: Token,
        deadline: Option<Instant>,
    ) {
        let admitted = env
            .admits(true)
            .and_then(|()| self.admits_flush(env.catalog, table));
        if let Err(error) = admitted {
            return env.fx.reply(token, Err(RequestError::Write(error)));
        }
        match self
            .replica
            .flush_table(&mut env.rows(), table, Some(token))
        {
            (accepted, None) => {
                let shown = Ok(Response::Written(accepted));
                env.reply_safely((accepted.seq, accepted.sync), token, deadline, shown);
            }
            (_, Some(_)) => env.requests.wait(token, Waits::Table, deadline),
        }
    }

    /// Returns whether a client may write to this table.
    #[inline]
    pub(crate) fn admits(&self, catalog: &Catalog, table: TableId) -> Result<(), WriteError> {
        match catalog.get(table) {
            Some(known) if known.namespace() == Namespace::Usr => Ok(()),
            Some(_) => Err(WriteError::ReadOnlyTable),
            None => Err(WriteError::TableForgotten),
        }
    }

    /// Returns whether a client may flush this table, or all of them.
    pub(crate) fn admits_flush(
        &self,
        catalog: &Catalog,
        table: Option<TableId>,
    ) -> Result<(), WriteError> {
        self.admits(catalog, table.unwrap_or(TableId::DEFAULT))?;
        match self.replica.is_full_of_flushes() {
            true => Err(WriteError::Busy { limit: WAITING }),
            false => Ok(()),
        }
    }

    /// Returns the row that a request is about, if it takes turns with others on the same key.
    fn place_of(&self, catalog: &Catalog, request: &TableRequest) -> Option<Place> {
        let key = request.op.key().filter(|_| takes_turns(&request.op))?;
        Some(self.replica.place_of(catalog, request.table, key.clone()))
    }

    fn write_requested(
        &mut self,
        env: &mut Env<'_>,
        table: TableId,
        write: Write<'_>,
        token: Token,
        deadline: Option<Instant>,
    ) {
        let admitted = env
            .admits(write.is_delete())
            .and_then(|()| self.admits(env.catalog, table));
        match admitted.and_then(|()| self.replica.write(&mut env.rows(), table, write)) {
            Ok(accepted) => {
                let shown = Ok(Response::Written(accepted));
                env.reply_safely((accepted.seq, accepted.sync), token, deadline, shown);
            }
            Err(error) => env.fx.reply(token, Err(RequestError::Write(error))),
        }
    }

    /// Answers with a row, or waits for its value.
    fn read(
        &mut self,
        env: &mut Env<'_>,
        token: Token,
        deadline: Option<Instant>,
        request: TableRequest,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        let wall_ms = env.fx.now().wall.as_millis();
        let place = self.place_of(env.catalog, &request);
        let found = place.as_ref().and_then(|place| {
            let row = self.replica.rows().get(place.0, &place.1)?;
            row.is_live_at(wall_ms).then_some((place, row))
        });
        let Some((place, row)) = found else {
            return env.fx.reply(token, Ok(Response::Row(None)));
        };
        let gate = (row.seq, self.replica.is_sync(env.catalog, place.0));
        if let Some(siblings) = self.replica.siblings(env.catalog, row) {
            return env.reply_safely(gate, token, deadline, Ok(Response::Siblings(siblings)));
        }
        let came = loaded.and_then(|loaded| loaded.as_ref().ok());
        match (Replica::value_of(row, came), loaded) {
            (Some(value), _) => {
                let shown = Row {
                    value: value.clone(),
                    expires: (row.expires != 0).then(|| Wall::from_millis(row.expires)),
                    version: self.replica.version(row),
                };
                env.reply_safely(gate, token, deadline, Ok(Response::Row(Some(shown))));
            }
            (None, Some(Err(error))) => {
                let error = RequestError::Read(error.clone());
                env.fx.reply(token, Err(error));
            }
            (None, _) => await_value(env, place, token, deadline, request),
        }
    }
}

/// Lets a request wait for the value of a row, behind others on the same key.
fn await_value(
    env: &mut Env<'_>,
    place: &Place,
    token: Token,
    deadline: Option<Instant>,
    request: TableRequest,
) {
    match env.loads.wait(place, token, request) {
        Ok(()) => {
            env.fx.mark(Mark::RequestWaitsForLoad);
            env.requests.wait(token, Waits::Table, deadline);
        }
        Err(error) => env.fx.reply(token, Err(RequestError::Read(error))),
    }
}
