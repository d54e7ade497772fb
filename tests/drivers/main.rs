//! The drivers on the loopback interface: mio, and the async loop on every runtime.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails like the test"
)]

mod mio;
mod runtimes;
