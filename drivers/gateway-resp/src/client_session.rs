//! One client: bytes in, commands executed, replies out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rumormill_core::{Limits, Node, Now, errors::RequestError, io::Response};
use rumormill_kit::client_session::{self, Flow, Replies, Ticket};

use crate::client::Client;
use crate::commands;
use crate::decoder::{Args, Caps, Decoded, Decoder};
use crate::encoder::{self, Proto};
use crate::keyspace;
use crate::shared::{Describe, Shared, Stats};
use crate::waiting::{Came, Loaded, Waiter, Waiting};
use crate::watched::Watched;
use crate::work::{self, Work};

/// Bytes of arguments of one command beyond its largest one.
const COMMAND_BYTES: usize = 64 << 20;

/// Bytes of a client's stream that are kept without looking for a smaller place.
const SPARE: usize = 64 << 10;

/// Returns the parts of a command that are kept under these limits.
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
    pub fn client(&self, id: u64) -> ClientSession {
        self.shared.stats.clients.fetch_add(1, Ordering::Relaxed);
        let connections = &self.shared.stats.connections;
        connections.fetch_add(1, Ordering::Relaxed);
        ClientSession {
            decoder: Decoder::new(self.caps),
            pending: Vec::new(),
            client: Client {
                id,
                name: Vec::new(),
                proto: Proto::Two,
                task: None,
                waiting: Waiting::default(),
                loaded: Loaded::default(),
                flushing: None,
                is_whole: false,
                multi: None,
                watched: Watched::default(),
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

impl client_session::Clients for Gateway {
    type ClientSession = ClientSession;

    fn accept(&mut self, id: u64, _peer: SocketAddr, _clients: usize) -> ClientSession {
        self.client(id)
    }
}

impl Client {
    /// Goes on with the command at hand, whose arguments are `args`; `None` when it is done.
    fn pump(
        &mut self,
        now: Now,
        node: &mut Node,
        args: Args<'_>,
        replies: &mut Replies,
    ) -> Option<Flow> {
        let mut task = self.task.take()?;
        let flow = task.pump(self, now, node, args, replies);
        if flow.is_some() {
            self.task = Some(task);
        }
        flow
    }

    /// Carries out a command, or gives it a slot; false when it has to stay where it is until those before it are answered.
    fn take(&mut self, now: Now, node: &mut Node, args: Args<'_>, replies: &mut Replies) -> bool {
        // With a transaction at hand it is its `EXEC` that waits: what follows it is not a part of it.
        let passes = || self.multi.is_none() && self.waiting.lets_pass(args, commands::touched);
        if !self.waiting.is_empty() && !passes() {
            return false;
        }
        if let Some(asked) = commands::execute(self, now, node, args, replies) {
            self.waiting.put(args, asked, replies);
        }
        true
    }

    /// An answer has come that was asked for: the command that has all of its answers now is carried out in its slot.
    fn came(
        &mut self,
        now: Now,
        node: &mut Node,
        ticket: Ticket,
        answer: Result<Response, RequestError>,
        replies: &mut Replies,
    ) {
        match self.waiting.came(ticket, answer) {
            Some(Came::ForTask(place, answer)) => self.loaded.insert(place, answer),
            Some(Came::ForCommand(waiter)) => self.carry_out(now, node, waiter, replies),
            None => {}
        }
    }

    /// Carries out a command that waited, and puts it back if its rows have changed meanwhile and are only in the store again.
    fn carry_out(&mut self, now: Now, node: &mut Node, mut waiter: Waiter, replies: &mut Replies) {
        let of_task = std::mem::replace(&mut self.loaded, std::mem::take(&mut waiter.loaded));
        let was_whole = std::mem::replace(&mut self.is_whole, true);
        let mut again = None;
        replies.fill(waiter.slot, |replies| {
            again = commands::execute(self, now, node, waiter.words.args(), replies);
            again.is_none()
        });
        self.is_whole = was_whole;
        self.loaded = of_task;
        if let Some(asked) = again {
            self.waiting.put_back(waiter, asked, replies);
        }
    }

    /// Tells of the changes that the client subscribed to.
    fn notify(&mut self, now: Now, node: &Node, replies: &mut Replies) -> Flow {
        match &mut self.watch {
            Some(watch) if !self.waiting.is_empty() && watch.has_lagged(now, node) => {
                // It is told so, and closed, when the commands that wait are answered.
                Flow::Continue
            }
            Some(watch) => watch.pull(now, node, self.proto, &mut self.work, replies),
            None => Flow::Continue,
        }
    }

    /// Bytes held for replies to come.
    fn footprint(&self) -> usize {
        let task = self.task.as_ref().map_or(0, |task| task.footprint());
        let multi = self.multi.as_ref().map_or(0, |multi| multi.footprint());
        let held = self.waiting.footprint() + self.loaded.footprint();
        task + multi + held + self.watched.footprint()
    }
}

/// One client of a node. See [`client_session::ClientSession`] for how it is driven.
#[derive(Debug)]
pub struct ClientSession {
    decoder: Decoder,
    /// The unfinished command, and those behind it that were not carried out yet.
    pending: Vec<u8>,
    client: Client,
}

impl ClientSession {
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
            if let Some(flow) = self.next(now, node, window, replies, &mut commands) {
                break flow;
            }
        };
        replies.count_commands(commands);
        let total = &self.client.shared.stats.commands;
        total.fetch_add(commands, Ordering::Relaxed);
        let used = self.decoder.used();
        self.decoder.rebase();
        (flow, used)
    }

    /// Goes on with the command at hand, and takes the next one; why no other may follow it now, or `None`.
    fn next(
        &mut self,
        now: Now,
        node: &mut Node,
        window: &[u8],
        replies: &mut Replies,
        commands: &mut u64,
    ) -> Option<Flow> {
        if self.client.task.is_some() {
            let args = self.decoder.args(window);
            if let Some(flow) = self.client.pump(now, node, args, replies) {
                return Some(flow);
            }
            self.decoder.done();
        }
        if let Some(flow) = keyspace::pause(&self.client.work, replies) {
            return Some(flow);
        }
        // A setting may have changed them.
        self.decoder.set_caps(caps_of(&node.config().limits));
        match self.decoder.next(window) {
            Decoded::Command => {
                let args = self.decoder.args(window);
                if node.pressure() && commands::writes(&self.client, args) {
                    // Whatever only reads is answered all the same.
                    self.decoder.put_back();
                    return Some(Flow::Store);
                }
                if !self.client.take(now, node, args, replies) {
                    self.decoder.put_back();
                    return Some(Flow::Wait);
                }
                *commands += 1;
                self.client.work.spend(work::COMMAND);
                if self.client.task.is_some() {
                    self.decoder.keep();
                }
                self.client.closing.then_some(Flow::Close)
            }
            Decoded::TooLarge(why) => {
                *commands += 1;
                // With commands that wait, the transaction is one whose `EXEC` came before this.
                if self.client.waiting.is_empty() {
                    self.client.spoil_transaction();
                }
                encoder::error(replies.buf(), format!("TOOLARGE {why}").as_bytes());
                None
            }
            Decoded::Incomplete => Some(Flow::Continue),
            Decoded::Broken(_) if !self.client.waiting.is_empty() => {
                // The bytes are broken still when the replies before the error are there.
                self.decoder.put_back();
                Some(Flow::Wait)
            }
            Decoded::Broken(why) => {
                let mut text = b"ERR Protocol error: ".to_vec();
                why.write_to(&mut text);
                encoder::error(replies.buf(), &text);
                Some(Flow::Close)
            }
        }
    }

    fn run_pending(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        let mut window = std::mem::take(&mut self.pending);
        let (flow, used) = self.run(now, node, &window, replies);
        if used < window.len() {
            window.drain(..used);
            // The rest of a large command's memory goes.
            if window.capacity() > 4 * window.len().max(SPARE) {
                window.shrink_to(SPARE);
            }
            self.pending = window;
        } else {
            self.decoder.shrink();
        }
        flow
    }
}

impl client_session::ClientSession for ClientSession {
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

    fn answered(
        &mut self,
        now: Now,
        node: &mut Node,
        ticket: Ticket,
        answer: Result<Response, RequestError>,
        replies: &mut Replies,
    ) -> Flow {
        self.client.came(now, node, ticket, answer, replies);
        self.resume(now, node, replies)
    }

    fn watches(&self) -> bool {
        self.client
            .watch
            .as_ref()
            .is_some_and(|watch| watch.is_active())
    }

    fn changed(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        // A message must not stand in the middle of a reply: the command at hand goes on first.
        if self.client.task.is_some() {
            return self.resume(now, node, replies);
        }
        self.client.work.renew();
        self.client.notify(now, node, replies)
    }

    fn footprint(&self) -> usize {
        self.pending.capacity() + self.decoder.footprint() + self.client.footprint()
    }
}
