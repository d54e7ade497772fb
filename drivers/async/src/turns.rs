//! The loop: take everything that has arrived, end the turn, do what the node wants.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use futures_lite::future;
use rumormill_core::link::LinkLimits;
use rumormill_core::{
    Node, Now, TableId,
    io::{HaltReason, Input},
};
use rumormill_kit::answer::{Answer, answer};
use rumormill_kit::handle::Commands;
use rumormill_kit::links::FAREWELL;
use rumormill_kit::store::StoreHandle;
use rumormill_kit::{Clock, Exit, dispatch};

use crate::alarm::Alarm;
use crate::links::Links;
use crate::outputs::Outputs;
use crate::runtime::Runtime;
use crate::shared::{Arrival, Reports, Shared};

/// Arrivals taken in one turn.
const PER_TURN: usize = 1_024;

pub(crate) struct Loop<R: Runtime> {
    shared: Arc<Shared<R>>,
    reports: Reports<R>,
    commands: Commands,
    clock: Clock,
    alarm: Alarm<R>,
    links: Links<R>,
    store: Option<StoreHandle>,
    node: Node,
    changed: Vec<TableId>,
    /// Outputs that could not be carried out in the last turn.
    inputs: Vec<Input>,
    /// Not everything was taken in the last turn.
    more: bool,
}

impl<R: Runtime> Loop<R> {
    pub(crate) fn new(
        shared: Arc<Shared<R>>,
        reports: Reports<R>,
        commands: Commands,
        clock: Clock,
        node: Node,
        store: Option<StoreHandle>,
    ) -> Self {
        Loop {
            alarm: Alarm::new(shared.runtime.clone()),
            links: Links::new(Arc::clone(&shared)),
            shared,
            reports,
            commands,
            clock,
            store,
            node,
            changed: Vec::new(),
            inputs: Vec::new(),
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
            let ended = self.commands.obey(&mut self.node, now);
            let halted = self.end_turn(now);
            if let Some(exit) = self.commands.verdict(halted, ended) {
                return exit;
            }
            self.sleep().await;
        }
    }

    /// Sleeps until there is something to do, and lets other tasks have their turn in any case.
    async fn sleep(&mut self) {
        if self.more || self.commands.is_ready() || !self.inputs.is_empty() {
            return future::yield_now().await;
        }
        let node = self.node.next_deadline();
        let node = node.map(|deadline| self.clock.instant(deadline.at));
        let deadline = node.into_iter().chain(self.commands.next_deadline()).min();
        let (bell, alarm) = (&self.shared.bell, &mut self.alarm);
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
        let arrivals = &self.reports.arrivals;
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

    /// Ends the turn: carries out the node's outputs, and sends the bytes of all links.
    fn end_turn(&mut self, now: Now) -> Option<HaltReason> {
        self.node.handle(now, Input::Tick);
        let halted = self.dispatch();
        let node = &mut self.node;
        self.links
            .connect(|| node.connection(LinkLimits::default()));
        self.commands.changed(&mut self.node, now, &self.changed);
        self.changed.clear();
        self.links.flush();
        halted
    }

    fn dispatch(&mut self) -> Option<HaltReason> {
        let mut halted = None;
        let mut outputs = Outputs {
            links: &mut self.links,
            store: self.store.as_ref(),
            commands: &mut self.commands,
            inputs: &mut self.inputs,
            changed: &mut self.changed,
            halted: &mut halted,
        };
        dispatch(&mut self.node, &mut outputs);
        halted
    }

    /// Writes what is left and answers all waiting callers.
    async fn close(mut self, exit: Exit) -> Exit {
        let mut exit = exit;
        self.gather(self.clock.now());
        if let Some(HaltReason::StoreFailed(error)) = self.end_turn(self.clock.now()) {
            exit = Exit::StoreFailed(error);
        }
        let closing = self.store.take().map(close_store);
        self.say_farewell().await;
        match closing {
            Some(Ok(closed)) => {
                if let Some(error) = closed.await.flatten() {
                    exit = Exit::StoreFailed(error);
                }
            }
            Some(Err(error)) => exit = Exit::System(error),
            None => {}
        }
        self.commands.close(&exit);
        exit
    }

    /// Closes the links, and waits a little for what they have to be written.
    async fn say_farewell(&mut self) {
        self.links.close();
        self.reports.stop.close();
        let arrivals = self.reports.arrivals.clone();
        let said = async {
            while !self.links.is_empty() {
                match arrivals.recv().await {
                    Ok(Arrival::Ended(ended)) => self.links.ended(&ended),
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        future::or(said, self.shared.runtime.sleep(FAREWELL)).await;
    }
}

/// Closes the store on a thread of its own, since that blocks; the answer is why it did not take everything.
fn close_store(store: StoreHandle) -> io::Result<Answer<Option<String>>> {
    let (reply, closed) = answer();
    thread::Builder::new()
        .name("store-close".into())
        .spawn(move || reply.send(store.close().error))?;
    Ok(closed)
}
