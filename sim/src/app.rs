//! An embedder's own application in the world: its messages and timers, and the store inside.
//!
//! A [`Deployment`] puts one [`Application`] on each machine, beside the machine's node, for each boot of the node. The
//! application is a state machine as the node is: the world tells it what happened, and it acts through a [`Context`]. Its
//! messages go through the same network as the nodes' messages, its timers follow the machine's own clock, and it dies with
//! its process. What it must know after a crash it keeps in tables of the store.
//!
//! All of it is deterministic as long as the application is: it draws from [`Context::random`], reads [`Context::now`], and
//! iterates over nothing whose order is by chance.

mod acts;
mod driver;
mod slot;

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    Node, Now, TableId, Token,
    errors::{RequestError, TableError, WriteError},
    io::{Request, Response},
    table::{Accepted, TableOptions, View, Write},
};

pub(crate) use self::driver::AppEvent;
pub(crate) use self::slot::Slot;
use crate::checkers::Violation;
use crate::trace::{Field, Weight};
use crate::world::World;

/// The longest message of an application, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Messages of one machine's application that may be on their way at a time; the network drops what goes beyond.
pub const MAX_IN_FLIGHT: usize = 10_000;
/// Timers of one application that may be set at a time.
pub const MAX_TIMERS: usize = 1_000;
/// The bytes of a message or a value that a line of the trace shows.
const SHOWN_BYTES: usize = 64;

/// The application on the machines of a world, and its promises.
pub trait Deployment {
    /// The process of a machine starts, for the first time or again. Nothing survives from an earlier boot but what is in the
    /// store; [`Application::started`] is called at once.
    fn start(&mut self, machine: usize) -> Box<dyn Application>;

    /// Whether the application has nothing left to do. After the last fault the world waits for it, as long as for the
    /// store ([`QUIESCE_US`](crate::QUIESCE_US) for up to 20 machines), and then judges.
    fn rests(&self, world: &World) -> bool {
        let _ = world;
        true
    }

    /// Returns the promises that the application has not kept, at the end of a run, after the store's own promises were judged.
    fn judge(&mut self, world: &World) -> Vec<Violation> {
        let _ = world;
        Vec::new()
    }
}

/// One boot of the application on one machine. Every method does nothing unless it is overridden.
///
/// While the process is paused what happens waits, in order; while the machine is slow each call costs time. When the process
/// ends, so does the application, without a word.
pub trait Application: Any {
    /// Its boot begins. The node beside it may still have to join its cluster or to catch up with it: see
    /// [`NodeStatus::phase`](rumormill_core::NodeStatus::phase).
    fn started(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// A message from the application of machine `from` arrived. It may have been sent by an earlier boot, or to one.
    fn message(&mut self, context: &mut Context<'_>, from: usize, message: &Bytes) {
        let _ = (context, from, message);
    }

    /// A timer is due; it is set no longer.
    fn timer(&mut self, context: &mut Context<'_>, timer: u64) {
        let _ = (context, timer);
    }

    /// Rows changed in a table that it has opened with [`Context::table`], by its own writes or another's.
    fn changed(&mut self, context: &mut Context<'_>, table: TableId) {
        let _ = (context, table);
    }

    /// The node answers [`Context::request`].
    fn replied(
        &mut self,
        context: &mut Context<'_>,
        token: Token,
        result: Result<Response, RequestError>,
    ) {
        let _ = (context, token, result);
    }
}

/// The means of an application, while it is told of an event.
pub struct Context<'a> {
    world: &'a mut World,
    machine: usize,
}

impl Context<'_> {
    /// The machine it runs on.
    pub fn machine(&self) -> usize {
        self.machine
    }

    /// How many machines there are.
    pub fn machines(&self) -> usize {
        self.world.hosts.len()
    }

    /// The clocks of the machine, which are wrong when a fault says so: the wall clock may jump, the monotonic one runs up to
    /// 50 % too fast or too slow.
    pub fn now(&self) -> Now {
        self.world.hosts[self.machine].now(self.world.now_us)
    }

    /// The node beside it, to ask for its members, its phase and so on.
    pub fn node(&self) -> &Node {
        let Some(node) = &self.world.hosts[self.machine].node else {
            unreachable!("an application lives as long as its node")
        };
        node
    }

    /// The tables of the store, as this machine has them.
    pub fn view(&self) -> View<'_> {
        self.node().view(self.now())
    }

    /// Opens a table of the store, with the same options on every machine and in every boot, and from now on tells the
    /// application when it changes; what is in it already it has to look at itself. The tables of a plan's clients are
    /// [`Table`](crate::plan::Table): take other names.
    ///
    /// # Errors
    /// [`TableError`]; nothing was changed. A node that leaves or whose disk is full refuses; one that has just started does not.
    pub fn table(&mut self, name: &str, options: TableOptions) -> Result<TableId, TableError> {
        self.world.open_table(self.machine, name, options)
    }

    /// Writes to a table at once and locally. Whether it is durable yet [`Accepted`] says; a [`Request::Table`] is answered
    /// when it is.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn write(&mut self, table: TableId, write: Write<'_>) -> Result<Accepted, WriteError> {
        self.world.write_row(self.machine, table, write)
    }

    /// Asks the node for something that may take a while, as a write that has to be durable or a value that may be only on the
    /// disk. [`Application::replied`] gets the answer, unless this boot ends before.
    ///
    /// # Panics
    /// If it is to join or to leave: the plan decides which machine does that, and when.
    pub fn request(&mut self, request: Request) -> Token {
        let of_plan = matches!(request, Request::Join { .. } | Request::Leave);
        assert!(!of_plan, "joins and leaves belong into the plan");
        self.world.ask_for(self.machine, request)
    }

    /// Sends a message to the application of a machine, which may be this one. It takes as long as a message between the
    /// nodes and meets the same faults: it may be lost, doubled or overtaken, and is lost where there is no way, no power, or
    /// a bit of it flips. Without such a fault messages to one machine arrive in order.
    ///
    /// # Panics
    /// If there is no such machine, or the message is longer than [`MAX_MESSAGE`].
    pub fn send(&mut self, to: usize, message: impl Into<Bytes>) {
        let message = message.into();
        assert!(to < self.machines(), "there is no machine n{to}");
        assert!(
            message.len() <= MAX_MESSAGE,
            "a message of {} bytes is too long",
            message.len()
        );
        self.world.post(self.machine, to, message);
    }

    /// Sets a timer, or sets it anew: [`Application::timer`] gets this number when the machine's monotonic clock has gone on
    /// by `after`, a microsecond at least.
    ///
    /// # Panics
    /// If more than [`MAX_TIMERS`] are set.
    pub fn set_timer(&mut self, timer: u64, after: Duration) {
        self.world.set_timer(self.machine, timer, after);
    }

    /// Forgets a timer, if it is set.
    pub fn cancel_timer(&mut self, timer: u64) {
        self.world.slots[self.machine].cancel_timer(timer);
    }

    /// The next number of this machine's own random stream.
    pub fn random(&mut self) -> u64 {
        self.world.slots[self.machine].rng().next()
    }

    /// A random number below `bound`, 0 when that is 0.
    pub fn random_below(&mut self, bound: u64) -> u64 {
        self.world.slots[self.machine].rng().below(bound)
    }

    /// Writes a line into the trace, and so into the hash of the run: `verb` names what happened, `text` says more.
    pub fn note(&mut self, verb: &'static str, text: &str) {
        let fields = [Field::Bytes("says", text.as_bytes())];
        let now_us = self.world.now_us;
        self.world
            .trace
            .event(now_us, self.machine, Weight::Story, verb, &fields);
    }

    /// The present in true, virtual time, in microseconds: for checks, which know better than the machine's clocks.
    pub fn true_us(&self) -> u64 {
        self.world.now_us
    }
}

impl World {
    /// Runs an application on every machine. A world without one is the same world that it always was.
    ///
    /// # Panics
    /// If time has begun.
    pub fn deploy(&mut self, deployment: Box<dyn Deployment>) {
        assert!(
            self.now_us == 0 && self.tally.events == 0,
            "an application is there from the beginning"
        );
        self.slots = (0..self.hosts.len())
            .map(|machine| Slot::new(self.seed(), machine))
            .collect();
        self.deployment = Some(deployment);
    }

    /// The application of a machine, if it runs and is a `T`: for [`Deployment::judge`], and for tests to look at.
    pub fn application<T: Application>(&self, machine: usize) -> Option<&T> {
        let running: &dyn Any = self.slots.get(machine)?.running()?;
        running.downcast_ref()
    }
}
