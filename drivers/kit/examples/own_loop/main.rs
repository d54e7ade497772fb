//! A loop of one's own: one thread and one `mio::Poll` carry a program's own clients and the links of its node. The program is a board of
//! short texts that any client may change and follow, with lines as its protocol: `put KEY TEXT`, `get KEY`, `follow`, `leave`.
//!
//! `cargo run -p rumormill-kit --example own_loop`

mod links;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use rumormill_core::link::LinkLimits;
use rumormill_core::{
    Config, Node, Now, Recovery,
    io::{HaltReason, Input},
    table::Cursor,
};
use rumormill_kit::{Clock, dispatch, random_seed};

use self::links::Links;
use self::users::{BOARD, User};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PEERS: Token = Token(0);
const USERS: Token = Token(1);

/// Bytes read from one socket in a turn, so that no peer or client keeps the others waiting.
const READ_BYTES: usize = 64 << 10;
const MAX_SOCKETS: usize = 1_000;

/// The program: its clients, its node, and the loop around both.
struct Board {
    poll: Poll,
    clock: Clock,
    node: Node,
    peers: TcpListener,
    users: TcpListener,
    clients: BTreeMap<Token, User>,
    links: Links,
    /// Sockets that may have something for us: mio tells once, so a socket that was not read to the end stays here.
    ready: BTreeSet<Token>,
    told: Cursor,
}

impl Board {
    /// Listens, and says where for peers and for clients.
    fn bind(name: &str, seeds: &[String]) -> Result<(Self, String, SocketAddr), Failure> {
        let (poll, clock) = (Poll::new()?, Clock::start());
        let mut peers = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        let mut users = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        poll.registry()
            .register(&mut peers, PEERS, Interest::READABLE)?;
        poll.registry()
            .register(&mut users, USERS, Interest::READABLE)?;
        let mut config = Config::new(name, &peers.local_addr()?.to_string());
        config.seeds = seeds.to_vec();
        let (addr, of_users) = (config.addr.clone(), users.local_addr()?);
        let now = clock.now();
        let node = Recovery::new(config, random_seed()?).finish(now)?;
        let registry = poll.registry().try_clone()?;
        let links = Links::new(registry, USERS, name.to_owned());
        let told = node.view(now).cursor();
        let (clients, ready) = (BTreeMap::new(), BTreeSet::new());
        let board = Board {
            poll,
            clock,
            node,
            peers,
            users,
            clients,
            links,
            ready,
            told,
        };
        Ok((board, addr, of_users))
    }

    /// Turns until the node has left.
    fn run(mut self) -> io::Result<HaltReason> {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) => continue,
                Ok(()) => self.ready.extend(events.iter().map(|event| event.token())),
            }
            let now = self.clock.now();
            for token in std::mem::take(&mut self.ready) {
                let more = match token {
                    PEERS | USERS => self.accept(token),
                    token => self.read(now, token, &mut buffer),
                };
                if more {
                    self.ready.insert(token);
                }
            }
            for input in self.links.inputs.drain(..) {
                self.node.handle(now, input);
            }
            // The end of the turn: everything that the node wants comes out, once.
            self.node.handle(now, Input::Tick);
            dispatch(&mut self.node, &mut self.links);
            let node = &mut self.node;
            self.links
                .connect(|| node.connection(LinkLimits::default()));
            self.tell_followers(now);
            self.clients.retain(|_, user| user.write().is_ok());
            self.links.flush();
            if let Some(why) = self.links.halted.take() {
                return Ok(why);
            }
        }
    }

    /// How long nothing has to be done unless something arrives.
    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !self.links.inputs.is_empty() {
            return Some(Duration::ZERO);
        }
        let node = self
            .node
            .next_deadline()
            .map(|deadline| self.clock.instant(deadline.at));
        let first = node.into_iter().chain(self.links.next_deadline()).min();
        first.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Accepts one connection; whether there may be more. One too many is closed at once.
    fn accept(&mut self, listener: Token) -> bool {
        let accepted = match listener {
            PEERS => self.peers.accept(),
            _ => self.users.accept(),
        };
        let mut socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => return error.kind() == io::ErrorKind::ConnectionAborted,
        };
        if self.clients.len() + self.links.len() >= MAX_SOCKETS {
            return true;
        }
        let added = if listener == PEERS {
            self.links
                .add(socket, None, self.node.connection(LinkLimits::default()))
        } else {
            let (token, both) = (self.links.token(), Interest::READABLE | Interest::WRITABLE);
            let registered = self.poll.registry().register(&mut socket, token, both);
            registered.map(|()| drop(self.clients.insert(token, User::new(socket))))
        };
        if let Err(error) = added {
            eprintln!("a connection cannot be polled: {error}");
        }
        true
    }

    /// Reads once from a client or peer; returns whether there may be more.
    fn read(&mut self, now: Now, token: Token, buffer: &mut [u8]) -> bool {
        let Some(user) = self.clients.get_mut(&token) else {
            return self.links.read(token, buffer);
        };
        let served = user.serve(now, &mut self.node, buffer);
        if served.is_err() {
            self.clients.remove(&token);
        }
        served.unwrap_or(false)
    }

    /// Sends changes to the clients that follow, wherever they were written.
    fn tell_followers(&mut self, now: Now) {
        while std::mem::take(&mut self.links.board_changed) {
            let (lines, next) = match self.node.view(now).changes(BOARD, self.told, 256) {
                Ok(changes) => {
                    self.links.board_changed = changes.more;
                    let lines = changes
                        .changes
                        .iter()
                        .map(|change| format!("{:?}\n", change.kind));
                    (lines.collect(), changes.next)
                }
                Err(_) => {
                    let end = self.node.view(now).cursor();
                    ("changes were missed\n".to_owned(), end)
                }
            };
            self.told = next;
            for user in self.clients.values_mut().filter(|user| user.follows) {
                user.replies.extend_from_slice(lines.as_bytes());
            }
        }
    }
}

/// A client of the board, somewhere else.
struct Client(BufReader<std::net::TcpStream>);

impl Client {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Client(BufReader::new(socket)))
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())?;
        self.hear()
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

pub(crate) fn main() -> Result<(), Failure> {
    let (mut seeds, mut clients, mut loops) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["ann", "ben", "cleo"] {
        let (board, addr, users) = Board::bind(name, &seeds)?;
        seeds.push(addr);
        loops.push(thread::spawn(move || board.run()));
        clients.push(Client::connect(users)?);
    }
    // A client of the last follows what one of the first writes.
    println!("cleo: {}", clients[2].ask("follow")?);
    println!("ann: {}", clients[0].ask("put lunch soup and bread")?);
    println!("cleo hears: {}", clients[2].hear()?);
    println!("cleo has: {}", clients[2].ask("get lunch")?);
    println!("cleo: {}", clients[2].ask("put lunch")?);
    for (mut client, running) in clients.into_iter().zip(loops).rev() {
        println!("{}", client.ask("leave")?);
        let ended = running.join().map_err(|_| "a loop has panicked")??;
        println!("{ended:?}");
    }
    Ok(())
}
