//! Seeded randomness: one ChaCha stream per subsystem and entity, so that a draw in one shifts no other.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The subsystems that draw. The numbers are part of the trace format.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Plan = 1,
    Network = 2,
    Disk = 3,
    Seeds = 4,
    Latency = 5,
    Swarm = 6,
    Situation = 7,
    Long = 8,
    Names = 9,
    Older = 10,
    Log = 11,
    Restart = 12,
    ShortDisk = 13,
    Loads = 16,
    Application = 17,
    Deaths = 18,
}

/// Parts per million that are certain.
pub(crate) const CERTAIN: u32 = 1_000_000;

/// One stream. All draws are integers made from whole 64-bit words.
#[derive(Clone)]
pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    pub(crate) fn new(seed: u64, stream: Stream, entity: u32) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(b"rumorsim");
        let mut rng = ChaCha8Rng::from_seed(bytes);
        rng.set_stream(((stream as u64) << 32) | u64::from(entity));
        Rng(rng)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Below `bound`, 0 when that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `ppm` of a million draws. Never draws for 0, so that a fault which is off shifts nothing.
    pub(crate) fn chance(&mut self, ppm: u32) -> bool {
        ppm != 0 && self.below(u64::from(CERTAIN)) < u64::from(ppm)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    pub(crate) fn seed(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        for word in out.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        out
    }
}
