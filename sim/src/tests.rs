//! Whole runs.

mod planted;
mod seeds;
