//! Seeded randomness: one named ChaCha stream per subsystem.

use core::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The seed of a node. A driver takes it from the operating system, the simulator from its plan; there is no default.
///
/// The id of a new node follows from it: two that run at once with one seed have one id, and the second is refused
/// ([`HangupReason::IdInUse`](crate::io::HangupReason::IdInUse)). A seed may be used again in a later boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// A seed for simulations and tests, made from one integer.
    pub fn from_u64(value: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        Seed(bytes)
    }
}

/// The streams of a node. A new draw in one does not shift the others; the numbers are part of the trace format.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Identity = 1,
    Detector = 2,
    Membership = 3,
    Gossip = 4,
    Link = 5,
}

/// One stream of random numbers with draws of our own, so that no other crate's algorithm can change a trace.
#[derive(Clone, Debug)]
pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    /// A stream that differs from boot to boot, though boots may have one seed.
    pub(crate) fn of_boot(Seed(mut bytes): Seed, boot: u64, stream: Stream) -> Self {
        let (_, last) = bytes.split_at_mut(24);
        for (byte, of_boot) in last.iter_mut().zip(boot.to_le_bytes()) {
            *byte ^= of_boot;
        }
        Rng::new(Seed(bytes), stream)
    }

    pub(crate) fn new(seed: Seed, stream: Stream) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed.0);
        rng.set_stream(stream as u64);
        Rng(rng)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform below `bound` up to a bias of `bound / 2^64` (multiply-shift); 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// `base` lengthened by up to `percent` per cent, so that timers of many nodes do not march in step.
    pub(crate) fn jitter(&mut self, base: Duration, percent: u32) -> Duration {
        let span = base * percent / 100;
        base + Duration::from_micros(self.below(span.as_micros() as u64 + 1))
    }
}
