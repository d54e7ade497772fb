//! Whole runs.

mod conformance;
mod planted;
mod seeds;
