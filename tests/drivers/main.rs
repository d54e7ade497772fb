//! The drivers on the loopback interface: mio, the async loop on every runtime, and one script through all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails like the test"
)]

use rumormill_core::Config;

mod examples;
mod mio;
mod parity;
mod runtimes;
mod tap;
#[cfg(feature = "typed")]
mod typed;

/// A configuration for a cluster of this test alone. A node that dials where a dead peer listened may reach a node of another test,
/// which was given the same port meanwhile: that one refuses it.
fn config(name: &str, addr: &str) -> Config {
    let mut config = Config::new(name, addr);
    config.cluster_name = cluster_name();
    config
}

/// Threads of tests have the names of their tests.
fn cluster_name() -> String {
    std::thread::current().name().unwrap_or("tests").to_owned()
}
