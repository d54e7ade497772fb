//! The index from dot to row: what a delta is scanned from.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::rows::Slot;

/// Counters per chunk. Counters are contiguous per actor, so chunks are dense where an actor's rows are fresh; an old row
/// that survives alone keeps one chunk of 256 bytes.
const CHUNK: u64 = 64;

struct Chunk {
    slots: [Option<Slot>; CHUNK as usize],
    used: u8,
}

/// The rows whose current version one actor wrote, by counter. Superseded dots are simply absent.
#[derive(Default)]
pub(crate) struct DotIndex(BTreeMap<u64, Box<Chunk>>);

impl DotIndex {
    pub(crate) fn insert(&mut self, counter: u64, slot: Slot) {
        let chunk = self.0.entry(counter / CHUNK).or_insert_with(|| {
            Box::new(Chunk {
                slots: [None; CHUNK as usize],
                used: 0,
            })
        });
        let place = &mut chunk.slots[(counter % CHUNK) as usize];
        chunk.used += u8::from(place.is_none());
        *place = Some(slot);
    }

    pub(crate) fn remove(&mut self, counter: u64) {
        let Some(chunk) = self.0.get_mut(&(counter / CHUNK)) else {
            return;
        };
        if chunk.slots[(counter % CHUNK) as usize].take().is_some() {
            chunk.used -= 1;
        }
        if chunk.used == 0 {
            self.0.remove(&(counter / CHUNK));
        }
    }

    pub(crate) fn get(&self, counter: u64) -> Option<Slot> {
        self.0.get(&(counter / CHUNK))?.slots[(counter % CHUNK) as usize]
    }

    /// The dots in `low..=high`, ascending.
    pub(crate) fn range(&self, low: u64, high: u64) -> impl Iterator<Item = (u64, Slot)> + '_ {
        self.0
            .range(low / CHUNK..=high / CHUNK)
            .flat_map(move |(number, chunk)| {
                let base = number * CHUNK;
                chunk.slots.iter().enumerate().filter_map(move |(i, slot)| {
                    let counter = base + i as u64;
                    slot.filter(|_| (low..=high).contains(&counter))
                        .map(|slot| (counter, slot))
                })
            })
    }
}
