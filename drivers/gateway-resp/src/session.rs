//! One client: bytes to commands, commands to replies.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use rumormill_core::{Accepted, Durability, Node, Now, RowRef, TableId};
use rumormill_kit::session::{Clients, Flow, Replies, Session};

use crate::commands::{self, Command};
use crate::decoder::{Args, Decoded, Decoder};
use crate::encoder::{Encoder, Version};
use crate::notify::Subscriptions;

/// Positions of scans that are remembered.
const CURSORS_MAX: usize = 65_536;

/// What the driver adds to `INFO` and to the private command `RUMORMILL`: JSON for a topic, `None` for an unknown one.
pub type Describe = fn(&Node, Now, &str) -> Option<String>;

/// Where a scan goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// After this string key.
    Strings(Bytes),
    /// After this table, with the hashes.
    Tables(String),
    /// After this row of a hash.
    Rows(Bytes),
}

/// The scans of all clients.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    places: VecDeque<Position>,
    /// The number of the first place kept, less one.
    dropped: u64,
}

impl Cursors {
    pub(crate) fn remember(&mut self, position: Position) -> u64 {
        if self.places.len() == CURSORS_MAX {
            self.places.pop_front();
            self.dropped += 1;
        }
        self.places.push_back(position);
        self.dropped + self.places.len() as u64
    }

    pub(crate) fn find(&self, cursor: u64) -> Option<Position> {
        let place = cursor.checked_sub(self.dropped + 1)?;
        self.places.get(usize::try_from(place).ok()?).cloned()
    }
}

/// Makes the sessions of one node.
pub struct Gateway {
    bulk_limit: usize,
    describe: Describe,
    cursors: Rc<RefCell<Cursors>>,
    connected: Rc<RefCell<usize>>,
}

impl Gateway {
    /// A gateway for a node with these limits; `describe` answers the private command `RUMORMILL`.
    pub fn new(limits: &rumormill_core::Limits, describe: Describe) -> Self {
        Gateway {
            bulk_limit: limits.value_bytes.max(limits.key_bytes),
            describe,
            cursors: Rc::default(),
            connected: Rc::default(),
        }
    }
}

impl Clients for Gateway {
    type Session = Client;

    fn accept(&mut self, id: u64, _peer: SocketAddr, clients: usize) -> Client {
        *self.connected.borrow_mut() = clients;
        Client {
            decoder: Decoder::new(self.bulk_limit),
            state: State {
                id,
                name: Vec::new(),
                version: Version::Two,
                describe: self.describe,
                cursors: Rc::clone(&self.cursors),
                connected: Rc::clone(&self.connected),
                subscriptions: Subscriptions::default(),
                pending: None,
                draws: id,
                quit: false,
            },
        }
    }
}

/// What a client has said of itself, and what it is owed.
pub(crate) struct State {
    pub(crate) id: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) describe: Describe,
    pub(crate) cursors: Rc<RefCell<Cursors>>,
    pub(crate) connected: Rc<RefCell<usize>>,
    pub(crate) subscriptions: Subscriptions,
    /// Bulks of a long reply that is under way.
    pub(crate) pending: Option<std::vec::IntoIter<Option<Bytes>>>,
    pub(crate) draws: u64,
    pub(crate) quit: bool,
}

/// One client of a node.
pub struct Client {
    decoder: Decoder,
    state: State,
}

impl Client {
    fn run(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        loop {
            if !self.state.drain_pending(replies) {
                return Flow::Full;
            }
            if self.state.quit {
                return Flow::Close;
            }
            if replies.is_full() {
                return Flow::Full;
            }
            let oversize = match self.decoder.decode() {
                Ok(Decoded::Incomplete) => {
                    self.decoder.compact();
                    return Flow::Continue;
                }
                Ok(Decoded::Command) => None,
                Ok(Decoded::Oversize(len)) => Some(len),
                Err(error) => {
                    Encoder::new(replies.buf(), self.state.version).error(&format!("ERR {error}"));
                    return Flow::Close;
                }
            };
            replies.count_commands(1);
            let args = self.decoder.args();
            let mut call = Call {
                state: &mut self.state,
                node,
                now,
                args,
                replies,
            };
            match oversize {
                Some(len) => {
                    let limit = call.node.config().limits.value_bytes;
                    call.error(&format!(
                        "TOOLARGE an argument has {len} bytes, the limit is {limit}"
                    ));
                }
                None => commands::dispatch(&mut call),
            }
        }
    }
}

impl Session for Client {
    fn receive(&mut self, now: Now, node: &mut Node, input: &[u8], replies: &mut Replies) -> Flow {
        self.decoder.feed(input);
        self.run(now, node, replies)
    }

    fn resume(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        self.run(now, node, replies)
    }

    fn watches(&self) -> bool {
        self.state.subscriptions.any()
    }

    fn changed(
        &mut self,
        now: Now,
        node: &mut Node,
        _table: TableId,
        replies: &mut Replies,
    ) -> Flow {
        self.state.notify(now, node, replies)
    }
}

impl State {
    /// Whether the long reply under way, if any, is finished.
    fn drain_pending(&mut self, replies: &mut Replies) -> bool {
        let Some(items) = &mut self.pending else {
            return true;
        };
        while !replies.is_full() {
            let Some(item) = items.next() else {
                self.pending = None;
                return true;
            };
            Encoder::new(replies.buf(), self.version).optional(item.as_deref());
        }
        false
    }
}

/// One command being executed.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) node: &'a mut Node,
    pub(crate) now: Now,
    pub(crate) args: Args<'a>,
    pub(crate) replies: &'a mut Replies,
}

impl<'a> Call<'a> {
    pub(crate) fn out(&mut self) -> Encoder<'_> {
        Encoder::new(self.replies.buf(), self.state.version)
    }

    pub(crate) fn error(&mut self, text: &str) {
        self.out().error(text);
    }

    pub(crate) fn ok(&mut self) {
        self.replies.buf().extend_from_slice(b"+OK\r\n");
    }

    pub(crate) fn wrong_arity(&mut self, name: &str) {
        self.error(&format!(
            "ERR wrong number of arguments for '{name}' command"
        ));
    }

    /// The reply that follows acknowledges a write: it waits for the store if the table says so.
    pub(crate) fn acknowledges(&mut self, accepted: &Accepted) {
        if accepted.sync && accepted.seq > self.node.durable() {
            self.replies.hold(accepted.seq);
        }
    }

    /// The reply that follows shows a row: one of a `sync` table that is not durable yet is not shown before.
    pub(crate) fn shows(&mut self, table: TableId, seq: rumormill_core::Seq) {
        if seq <= self.node.durable() || table == TableId::DEFAULT {
            return;
        }
        let info = self.node.view(self.now).table_info(table);
        if info.is_some_and(|info| info.options.durability == Durability::Sync) {
            self.replies.hold(seq);
        }
    }

    /// Replies with bulks, as many at once as the client can take.
    pub(crate) fn stream(&mut self, items: Vec<Option<Bytes>>) {
        self.state.pending = Some(items.into_iter());
        self.state.drain_pending(self.replies);
    }

    /// A row's value.
    pub(crate) fn value(&mut self, table: TableId, key: &[u8]) -> Option<Bytes> {
        let row = self.node.view(self.now).get(table, key).row();
        let (value, seq) = row.map(|row: RowRef<'_>| (row.value().clone(), row.seq()))?;
        self.shows(table, seq);
        Some(value)
    }

    /// The table of a hash that has rows.
    pub(crate) fn hash(&self, name: &[u8]) -> Option<TableId> {
        let table = self.node.user_table(std::str::from_utf8(name).ok()?)?;
        (table != TableId::DEFAULT && self.node.view(self.now).len(table) > 0).then_some(table)
    }

    /// Whether a string of that name exists.
    pub(crate) fn is_string(&self, key: &[u8]) -> bool {
        self.node
            .view(self.now)
            .get(TableId::DEFAULT, key)
            .row()
            .is_some()
    }

    pub(crate) fn wrong_type(&mut self) {
        self.error("WRONGTYPE Operation against a key holding the wrong kind of value");
    }

    pub(crate) fn syntax_error(&mut self) {
        self.error("ERR syntax error");
    }

    pub(crate) fn command_error(&mut self, command: &Command) {
        self.wrong_arity(command.name);
    }
}
