//! Whole runs.

mod application;
mod conformance;
mod injected;
mod planted;
mod seeds;
