//! Links to peers over TCP: accepted or dialled, read within a budget, written once per turn.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rumormill_core::link::{Connection, Frames};
use rumormill_core::{
    DialId, LinkId,
    io::{HangupReason, Input, Lane, LinkError},
};
use rumormill_kit::channel::{Channel, Patience, Terms};
use rumormill_kit::counters::Counters;
use rumormill_kit::links::{Accepted, READ_BUDGET};
use rumormill_kit::resolver::Resolver;

use crate::clients::mark;
use crate::options::Options;

/// The links of a node, by mio token; a link's id is its token. Tokens are even.
pub(crate) struct Peers {
    registry: Registry,
    options: Options,
    terms: Terms,
    resolver: Resolver,
    /// Dials whose address needs no resolver.
    resolved: Vec<(DialId, Vec<SocketAddr>)>,
    pub(crate) peers: HashMap<usize, Peer, FixedState>,
    next: usize,
    accepted: Accepted,
    timers: BTreeSet<(Instant, usize)>,
    dirty: Vec<usize>,
    again: VecDeque<usize>,
    /// Inputs for the node, in order.
    pub(crate) inputs: Vec<Input>,
    /// The loop ends: a link that is done stays until its peer has read the end, see `farewell`.
    pub(crate) ends: bool,
}

pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    pub(crate) channel: Channel,
    /// Where to connect otherwise, while the connect is under way, and when it has taken too long.
    connecting: Option<(VecDeque<SocketAddr>, Instant)>,
    /// The entry among the timers.
    timer: Option<Instant>,
    waits_to_write: bool,
    dirty: bool,
    again: bool,
}

impl Peers {
    pub(crate) fn new(
        registry: Registry,
        options: Options,
        counters: Arc<Counters>,
        resolver: Resolver,
    ) -> Self {
        let patience = Patience {
            handshake: options.handshake_timeout,
            stall: options.stall_timeout,
        };
        let accepted = Accepted::new(options.max_accepted, Arc::clone(&counters));
        let terms = Terms {
            patience,
            queue: options.queue,
            counters,
        };
        Peers {
            registry,
            options,
            terms,
            resolver,
            resolved: Vec::new(),
            peers: HashMap::with_hasher(FixedState::default()),
            next: 16,
            accepted,
            timers: BTreeSet::new(),
            dirty: Vec::new(),
            again: VecDeque::new(),
            inputs: Vec::new(),
            ends: false,
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
        if !self.accepted.take() {
            return;
        }
        match self.insert(socket, None, None, conn) {
            Some(token) => self.open(now, token),
            None => self.accepted.ended(false, self.peers.len()),
        }
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
            let connecting = Some((rest, now + self.options.connect_timeout));
            if self.insert(socket, Some(dial), connecting, conn).is_some() {
                return;
            }
            break;
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
        connecting: Option<(VecDeque<SocketAddr>, Instant)>,
        conn: Connection,
    ) -> Option<usize> {
        let token = self.next;
        self.next += 2;
        let interest = if connecting.is_some() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        if let Err(error) = self.registry.register(&mut socket, Token(token), interest) {
            tracing::warn!(%error, "a peer's socket cannot be polled");
            return None;
        }
        let mut peer = Peer {
            socket,
            channel: Channel::new(LinkId(token as u64), dial, conn, &self.terms),
            waits_to_write: connecting.is_some(),
            connecting,
            timer: None,
            dirty: false,
            again: false,
        };
        peer.set_timer(token, &mut self.timers);
        self.peers.insert(token, peer);
        self.accepted.are(self.peers.len());
        Some(token)
    }

    /// Starts the handshake on a connected socket.
    fn open(&mut self, now: Instant, token: usize) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        peer.connecting = None;
        if let Err(error) = peer.socket.set_nodelay(true) {
            tracing::debug!(%error, "nodelay");
        }
        peer.channel.open(now);
        peer.set_timer(token, &mut self.timers);
        mark(&mut peer.dirty, &mut self.dirty, token);
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
        if peer.connecting.is_some() {
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
                false => self.read(now, token, buffer),
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
        if let (Some((rest, _)), Some(dial)) = (peer.connecting, peer.channel.dial()) {
            // Nothing was written with this handshake.
            self.connect(now, dial, rest, peer.channel.into_connection());
        }
    }

    /// Reads what the budget allows.
    fn read(&mut self, now: Instant, token: usize, buffer: &mut [u8]) {
        let mut budget = READ_BUDGET;
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        while peer.channel.reads() {
            if budget == 0 {
                return mark(&mut peer.again, &mut self.again, token);
            }
            let n = match peer.socket.read(buffer) {
                Ok(0) => {
                    let why = peer.channel.ended();
                    return self.fail(token, why);
                }
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.fail(token, LinkError::Broken),
            };
            budget = budget.saturating_sub(n);
            let was_up = peer.channel.is_told();
            let received = peer.channel.receive(&buffer[..n], &mut self.inputs);
            if let Err(why) = received {
                // A refused peer reads the reason, if its socket takes it at once. A write that fails is no reason of its own.
                let _ = peer.write(now, &mut self.inputs);
                return self.fail(token, why);
            }
            if !was_up {
                // The proof goes out with this turn.
                peer.set_timer(token, &mut self.timers);
                mark(&mut peer.dirty, &mut self.dirty, token);
            }
        }
    }

    /// The link is over; the node is told if it knew of it.
    fn fail(&mut self, token: usize, why: LinkError) {
        let Some(peer) = self.remove(token) else {
            return;
        };
        self.inputs.extend(match peer.socket.peer_addr() {
            Ok(addr) => peer.channel.end(why, &addr),
            Err(_) => peer.channel.end(why, &"a peer that is gone"),
        });
    }

    fn remove(&mut self, token: usize) -> Option<Peer> {
        let mut peer = self.peers.remove(&token)?;
        if let Some(at) = peer.timer {
            self.timers.remove(&(at, token));
        }
        // The system forgets a closed socket anyway.
        let _ = self.registry.deregister(&mut peer.socket);
        let is_dialled = peer.channel.dial().is_some();
        self.accepted.ended(is_dialled, self.peers.len());
        Some(peer)
    }

    pub(crate) fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames) {
        let token = link.0 as usize;
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        peer.channel.push(lane, frames);
        mark(&mut peer.dirty, &mut self.dirty, token);
    }

    /// Closes a link once what it has is written.
    pub(crate) fn hangup(&mut self, now: Instant, link: LinkId, why: HangupReason) {
        let token = link.0 as usize;
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        tracing::debug!(%link, ?why, "hangup");
        peer.channel.close(now);
        peer.set_timer(token, &mut self.timers);
        mark(&mut peer.dirty, &mut self.dirty, token);
    }

    /// How many links have more to be read than earlier turns had time for.
    pub(crate) fn waiting(&self) -> usize {
        self.again.len()
    }

    /// Reads the link that has waited longest.
    pub(crate) fn read_next(&mut self, now: Instant, buffer: &mut [u8]) {
        if let Some(token) = self.again.pop_front()
            && let Some(peer) = self.peers.get_mut(&token)
        {
            peer.again = false;
            self.read(now, token, buffer);
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
            peer.timer = None;
            if peer.connecting.is_some() {
                self.unreachable(now, token);
            } else if let Err(why) = peer.channel.expire(now) {
                self.fail(token, why);
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
        if peer.connecting.is_some() {
            return;
        }
        if let Err(why) = peer.write(now, &mut self.inputs) {
            return self.fail(token, why);
        }
        let has_more = peer.channel.has_output();
        if peer.waits_to_write != has_more {
            peer.waits_to_write = has_more;
            let interest = if has_more {
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
        if peer.channel.is_done() && !self.ends {
            return self.fail(token, LinkError::Closed);
        }
        peer.set_timer(token, &mut self.timers);
    }
}

impl Peer {
    /// Writes until the socket takes no more.
    pub(crate) fn write(&mut self, now: Instant, inputs: &mut Vec<Input>) -> Result<(), LinkError> {
        self.channel.write_to(now, &mut self.socket, inputs)
    }

    /// Has one entry among the timers at the deadline, if there is one.
    fn set_timer(&mut self, token: usize, timers: &mut BTreeSet<(Instant, usize)>) {
        let at = match &self.connecting {
            Some((_, at)) => Some(*at),
            None => self.channel.next_deadline(),
        };
        if self.timer == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut self.timer, at) {
            timers.remove(&(old, token));
        }
        if let Some(at) = at {
            timers.insert((at, token));
        }
    }
}
