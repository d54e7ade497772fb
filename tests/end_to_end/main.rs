//! Real daemons on free ports of this machine: what a newcomer would try, and what goes wrong in practice.

mod commands;
mod refusals;
mod replication;
mod support;
