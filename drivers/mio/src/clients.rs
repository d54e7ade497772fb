//! Clients over TCP: sessions from the gateway, read within a budget, written once per turn.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rumormill_core::{Node, Now, RequestError, Row, Seq, TableId};
use rumormill_kit::counters::{Counters, add, set};
use rumormill_kit::session::{Clients, Flow, REPLIES_MARK, Replies, Session};
use rustix::net::sockopt;

use crate::options::Options;

/// Bytes read from one client before the others have their turn.
const READ_BUDGET: usize = 64 << 10;

/// How long an idle client is believed to be there before its system is asked, and between two questions.
const KEEPALIVE: Duration = Duration::from_secs(300);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(30);

/// Reply buffers kept for clients that own none, and the largest that is kept.
const SPARES: usize = 256;
const SPARE_BYTES: usize = 64 << 10;

/// The clients of a node, by mio token. Tokens are odd.
pub(crate) struct ClientTable<C: Clients> {
    registry: Registry,
    factory: C,
    counters: Arc<Counters>,
    max: usize,
    stall_timeout: Duration,
    clients: HashMap<usize, Client<C::Session>, FixedState>,
    next: usize,
    dirty: Vec<usize>,
    /// Clients whose socket may hold bytes that nobody asked for yet.
    unread: Vec<usize>,
    /// Clients whose next command writes, while the store lags behind.
    pressed: VecDeque<usize>,
    /// Clients whose replies wait for a batch.
    held: BTreeSet<(Seq, usize)>,
    watching: BTreeSet<usize>,
    /// Rows that sessions await and that were not asked for yet; at most one per client.
    wanted: Vec<(usize, TableId, Bytes)>,
    spares: Vec<Vec<u8>>,
    /// When clients that take nothing are given up.
    timers: BTreeSet<(Instant, usize)>,
}

/// Why a session takes no input.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pause {
    /// It does.
    No,
    /// It has more to say.
    Full,
    /// It awaits this row, which was not asked for yet.
    Wants(TableId, Bytes),
    /// It awaits a row that was asked for.
    Awaits,
    /// Its next command writes, and the store lags behind.
    Store,
}

struct Client<S> {
    socket: TcpStream,
    session: S,
    replies: Replies,
    pause: Pause,
    closing: bool,
    /// The socket may hold bytes; no event will tell again.
    unread: bool,
    listed: bool,
    /// It is among those that wait for the store.
    pressed: bool,
    dirty: bool,
    waits_to_write: bool,
    held: Option<Seq>,
    /// When it is given up, if it takes nothing until then.
    deadline: Option<Instant>,
}

impl<S> Client<S> {
    fn takes_input(&self) -> bool {
        self.pause == Pause::No && !self.closing && !self.replies.is_full()
    }
}

impl<C: Clients> ClientTable<C> {
    pub(crate) fn new(
        registry: Registry,
        factory: C,
        counters: Arc<Counters>,
        options: &Options,
    ) -> Self {
        ClientTable {
            registry,
            factory,
            counters,
            max: options.max_clients,
            stall_timeout: options.client_stall_timeout,
            clients: HashMap::with_hasher(FixedState::default()),
            next: 17,
            dirty: Vec::new(),
            unread: Vec::new(),
            pressed: VecDeque::new(),
            held: BTreeSet::new(),
            watching: BTreeSet::new(),
            wanted: Vec::new(),
            spares: Vec::new(),
            timers: BTreeSet::new(),
        }
    }

    /// When the next client is to be given up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Gives up clients that have taken nothing for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(at, token)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            tracing::debug!("a client that takes no replies is given up");
            self.remove(token);
        }
    }

    /// Whether a client can be read without waiting for an event.
    pub(crate) fn is_ready(&self, node: &Node) -> bool {
        !self.dirty.is_empty()
            || !self.wanted.is_empty()
            || !self.pressed.is_empty() && !node.pressure()
            || self
                .unread
                .iter()
                .any(|token| self.clients.get(token).is_none_or(Client::takes_input))
    }

    pub(crate) fn accept(&mut self, mut socket: TcpStream, peer: SocketAddr) {
        if self.clients.len() >= self.max {
            add(&self.counters.clients_rejected, 1);
            // A client that does not take it at once learns from the closed connection.
            let _ = socket.write(self.factory.too_many());
            return;
        }
        let token = self.next;
        self.next += 2;
        let registered = self
            .registry
            .register(&mut socket, Token(token), Interest::READABLE);
        if let Err(error) = registered.and_then(|()| socket.set_nodelay(true)) {
            tracing::debug!(%error, "a client is gone already");
            return;
        }
        if let Err(error) = keep_alive(&socket) {
            tracing::debug!(%error, "a client that dies will not be noticed");
        }
        let client = Client {
            socket,
            session: self
                .factory
                .accept(token as u64, peer, self.clients.len() + 1),
            replies: Replies::new(),
            pause: Pause::No,
            closing: false,
            unread: false,
            listed: false,
            pressed: false,
            dirty: false,
            waits_to_write: false,
            held: None,
            deadline: None,
        };
        self.clients.insert(token, client);
        add(&self.counters.clients_accepted, 1);
        set(&self.counters.clients, self.clients.len());
    }

    pub(crate) fn ready(
        &mut self,
        now: Now,
        node: &mut Node,
        token: usize,
        event: &Event,
        buffer: &mut [u8],
    ) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if event.is_writable() {
            mark(&mut client.dirty, &mut self.dirty, token);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            client.unread = true;
            self.read(now, node, token, buffer);
        }
    }

    /// Lets clients go on that waited for the store, and reads those that were left alone by the budget or their replies.
    pub(crate) fn read_again(&mut self, now: Now, node: &mut Node, buffer: &mut [u8]) {
        for _ in 0..self.pressed.len() {
            if node.pressure() {
                break;
            }
            let token = self.pressed.pop_front();
            if let Some(token) = token
                && let Some(client) = self.clients.get_mut(&token)
                && !client.closing
            {
                client.pressed = false;
                let flow = client.session.resume(now, node, &mut client.replies);
                client.follow(flow);
                self.after(token);
            }
        }
        for token in std::mem::take(&mut self.unread) {
            if let Some(client) = self.clients.get_mut(&token) {
                client.listed = false;
                self.read(now, node, token, buffer);
            }
        }
    }

    fn read(&mut self, now: Now, node: &mut Node, token: usize, buffer: &mut [u8]) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if client.replies.is_empty()
            && !client.replies.has_buffer()
            && let Some(spare) = self.spares.pop()
        {
            client.replies.lend(spare);
        }
        let mut budget = READ_BUDGET;
        while client.unread {
            if budget == 0 || !client.takes_input() {
                mark(&mut client.listed, &mut self.unread, token);
                break;
            }
            let cap = buffer.len().min(budget);
            match client.socket.read(&mut buffer[..cap]) {
                Ok(0) => {
                    client.unread = false;
                    client.closing = true;
                }
                Ok(n) => {
                    budget -= n;
                    add(&self.counters.client_bytes_in, n as u64);
                    let flow = client
                        .session
                        .receive(now, node, &buffer[..n], &mut client.replies);
                    client.follow(flow);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.unread = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.remove(token),
            }
        }
        self.after(token);
    }

    /// Books what a session did.
    fn after(&mut self, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        add(&self.counters.commands, client.replies.take_commands());
        if let Pause::Wants(table, key) = &client.pause {
            self.wanted.push((token, *table, key.clone()));
            client.pause = Pause::Awaits;
        }
        if client.pause == Pause::Store && !std::mem::replace(&mut client.pressed, true) {
            self.pressed.push_back(token);
        }
        if client.session.watches() {
            self.watching.insert(token);
        } else {
            self.watching.remove(&token);
        }
        mark(&mut client.dirty, &mut self.dirty, token);
    }

    /// Wakes the sessions that watch.
    pub(crate) fn changed(&mut self, now: Now, node: &mut Node, table: TableId) {
        let watching: Vec<usize> = self.watching.iter().copied().collect();
        for token in watching {
            let Some(client) = self.clients.get_mut(&token) else {
                continue;
            };
            // One that is paused reads the changes when it goes on.
            if !client.closing && client.pause == Pause::No {
                let flow = client
                    .session
                    .changed(now, node, table, &mut client.replies);
                client.follow(flow);
                self.after(token);
            }
        }
    }

    /// The rows that sessions await: each is answered with [`ClientTable::loaded`].
    pub(crate) fn take_wanted(&mut self) -> Vec<(usize, TableId, Bytes)> {
        std::mem::take(&mut self.wanted)
    }

    /// A row that a session awaits was read. A client that has gone is ignored.
    pub(crate) fn loaded(
        &mut self,
        now: Now,
        node: &mut Node,
        token: usize,
        row: Result<Option<Row>, RequestError>,
    ) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if client.closing {
            return;
        }
        let flow = client.session.loaded(now, node, row, &mut client.replies);
        client.follow(flow);
        self.after(token);
    }

    /// Lets go of replies whose batch is durable.
    pub(crate) fn stored(&mut self, durable: Seq) {
        while let Some(&(seq, token)) = self.held.first()
            && seq <= durable
        {
            self.held.pop_first();
            if let Some(client) = self.clients.get_mut(&token) {
                client.held = None;
                mark(&mut client.dirty, &mut self.dirty, token);
            }
        }
    }

    /// Writes what the turn has collected, and lets sessions go on that have more to say.
    pub(crate) fn flush(&mut self, at: Instant, now: Now, node: &mut Node) {
        for token in std::mem::take(&mut self.dirty) {
            if let Some(client) = self.clients.get_mut(&token) {
                client.dirty = false;
                self.write(at, node, token);
                self.go_on(now, node, token);
            }
        }
    }

    /// Writes what there is, and lets nobody go on.
    pub(crate) fn flush_last(&mut self, at: Instant, node: &Node) {
        for token in std::mem::take(&mut self.dirty) {
            self.write(at, node, token);
        }
    }

    fn write(&mut self, at: Instant, node: &Node, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let held = client.replies.release(node.durable());
        if client.held != held {
            if let Some(old) = std::mem::replace(&mut client.held, held) {
                self.held.remove(&(old, token));
            }
            if let Some(seq) = held {
                self.held.insert((seq, token));
            }
        }
        let before = client.replies.len();
        if client.write().is_err() {
            return self.remove(token);
        }
        let taken = before - client.replies.len();
        add(&self.counters.client_bytes_out, taken as u64);
        if client.closing && client.replies.is_empty() {
            return self.remove(token);
        }
        let blocked = !client.replies.ready().is_empty();
        let deadline = match client.deadline {
            _ if !blocked => None,
            Some(old) if taken == 0 => Some(old),
            _ => Some(at + self.stall_timeout),
        };
        if client.deadline != deadline {
            if let Some(old) = std::mem::replace(&mut client.deadline, deadline) {
                self.timers.remove(&(old, token));
            }
            self.timers.extend(deadline.map(|at| (at, token)));
        }
        if client.waits_to_write != blocked {
            client.waits_to_write = blocked;
            let interest = if blocked {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            if self
                .registry
                .reregister(&mut client.socket, Token(token), interest)
                .is_err()
            {
                self.remove(token);
            }
        }
    }

    /// Lets a session say more, and takes back the buffer of one that has said all.
    fn go_on(&mut self, now: Now, node: &mut Node, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        // One resume a turn: a session that can talk for ever does not keep the others waiting.
        if client.pause == Pause::Full && !client.closing && client.replies.len() < REPLIES_MARK / 2
        {
            let flow = client.session.resume(now, node, &mut client.replies);
            client.follow(flow);
            return self.after(token);
        }
        if let Some(spare) = client.replies.reclaim()
            && spare.capacity() <= SPARE_BYTES
            && self.spares.len() < SPARES
        {
            self.spares.push(spare);
        }
    }

    fn remove(&mut self, token: usize) {
        let Some(mut client) = self.clients.remove(&token) else {
            return;
        };
        self.watching.remove(&token);
        if let Some(seq) = client.held {
            self.held.remove(&(seq, token));
        }
        if let Some(at) = client.deadline {
            self.timers.remove(&(at, token));
        }
        // The system forgets a closed socket anyway.
        let _ = self.registry.deregister(&mut client.socket);
        set(&self.counters.clients, self.clients.len());
    }
}

impl<S: Session> Client<S> {
    fn follow(&mut self, flow: Flow) {
        match flow {
            Flow::Continue => self.pause = Pause::No,
            Flow::Full => self.pause = Pause::Full,
            Flow::Await(table, key) => self.pause = Pause::Wants(table, key),
            Flow::Store => self.pause = Pause::Store,
            Flow::Close => self.closing = true,
        }
    }

    /// Writes until the socket takes no more.
    fn write(&mut self) -> io::Result<()> {
        while !self.replies.ready().is_empty() {
            match self.socket.write(self.replies.ready()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.replies.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Has the system notice when the other end of an idle connection is gone.
fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_AGAIN)?;
    Ok(())
}

/// Puts a token on a list once.
pub(crate) fn mark(flag: &mut bool, list: &mut impl Extend<usize>, token: usize) {
    if !std::mem::replace(flag, true) {
        list.extend([token]);
    }
}
