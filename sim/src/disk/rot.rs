//! Rot: bits of what a disk holds flip, in its tables or in its log.

use bytes::{Bytes, BytesMut};

use super::Disk;

/// The rotten parts of a disk.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    /// Keys of the records of tables, one for each bit.
    pub(crate) keys: Vec<Bytes>,
    /// When the batches were written whose records in the log have rotted, in virtual microseconds, one for each bit.
    pub(crate) written_us: Vec<u64>,
}

impl Disk {
    /// Flips so many bits: all in records of the tables that `may_rot`, all in durable records of the log, or some here and some there. None where
    /// there is neither.
    pub(crate) fn rot(
        &mut self,
        now_us: u64,
        bits: u32,
        may_rot: impl Fn(&Bytes) -> bool,
    ) -> Struck {
        self.settle(now_us);
        let mut keys: Vec<Bytes> = self
            .tables
            .keys()
            .filter(|key| may_rot(key))
            .cloned()
            .collect();
        keys.sort_unstable();
        let logged = self.log.durable().count();
        let mut struck = Struck::default();
        let where_to = self.rng.below(3);
        for _ in 0..bits {
            let is_logged = match where_to {
                0 => true,
                1 => false,
                _ => self.rng.below(2) == 0,
            };
            match (is_logged && logged > 0 || keys.is_empty(), logged) {
                (true, 0) => break,
                (true, _) => struck.written_us.extend(self.flip_in_log(logged)),
                (false, _) => struck.keys.extend(self.flip_in_tables(&keys)),
            }
        }
        struck
    }

    /// Flips a bit of one of the durable records in the log, every second time of the last one. Returns when that was written.
    fn flip_in_log(&mut self, records: usize) -> Option<u64> {
        let at = match self.rng.below(2) {
            0 => records - 1,
            _ => self.rng.below(records as u64) as usize,
        };
        let entry = self.log.entries_mut().nth(at)?;
        let bit = self.rng.below(entry.size() as u64 * 8);
        entry.damage(|bytes| bytes[(bit / 8) as usize] ^= 1 << (bit % 8));
        Some(entry.at_us)
    }

    fn flip_in_tables(&mut self, keys: &[Bytes]) -> Option<Bytes> {
        let key = keys.get(self.rng.below(keys.len() as u64) as usize)?;
        let value = self.tables.get_mut(key)?;
        let mut rotten = BytesMut::from(&value[..]);
        let bit = self.rng.below(rotten.len() as u64 * 8);
        rotten[(bit / 8) as usize] ^= 1 << (bit % 8);
        *value = rotten.freeze();
        Some(key.clone())
    }
}
