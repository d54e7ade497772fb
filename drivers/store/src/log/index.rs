//! Where the newest operation of each key is in a log file.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The place of an operation in a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// The newest operations of a file by the hashes of their keys. Where two keys have one hash, it has the place of the later one: a reader
/// that finds another key there has to search the file.
#[derive(Debug, Default)]
pub(crate) struct Index {
    places: HashMap<u64, Place, BuildHasherDefault<Hashed>>,
    ranges: Vec<Range>,
}

/// Keys that were deleted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Bytes,
    pub(crate) until: Bytes,
    /// The place of the operation.
    pub(crate) at: u32,
}

impl Index {
    pub(crate) fn hash(key: &[u8], salt: u64) -> u64 {
        xxh3_64_with_seed(key, salt)
    }

    pub(crate) fn insert(&mut self, hash: u64, place: Place) {
        self.places.insert(hash, place);
    }

    pub(crate) fn insert_range(&mut self, range: Range) {
        if range.from < range.until {
            self.ranges.push(range);
        }
    }

    /// Returns how many ranges are deleted.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Finds the place of the last range that has this key.
    pub(crate) fn range_of(&self, key: &[u8]) -> Option<u32> {
        let mut newest_first = self.ranges.iter().rev();
        let has_key = |range: &&Range| *range.from <= *key && *key < *range.until;
        newest_first.find(has_key).map(|range| range.at)
    }

    /// Returns how many bytes the newest operations of all keys have. O(keys).
    pub(crate) fn bytes(&self) -> u64 {
        self.places.values().map(|place| u64::from(place.len)).sum()
    }

    pub(crate) fn get(&self, hash: u64) -> Option<Place> {
        self.places.get(&hash).copied()
    }
}

/// The identity of what is a hash already.
#[derive(Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
