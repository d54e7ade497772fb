//! The loop: read everything that is ready, end the turn, write everything there is.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::{Events, Poll};
use rumormill_core::link::LinkLimits;
use rumormill_core::{
    Node, Now, TableId, Token,
    io::{HaltReason, Input},
};
use rumormill_kit::client_session::{Clients, Ticket};
use rumormill_kit::counters::Counters;
use rumormill_kit::handle::Commands;
use rumormill_kit::links::READ_BYTES;
use rumormill_kit::resolver::Resolver;
use rumormill_kit::store::StoreHandle;
use rumormill_kit::{Clock, Exit, dispatch};

use crate::clients::ClientTable;
use crate::farewell;
use crate::listener::Listener;
use crate::options::Options;
use crate::outputs::{Came, Outputs};
use crate::peers::Peers;

/// The tokens of the loop's own sources; links have even ones from 16 on, clients odd ones.
pub(crate) const WAKER: usize = 0;
pub(crate) const PEERS: usize = 1;
pub(crate) const REDIS: usize = 2;

/// The parts of a driver that its loop takes over.
pub(crate) struct Parts {
    pub(crate) options: Options,
    pub(crate) poll: Poll,
    pub(crate) clock: Clock,
    pub(crate) peers: Listener,
    pub(crate) redis: Option<Listener>,
    pub(crate) commands: Commands,
    pub(crate) counters: Arc<Counters>,
    pub(crate) resolver: Resolver,
}

/// Connections accepted in one turn, by each listener.
const PER_TURN: usize = 1_024;

/// How long one turn takes in what peers sent. A link that comes later is read in the next turn.
const PEERS_PHASE: Duration = Duration::from_millis(2);

pub(crate) struct Loop<C: Clients> {
    poll: Poll,
    clock: Clock,
    peer_listener: Listener,
    redis_listener: Option<Listener>,
    commands: Commands,
    peers: Peers,
    clients: ClientTable<C>,
    store: Option<StoreHandle>,
    node: Node,
    /// Which client awaits a row, and what it calls that.
    awaited: HashMap<Token, (usize, Ticket), FixedState>,
    /// Rows that were read for clients in this turn.
    answers: Vec<Came>,
    changed: Vec<TableId>,
    buffer: Vec<u8>,
    counters: Arc<Counters>,
}

/// Bytes for which glibc first merges what was freed in small pieces.
const MERGES: usize = 4 << 10;

/// Has the system's allocator merge now what was freed in this turn. glibc keeps small pieces apart until a larger one is asked for, and merges
/// then all that there are: many milliseconds, after a million rows have gone. A little in each turn is no more work, and keeps no client waiting.
fn merge_freed() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(MERGES)));
}

impl<C: Clients> Loop<C> {
    pub(crate) fn new(
        parts: Parts,
        node: Node,
        store: Option<StoreHandle>,
        clients: C,
    ) -> io::Result<Self> {
        let Parts {
            options,
            poll,
            clock,
            peers,
            redis,
            commands,
            counters,
            resolver,
        } = parts;
        let registry = || poll.registry().try_clone();
        Ok(Loop {
            clients: ClientTable::new(registry()?, clients, Arc::clone(&counters), &options),
            peers: Peers::new(registry()?, options, Arc::clone(&counters), resolver),
            counters,
            poll,
            clock,
            peer_listener: peers,
            redis_listener: redis,
            commands,
            store,
            node,
            awaited: HashMap::with_hasher(FixedState::default()),
            answers: Vec::new(),
            changed: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    pub(crate) fn run(&mut self) -> Exit {
        let mut events = Events::with_capacity(1_024);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Exit::System(error),
            }
            let now = self.clock.now();
            let begun = Instant::now();
            self.gather(now, &events);
            let gathered = begun.elapsed();
            let ended = self.commands.obey(&mut self.node, now);
            let obeyed = begun.elapsed();
            let halted = self.end_turn(now);
            let took = begun.elapsed();
            if self.counters.turned(took) {
                tracing::debug!(?gathered, ?obeyed, ?took, "a slow turn of the loop");
            }
            if let Some(exit) = self.commands.verdict(halted, ended) {
                return exit;
            }
        }
    }

    /// How long to sleep; `None` is for ever.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        if self.commands.is_ready() || self.clients.is_ready(&self.node) {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.node
                .next_deadline()
                .map(|deadline| self.clock.instant(deadline.at)),
            self.peers.next_deadline(now),
            self.clients.next_deadline(),
            self.peer_listener.next_deadline(now),
            self.redis_listener
                .as_ref()
                .and_then(|listener| listener.next_deadline(now)),
            self.commands.next_deadline(),
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
        self.clients.expire(at, &self.node);
        let until = Instant::now() + PEERS_PHASE;
        self.read_waiting_peers(now, until);
        self.clients.begin_phase();
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
                    let is_late = Instant::now() >= until;
                    self.peers
                        .ready(at, token, event, is_late, &mut self.buffer);
                    self.hand_over(now);
                }
                token => self
                    .clients
                    .ready(now, &mut self.node, token, event, &mut self.buffer),
            }
        }
        self.clients.go_on(now, &mut self.node);
        for _ in 0..PER_TURN {
            let Some((socket, _)) = self.peer_listener.accept(at) else {
                break;
            };
            let conn = self.node.connection(LinkLimits::default());
            self.peers.accept(at, socket, conn);
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

    /// Reads links that had more than an earlier turn had time for: one at least, and each once at most.
    fn read_waiting_peers(&mut self, now: Now, until: Instant) {
        let at = self.clock.instant(now.mono);
        for _ in 0..self.peers.waiting() {
            self.peers.read_next(at, &mut self.buffer);
            self.hand_over(now);
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn hand_over(&mut self, now: Now) {
        for input in self.peers.inputs.drain(..) {
            self.node.handle(now, input);
        }
    }

    /// Asks the node for the operations whose answers clients await.
    fn ask_for_clients(&mut self, now: Now) {
        for (client, ask) in self.clients.take_wanted() {
            let token = self.commands.token();
            self.awaited.insert(token, (client, ask.ticket));
            let input = Input::Request {
                token,
                deadline: None,
                request: ask.request.into(),
            };
            self.node.handle(now, input);
        }
    }

    /// Ends the turn: carries out the node's outputs, and sends the bytes of all peers and clients.
    fn end_turn(&mut self, now: Now) -> Option<HaltReason> {
        let halted = self.act(now);
        // Commands of clients from here on belong to the next turn, and watches were told of all before it.
        for (client, answer) in self.answers.drain(..) {
            self.clients.answered(now, &mut self.node, client, answer);
        }
        let at = self.clock.instant(now.mono);
        self.peers.ends |= halted.is_some();
        self.peers.flush(at);
        self.clients.begin_phase();
        self.clients.flush(at, now, &mut self.node);
        merge_freed();
        halted
    }

    /// Carries out the node's outputs, and answers what waits for them.
    fn act(&mut self, now: Now) -> Option<HaltReason> {
        let at = self.clock.instant(now.mono);
        self.hand_over(now);
        self.ask_for_clients(now);
        self.node.handle(now, Input::Tick);
        let mut halted = None;
        let mut outputs = Outputs {
            now: at,
            peers: &mut self.peers,
            store: self.store.as_ref(),
            commands: &mut self.commands,
            awaited: &mut self.awaited,
            answers: &mut self.answers,
            changed: &mut self.changed,
            halted: &mut halted,
        };
        dispatch(&mut self.node, &mut outputs);
        let node = &mut self.node;
        self.peers
            .connect_resolved(at, || node.connection(LinkLimits::default()));
        self.clients.stored(self.node.durable());
        if !self.changed.is_empty() {
            self.clients.changed();
        }
        self.clients.begin_phase();
        self.clients.tell(now, &mut self.node);
        self.commands.changed(&mut self.node, now, &self.changed);
        self.changed.clear();
        halted
    }

    /// Writes what is left and answers all waiting callers.
    pub(crate) fn close(mut self, exit: Exit) -> Exit {
        let mut exit = exit;
        let now = self.clock.now();
        if let Some(HaltReason::StoreFailed(error)) = self.act(now) {
            exit = Exit::StoreFailed(error);
        }
        // No client goes on: no turn would store what it writes.
        let at = self.clock.instant(now.mono);
        self.peers.ends = true;
        self.peers.flush(at);
        self.clients.flush_last(at, &self.node);
        if let Some(error) = self.store.take().and_then(|store| store.close().error) {
            exit = Exit::StoreFailed(error);
        }
        // A leave has its own time.
        let latest = self.commands.next_deadline();
        farewell::say(&mut self.poll, &mut self.peers, latest, &mut self.buffer);
        // Clients see their connections close.
        self.commands.close(&exit);
        exit
    }
}
