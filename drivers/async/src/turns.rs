//! The loop: take everything that has arrived, end the turn, do what the node wants.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use futures_lite::future;
use rumormill_core::{
    HaltReason, Handover, Input, Instant as Mono, Node, Now, Request, TableId, Token,
};
use rumormill_kit::answer::{Reply, answer};
use rumormill_kit::calls::{Error, Gated, Watchers};
use rumormill_kit::store::StoreHandle;
use rumormill_kit::{Clock, Exit, dispatch};

use crate::alarm::Alarm;
use crate::inbox::{Command, Inbox, Order};
use crate::links::Links;
use crate::office::{Arrival, Headquarters, Office};
use crate::outputs::{Asker, Askers, Outputs};
use crate::runtime::Runtime;

/// Arrivals and commands taken in one turn, of each.
const PER_TURN: usize = 1_024;

/// How long the last words to peers may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Requests whose askers may have gone away before all are looked through.
const SWEEP: usize = 16;

pub(crate) struct Loop<R: Runtime> {
    office: Arc<Office<R>>,
    headquarters: Headquarters<R>,
    inbox: Inbox,
    clock: Clock,
    alarm: Alarm<R>,
    links: Links<R>,
    store: Option<StoreHandle>,
    node: Node,
    asked: Askers,
    last_token: u64,
    sweep_at: usize,
    watchers: Watchers,
    changed: Vec<TableId>,
    /// What could not be done in the last turn.
    inputs: Vec<Input>,
    /// Since when the node is leaving, and who waits for that.
    leaving: Option<Instant>,
    leavers: Vec<Reply<Result<Handover, Error>>>,
    enders: Vec<Reply<()>>,
    /// Not everything was taken in the last turn.
    more: bool,
}

impl<R: Runtime> Loop<R> {
    pub(crate) fn new(
        office: Arc<Office<R>>,
        headquarters: Headquarters<R>,
        inbox: Inbox,
        clock: Clock,
        node: Node,
        store: Option<StoreHandle>,
    ) -> Self {
        Loop {
            alarm: Alarm::new(office.runtime.clone()),
            links: Links::new(Arc::clone(&office)),
            watchers: Watchers::new(office.options.watches),
            office,
            headquarters,
            inbox,
            clock,
            store,
            node,
            asked: Askers::with_hasher(FixedState::default()),
            last_token: 0,
            sweep_at: SWEEP,
            changed: Vec::new(),
            inputs: Vec::new(),
            leaving: None,
            leavers: Vec::new(),
            enders: Vec::new(),
            more: false,
        }
    }

    pub(crate) async fn run(mut self) -> Exit {
        let exit = self.turn_until_end().await;
        self.close(exit).await
    }

    async fn turn_until_end(&mut self) -> Exit {
        loop {
            let now = self.clock.now();
            self.gather(now);
            let ended = self.obey(now);
            let halted = self.end_turn(now);
            if let Some(exit) = halted.map(Exit::from).or(ended) {
                return exit;
            }
            if self.leaving.is_some_and(|until| until <= Instant::now()) {
                return Exit::LeaveCut;
            }
            self.sleep().await;
        }
    }

    /// Sleeps until there is something to do, and lets other tasks have their turn in any case.
    async fn sleep(&mut self) {
        if self.more || !self.inputs.is_empty() {
            return future::yield_now().await;
        }
        let node = self.node.next_deadline();
        let node = node.map(|deadline| self.clock.instant(deadline.at));
        let deadline = node.into_iter().chain(self.leaving).min();
        let (bell, alarm) = (&self.inbox.bell, &mut self.alarm);
        let mut slept = false;
        poll_fn(|cx| {
            let woken = bell.poll(cx).is_ready() || alarm.poll(deadline, cx).is_ready();
            if woken {
                return Poll::Ready(());
            }
            slept = true;
            Poll::Pending
        })
        .await;
        if !slept {
            future::yield_now().await;
        }
    }

    /// Takes what has arrived.
    fn gather(&mut self, now: Now) {
        for input in self.inputs.drain(..) {
            self.node.handle(now, input);
        }
        let arrivals = &self.headquarters.arrivals;
        self.more = arrivals.len() > PER_TURN;
        for _ in 0..PER_TURN {
            let Ok(arrival) = arrivals.try_recv() else {
                break;
            };
            self.links.arrived(arrival, &mut self.node, now);
        }
        while let Some(report) = self.store.as_mut().and_then(StoreHandle::poll) {
            self.node.handle(now, report.into());
        }
    }

    /// Carries out what handles want; the reason when one ends the loop.
    fn obey(&mut self, now: Now) -> Option<Exit> {
        while let Ok(order) = self.inbox.orders.try_recv() {
            match order {
                Order::Leave(reply) => {
                    self.leavers.push(reply);
                    if self.leaving.is_some() {
                        return Some(Exit::LeaveCut);
                    }
                    self.leaving = Some(Instant::now() + self.office.options.leave_timeout);
                    self.ask(now, None, None, Request::Leave);
                }
                Order::Shutdown(reply) => {
                    self.enders.push(reply);
                    return Some(Exit::Shutdown);
                }
            }
        }
        for _ in 0..PER_TURN {
            let Ok(command) = self.inbox.commands.try_recv() else {
                return None;
            };
            self.carry_out(now, command);
        }
        self.more = true;
        None
    }

    fn carry_out(&mut self, now: Now, command: Command) {
        match command {
            Command::Run(job) => job(&mut self.node, now),
            Command::Request {
                request,
                patience,
                done,
            } => {
                let deadline = patience.map(|patience| now.mono + patience);
                self.ask(now, Some(Asker::Handle(done)), deadline, request);
            }
            Command::Watch {
                table,
                from,
                watched,
            } => {
                let at = (&self.node, now);
                let gated = self.watchers.watch(at, (table, from), watched);
                self.show_synced(now, gated);
            }
        }
    }

    /// Changes that nobody may see before they are durable.
    fn show_synced(&mut self, now: Now, gated: impl IntoIterator<Item = Gated>) {
        for gated in gated {
            self.ask(now, Some(Asker::Watch(gated)), None, Request::Sync);
        }
    }

    /// Hands the node a request; its answer goes to `asker`, if there is one.
    fn ask(&mut self, now: Now, asker: Option<Asker>, deadline: Option<Mono>, request: Request) {
        self.last_token += 1;
        let token = Token(self.last_token);
        if let Some(asker) = asker {
            self.cancel_abandoned(now);
            self.asked.insert(token, asker);
        }
        let input = Input::Request {
            token,
            deadline,
            request,
        };
        self.node.handle(now, input);
    }

    /// Takes back the requests of those who went away.
    fn cancel_abandoned(&mut self, now: Now) {
        if self.asked.len() < self.sweep_at {
            return;
        }
        let gone = self.asked.iter().filter(|(_, asker)| !asker.is_awaited());
        let mut gone: Vec<Token> = gone.map(|(token, _)| *token).collect();
        gone.sort_unstable();
        for token in gone {
            self.asked.remove(&token);
            self.node.handle(now, Input::Cancel { token });
        }
        self.sweep_at = SWEEP.max(2 * self.asked.len());
    }

    /// Ends the turn: what the node wants is done, and everybody's bytes go out.
    fn end_turn(&mut self, now: Now) -> Option<HaltReason> {
        self.node.handle(now, Input::Tick);
        let halted = self.dispatch();
        let node = &self.node;
        self.links.connect(|| node.hello());
        let mut gated = Vec::new();
        for table in self.changed.drain(..) {
            gated.extend(self.watchers.changed((&self.node, now), table));
        }
        self.watchers.settle(&self.node, now);
        if !gated.is_empty() {
            self.show_synced(now, gated);
            // They begin another turn.
            self.more = true;
        }
        self.links.flush();
        halted
    }

    fn dispatch(&mut self) -> Option<HaltReason> {
        let mut halted = None;
        let mut outputs = Outputs {
            links: &mut self.links,
            store: self.store.as_ref(),
            asked: &mut self.asked,
            inputs: &mut self.inputs,
            changed: &mut self.changed,
            halted: &mut halted,
        };
        dispatch(&mut self.node, &mut outputs);
        halted
    }

    /// Writes what is left and answers who still waits.
    async fn close(mut self, exit: Exit) -> Exit {
        let mut exit = exit;
        self.gather(self.clock.now());
        if let Some(HaltReason::StoreFailed(error)) = self.end_turn(self.clock.now()) {
            exit = Exit::StoreFailed(error);
        }
        let stored = self.store.take().map(close_store);
        self.say_farewell().await;
        if let Some(closed) = stored
            && let Err(failed) = closed.await
        {
            exit = failed;
        }
        for leaver in self.leavers.drain(..) {
            leaver.send(match &exit {
                Exit::Left(handover) => Ok(*handover),
                _ => Err(Error::LeaveCut),
            });
        }
        // Whoever else waits is told by the drop.
        for ender in self.enders.drain(..) {
            ender.send(());
        }
        exit
    }

    /// Closes the links, and waits a little for what they have to be written.
    async fn say_farewell(&mut self) {
        self.links.close();
        self.headquarters.stop.close();
        let arrivals = self.headquarters.arrivals.clone();
        let said = async {
            while !self.links.is_empty() {
                match arrivals.recv().await {
                    Ok(Arrival::Ended {
                        link,
                        dial,
                        up,
                        why,
                    }) => drop(self.links.ended(link, dial, up, why)),
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        future::or(said, self.office.runtime.sleep(FAREWELL)).await;
    }
}

/// Closes the store on a thread of its own, since that blocks.
async fn close_store(store: StoreHandle) -> Result<(), Exit> {
    let (reply, closed) = answer();
    thread::Builder::new()
        .name("store-close".into())
        .spawn(move || reply.send(store.close().error))
        .map_err(Exit::System)?;
    match closed.await.flatten() {
        Some(error) => Err(Exit::StoreFailed(error)),
        None => Ok(()),
    }
}
