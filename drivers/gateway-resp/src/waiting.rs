//! Commands that wait for answers, and which commands may go on before them.
//!
//! The rule: a command goes on before one that waits if it names its keys and shares none with any that wait, or touches no key at all.
//! So a client sees its own writes, and two commands on one key take effect in the order in which they were sent. Everything else waits
//! until all those before it are answered. Replies keep the order of the commands whatever happens.

use std::collections::{BTreeMap, VecDeque};

use rumormill_core::{
    TableId,
    errors::RequestError,
    io::Response,
    table::{RowRef, TableOp, TableRequest},
};
use rumormill_kit::client_session::{Ask, Replies, Slot, Ticket};

use crate::decoder::{Args, Words};
use crate::refusal::{Refusal, RowKey};

/// Which keys a command reads or writes.
pub(crate) enum Touched<'a> {
    /// None, and nothing else that a command before it could change.
    Nothing,
    /// These.
    Keys(Vec<&'a [u8]>),
    /// Any.
    Everything,
}

/// Finds out which keys a command reads or writes, from its words.
pub(crate) type FindTouched = for<'a> fn(Args<'a>) -> Touched<'a>;

/// The request that reads a row.
pub(crate) fn read((table, key): RowKey) -> TableRequest {
    TableRequest::new(table, TableOp::Get { key })
}

/// Most commands of a client that wait, and the bytes of their arguments.
const MOST: usize = 128;
const MOST_BYTES: usize = 256 << 10;

/// Most keys of a command that goes on before others.
const KEYS: usize = 64;

/// Answers that have come for one command: rows that were read from the store, and operations on tables that answer later.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    rows: BTreeMap<RowKey, Result<Response, RequestError>>,
    bytes: usize,
}

impl Loaded {
    pub(crate) fn insert(&mut self, place: RowKey, answer: Result<Response, RequestError>) {
        if let Ok(Response::Row(Some(row))) = &answer {
            self.bytes += row.value.len();
        }
        self.rows.insert(place, answer);
    }

    /// Takes out the answer to an operation on a key.
    pub(crate) fn take(&mut self, place: &RowKey) -> Option<Result<Response, RequestError>> {
        self.rows.remove(place)
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    pub(crate) fn footprint(&self) -> usize {
        self.bytes
    }

    /// The value of a row: the one in memory, or what was read for it.
    ///
    /// # Errors
    /// [`Refusal::Cold`], or why the value cannot be read.
    pub(crate) fn value_of<'v>(
        &'v self,
        table: TableId,
        row: &RowRef<'v>,
    ) -> Result<&'v bytes::Bytes, Refusal> {
        if let Some(value) = row.value() {
            return Ok(value);
        }
        if row.sibling_count() > 1 {
            return Err(Refusal::SIBLINGS);
        }
        let read = match self.rows.is_empty() {
            true => None,
            false => self.rows.get(&(table, row.key().clone())),
        };
        match read {
            Some(Ok(Response::Row(Some(read)))) if read.version == row.version() => Ok(&read.value),
            Some(Err(error)) => Err(error.clone().into()),
            // It was not asked for, or has been replaced since.
            _ => Err(Refusal::cold(table, row.key())),
        }
    }
}

/// A command that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) slot: Slot,
    pub(crate) words: Words,
    /// Answers that have not come yet.
    missing: usize,
    pub(crate) loaded: Loaded,
}

/// An answer that was asked for, or all answers of a command.
pub(crate) enum Came {
    /// An answer for the task at hand.
    ForTask(RowKey, Result<Response, RequestError>),
    /// The last answer of a command that waited.
    ForCommand(Waiter),
}

/// The commands of a client that wait for answers, in their order.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    commands: VecDeque<Waiter>,
    bytes: usize,
    /// The rows that were asked about, and the slot of the command that needs the answer; `None` for the task at hand.
    asked: BTreeMap<Ticket, (Option<Slot>, RowKey)>,
    last: u64,
    /// Rows that the task at hand waits for.
    of_task: usize,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether the task at hand waits for rows.
    pub(crate) fn keeps_task(&self) -> bool {
        self.of_task > 0
    }

    pub(crate) fn footprint(&self) -> usize {
        let loaded = self.commands.iter().map(|waiter| waiter.loaded.bytes);
        self.bytes + loaded.sum::<usize>()
    }

    /// Whether a command may go on before those that wait: the rule above, and there is room for another.
    pub(crate) fn lets_pass(&self, args: Args<'_>, touched: FindTouched) -> bool {
        if self.commands.len() >= MOST || self.bytes >= MOST_BYTES {
            return false;
        }
        match touched(args) {
            Touched::Nothing => true,
            Touched::Everything => false,
            Touched::Keys(keys) if keys.len() > KEYS => false,
            Touched::Keys(keys) => {
                self.commands
                    .iter()
                    .all(|waiter| match touched(waiter.words.args()) {
                        Touched::Keys(taken) => taken.iter().all(|key| !keys.contains(key)),
                        _ => false,
                    })
            }
        }
    }

    fn ask(&mut self, slot: Option<Slot>, request: TableRequest, replies: &mut Replies) {
        self.last += 1;
        let ticket = Ticket(self.last);
        let key = request.op.key().cloned().unwrap_or_default();
        self.asked.insert(ticket, (slot, (request.table, key)));
        replies.ask(Ask { ticket, request });
    }

    /// Opens a slot for a command that needs these answers.
    pub(crate) fn put(&mut self, args: Args<'_>, asked: Vec<TableRequest>, replies: &mut Replies) {
        let slot = replies.slot();
        let words = args.to_words();
        self.bytes += words.footprint();
        self.commands.push_back(Waiter {
            slot,
            words,
            missing: asked.len(),
            loaded: Loaded::default(),
        });
        for request in asked {
            self.ask(Some(slot), request, replies);
        }
    }

    /// Asks for rows that the task at hand needs.
    pub(crate) fn ask_for_task(&mut self, rows: Vec<RowKey>, replies: &mut Replies) {
        self.of_task += rows.len();
        for row in rows {
            self.ask(None, read(row), replies);
        }
    }

    /// Takes an answer that has come; `None` if more has to come, or nothing waits for it any more.
    pub(crate) fn came(
        &mut self,
        ticket: Ticket,
        answer: Result<Response, RequestError>,
    ) -> Option<Came> {
        let (slot, place) = self.asked.remove(&ticket)?;
        let Some(slot) = slot else {
            self.of_task = self.of_task.saturating_sub(1);
            return Some(Came::ForTask(place, answer));
        };
        self.give(slot, place, answer).map(Came::ForCommand)
    }

    /// Lets a command wait for other answers.
    pub(crate) fn put_back(
        &mut self,
        mut waiter: Waiter,
        asked: Vec<TableRequest>,
        replies: &mut Replies,
    ) {
        waiter.missing = asked.len();
        let slot = waiter.slot;
        self.bytes += waiter.words.footprint();
        // Its place among those that wait decides nothing.
        self.commands.push_back(waiter);
        for request in asked {
            self.ask(Some(slot), request, replies);
        }
    }

    /// Gives a command an answer that it waits for. Returns the command, taken out, if that was its last one.
    fn give(
        &mut self,
        slot: Slot,
        place: RowKey,
        answer: Result<Response, RequestError>,
    ) -> Option<Waiter> {
        let mut commands = self.commands.iter();
        let number = commands.position(|waiter| waiter.slot == slot)?;
        let waiter = self.commands.get_mut(number)?;
        waiter.missing = waiter.missing.saturating_sub(1);
        waiter.loaded.insert(place, answer);
        if waiter.missing > 0 {
            return None;
        }
        let waiter = self.commands.remove(number)?;
        self.bytes -= waiter.words.footprint();
        Some(waiter)
    }
}
