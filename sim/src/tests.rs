//! Whole runs.

mod conformance;
mod injected;
mod planted;
mod seeds;
