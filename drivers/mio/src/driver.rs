//! The loop: read everything that is ready, end the turn, write everything there is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Waker};
use rumormill_core::{
    HaltReason, Input, Instant as Mono, Node, Now, Request, RequestError, Row, TableId, Token,
};
use rumormill_kit::counters::Counters;
use rumormill_kit::session::Clients;
use rumormill_kit::store::StoreHandle;
use rumormill_kit::{Clock, Exit, dispatch};

use crate::clients::ClientTable;
use crate::handle::{Asker, Command, Handle, QUEUED_COMMANDS};
use crate::options::{BindError, Options};
use crate::outputs::Outputs;
use crate::peers::Peers;
use crate::resolver::Resolver;

const WAKER: usize = 0;
const PEERS: usize = 1;
const REDIS: usize = 2;

/// Bytes read at once, into one buffer that all connections share.
const READ_BYTES: usize = 64 << 10;

/// Connections accepted, commands run and reports taken in one turn.
const PER_TURN: usize = 1_024;

/// How long a listener rests that could not accept, for want of file descriptors as a rule.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A bound driver: its addresses are known and nothing is served yet.
pub struct Driver {
    options: Options,
    poll: Poll,
    clock: Clock,
    peers: Listener,
    redis: Option<Listener>,
    handle: Handle,
    commands: Receiver<Command>,
    counters: Arc<Counters>,
    resolver: Resolver,
}

struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    /// Connections may wait; no event will tell again.
    ready: bool,
    rests_until: Option<Instant>,
}

impl Driver {
    /// Binds the listeners.
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    pub fn bind(options: Options) -> Result<Driver, BindError> {
        let poll = Poll::new()?;
        let peers = Listener::bind(&poll, "peers", options.peers, PEERS)?;
        let redis = options
            .redis
            .map(|addr| Listener::bind(&poll, "redis", addr, REDIS))
            .transpose()?;
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(WAKER))?);
        let (sender, commands) = mpsc::sync_channel(QUEUED_COMMANDS);
        let resolver = Resolver::spawn(Arc::clone(&waker))?;
        let handle = Handle {
            commands: sender,
            waker,
        };
        let clock = Clock::start();
        Ok(Driver {
            options,
            poll,
            clock,
            peers,
            redis,
            handle,
            commands,
            counters: Arc::default(),
            resolver,
        })
    }

    /// Where peers dial.
    pub fn peers_addr(&self) -> SocketAddr {
        self.peers.addr
    }

    /// Where Redis clients dial.
    pub fn redis_addr(&self) -> Option<SocketAddr> {
        self.redis.as_ref().map(|listener| listener.addr)
    }

    /// A handle for other threads. What it is told before [`Driver::run`] waits for it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What the driver counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The time as the loop will tell it: for the node's recovery.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Serves `node` until it leaves, halts or is told to end. A node with storage needs the `store`, whose
    /// `notify` is the handle's [`Handle::notifier`]. What the node emitted is stored when this returns.
    pub fn run<C: Clients>(self, node: Node, store: Option<StoreHandle>, clients: C) -> Exit {
        match Loop::new(self, node, store, clients) {
            Ok(mut turning) => {
                let exit = turning.run();
                turning.close(exit)
            }
            Err(error) => Exit::System(error),
        }
    }
}

impl Listener {
    fn bind(
        poll: &Poll,
        name: &'static str,
        addr: SocketAddr,
        token: usize,
    ) -> Result<Listener, BindError> {
        let bound = || {
            let mut socket = TcpListener::bind(addr)?;
            poll.registry()
                .register(&mut socket, mio::Token(token), Interest::READABLE)?;
            let addr = socket.local_addr()?;
            Ok(Listener {
                socket,
                addr,
                ready: false,
                rests_until: None,
            })
        };
        bound().map_err(|source| BindError::Listen {
            listener: name,
            addr,
            source,
        })
    }

    /// The next connection, if there is one.
    fn accept(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        if !self.ready || self.rests_until.is_some_and(|until| until > now) {
            return None;
        }
        self.rests_until = None;
        match self.socket.accept() {
            Ok(accepted) => return Some(accepted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
            // The client was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, addr = %self.addr, "cannot accept");
                self.rests_until = Some(now + ACCEPT_REST);
            }
        }
        None
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.ready.then(|| self.rests_until.unwrap_or(now))
    }
}

struct Loop<C: Clients> {
    options: Options,
    poll: Poll,
    clock: Clock,
    peer_listener: Listener,
    redis_listener: Option<Listener>,
    commands: Receiver<Command>,
    peers: Peers,
    clients: ClientTable<C>,
    store: Option<StoreHandle>,
    node: Node,
    asked: HashMap<Token, Asker, FixedState>,
    /// Rows that were read for clients in this turn.
    rows: Vec<(usize, Result<Option<Row>, RequestError>)>,
    last_token: u64,
    changed: Vec<TableId>,
    buffer: Vec<u8>,
    leaving: Option<Instant>,
    more_commands: bool,
}

impl<C: Clients> Loop<C> {
    fn new(driver: Driver, node: Node, store: Option<StoreHandle>, clients: C) -> io::Result<Self> {
        let Driver {
            options,
            poll,
            clock,
            peers,
            redis,
            handle: _,
            commands,
            counters,
            resolver,
        } = driver;
        let registry = || poll.registry().try_clone();
        Ok(Loop {
            peers: Peers::new(
                registry()?,
                options.clone(),
                Arc::clone(&counters),
                resolver,
            ),
            clients: ClientTable::new(registry()?, clients, counters, options.max_clients),
            options,
            poll,
            clock,
            peer_listener: peers,
            redis_listener: redis,
            commands,
            store,
            node,
            asked: HashMap::with_hasher(FixedState::default()),
            rows: Vec::new(),
            last_token: 0,
            changed: Vec::new(),
            buffer: vec![0; READ_BYTES],
            leaving: None,
            more_commands: false,
        })
    }

    fn run(&mut self) -> Exit {
        let mut events = Events::with_capacity(1_024);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Exit::System(error),
            }
            let now = self.clock.now();
            self.gather(now, &events);
            let ended = self.obey(now);
            let halted = self.end_turn(now);
            if let Some(exit) = halted.map(Exit::from).or(ended) {
                return exit;
            }
            if self.leaving.is_some_and(|until| until <= Instant::now()) {
                return Exit::LeaveCut;
            }
        }
    }

    /// How long to sleep; `None` is for ever.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        if self.more_commands || self.clients.is_ready(&self.node) {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.node
                .next_deadline()
                .map(|deadline| self.clock.instant(deadline.at)),
            self.peers.next_deadline(now),
            self.peer_listener.next_deadline(now),
            self.redis_listener
                .as_ref()
                .and_then(|listener| listener.next_deadline(now)),
            self.leaving,
        ];
        deadlines
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    /// Reads all that is ready, within everyone's budget.
    fn gather(&mut self, now: Now, events: &Events) {
        let at = self.clock.instant(now.mono);
        self.peers.expire(at);
        self.peers.read_again(at, &mut self.buffer);
        self.hand_over(now);
        self.clients
            .read_again(now, &mut self.node, &mut self.buffer);
        for event in events {
            match event.token().0 {
                WAKER => {}
                PEERS => self.peer_listener.ready = true,
                REDIS => {
                    if let Some(listener) = &mut self.redis_listener {
                        listener.ready = true;
                    }
                }
                token if token % 2 == 0 => {
                    self.peers.ready(at, token, event, &mut self.buffer);
                    self.hand_over(now);
                }
                token => self
                    .clients
                    .ready(now, &mut self.node, token, event, &mut self.buffer),
            }
        }
        for _ in 0..PER_TURN {
            let Some((socket, _)) = self.peer_listener.accept(at) else {
                break;
            };
            self.peers.accept(at, socket, self.node.hello());
        }
        for _ in 0..PER_TURN {
            let accepted = self
                .redis_listener
                .as_mut()
                .and_then(|listener| listener.accept(at));
            let Some((socket, peer)) = accepted else {
                break;
            };
            self.clients.accept(socket, peer);
        }
        while let Some(report) = self.store.as_mut().and_then(StoreHandle::poll) {
            self.node.handle(now, report.into());
        }
    }

    fn hand_over(&mut self, now: Now) {
        for input in self.peers.inputs.drain(..) {
            self.node.handle(now, input);
        }
    }

    /// Runs commands of other threads; the reason when one ends the loop.
    fn obey(&mut self, now: Now) -> Option<Exit> {
        for _ in 0..PER_TURN {
            // The loop holds no sender of its own: without handles it goes on without commands.
            let Ok(command) = self.commands.try_recv() else {
                self.more_commands = false;
                return None;
            };
            match command {
                Command::Run(job) => job(&mut self.node, now),
                Command::Request {
                    request,
                    patience,
                    done,
                } => {
                    let deadline = patience.map(|patience| now.mono + patience);
                    self.ask(now, Some(Asker::Thread(done)), deadline, request);
                }
                Command::Leave if self.leaving.is_some() => return Some(Exit::LeaveCut),
                Command::Leave => {
                    self.leaving = Some(Instant::now() + self.options.leave_timeout);
                    self.ask(now, None, None, Request::Leave);
                }
                Command::Shutdown => return Some(Exit::Shutdown),
            }
        }
        self.more_commands = true;
        None
    }

    /// Hands the node a request; its answer goes to `asker`, if there is one.
    fn ask(&mut self, now: Now, asker: Option<Asker>, deadline: Option<Mono>, request: Request) {
        self.last_token += 1;
        let token = Token(self.last_token);
        if let Some(asker) = asker {
            self.asked.insert(token, asker);
        }
        self.node.handle(
            now,
            Input::Request {
                token,
                deadline,
                request,
            },
        );
    }

    /// Asks the node for the rows that clients await.
    fn ask_for_rows(&mut self, now: Now) {
        for (client, table, key) in self.clients.take_wanted() {
            let request = Request::Get { table, key };
            self.ask(now, Some(Asker::Client(client)), None, request);
        }
    }

    /// Ends the turn: what the node wants is done, and everybody's bytes go out.
    fn end_turn(&mut self, now: Now) -> Option<HaltReason> {
        let at = self.clock.instant(now.mono);
        self.hand_over(now);
        self.ask_for_rows(now);
        self.node.handle(now, Input::Tick);
        let mut halted = None;
        let mut outputs = Outputs {
            now: at,
            peers: &mut self.peers,
            store: self.store.as_ref(),
            asked: &mut self.asked,
            rows: &mut self.rows,
            changed: &mut self.changed,
            halted: &mut halted,
        };
        dispatch(&mut self.node, &mut outputs);
        let node = &self.node;
        self.peers.connect_resolved(at, || node.hello());
        self.clients.stored(self.node.durable());
        for (client, row) in self.rows.drain(..) {
            self.clients.loaded(now, &mut self.node, client, row);
        }
        for table in self.changed.drain(..) {
            self.clients.changed(now, &mut self.node, table);
        }
        self.peers.flush(at);
        self.clients.flush(now, &mut self.node);
        halted
    }

    /// Writes what is left and answers who still waits.
    fn close(mut self, exit: Exit) -> Exit {
        let mut exit = exit;
        if let Some(HaltReason::StoreFailed(error)) = self.end_turn(self.clock.now()) {
            exit = Exit::StoreFailed(error);
        }
        if let Some(error) = self.store.take().and_then(|store| store.close().error) {
            exit = Exit::StoreFailed(error);
        }
        for (_, asker) in self.asked.drain() {
            // Clients see their connections close.
            if let Asker::Thread(done) = asker {
                done(Err(RequestError::Halted));
            }
        }
        exit
    }
}
