//! Links to peers over TCP: accepted or dialled, read within a budget, written once per turn.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rumormill_core::link::{Connection, Frames, LinkEvent};
use rumormill_core::{DialId, HangupReason, Input, Lane, LinkError, LinkId};
use rumormill_kit::counters::{Counters, add, set};
use rumormill_kit::links::{PARTING, READ_BUDGET, count_failure};
use rumormill_kit::resolver::Resolver;
use rumormill_kit::{Edge, WriteQueue};

use crate::clients::mark;
use crate::options::Options;

/// The links of a node, by mio token; a link's id is its token. Tokens are even.
pub(crate) struct Peers {
    registry: Registry,
    options: Options,
    counters: Arc<Counters>,
    resolver: Resolver,
    /// Dials whose address needs no resolver.
    resolved: Vec<(DialId, Vec<SocketAddr>)>,
    pub(crate) peers: HashMap<usize, Peer, FixedState>,
    next: usize,
    accepted: usize,
    timers: BTreeSet<(Instant, usize)>,
    dirty: Vec<usize>,
    again: VecDeque<usize>,
    events: Vec<LinkEvent>,
    /// What happened, for the node, in order.
    pub(crate) inputs: Vec<Input>,
}

pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    conn: Connection,
    pub(crate) queue: WriteQueue,
    pub(crate) stage: Stage,
    dial: Option<DialId>,
    deadline: Option<Instant>,
    waits_to_write: bool,
    dirty: bool,
    again: bool,
}

pub(crate) enum Stage {
    /// Under way, with the addresses that are left to try.
    Connecting(VecDeque<SocketAddr>),
    Handshake,
    Up,
    /// Hung up: writes what it has, reads nothing.
    Closing,
}

impl Peers {
    pub(crate) fn new(
        registry: Registry,
        options: Options,
        counters: Arc<Counters>,
        resolver: Resolver,
    ) -> Self {
        Peers {
            registry,
            options,
            counters,
            resolver,
            resolved: Vec::new(),
            peers: HashMap::with_hasher(FixedState::default()),
            next: 16,
            accepted: 0,
            timers: BTreeSet::new(),
            dirty: Vec::new(),
            again: VecDeque::new(),
            events: Vec::new(),
            inputs: Vec::new(),
        }
    }

    /// When the next timer is due; now when something is left to do.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if !self.again.is_empty() || !self.resolved.is_empty() || !self.inputs.is_empty() {
            return Some(now);
        }
        let timer = self.timers.first().map(|&(at, _)| at);
        timer.into_iter().chain(self.resolver.next_deadline()).min()
    }

    pub(crate) fn accept(&mut self, now: Instant, socket: TcpStream, conn: Connection) {
        if self.accepted >= self.options.max_accepted {
            add(&self.counters.rejected_links, 1);
            return;
        }
        let Some(token) = self.insert(socket, None, Stage::Handshake, conn) else {
            return;
        };
        self.accepted += 1;
        self.open(now, token);
    }

    /// Begins a dial. A name goes to the resolver first.
    pub(crate) fn dial(&mut self, now: Instant, dial: DialId, addr: String) {
        if let Ok(addr) = addr.parse() {
            self.resolved.push((dial, vec![addr]));
        } else if !self.resolver.ask(now, dial, addr) {
            self.inputs.push(Input::DialFailed {
                dial,
                why: LinkError::Unreachable,
            });
        }
    }

    /// Connects to what has been resolved.
    pub(crate) fn connect_resolved(&mut self, now: Instant, mut conn: impl FnMut() -> Connection) {
        while let Some(answer) = self.resolver.poll(now) {
            self.resolved.push(answer);
        }
        for (dial, addrs) in std::mem::take(&mut self.resolved) {
            self.connect(now, dial, addrs.into(), conn());
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        dial: DialId,
        mut addrs: VecDeque<SocketAddr>,
        conn: Connection,
    ) {
        while let Some(addr) = addrs.pop_front() {
            let Ok(socket) = TcpStream::connect(addr) else {
                continue;
            };
            let rest = std::mem::take(&mut addrs);
            if let Some(token) = self.insert(socket, Some(dial), Stage::Connecting(rest), conn) {
                self.set_deadline(token, Some(now + self.options.connect_timeout));
            } else {
                self.inputs.push(Input::DialFailed {
                    dial,
                    why: LinkError::Unreachable,
                });
            }
            return;
        }
        self.inputs.push(Input::DialFailed {
            dial,
            why: LinkError::Unreachable,
        });
    }

    fn insert(
        &mut self,
        mut socket: TcpStream,
        dial: Option<DialId>,
        stage: Stage,
        conn: Connection,
    ) -> Option<usize> {
        let token = self.next;
        self.next += 2;
        let connecting = matches!(stage, Stage::Connecting(_));
        let interest = if connecting {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        if let Err(error) = self.registry.register(&mut socket, Token(token), interest) {
            tracing::warn!(%error, "a peer's socket cannot be polled");
            return None;
        }
        let peer = Peer {
            socket,
            conn,
            queue: WriteQueue::new(self.options.queue),
            stage,
            dial,
            deadline: None,
            waits_to_write: connecting,
            dirty: false,
            again: false,
        };
        self.peers.insert(token, peer);
        set(&self.counters.peer_connections, self.peers.len());
        Some(token)
    }

    /// Starts the handshake on a connected socket.
    fn open(&mut self, now: Instant, token: usize) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        peer.stage = Stage::Handshake;
        if let Err(error) = peer.socket.set_nodelay(true) {
            tracing::debug!(%error, "nodelay");
        }
        peer.queue.push_handshake(peer.conn.opening());
        mark(&mut peer.dirty, &mut self.dirty, token);
        self.set_deadline(token, Some(now + self.options.handshake_timeout));
    }

    /// Something has happened to a link. One that has a place among those that are read in turn keeps it, and one that is not to be read now
    /// gets one.
    pub(crate) fn ready(
        &mut self,
        now: Instant,
        token: usize,
        event: &Event,
        is_late: bool,
        buffer: &mut [u8],
    ) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        if matches!(peer.stage, Stage::Connecting(_)) {
            self.connected(now, token);
        }
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        if event.is_writable() {
            mark(&mut peer.dirty, &mut self.dirty, token);
        }
        let has_bytes = event.is_readable() || event.is_read_closed() || event.is_error();
        if has_bytes && !peer.again {
            match is_late {
                true => mark(&mut peer.again, &mut self.again, token),
                false => self.read(token, buffer),
            }
        }
    }

    /// A connect came to something: the handshake begins, or the next address is tried.
    fn connected(&mut self, now: Instant, token: usize) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        let failed = match peer.socket.take_error() {
            Ok(None) => match peer.socket.peer_addr() {
                Ok(_) => false,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(_) => true,
            },
            _ => true,
        };
        if failed {
            self.unreachable(now, token)
        } else {
            self.open(now, token)
        }
    }

    fn unreachable(&mut self, now: Instant, token: usize) {
        let Some(peer) = self.remove(token) else {
            return;
        };
        if let (Stage::Connecting(rest), Some(dial)) = (peer.stage, peer.dial) {
            // Nothing was written with this handshake.
            self.connect(now, dial, rest, peer.conn);
        }
    }

    /// Reads what the budget allows.
    fn read(&mut self, token: usize, buffer: &mut [u8]) {
        let mut budget = READ_BUDGET;
        loop {
            let Some(peer) = self.peers.get_mut(&token) else {
                return;
            };
            if !matches!(peer.stage, Stage::Handshake | Stage::Up) {
                return;
            }
            if budget == 0 {
                mark(&mut peer.again, &mut self.again, token);
                return;
            }
            let n = match peer.socket.read(buffer) {
                Ok(0) => {
                    let why = peer.conn.end();
                    return self.fail(token, why);
                }
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.fail(token, LinkError::Broken),
            };
            budget = budget.saturating_sub(n);
            add(&self.counters.peer_bytes_in, n as u64);
            let received = peer.conn.receive(&buffer[..n], &mut self.events);
            self.take_events(token);
            if let Err(why) = received {
                self.part(token);
                return self.fail(token, why);
            }
        }
    }

    fn take_events(&mut self, token: usize) {
        let link = LinkId(token as u64);
        for event in std::mem::take(&mut self.events) {
            match event {
                LinkEvent::Write(bytes) => {
                    if let Some(peer) = self.peers.get_mut(&token) {
                        peer.queue.push_handshake(bytes);
                        mark(&mut peer.dirty, &mut self.dirty, token);
                    }
                }
                LinkEvent::Up(hello) => {
                    let Some(peer) = self.peers.get_mut(&token) else {
                        return;
                    };
                    peer.stage = Stage::Up;
                    let dial = peer.dial;
                    self.set_deadline(token, None);
                    self.inputs.push(Input::LinkUp { link, dial, hello });
                }
                LinkEvent::Message(msg) => self.inputs.push(Input::Message { link, msg }),
            }
        }
    }

    /// Tells a refused peer the reason, if its socket takes it at once.
    fn part(&mut self, token: usize) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        // A write that fails here is no reason of its own.
        if let Some(parting) = peer.conn.parting()
            && peer.write().is_ok()
            && peer.queue.is_empty()
        {
            let _ = peer.socket.write(&parting);
        }
    }

    /// The link is over; the node is told if it knew of it.
    fn fail(&mut self, token: usize, why: LinkError) {
        let Some(peer) = self.remove(token) else {
            return;
        };
        let is_dialled = peer.dial.is_some();
        match peer.socket.peer_addr() {
            Ok(addr) => count_failure(&self.counters, &why, is_dialled, &addr),
            Err(_) => count_failure(&self.counters, &why, is_dialled, &"a peer that is gone"),
        }
        match (peer.stage, peer.dial) {
            (Stage::Up | Stage::Closing, _) => self.inputs.push(Input::LinkDown {
                link: LinkId(token as u64),
                why,
            }),
            (_, Some(dial)) => self.inputs.push(Input::DialFailed { dial, why }),
            (_, None) => tracing::debug!(?why, "a handshake failed"),
        }
    }

    fn remove(&mut self, token: usize) -> Option<Peer> {
        self.set_deadline(token, None);
        let mut peer = self.peers.remove(&token)?;
        if peer.dial.is_none() {
            self.accepted -= 1;
        }
        // The system forgets a closed socket anyway.
        let _ = self.registry.deregister(&mut peer.socket);
        set(&self.counters.peer_connections, self.peers.len());
        Some(peer)
    }

    pub(crate) fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames) {
        let token = link.0 as usize;
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        if !matches!(peer.stage, Stage::Up) {
            return;
        }
        if !peer.queue.push(lane, frames.clone()) {
            add(&self.counters.dropped_messages, 1);
        }
        mark(&mut peer.dirty, &mut self.dirty, token);
    }

    /// Closes a link once what it has is written.
    pub(crate) fn hangup(&mut self, now: Instant, link: LinkId, why: HangupReason) {
        let token = link.0 as usize;
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        tracing::debug!(%link, ?why, "hangup");
        peer.stage = Stage::Closing;
        mark(&mut peer.dirty, &mut self.dirty, token);
        self.set_deadline(token, Some(now + PARTING));
    }

    /// How many links have more to be read than earlier turns had time for.
    pub(crate) fn waiting(&self) -> usize {
        self.again.len()
    }

    /// Reads the link that has waited longest.
    pub(crate) fn read_next(&mut self, buffer: &mut [u8]) {
        if let Some(token) = self.again.pop_front()
            && let Some(peer) = self.peers.get_mut(&token)
        {
            peer.again = false;
            self.read(token, buffer);
        }
    }

    /// Gives up what has taken too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(at, token)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(peer) = self.peers.get_mut(&token) else {
                continue;
            };
            peer.deadline = None;
            match peer.stage {
                Stage::Connecting(_) => self.unreachable(now, token),
                Stage::Closing => self.fail(token, LinkError::Closed),
                Stage::Handshake | Stage::Up => self.fail(token, LinkError::TimedOut),
            }
        }
    }

    /// Writes what the turn has collected.
    pub(crate) fn flush(&mut self, now: Instant) {
        for token in std::mem::take(&mut self.dirty) {
            if let Some(peer) = self.peers.get_mut(&token) {
                peer.dirty = false;
                self.write(now, token);
            }
        }
    }

    fn write(&mut self, now: Instant, token: usize) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        if matches!(peer.stage, Stage::Connecting(_)) {
            return;
        }
        let before = peer.queue.len();
        let written = peer.write();
        let left = peer.queue.len();
        add(&self.counters.peer_bytes_out, (before - left) as u64);
        if written.is_err() {
            return self.fail(token, LinkError::Broken);
        }
        let link = LinkId(token as u64);
        match peer.queue.edge() {
            Some(Edge::Congested) => self.inputs.push(Input::Congested { link }),
            Some(Edge::Drained) => self.inputs.push(Input::Drained { link }),
            None => {}
        }
        if peer.waits_to_write == (left == 0) {
            peer.waits_to_write = left > 0;
            let interest = if left > 0 {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            if self
                .registry
                .reregister(&mut peer.socket, Token(token), interest)
                .is_err()
            {
                return self.fail(token, LinkError::Broken);
            }
        }
        match peer.stage {
            Stage::Closing if left == 0 => self.fail(token, LinkError::Closed),
            Stage::Up if left == 0 => self.set_deadline(token, None),
            Stage::Up if left < before || peer.deadline.is_none() => {
                self.set_deadline(token, Some(now + self.options.stall_timeout));
            }
            _ => {}
        }
    }

    fn set_deadline(&mut self, token: usize, at: Option<Instant>) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        if peer.deadline == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut peer.deadline, at) {
            self.timers.remove(&(old, token));
        }
        if let Some(at) = at {
            self.timers.insert((at, token));
        }
    }
}

impl Peer {
    /// Writes until the socket takes no more.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.queue.write_to(&mut self.socket)
    }
}
