//! The drivers on the loopback interface: mio, the async loop on every runtime, and one script through all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails like the test"
)]

mod examples;
mod mio;
mod parity;
mod runtimes;
mod tap;
#[cfg(feature = "typed")]
mod typed;
