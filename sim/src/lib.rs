//! The deterministic simulator: seeded networks, disks, clocks and faults around the core.
//!
//! A seed expands into a [`plan::Plan`]: what clients do and what goes wrong, each at its time. A [`World`] goes through it
//! with real nodes, over a simulated network, on simulated disks, by clocks that are wrong, and in virtual time; then all
//! faults end, the cluster settles, and [`checkers`] judge. What a node is never depends on anything else, so one seed is
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
//! To read a run, [`record`] it: [`explain`](explain::explain) gives the part around one key or one message, and
//! [`page::render`] draws all of it as one HTML page.

pub mod checkers;
mod clients;
mod clock;
mod disk;
pub mod explain;
mod faults;
pub mod history;
mod host;
mod hurt;
mod injection;
mod loads;
mod model;
#[cfg(feature = "mutants")]
pub mod mutants;
mod network;
pub mod page;
pub mod plan;
mod power;
pub mod recording;
mod report;
mod rng;
mod rot;
mod run;
mod sabotage;
mod scenario;
mod sessions;
pub mod shrink;
mod storing;
mod story;
pub mod swarm;
mod trace;
mod turn;
mod wire;
mod workload;
mod world;

pub use checkers::Violation;
pub use clock::Clock;
pub use disk::Disk;
pub use faults::{FaultKind, FaultSet, UnknownFault};
pub use model::{Effect, History, Model, Told};
pub use recording::Recording;
pub use report::Report;
pub use run::{CHECKERS, Options, record, record_plan, report, run, run_plan};
pub use sabotage::{Honest, Sabotage};
pub use scenario::Scenario;
pub use sessions::{Answer, Exchange, Found};
pub use trace::{Keep, Trace};
pub use world::{SETTLE_US, World};

#[cfg(test)]
mod tests;
