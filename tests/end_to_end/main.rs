//! Real daemons on free ports of this machine: what a newcomer would try, and what goes wrong in practice.

#![allow(clippy::expect_used, reason = "a helper of a test fails like the test")]

mod commands;
mod refusals;
mod replication;
mod sim_check;
mod support;
