//! How a record is laid out in the tree. It takes keys of 1 to 65,535 bytes, the core's reach 65,794.
//!
//! ```text
//! key                                value
//! 0x00 key                           value                                   key up to 60,000 bytes
//! 0x01 BLAKE3(key), 32 bytes         key length, u32 little endian; key; value      longer
//! ```
//!
//! Beside them `0x02` has the seq up to which the log was merged, u64 little endian. It is the last key of all.
//!
//! Two long keys of one hash would overwrite each other; that takes a collision of BLAKE3.

use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes, BytesMut};
use rumormill_core::io::Record;

/// The longest key stored as it is.
pub(crate) const PLAIN_MAX: usize = 60_000;

pub(crate) const PLAIN: u8 = 0;
pub(crate) const HASHED: u8 = 1;
/// The key of what is no record.
pub(crate) const NUMBER: &[u8] = &[2];

/// The key under which a record is stored.
pub(crate) fn stored_key(key: &[u8]) -> Bytes {
    if key.len() <= PLAIN_MAX {
        tagged(PLAIN, key)
    } else {
        tagged(HASHED, blake3::hash(key).as_bytes())
    }
}

/// A range of keys in which the stored keys of all plain keys lie that are in the range of these; more may lie in it.
pub(crate) fn plain_range(from: &[u8], until: &[u8]) -> RangeInclusive<Bytes> {
    let cut = |key: &[u8]| tagged(PLAIN, key.get(..PLAIN_MAX).unwrap_or(key));
    cut(from)..=cut(until)
}

/// The stored keys of long keys.
pub(crate) fn hashed_range() -> RangeInclusive<Bytes> {
    tagged(HASHED, &[])..=tagged(HASHED, &[u8::MAX; blake3::OUT_LEN])
}

/// The value that is stored for a key and a value.
pub(crate) fn stored_value(key: &[u8], value: Bytes) -> Bytes {
    if key.len() <= PLAIN_MAX {
        return value;
    }
    let mut stored = BytesMut::with_capacity(4 + key.len() + value.len());
    stored.put_u32_le(key.len() as u32);
    stored.put_slice(key);
    stored.put_slice(&value);
    stored.freeze()
}

/// The record behind what is stored, in memory of its own; `None` when it was not stored by this module.
pub(crate) fn record(stored_key: &[u8], stored_value: &[u8]) -> Option<Record> {
    let (key, value) = parts(stored_key, stored_value)?;
    // A slice would keep the whole block of the tree in memory for as long as the row lives.
    Some(Record {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
    })
}

/// The record behind what is stored, in the memory of that; `None` when it was not stored by this module.
pub(crate) fn shared_record(stored_key: &Bytes, stored_value: &Bytes) -> Option<Record> {
    let (key, value) = parts(stored_key, stored_value)?;
    let holder = match stored_key.first() {
        Some(&PLAIN) => stored_key,
        _ => stored_value,
    };
    Some(Record {
        key: holder.slice_ref(key),
        value: stored_value.slice_ref(value),
    })
}

/// The key and the value of a record.
fn parts<'a>(stored_key: &'a [u8], stored_value: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    match stored_key.split_first()? {
        (&PLAIN, key) => Some((key, stored_value)),
        (&HASHED, _) => {
            let (len, rest) = stored_value.split_first_chunk::<4>()?;
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)
        }
        _ => None,
    }
}

fn tagged(tag: u8, bytes: &[u8]) -> Bytes {
    let mut stored = BytesMut::with_capacity(1 + bytes.len());
    stored.put_u8(tag);
    stored.put_slice(bytes);
    stored.freeze()
}
