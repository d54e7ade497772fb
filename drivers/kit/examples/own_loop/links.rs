//! The links of a node over TCP, in the poll of the program around it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rumormill_core::link::frame::EncodeError;
use rumormill_core::link::{Connection, Frames};
use rumormill_core::{
    DialId, LinkId, LoadId, Node, Seq, TableId, Trace,
    errors::RequestError,
    io::{Event, HaltReason, HangupReason, Input, Lane, LinkError, Response, StoreOp},
};
use rumormill_kit::channel::{Channel, Patience, Terms};
use rumormill_kit::{Driver, QueueLimits};

use super::users::BOARD;

/// To connect and shake hands, and for a peer to take something of what waits for it.
const PATIENCE: Patience = Patience {
    handshake: Duration::from_secs(5),
    stall: Duration::from_secs(30),
};

/// A link to a peer. Its id is the number of its token.
struct Link {
    socket: TcpStream,
    channel: Channel,
    is_connected: bool,
}

/// The links, and what the node has asked for in this turn.
pub(crate) struct Links {
    registry: Registry,
    links: BTreeMap<Token, Link>,
    terms: Terms,
    last: Token,
    name: String,
    /// Asked for in this turn, and not begun.
    dials: Vec<(DialId, String)>,
    /// For the node, in the next turn.
    pub(crate) inputs: Vec<Input>,
    pub(crate) board_changed: bool,
    pub(crate) halted: Option<HaltReason>,
}

impl Links {
    /// No links; tokens begin after `last`.
    pub(crate) fn new(registry: Registry, last: Token, name: String) -> Self {
        Links {
            registry,
            links: BTreeMap::new(),
            terms: Terms {
                patience: PATIENCE,
                queue: QueueLimits::default(),
                counters: Arc::default(),
            },
            last,
            name,
            dials: Vec::new(),
            inputs: Vec::new(),
            board_changed: false,
            halted: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// When the first link has taken too long.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = |link: &Link| link.channel.next_deadline();
        self.links.values().filter_map(deadline).min()
    }

    /// A token that no other socket ever has: ids of links are never used twice.
    pub(crate) fn token(&mut self) -> Token {
        self.last.0 += 1;
        self.last
    }

    /// Gives a socket a channel, which knows the protocol, the bounds and the time that everything may take. Each channel has a connection
    /// of its own from the node, with a nonce that no other has.
    pub(crate) fn add(
        &mut self,
        mut socket: TcpStream,
        dial: Option<DialId>,
        conn: Connection,
    ) -> io::Result<()> {
        let token = self.token();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut socket, token, both)?;
        let mut channel = Channel::new(LinkId(token.0 as u64), dial, conn, &self.terms);
        channel.open(Instant::now());
        let link = Link {
            socket,
            channel,
            is_connected: dial.is_none(),
        };
        self.links.insert(token, link);
        Ok(())
    }

    /// Begins what the node has asked for in this turn.
    pub(crate) fn connect(&mut self, mut conn: impl FnMut() -> Connection) {
        for (dial, addr) in std::mem::take(&mut self.dials) {
            // A name would go to a thread that resolves it.
            let socket = addr
                .parse()
                .ok()
                .and_then(|addr| TcpStream::connect(addr).ok());
            let added = socket.is_some_and(|socket| self.add(socket, Some(dial), conn()).is_ok());
            if !added {
                let why = LinkError::Unreachable;
                self.inputs.push(Input::DialFailed { dial, why });
            }
        }
    }

    /// Tells the node, once, of a link that it knows or of a dial.
    fn end(&mut self, token: Token, why: LinkError) {
        if let Some(link) = self.links.remove(&token) {
            self.inputs.extend(link.channel.end(why, &"a peer"));
        }
    }

    /// Reads once; whether there may be more.
    pub(crate) fn read(&mut self, token: Token, buffer: &mut [u8]) -> bool {
        let Some(link) = self.links.get_mut(&token) else {
            return false;
        };
        if !link.channel.reads() {
            return false;
        }
        if !link.is_connected {
            match (link.socket.take_error(), link.socket.peer_addr()) {
                (Ok(None), Ok(_)) => link.is_connected = true,
                (Ok(None), Err(error)) if error.kind() == io::ErrorKind::NotConnected => {
                    return false;
                }
                _ => {
                    self.end(token, LinkError::Unreachable);
                    return false;
                }
            }
        }
        let read = match link.socket.read(buffer) {
            Ok(0) => Err(link.channel.ended()),
            Ok(n) => link.channel.receive(&buffer[..n], &mut self.inputs),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => Err(LinkError::Broken),
        };
        if let Err(why) = read {
            // A refused peer reads the reason, if the socket takes it.
            let _ = link.write(&mut self.inputs);
            self.end(token, why);
            return false;
        }
        true
    }

    /// Writes what there is, and gives up what has taken too long.
    pub(crate) fn flush(&mut self) {
        let now = Instant::now();
        for token in self.links.keys().copied().collect::<Vec<_>>() {
            let Some(link) = self.links.get_mut(&token) else {
                continue;
            };
            let kept = match link.write(&mut self.inputs) {
                Ok(()) if link.channel.is_done() => Err(LinkError::Closed),
                Ok(()) => link.channel.expire(now),
                Err(why) => Err(why),
            };
            if let Err(why) = kept {
                self.end(token, why);
            }
        }
    }
}

impl Link {
    fn write(&mut self, inputs: &mut Vec<Input>) -> Result<(), LinkError> {
        if !self.is_connected {
            return Ok(());
        }
        self.channel
            .write_to(Instant::now(), &mut self.socket, inputs)
    }
}

/// Carries out the node's outputs. Nothing here blocks.
impl Driver for Links {
    fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames) {
        if let Some(link) = self.links.get_mut(&Token(link.0 as usize)) {
            link.channel.push(lane, frames);
        }
    }

    fn dial(&mut self, dial: DialId, addr: String) {
        self.dials.push((dial, addr));
    }

    fn hangup(&mut self, link: LinkId, _: HangupReason) {
        if let Some(link) = self.links.get_mut(&Token(link.0 as usize)) {
            link.channel.close(Instant::now());
        }
    }

    fn changed(&mut self, table: TableId) {
        self.board_changed |= table == BOARD;
    }

    fn event(&mut self, event: Event, _: &Node) {
        println!("{}: {}", self.name, Trace(&event));
    }

    fn halt(&mut self, why: HaltReason) {
        self.halted = Some(why);
    }

    fn unencodable(&mut self, error: EncodeError) {
        eprintln!("{}: {error}", self.name);
    }

    // The only request is to leave, which ends in a halt. This node keeps nothing on disk, so it neither stores nor loads.
    fn reply(&mut self, _: rumormill_core::Token, _: Result<Response, RequestError>) {}
    fn store(&mut self, _: Seq, _: Vec<StoreOp>, _: bool) {}
    fn load(&mut self, _: LoadId, _: Bytes) {}
}
