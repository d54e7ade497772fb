//! The fuzz targets: each a plain function over bytes, which panics when a promise is broken.
//!
//! `cargo fuzz` drives them with the nightly toolchain; the ordinary tests include this file and replay the corpora.

pub mod frames;
pub mod http;
pub mod messages;
pub mod plans;
pub mod recovery;
pub mod resp;

/// Takes any bytes, and panics when a promise is broken.
pub type Body = fn(&[u8]);

/// Every target: its name, which is also that of its corpus, and its body.
pub const TARGETS: [(&str, Body); 6] = [
    ("frames", frames::run),
    ("http", http::run),
    ("messages", messages::run),
    ("plans", plans::run),
    ("recovery", recovery::run),
    ("resp", resp::run),
];

/// When every run begins.
fn start() -> rumormill_core::Now {
    use rumormill_core::{Instant, Now, Wall};
    Now::new(
        Instant::from_micros(5_000_000),
        Wall::from_millis(1_800_000_000_000),
    )
}
