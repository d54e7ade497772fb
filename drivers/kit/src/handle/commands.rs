//! The commands of handles to a loop.

use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rumormill_core::{
    Instant as Mono, Node, Now, TableId, Token,
    errors::RequestError,
    io::{HaltReason, Handover, Input, Request, Response},
};

use super::line::{Command, Done, Inbox, Listener, Order, Ring, line};
use super::watchers::{Gated, Watchers};
use super::{Error, Handle};
use crate::answer::Reply;
use crate::exit::Exit;

/// Commands carried out in one turn, how long that takes at most, and after how many the time is looked at.
const PER_TURN: usize = 1_024;
const PHASE: Duration = Duration::from_millis(2);
const LOOK: usize = 8;

/// Requests whose askers may have gone away before all are looked through.
const SWEEP: usize = 16;

/// The bounds of what handles may ask at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandLimits {
    /// Commands that may wait for the loop, at least 1; 4,096.
    pub commands: usize,
    /// Watches that may wait for a change; 10,000.
    pub watches: usize,
    /// How long a leave may take; 5 s.
    pub leave_timeout: Duration,
    /// How long a stop may wait for the last batch to be synced; 5 s.
    pub stop_timeout: Duration,
}

impl Default for CommandLimits {
    fn default() -> Self {
        CommandLimits {
            commands: 4_096,
            watches: 10_000,
            leave_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// The caller that waits for the reply to a request.
enum Asker {
    Handle(Done),
    /// Changes that are shown after a sync.
    Watch(Gated),
}

impl Asker {
    fn is_awaited(&self) -> bool {
        match self {
            Asker::Handle(Done::Reply(reply)) => reply.is_awaited(),
            Asker::Handle(Done::Call(_)) => true,
            Asker::Watch((watched, _)) => watched.is_awaited(),
        }
    }

    fn reply(self, result: Result<Response, RequestError>) {
        match self {
            Asker::Handle(Done::Reply(reply)) => reply.send(result),
            Asker::Handle(Done::Call(done)) => done(result),
            Asker::Watch((watched, changes)) => {
                watched.send(result.map(|_| changes).map_err(Into::into));
            }
        }
    }
}

/// The commands of handles to a loop, which calls it once or twice a turn. Dropped, it closes all handles.
pub struct Commands {
    inbox: Inbox,
    limits: CommandLimits,
    asked: HashMap<Token, Asker, FixedState>,
    last_token: u64,
    sweep_at: usize,
    watchers: Watchers,
    listeners: Vec<Listener>,
    /// Until when the node may take its leave; the callers that wait for it are in `leavers`.
    leaving: Option<Instant>,
    leavers: Vec<Reply<Result<Handover, Error>>>,
    /// Until when the node may stop; the callers that wait for it are in `enders`.
    stopping: Option<Instant>,
    enders: Vec<Reply<()>>,
    more: bool,
}

impl Commands {
    /// A loop's end, and the first handle to it. `ring` wakes the loop.
    pub fn new(limits: CommandLimits, ring: Ring) -> (Handle, Commands) {
        let (line, inbox) = line(limits.commands, ring);
        let commands = Commands {
            inbox,
            limits,
            asked: HashMap::with_hasher(FixedState::default()),
            last_token: 0,
            sweep_at: SWEEP,
            watchers: Watchers::new(limits.watches),
            listeners: Vec::new(),
            leaving: None,
            leavers: Vec::new(),
            stopping: None,
            enders: Vec::new(),
            more: false,
        };
        (Handle { line }, commands)
    }

    /// Carries out what waits, before the turn's tick; the reason when something ends the loop.
    pub fn obey(&mut self, node: &mut Node, now: Now) -> Option<Exit> {
        let until = Instant::now() + PHASE;
        for done in 1..=PER_TURN {
            // The loop holds no handle of its own: without any it goes on without commands.
            let Ok(command) = self.inbox.commands.try_recv() else {
                break;
            };
            self.carry_out(node, now, command);
            if done % LOOK == 0 && Instant::now() >= until {
                break;
            }
        }
        self.more = !self.inbox.commands.is_empty();
        while let Ok(order) = self.inbox.orders.try_recv() {
            match order {
                Order::Leave(left) => {
                    self.leavers.extend(left);
                    if self.leaving.is_some() {
                        return Some(Exit::LeaveCut);
                    }
                    // A node that stops does not leave any more: the caller hears that the leave was cut.
                    if self.stopping.is_some() {
                        continue;
                    }
                    self.leaving = Some(Instant::now() + self.limits.leave_timeout);
                    let token = self.token();
                    self.hand_in(node, now, (token, None), Request::Leave);
                }
                Order::Shutdown(ended) => {
                    self.enders.extend(ended);
                    if self.stopping.is_some() {
                        return Some(Exit::StopCut);
                    }
                    self.leaving = None;
                    self.stopping = Some(Instant::now() + self.limits.stop_timeout);
                    let token = self.token();
                    self.hand_in(node, now, (token, None), Request::Stop);
                }
            }
        }
        None
    }

    fn carry_out(&mut self, node: &mut Node, now: Now, command: Command) {
        match command {
            Command::Run(job) => job(node, now),
            Command::Request {
                request,
                patience,
                done,
            } => {
                let deadline = patience.map(|patience| now.mono + patience);
                self.ask(node, now, (Asker::Handle(done), deadline), request);
            }
            Command::Watch {
                table,
                from,
                watched,
            } => {
                let gated = self.watchers.watch((node, now), (table, from), watched);
                self.show_synced(node, now, gated);
            }
            Command::WatchMembers { seen, told } => self.watchers.watch_members(node, seen, told),
            Command::Listen(listener) => self.listeners.push(listener),
        }
    }

    /// A token that no request has, for one of the driver's own.
    pub fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    fn ask(
        &mut self,
        node: &mut Node,
        now: Now,
        (asker, deadline): (Asker, Option<Mono>),
        request: Request,
    ) {
        if self.asked.len() >= self.sweep_at {
            self.take_back(node, now);
        }
        let token = self.token();
        self.asked.insert(token, asker);
        self.hand_in(node, now, (token, deadline), request);
    }

    fn hand_in(
        &self,
        node: &mut Node,
        now: Now,
        (token, deadline): (Token, Option<Mono>),
        request: Request,
    ) {
        let input = Input::Request {
            token,
            deadline,
            request,
        };
        node.handle(now, input);
    }

    /// Takes back the requests of callers that went away.
    fn take_back(&mut self, node: &mut Node, now: Now) {
        let gone = self.asked.iter().filter(|(_, asker)| !asker.is_awaited());
        let mut gone: Vec<Token> = gone.map(|(token, _)| *token).collect();
        // The order of a map must not show.
        gone.sort_unstable();
        for token in gone {
            self.asked.remove(&token);
            node.handle(now, Input::Cancel { token });
        }
        self.sweep_at = SWEEP.max(2 * self.asked.len());
    }

    /// Hands on a reply.
    ///
    /// # Errors
    /// The reply, when no handle has asked for it.
    pub fn reply(
        &mut self,
        token: Token,
        result: Result<Response, RequestError>,
    ) -> Result<(), Result<Response, RequestError>> {
        match self.asked.remove(&token) {
            Some(asker) => {
                asker.reply(result);
                Ok(())
            }
            None => Err(result),
        }
    }

    /// Wakes watches after the turn's outputs were drained: once in every turn. `tables` are those that changed; none may be left out.
    pub fn changed(&mut self, node: &mut Node, now: Now, tables: &[TableId]) {
        for table in tables {
            let gated = self.watchers.changed((node, now), *table);
            self.more |= !gated.is_empty();
            self.show_synced(node, now, gated);
        }
        self.watchers.members_changed(node);
        self.watchers.turn_ended(node, now);
        if !tables.is_empty() {
            self.listeners
                .retain_mut(|listener| listener(node, now, tables));
        }
    }

    /// Asks for a sync, after which changes may be seen.
    fn show_synced(&mut self, node: &mut Node, now: Now, gated: impl IntoIterator<Item = Gated>) {
        for gated in gated {
            self.ask(node, now, (Asker::Watch(gated), None), Request::Sync);
        }
    }

    /// Whether another turn is to begin at once.
    pub fn is_ready(&self) -> bool {
        self.more
    }

    /// When a leave or a stop has taken too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.leaving.or(self.stopping)
    }

    /// Why the loop ends after a turn, if it does: the node has halted, or what [`Commands::obey`] said, or a leave or a stop has taken too
    /// long.
    pub fn verdict(&self, halted: Option<HaltReason>, ended: Option<Exit>) -> Option<Exit> {
        let late = |until: Option<Instant>| until.is_some_and(|until| until <= Instant::now());
        let cut = match late(self.leaving) {
            true => Some(Exit::LeaveCut),
            false => late(self.stopping).then_some(Exit::StopCut),
        };
        halted.map(Exit::from).or(ended).or(cut)
    }

    /// Answers all waiting callers: the loop has ended, and what the node emitted is stored.
    pub fn close(mut self, exit: &Exit) {
        for (_, asker) in self.asked.drain() {
            // The others are told by the drop.
            if let Asker::Handle(Done::Call(done)) = asker {
                done(Err(RequestError::Halted));
            }
        }
        for leaver in self.leavers.drain(..) {
            leaver.send(match exit {
                Exit::Left(handover) => Ok(*handover),
                _ => Err(Error::LeaveCut),
            });
        }
        for ender in self.enders.drain(..) {
            ender.send(());
        }
    }
}
