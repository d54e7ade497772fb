//! A distributed key-value store as one state machine, without I/O, clocks, threads or global randomness.
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod config;
mod detector;
mod error;
mod id;
mod io;
pub mod link;
mod rng;
mod time;
pub mod wire;
