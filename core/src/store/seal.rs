//! The seal of a record: eight bytes of rapidhash (v3) over key and value, at the end of the value.

use alloc::string::String;

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
