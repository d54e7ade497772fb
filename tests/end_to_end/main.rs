//! Real daemons on free ports of this machine: what a newcomer would try, and what goes wrong in practice.

#![allow(clippy::expect_used, reason = "a helper of a test fails like the test")]

mod checkpoints;
mod commands;
mod corpora;
mod damage;
mod files;
#[allow(
    clippy::expect_used,
    unreachable_pub,
    reason = "a package of its own, shared with the fuzzer"
)]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
mod joining;
mod logs;
mod pages;
mod redis_clients;
mod refusals;
mod replication;
mod settings;
mod siblings;
mod sim_check;
mod sim_plans;
mod sim_scale;
mod stops;
mod support;
mod transfers;
