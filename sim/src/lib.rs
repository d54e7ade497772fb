//! The deterministic simulator: seeded networks, disks, clocks and faults around the core.
//!
//! A seed expands into a [`plan::Plan`]: what clients do and what goes wrong, each at its time. A [`World`] goes through it
//! with real nodes, over a simulated network, on simulated disks, by clocks that are wrong, and in virtual time; then all
//! faults end, the cluster comes to rest, and [`checkers`] judge. What a node is never depends on anything else, so one seed is
//! one run: the same trace and the same hash on every machine and in every build.
//!
//! ```
//! use rumormill_sim::{FaultSet, Options, run};
//!
//! let options = Options { seed: 7, nodes: 3, minutes: 0, faults: FaultSet::ALL, trace: false };
//! let report = run(&options);
//! assert!(report.held(), "{report}");
//! assert_eq!(report.hash, run(&options).hash);
//! ```
//!
//! A single situation is told with a [`Scenario`]:
//!
//! ```
//! use rumormill_sim::Scenario;
//!
//! let mut story = Scenario::new(3);
//! story.at(3_000).put(0, "color", "red");
//! story.at(4_000).partition(&[0], &[1, 2]);
//! story.at(5_000).delete(1, "color");
//! story.at(6_000).expect(0, "color", Some("red")).expect(2, "color", None);
//! story.heal().expect_converged();
//! story.expect(0, "color", None);
//! ```
//!
//! # Your own application
//!
//! The same world runs your application beside the store: one state machine per machine, with its own messages and timers,
//! which go through the same network and by the same clocks as the store's, and die with the same crashes. Implement
//! [`app::Application`] for one machine and [`app::Deployment`] for all, say what was promised in
//! [`judge`](app::Deployment::judge), and let plans hurt it:
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use rumormill_core::table::{TableOptions, Write};
//! use rumormill_sim::app::{Application, Context, Deployment};
//! use rumormill_sim::plan::{Plan, Shape};
//! use rumormill_sim::{FaultSet, Keep, Violation, World, report};
//!
//! /// Each machine greets the next one until another has greeted it, and writes that into the store.
//! #[derive(Default)]
//! struct Greeter;
//!
//! impl Application for Greeter {
//!     fn started(&mut self, context: &mut Context<'_>) {
//!         context.set_timer(0, Duration::from_millis(100));
//!     }
//!
//!     fn timer(&mut self, context: &mut Context<'_>, _: u64) {
//!         let next = (context.machine() + 1) % context.machines();
//!         context.send(next, "hello"); // may be lost, so it is said again
//!         context.set_timer(0, Duration::from_millis(500));
//!     }
//!
//!     fn message(&mut self, context: &mut Context<'_>, _from: usize, message: &Bytes) {
//!         let key = format!("n{}", context.machine());
//!         let write = Write::Put { key: key.as_bytes(), value: message.clone(), expires: None };
//!         let written = context
//!             .table("greeted", TableOptions::default())
//!             .ok()
//!             .and_then(|table| context.write(table, write).ok());
//!         if written.is_none() {
//!             context.note("refused", "the store is full or leaving"); // the next greeting tries again
//!         }
//!     }
//! }
//!
//! struct Greeters;
//!
//! impl Deployment for Greeters {
//!     fn start(&mut self, _machine: usize) -> Box<dyn Application> {
//!         Box::new(Greeter)
//!     }
//!
//!     fn rests(&self, world: &World) -> bool {
//!         let greeted = |node: &rumormill_core::Node, now| {
//!             let table = node.user_table("greeted");
//!             table.map_or(0, |table| node.view(now).len(table).unwrap_or(0))
//!         };
//!         (0..world.machines()).all(|machine| {
//!             let node = world.node(machine).zip(world.clock(machine));
//!             node.is_some_and(|(node, now)| greeted(node, now) == world.machines() as u64)
//!         })
//!     }
//!
//!     fn judge(&mut self, world: &World) -> Vec<Violation> {
//!         let text = "a machine was never greeted".to_string();
//!         let broken = (!self.rests(world)).then(|| Violation { checker: "greetings", at_us: world.now_us(), text });
//!         broken.into_iter().collect()
//!     }
//! }
//!
//! let faults = FaultSet::ALL;
//! let shape = Shape { seed: 7, nodes: 3, active_us: 5_000_000, faults, ops_per_s: Some(5) };
//! let mut world = World::new(Plan::from_seed(&shape), Keep::Story);
//! world.deploy(Box::new(Greeters));
//! let report = report(world, shape.seed, faults);
//! assert!(report.held(), "{report}");
//! ```
//!
//! `sim/examples/leases.rs` is a larger one: leases under faults, with a bug to plant and to find.
//!
//! # Reading a run
//!
//! To read a run, [`record`] it: [`explain`](explain::explain) gives the part around one key or one message, and
//! [`page::render`] draws all of it as one HTML page.

mod agreed;
mod apart;
pub mod app;
mod calm;
pub mod checkers;
mod clients;
mod clock;
mod delivery;
mod disk;
mod event;
mod evict;
pub mod explain;
mod faults;
pub mod history;
mod host;
mod hurt;
mod injection;
mod links;
mod loads;
mod model;
#[cfg(feature = "mutants")]
pub mod mutants;
mod network;
mod observers;
mod older;
mod opening;
mod operator;
pub mod page;
pub mod plan;
mod power;
mod quiesce;
pub mod recording;
mod report;
mod rng;
mod rot;
mod run;
mod sabotage;
pub mod scale;
mod scenario;
mod sessions;
mod settings;
pub mod shrink;
mod siblings;
mod storing;
mod story;
pub mod swarm;
mod trace;
mod turn;
mod vanish;
mod wire;
mod workload;
mod world;

pub use checkers::Violation;
pub use clock::Clock;
pub use disk::Rules as DiskRules;
pub use faults::{FaultKind, FaultSet, UnknownFault};
pub use model::{Effect, History, Model, Told};
pub use quiesce::QUIESCE_US;
pub use recording::Recording;
pub use report::Report;
pub use run::{CHECKERS, Options, record, record_plan, report, run, run_plan};
pub use sabotage::{Honest, Sabotage};
pub use scenario::Scenario;
pub use sessions::{Answer, Exchange, Found};
pub use trace::{Keep, Trace};
pub use world::World;

#[cfg(test)]
mod tests;
