//! Plans as text.
//!
//! ```text
//! # A line is one thing; what follows a # is a comment, and blank lines are free.
//! seed 7
//! codec on
//! resident_value 100
//! node n0 start=0s
//! node n1 start=20ms disk=no
//! stop 20s
//!
//! 3.012s put client=c1 table=default key=k3 ttl=450ms
//! 4s partition left=n0 right=n1 for=2.5s
//! 4.2s set node=n1 name=detector.probe_interval value=200ms
//! ```
//! The lines before the first time are the head, in any order but nodes by their numbers; `codec` (off), `disk` (yes),
//! `resident_value` (all values stay in memory) and the limits, which are the fields of [`Caps`](super::Caps) (each at least 1; the
//! core's own), may be left out. Then come the entries in order of time, all before `stop`. Times are decimal numbers with a unit
//! (`us`, `ms`, `s`, `m`, `h`), rates percentages. Printing uses one form of each, and what was printed reads back as the same plan.

mod action;
mod error;
mod fields;
mod print;
mod read;
mod value;
mod words;

pub use error::{PlanError, PlanErrorKind};

#[cfg(test)]
mod tests;
