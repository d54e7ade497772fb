//! The seal of a record: eight bytes of rapidhash (v3) over key and value, at the end of the value.

use alloc::string::String;
use core::ops::Range;

use bytes::Bytes;
use rapidhash::v3::rapidhash_v3;

use super::bytes::Writer;
use crate::io::{Record, StoreOp};

/// Puts a record with its seal.
pub(crate) fn seal(key: Bytes, value: Writer) -> StoreOp {
    StoreOp::Put(sealed(key, value))
}

/// Returns a record with its seal.
pub(crate) fn sealed(key: Bytes, mut value: Writer) -> Record {
    let sum = checksum(&key, value.as_slice());
    value.u64(sum);
    Record {
        key,
        value: value.finish(),
    }
}

/// Appends the seal of a record to its value, which follows its key.
pub(crate) fn append(record: &mut Writer, key: Range<usize>) {
    let key_and_value = record.as_slice().get(key.start..).unwrap_or_default();
    let (key, value) = key_and_value.split_at(key.len());
    let sum = checksum(key, value);
    record.u64(sum);
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    rapidhash_v3(key) ^ rapidhash_v3(value).rotate_left(1)
}

/// Returns the value of a record without its seal.
///
/// # Errors
/// The fault of the record, when it is not whole.
pub(crate) fn open(record: &Record) -> Result<&[u8], &'static str> {
    let split = record.value.len().checked_sub(8).ok_or("too short")?;
    let (body, sum) = record.value.split_at(split);
    match checksum(&record.key, body).to_le_bytes() == sum {
        true => Ok(body),
        false => Err("checksum"),
    }
}

/// Returns the beginning of a key as text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    let mut out = String::new();
    for byte in bytes.iter().take(64) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
