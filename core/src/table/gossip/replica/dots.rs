//! The index from dot to row: what a delta is scanned from.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::table::Slot;

/// Counters per chunk. Counters are contiguous per actor, so chunks are dense where an actor's rows are fresh; an old row
/// that survives alone beside others keeps one chunk of 256 bytes.
const CHUNK: u64 = 64;

pub(crate) struct Chunk {
    slots: [Option<Slot>; CHUNK as usize],
    used: u8,
}

/// The rows whose current version one actor wrote, by counter. Superseded dots are simply absent.
pub(crate) enum DotIndex {
    /// At most one, as of most members in `sys`.
    One(Option<(u64, Slot)>),
    Many(BTreeMap<u64, Box<Chunk>>),
}

impl Default for DotIndex {
    fn default() -> Self {
        DotIndex::One(None)
    }
}

impl DotIndex {
    pub(crate) fn insert(&mut self, counter: u64, slot: Slot) {
        match self {
            DotIndex::One(one) if one.is_none_or(|(only, _)| only == counter) => {
                *one = Some((counter, slot));
            }
            DotIndex::One(one) => {
                let mut chunks = BTreeMap::new();
                for (counter, slot) in one.take().into_iter().chain([(counter, slot)]) {
                    insert(&mut chunks, counter, slot);
                }
                *self = DotIndex::Many(chunks);
            }
            DotIndex::Many(chunks) => insert(chunks, counter, slot),
        }
    }

    pub(crate) fn remove(&mut self, counter: u64) {
        let chunks = match self {
            DotIndex::One(one) => {
                one.take_if(|(only, _)| *only == counter);
                return;
            }
            DotIndex::Many(chunks) => chunks,
        };
        let Some(chunk) = chunks.get_mut(&(counter / CHUNK)) else {
            return;
        };
        if chunk.slots[(counter % CHUNK) as usize].take().is_some() {
            chunk.used -= 1;
        }
        if chunk.used == 0 {
            chunks.remove(&(counter / CHUNK));
        }
    }

    pub(crate) fn get(&self, counter: u64) -> Option<Slot> {
        match self {
            DotIndex::One(one) => one
                .filter(|(only, _)| *only == counter)
                .map(|(_, slot)| slot),
            DotIndex::Many(chunks) => {
                chunks.get(&(counter / CHUNK))?.slots[(counter % CHUNK) as usize]
            }
        }
    }

    /// The dots in `low..=high`, ascending.
    pub(crate) fn range(&self, low: u64, high: u64) -> impl Iterator<Item = (u64, Slot)> + '_ {
        let (one, chunks) = match self {
            DotIndex::One(one) => (*one, None),
            DotIndex::Many(chunks) => (None, Some(chunks.range(low / CHUNK..=high / CHUNK))),
        };
        let many = chunks.into_iter().flatten().flat_map(|(number, chunk)| {
            let base = number * CHUNK;
            let slots = chunk.slots.into_iter().enumerate();
            slots.filter_map(move |(i, slot)| Some((base + i as u64, slot?)))
        });
        one.into_iter()
            .chain(many)
            .filter(move |(counter, _)| (low..=high).contains(counter))
    }
}

fn insert(chunks: &mut BTreeMap<u64, Box<Chunk>>, counter: u64, slot: Slot) {
    let chunk = chunks.entry(counter / CHUNK).or_insert_with(|| {
        Box::new(Chunk {
            slots: [None; CHUNK as usize],
            used: 0,
        })
    });
    let place = &mut chunk.slots[(counter % CHUNK) as usize];
    chunk.used += u8::from(place.is_none());
    *place = Some(slot);
}
