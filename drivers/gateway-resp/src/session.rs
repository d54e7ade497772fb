//! One client: bytes in, commands executed, replies out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rumormill_core::{Limits, Node, Now, RequestError, Row, TableId};
use rumormill_kit::session::{self, Flow, Replies};

use crate::commands;
use crate::decoder::{Args, Caps, Decoded, Decoder};
use crate::encoder::{self, Proto};
use crate::keyspace::Watch;
use crate::shared::{Describe, Shared, Stats};
use crate::stream::Stream;
use crate::work::{self, Work};

/// Bytes of arguments of one command beyond its largest one.
const COMMAND_BYTES: usize = 64 << 20;

/// What of a command is kept under these limits.
fn caps_of(limits: &Limits) -> Caps {
    let argument = limits.value_bytes.max(limits.key_bytes).min(1 << 30);
    Caps {
        argument,
        command: argument + COMMAND_BYTES,
    }
}

/// The clients of one listener, and what they share.
#[derive(Debug)]
pub struct Gateway {
    caps: Caps,
    shared: Arc<Shared>,
}

impl Gateway {
    /// A gateway to nodes with these limits.
    pub fn new(limits: &Limits, describe: Describe) -> Self {
        Gateway {
            caps: caps_of(limits),
            shared: Arc::new(Shared::new(describe)),
        }
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// A new client. `id` is unique.
    pub fn client(&self, id: u64) -> Session {
        self.shared.stats.clients.fetch_add(1, Ordering::Relaxed);
        let connections = &self.shared.stats.connections;
        connections.fetch_add(1, Ordering::Relaxed);
        Session {
            decoder: Decoder::new(self.caps),
            pending: Vec::new(),
            client: Client {
                id,
                name: Vec::new(),
                proto: Proto::Two,
                stream: None,
                wants: None,
                loaded: None,
                watch: None,
                closing: false,
                astray: false,
                work: Work::new(),
                draws: 0,
                shared: Arc::clone(&self.shared),
            },
        }
    }
}

impl session::Clients for Gateway {
    type Session = Session;

    fn accept(&mut self, id: u64, _peer: SocketAddr, _clients: usize) -> Session {
        self.client(id)
    }
}

/// A row that was read from the store, and where it is.
pub(crate) type Loaded = ((TableId, Bytes), Result<Option<Row>, RequestError>);

/// What a client has chosen and waits for.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) proto: Proto,
    pub(crate) stream: Option<Stream>,
    /// The row that has to be loaded before the reply can go on.
    pub(crate) wants: Option<(TableId, Bytes)>,
    /// What was loaded for the reply at hand.
    pub(crate) loaded: Option<Loaded>,
    pub(crate) watch: Option<Box<Watch>>,
    pub(crate) closing: bool,
    /// The client asked last for a database that does not exist.
    pub(crate) astray: bool,
    /// What the call at hand may still do.
    pub(crate) work: Work,
    pub(crate) draws: u64,
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stats.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    /// Goes on with a large reply; `None` when there is nothing more to say.
    fn pump(&mut self, now: Now, node: &Node, replies: &mut Replies) -> Option<Flow> {
        let stream = self.stream.as_mut()?;
        let flow = stream.pump(now, node, self.proto, &mut self.loaded, replies);
        match &flow {
            None => self.stream = None,
            Some(Flow::Await(table, key)) => self.wants = Some((*table, key.clone())),
            Some(_) => {}
        }
        flow
    }

    /// Executes a command; the row to be loaded when it has to be executed again.
    fn execute(
        &mut self,
        now: Now,
        node: &mut Node,
        args: Args<'_>,
        replies: &mut Replies,
    ) -> Option<Flow> {
        commands::execute(self, now, node, args, replies);
        self.loaded = None;
        let (table, key) = self.wants.clone()?;
        Some(Flow::Await(table, key))
    }

    /// Tells of the changes that the client subscribed to.
    fn notify(&mut self, now: Now, node: &Node, replies: &mut Replies) -> Flow {
        match &mut self.watch {
            // A message must not stand in the middle of a reply.
            Some(_) if self.stream.is_some() => Flow::Full,
            Some(watch) => watch.pull(now, node, self.proto, &mut self.work, replies),
            None => Flow::Continue,
        }
    }
}

/// One client of a node. See [`session::Session`] for how it is driven.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    /// The unfinished command, and after [`Flow::Full`] those behind it.
    pending: Vec<u8>,
    client: Client,
}

impl Session {
    /// Executes the commands of `window`; how it went on, and how many bytes are done with.
    fn run(
        &mut self,
        now: Now,
        node: &mut Node,
        window: &[u8],
        replies: &mut Replies,
    ) -> (Flow, usize) {
        let mut commands = 0;
        let flow = loop {
            if let Some(flow) = self.client.pump(now, node, replies) {
                break flow;
            }
            if replies.is_full() || self.client.work.is_spent() {
                break Flow::Full;
            }
            // A setting may have changed them.
            self.decoder.set_caps(caps_of(&node.config().limits));
            match self.decoder.next(window) {
                Decoded::Command => {
                    let args = self.decoder.args(window);
                    // Whatever only reads is answered all the same.
                    if node.pressure() && commands::writes(args) {
                        self.decoder.put_back();
                        break Flow::Store;
                    }
                    if let Some(flow) = self.client.execute(now, node, args, replies) {
                        self.decoder.put_back();
                        break flow;
                    }
                    commands += 1;
                    self.client.work.spend(work::COMMAND);
                    if self.client.closing {
                        break Flow::Close;
                    }
                }
                Decoded::TooLarge(why) => {
                    commands += 1;
                    encoder::error(replies.buf(), format!("TOOLARGE {why}").as_bytes());
                }
                Decoded::Incomplete => break Flow::Continue,
                Decoded::Broken(why) => {
                    let mut text = b"ERR Protocol error: ".to_vec();
                    why.write_to(&mut text);
                    encoder::error(replies.buf(), &text);
                    break Flow::Close;
                }
            }
        };
        replies.count_commands(commands);
        let total = &self.client.shared.stats.commands;
        total.fetch_add(commands, Ordering::Relaxed);
        let used = self.decoder.used();
        self.decoder.rebase();
        (flow, used)
    }

    fn run_pending(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        let mut window = std::mem::take(&mut self.pending);
        let (flow, used) = self.run(now, node, &window, replies);
        if used < window.len() {
            window.drain(..used);
            self.pending = window;
        } else {
            self.decoder.shrink();
        }
        flow
    }
}

impl session::Session for Session {
    fn receive(&mut self, now: Now, node: &mut Node, input: &[u8], replies: &mut Replies) -> Flow {
        self.client.work.renew();
        if self.pending.is_empty() {
            let (flow, used) = self.run(now, node, input, replies);
            self.pending
                .extend_from_slice(input.get(used..).unwrap_or(&[]));
            return flow;
        }
        self.pending.extend_from_slice(input);
        self.run_pending(now, node, replies)
    }

    fn resume(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        self.client.work.renew();
        match self.run_pending(now, node, replies) {
            Flow::Continue => self.client.notify(now, node, replies),
            other => other,
        }
    }

    fn loaded(
        &mut self,
        now: Now,
        node: &mut Node,
        row: Result<Option<Row>, RequestError>,
        replies: &mut Replies,
    ) -> Flow {
        self.client.loaded = self.client.wants.take().map(|place| (place, row));
        self.resume(now, node, replies)
    }

    fn watches(&self) -> bool {
        self.client
            .watch
            .as_ref()
            .is_some_and(|watch| watch.is_active())
    }

    fn changed(
        &mut self,
        now: Now,
        node: &mut Node,
        _table: TableId,
        replies: &mut Replies,
    ) -> Flow {
        self.client.work.renew();
        self.client.notify(now, node, replies)
    }
}
