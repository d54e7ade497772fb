//! The links of a node over TCP, in the poll of the program around it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rumormill_core::link::frame::EncodeError;
use rumormill_core::link::{Connection, Frames, LinkEvent};
use rumormill_core::{
    DialId, Event, HaltReason, HangupReason, Input, Lane, LinkError, LinkId, LoadId, Node,
    RequestError, Response, Seq, StoreOp, TableId, Trace,
};
use rumormill_kit::{Driver, Edge, QueueLimits, WriteQueue};

use super::users::BOARD;

/// To connect and shake hands, and to write what is left on a link that is to be closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A link to a peer. Its id is the number of its token.
struct Link {
    socket: TcpStream,
    conn: Connection,
    queue: WriteQueue,
    dial: Option<DialId>,
    is_connected: bool,
    /// Whether the node knows of it.
    is_up: bool,
    is_closing: bool,
    until: Option<Instant>,
}

/// The links, and what the node has asked for in this turn.
pub(crate) struct Links {
    registry: Registry,
    links: BTreeMap<Token, Link>,
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
        self.links.values().filter_map(|link| link.until).min()
    }

    /// A token that no other socket ever has: ids of links are never used twice.
    pub(crate) fn token(&mut self) -> Token {
        self.last.0 += 1;
        self.last
    }

    /// Both sides write an opening; what is read goes to the connection, which knows the protocol. Each link has a connection of
    /// its own from the node, with a nonce that no other has.
    pub(crate) fn add(
        &mut self,
        mut socket: TcpStream,
        dial: Option<DialId>,
        conn: Connection,
    ) -> io::Result<()> {
        let token = self.token();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut socket, token, both)?;
        let mut queue = WriteQueue::new(QueueLimits::default());
        queue.push_handshake(conn.opening());
        let link = Link {
            socket,
            conn,
            queue,
            dial,
            is_connected: dial.is_none(),
            is_up: false,
            is_closing: false,
            until: Some(Instant::now() + PATIENCE),
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

    /// The node is told once of every link that was up and of every dial.
    fn end(&mut self, token: Token, why: LinkError) {
        let Some(mut link) = self.links.remove(&token) else {
            return;
        };
        // Why the peer was refused, if the socket takes it.
        if let Some(parting) = link.conn.parting()
            && link.write().is_ok()
            && link.queue.is_empty()
        {
            let _ = link.socket.write(&parting);
        }
        let id = LinkId(token.0 as u64);
        match (link.is_up, link.dial) {
            (true, _) => self.inputs.push(Input::LinkDown { link: id, why }),
            (false, Some(dial)) => self.inputs.push(Input::DialFailed { dial, why }),
            (false, None) => {}
        }
    }

    /// Reads once; whether there may be more.
    pub(crate) fn read(&mut self, token: Token, buffer: &mut [u8]) -> bool {
        let Some(link) = self.links.get_mut(&token) else {
            return false;
        };
        if link.is_closing {
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
        let (id, mut events) = (LinkId(token.0 as u64), Vec::new());
        let read = match link.socket.read(buffer) {
            Ok(0) => Err(link.conn.end()),
            Ok(n) => link.conn.receive(&buffer[..n], &mut events),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => Err(LinkError::Broken),
        };
        for event in events {
            self.inputs.push(match event {
                LinkEvent::Write(bytes) => {
                    link.queue.push_handshake(bytes);
                    continue;
                }
                LinkEvent::Up(hello) => {
                    link.until = None;
                    link.is_up = true;
                    let dial = link.dial;
                    Input::LinkUp {
                        link: id,
                        dial,
                        hello,
                    }
                }
                LinkEvent::Message(msg) => Input::Message { link: id, msg },
            });
        }
        match read {
            Ok(()) => true,
            Err(why) => {
                self.end(token, why);
                false
            }
        }
    }

    /// Writes what there is, and gives up what has taken too long.
    pub(crate) fn flush(&mut self) {
        let now = Instant::now();
        for token in self.links.keys().copied().collect::<Vec<_>>() {
            let Some(link) = self.links.get_mut(&token) else {
                continue;
            };
            let written = if link.is_connected {
                link.write()
            } else {
                Ok(())
            };
            let id = LinkId(token.0 as u64);
            match link.queue.edge() {
                Some(Edge::Congested) => self.inputs.push(Input::Congested { link: id }),
                Some(Edge::Drained) => self.inputs.push(Input::Drained { link: id }),
                None => {}
            }
            if written.is_err() {
                self.end(token, LinkError::Broken);
            } else if link.is_closing && link.queue.is_empty() {
                self.end(token, LinkError::Closed);
            } else if link.until.is_some_and(|until| until <= now) {
                self.end(token, LinkError::TimedOut);
            }
        }
    }
}

impl Link {
    fn write(&mut self) -> io::Result<()> {
        self.queue.write_to(&mut self.socket)
    }
}

/// What the node wants done. Nothing here blocks.
impl Driver for Links {
    fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames) {
        if let Some(link) = self.links.get_mut(&Token(link.0 as usize)) {
            // A full queue drops the message; the protocol repairs that.
            let _ = link.queue.push(lane, frames.clone());
        }
    }

    fn dial(&mut self, dial: DialId, addr: String) {
        self.dials.push((dial, addr));
    }

    fn hangup(&mut self, link: LinkId, _: HangupReason) {
        if let Some(link) = self.links.get_mut(&Token(link.0 as usize)) {
            link.is_closing = true;
            link.until = Some(Instant::now() + PATIENCE);
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
