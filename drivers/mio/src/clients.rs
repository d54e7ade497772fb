//! Clients over TCP: client sessions from the gateway, read within a budget, written once per turn.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rumormill_core::{Node, Now, Seq, errors::RequestError, io::Response};
use rumormill_kit::client_session::{Ask, Budget, ClientSession, Clients, Flow, Replies, Ticket};
use rumormill_kit::counters::{Counters, add, set};
use rustix::net::sockopt;

use crate::options::Options;

/// Bytes read from one client before the others have their turn.
const READ_BUDGET: usize = 64 << 10;

/// How long one phase of a turn (reading, telling of changes, writing) serves clients before the rest of them waits for the next turn.
const PHASE: Duration = Duration::from_micros(1_500);

/// Bytes that a client has to take, or send, for its patience to begin anew, while others wait for the memory that it holds.
const PROGRESS: usize = 64 << 10;

/// How long a client may take nothing while much more than all memory is used.
const EXCEEDED: Duration = Duration::from_millis(250);

/// Bytes of an unfinished command, or of queued ones, that a client may hold for ever.
const HOLDS: usize = 64 << 10;

/// How long the reason for which clients are closed is not logged again.
const QUIET: Duration = Duration::from_secs(1);

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
    budget: Budget,
    clients: HashMap<usize, Client<C::ClientSession>, FixedState>,
    next: usize,
    /// When the phase at hand began.
    began: Instant,
    /// Clients with something to write.
    dirty: VecDeque<usize>,
    /// Clients that take input, whose socket may hold bytes of which no event tells again.
    unread: VecDeque<usize>,
    /// Clients that go on in the next turn.
    busy: VecDeque<usize>,
    /// Clients whose next command writes, while the store lags behind.
    pressed: VecDeque<usize>,
    /// Clients whose replies wait for a batch.
    held: BTreeSet<(Seq, usize)>,
    watching: BTreeSet<usize>,
    /// Watching clients that were not told of the last changes yet.
    untold: VecDeque<usize>,
    /// Rows that client sessions asked for, and for which the node was not asked yet.
    wanted: Vec<(usize, Ask)>,
    spares: Vec<Vec<u8>>,
    /// Since when clients take nothing although there is something to take.
    blocked: BTreeSet<(Instant, usize)>,
    /// Since when clients send nothing although they have begun something that takes memory.
    silent: BTreeSet<(Instant, usize)>,
    /// Since when memory is short.
    short: Option<Instant>,
    /// Clients closed for memory since the last line about that, and when there may be another.
    closed: (u64, Option<Instant>),
}

/// Why a client session takes no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// It does.
    No,
    /// It has more to say.
    Full,
    /// It has more to do.
    Yield,
    /// It waits for a row, or for room.
    Wait,
    /// Its next command writes, and the store lags behind.
    Store,
}

struct Client<S> {
    socket: TcpStream,
    session: S,
    replies: Replies,
    pause: Pause,
    /// The client session has ended; its replies are written.
    closing: bool,
    /// The client sends nothing more; what it has sent is carried out.
    ended: bool,
    /// The socket may hold bytes; no event will tell again.
    unread: bool,
    listed: bool,
    /// It is among those that wait for the store.
    pressed: bool,
    dirty: bool,
    busy: bool,
    untold: bool,
    waits_to_write: bool,
    held: Option<Seq>,
    /// Since when it takes nothing, and what it has taken since.
    blocked: Option<Instant>,
    taken: usize,
    /// Since when it sends nothing, and what it has sent since.
    silent: Option<Instant>,
    sent: usize,
    /// Bytes that are booked for it.
    booked: usize,
}

impl<S> Client<S> {
    fn takes_input(&self) -> bool {
        self.pause == Pause::No && !self.closing && !self.ended && !self.replies.is_full()
    }

    fn is_done(&self) -> bool {
        (self.closing || self.ended && self.pause == Pause::No) && self.replies.is_empty()
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
            budget: Budget::new(options.client_output.clone()),
            clients: HashMap::with_hasher(FixedState::default()),
            next: 17,
            began: Instant::now(),
            dirty: VecDeque::new(),
            unread: VecDeque::new(),
            busy: VecDeque::new(),
            pressed: VecDeque::new(),
            held: BTreeSet::new(),
            watching: BTreeSet::new(),
            untold: VecDeque::new(),
            wanted: Vec::new(),
            spares: Vec::new(),
            blocked: BTreeSet::new(),
            silent: BTreeSet::new(),
            short: None,
            closed: (0, None),
        }
    }

    /// A phase of the turn begins.
    pub(crate) fn begin_phase(&mut self) {
        self.began = Instant::now();
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= PHASE
    }

    /// How long a client may take nothing.
    fn patience(&self) -> Duration {
        let patience = self.budget.limits().patience.min(self.stall_timeout);
        match self.budget.is_short() {
            true if self.budget.is_exceeded() => patience.min(EXCEEDED),
            true => patience,
            false => self.stall_timeout,
        }
    }

    /// When the next client is to be given up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let silent = self.silent.first().filter(|_| self.budget.is_short());
        let first = self.blocked.first().into_iter().chain(silent).min();
        first.map(|&(since, _)| since + self.patience())
    }

    /// Gives up clients that have taken nothing for too long; while memory is short also those that hold much of it and send nothing.
    pub(crate) fn expire(&mut self, now: Instant, node: &Node) {
        let short = self.budget.is_short().then_some(now);
        self.short = short.map(|now| self.short.unwrap_or(now));
        while let Some(&(since, token)) = self.blocked.first()
            && since + self.patience() <= now
        {
            // The system tells of room only when there is much, and the client may have taken less than that.
            self.write(now, node, token);
            if self.blocked.first() != Some(&(since, token)) {
                // Its client session may have more to say.
                if let Some(client) = self.clients.get_mut(&token) {
                    mark(&mut client.dirty, &mut self.dirty, token);
                }
                continue;
            }
            if self.budget.is_short() {
                self.close_for_memory(now, token);
            } else {
                add(&self.counters.clients_stalled, 1);
                tracing::debug!("a client that takes no replies is given up");
                self.remove(token);
            }
        }
        while let Some(&(since, token)) = self.silent.first()
            && self.budget.is_short()
            && since + self.patience() <= now
        {
            self.close_for_memory(now, token);
        }
    }

    /// Bytes that begin the patience of a client anew which was given it at `since`.
    fn enough(&self, since: Instant) -> usize {
        match self.short {
            Some(short) if since >= short => PROGRESS,
            _ => 1,
        }
    }

    /// Closes a client that holds memory which others need, and says so, once in a while for all of them.
    fn close_for_memory(&mut self, now: Instant, token: usize) {
        let bytes = self.clients.get(&token).map_or(0, |client| client.booked);
        // First, so that a program which sees the client gone sees why.
        add(&self.counters.clients_closed_for_memory, 1);
        self.remove(token);
        self.closed.0 += 1;
        if self.closed.1.is_none_or(|at| at <= now) {
            tracing::warn!(
                clients = self.closed.0,
                bytes,
                limit = self.budget.limits().all,
                "clients that take no replies, or end no command, were closed, because the memory for clients is used up"
            );
            self.closed = (0, Some(now + QUIET));
        }
    }

    /// Whether there is something to do without an event.
    pub(crate) fn is_ready(&self, node: &Node) -> bool {
        !self.dirty.is_empty()
            || !self.wanted.is_empty()
            || !self.busy.is_empty()
            || !self.untold.is_empty()
            || !self.unread.is_empty()
            || !self.pressed.is_empty() && !node.pressure()
            || self.due().is_some()
    }

    /// The client that has come to the front of the line for memory, if it waits for that.
    fn due(&self) -> Option<usize> {
        let token = usize::try_from(self.budget.due()?).ok()?;
        let client = self.clients.get(&token)?;
        (client.pause == Pause::Wait).then_some(token)
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
            replies: Replies::within(self.budget.clone()),
            pause: Pause::No,
            closing: false,
            ended: false,
            unread: false,
            listed: false,
            pressed: false,
            dirty: false,
            busy: false,
            untold: false,
            waits_to_write: false,
            held: None,
            blocked: None,
            taken: 0,
            silent: None,
            sent: 0,
            booked: 0,
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

    /// Reads clients that were left alone by the time, their budget or their replies.
    pub(crate) fn read_again(&mut self, now: Now, node: &mut Node, buffer: &mut [u8]) {
        for _ in 0..self.unread.len() {
            if self.is_over() {
                break;
            }
            let Some(token) = self.unread.pop_front() else {
                break;
            };
            if let Some(client) = self.clients.get_mut(&token) {
                client.listed = false;
                self.read(now, node, token, buffer);
            }
        }
    }

    /// Lets client sessions go on that waited for room or for the store, or have more to do: one of each at least, and after the clients that were
    /// read, so that neither keep the others waiting.
    pub(crate) fn go_on(&mut self, now: Now, node: &mut Node) {
        if let Some(token) = self.due() {
            self.resume(now, node, token);
        }
        for _ in 0..self.pressed.len() {
            if node.pressure() {
                break;
            }
            let Some(token) = self.pressed.pop_front() else {
                break;
            };
            if let Some(client) = self.clients.get_mut(&token) {
                client.pressed = false;
                if client.pause == Pause::Store {
                    self.resume(now, node, token);
                }
            }
            if self.is_over() {
                break;
            }
        }
        for _ in 0..self.busy.len() {
            let Some(token) = self.busy.pop_front() else {
                break;
            };
            if let Some(client) = self.clients.get_mut(&token) {
                client.busy = false;
                if client.pause == Pause::Yield {
                    self.resume(now, node, token);
                }
            }
            if self.is_over() {
                break;
            }
        }
    }

    fn resume(&mut self, now: Now, node: &mut Node, token: usize) {
        if let Some(client) = self.clients.get_mut(&token)
            && !client.closing
        {
            client.replies.renew_mark();
            let flow = client.session.resume(now, node, &mut client.replies);
            client.follow(flow);
            self.after(token);
        }
    }

    fn read(&mut self, now: Now, node: &mut Node, token: usize, buffer: &mut [u8]) {
        let is_over = self.is_over();
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        client.replies.renew_mark();
        if client.replies.is_empty()
            && !client.replies.has_buffer()
            && let Some(spare) = self.spares.pop()
        {
            client.replies.lend(spare);
        }
        let (mut budget, mut sent) = (if is_over { 0 } else { READ_BUDGET }, 0);
        while client.unread && client.takes_input() && budget > 0 {
            let cap = buffer.len().min(budget);
            match client.socket.read(&mut buffer[..cap]) {
                Ok(0) => {
                    client.unread = false;
                    client.ended = true;
                }
                Ok(n) => {
                    budget -= n;
                    sent += n;
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
        self.heard(token, sent);
        self.after(token);
    }

    /// A client has sent something: its patience begins anew.
    fn heard(&mut self, token: usize, sent: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        client.sent += sent;
        if let Some(since) = client.silent
            && client.sent >= self.enough(since)
        {
            self.not_silent(token);
        }
    }

    fn not_silent(&mut self, token: usize) {
        if let Some(client) = self.clients.get_mut(&token)
            && let Some(since) = client.silent.take()
        {
            client.sent = 0;
            self.silent.remove(&(since, token));
        }
    }

    /// Books what a client session did.
    fn after(&mut self, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        add(&self.counters.commands, client.replies.take_commands());
        for ask in client.replies.take_asks() {
            self.wanted.push((token, ask));
        }
        if client.pause == Pause::Store && !std::mem::replace(&mut client.pressed, true) {
            self.pressed.push_back(token);
        }
        if client.session.watches() {
            self.watching.insert(token);
        } else {
            self.watching.remove(&token);
        }
        if client.pause == Pause::Yield {
            mark(&mut client.busy, &mut self.busy, token);
        }
        mark(&mut client.dirty, &mut self.dirty, token);
        self.book(token);
    }

    /// Books the memory of a client, and lists it to be read again if it may be.
    fn book(&mut self, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let begun = client.session.footprint();
        let holds = client.replies.footprint() + begun;
        if holds != client.booked {
            self.budget.book(client.booked, holds);
            client.booked = holds;
            set(&self.counters.client_output_bytes, self.budget.used());
        }
        if client.unread && client.takes_input() {
            mark(&mut client.listed, &mut self.unread, token);
        }
        // The loop waits for the client, and not the client for the loop or the store.
        let is_waited_for = client.takes_input() && !client.unread && !client.replies.waits();
        let is_silent = begun >= HOLDS && is_waited_for;
        if !is_silent {
            self.not_silent(token);
        } else if client.silent.is_none() {
            client.sent = 0;
            client.silent = Some(self.began);
            self.silent.insert((self.began, token));
        }
    }

    /// Tables have changed: the client sessions that watch are told.
    pub(crate) fn changed(&mut self) {
        for token in &self.watching {
            if let Some(client) = self.clients.get_mut(token) {
                mark(&mut client.untold, &mut self.untold, *token);
            }
        }
    }

    /// Tells client sessions that watch of changes, as many as there is time for.
    pub(crate) fn tell(&mut self, now: Now, node: &mut Node) {
        while !self.untold.is_empty() && !self.is_over() {
            let Some(token) = self.untold.pop_front() else {
                return;
            };
            let Some(client) = self.clients.get_mut(&token) else {
                continue;
            };
            client.untold = false;
            // One that is paused reads the changes when it goes on.
            if !client.closing && client.pause == Pause::No && client.session.watches() {
                client.replies.renew_mark();
                let flow = client.session.changed(now, node, &mut client.replies);
                client.follow(flow);
                self.after(token);
            }
        }
    }

    /// The operations that client sessions asked for: each is answered with [`ClientTable::answered`].
    pub(crate) fn take_wanted(&mut self) -> Vec<(usize, Ask)> {
        std::mem::take(&mut self.wanted)
    }

    /// An operation that a client session asked for is answered. A client that has gone is ignored.
    pub(crate) fn answered(
        &mut self,
        now: Now,
        node: &mut Node,
        (token, ticket): (usize, Ticket),
        answer: Result<Response, RequestError>,
    ) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if client.closing {
            return;
        }
        client.replies.renew_mark();
        let flow = client
            .session
            .answered(now, node, ticket, answer, &mut client.replies);
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

    /// Writes what the turn has collected, and lets client sessions go on that have more to say, as many as there is time for.
    pub(crate) fn flush(&mut self, at: Instant, now: Now, node: &mut Node) {
        for _ in 0..self.dirty.len() {
            let Some(token) = self.dirty.pop_front() else {
                return;
            };
            if let Some(client) = self.clients.get_mut(&token) {
                client.dirty = false;
                self.write(at, node, token);
                self.say_more(now, node, token);
                if self.is_over() {
                    return;
                }
            }
        }
    }

    /// Writes what there is, and no client session goes on.
    pub(crate) fn flush_last(&mut self, at: Instant, node: &Node) {
        for token in std::mem::take(&mut self.dirty) {
            self.write(at, node, token);
        }
    }

    fn write(&mut self, at: Instant, node: &Node, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let before = client.replies.len();
        let Ok(held) = client.write(node.durable()) else {
            return self.remove(token);
        };
        if client.held != held {
            if let Some(old) = std::mem::replace(&mut client.held, held) {
                self.held.remove(&(old, token));
            }
            if let Some(seq) = held {
                self.held.insert((seq, token));
            }
        }
        let taken = before - client.replies.len();
        add(&self.counters.client_bytes_out, taken as u64);
        if client.is_done() {
            return self.remove(token);
        }
        let is_blocked = !client.replies.ready().is_empty();
        client.taken += taken;
        let (taken, blocked) = (client.taken, client.blocked);
        let since = match blocked {
            _ if !is_blocked => None,
            Some(old) if taken < self.enough(old) => Some(old),
            _ => Some(at),
        };
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if client.blocked != since {
            client.taken = 0;
            if let Some(old) = std::mem::replace(&mut client.blocked, since) {
                self.blocked.remove(&(old, token));
            }
            self.blocked.extend(since.map(|since| (since, token)));
        }
        if client.waits_to_write != is_blocked {
            client.waits_to_write = is_blocked;
            let interest = if is_blocked {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            let registry = &self.registry;
            if registry
                .reregister(&mut client.socket, Token(token), interest)
                .is_err()
            {
                return self.remove(token);
            }
        }
        self.book(token);
    }

    /// Lets a client session say more, and takes back the buffer of one that has said all.
    fn say_more(&mut self, now: Now, node: &mut Node, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        // One resume a turn: a client session that can talk for ever does not keep the others waiting.
        if client.pause == Pause::Full && client.replies.len() <= client.replies.mark() / 2 {
            return self.resume(now, node, token);
        }
        if let Some(spare) = client.replies.reclaim() {
            if spare.capacity() <= SPARE_BYTES && self.spares.len() < SPARES {
                self.spares.push(spare);
            }
            self.book(token);
        }
    }

    fn remove(&mut self, token: usize) {
        let Some(mut client) = self.clients.remove(&token) else {
            return;
        };
        self.budget.book(client.booked, 0);
        set(&self.counters.client_output_bytes, self.budget.used());
        self.watching.remove(&token);
        if let Some(seq) = client.held {
            self.held.remove(&(seq, token));
        }
        if let Some(since) = client.blocked {
            self.blocked.remove(&(since, token));
        }
        if let Some(since) = client.silent {
            self.silent.remove(&(since, token));
        }
        // The system forgets a closed socket anyway.
        let _ = self.registry.deregister(&mut client.socket);
        set(&self.counters.clients, self.clients.len());
    }
}

impl<S: ClientSession> Client<S> {
    fn follow(&mut self, flow: Flow) {
        self.pause = match flow {
            Flow::Continue => Pause::No,
            Flow::Full => Pause::Full,
            Flow::Yield => Pause::Yield,
            Flow::Wait => Pause::Wait,
            Flow::Store => Pause::Store,
            Flow::Close => {
                self.closing = true;
                Pause::No
            }
        };
    }

    /// Writes until the socket takes no more or the rest waits: for the batch that is returned, if for one.
    fn write(&mut self, durable: Seq) -> io::Result<Option<Seq>> {
        loop {
            let held = self.replies.release(durable);
            if self.replies.ready().is_empty() {
                return Ok(held);
            }
            match self.socket.write(self.replies.ready()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.replies.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(held),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
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
