//! A record of the log as bytes. Only one that is torn or rots is written out: all others are what was put into them.

use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::Range;

use bytes::Bytes;
use foldhash::quality::FixedState;
use rumormill_core::io::{Record, StoreOp};

/// Bytes before the operations: their length, the check of these bytes, the number of the record, the number of the last one that was known to be
/// synced, and the sum of the operations.
const HEADER: usize = 32;
/// Bytes of an operation before its key.
const OP: usize = 9;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// Returns the length of a record with these operations.
pub(super) fn size(ops: &[StoreOp]) -> usize {
    HEADER
        + ops
            .iter()
            .map(|op| OP + parts(op).1.len() + parts(op).2.len())
            .sum::<usize>()
}

/// Returns the kind of an operation, its key, and its value or the end of its range.
fn parts(op: &StoreOp) -> (u8, &[u8], &[u8]) {
    match op {
        StoreOp::Put(record) => (PUT, &record.key, &record.value),
        StoreOp::Delete(key) => (DELETE, key, &[]),
        StoreOp::DeleteRange { from, until } => (DELETE_RANGE, from, until),
    }
}

/// Writes a record out.
pub(super) fn encode(number: u64, known: u64, ops: &[StoreOp]) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    for op in ops {
        let (kind, key, value) = parts(op);
        out.push(kind);
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    let len = (out.len() - HEADER) as u32;
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[8..16].copy_from_slice(&number.to_le_bytes());
    out[16..24].copy_from_slice(&known.to_le_bytes());
    let sum = sum(&out[HEADER..]);
    out[24..HEADER].copy_from_slice(&sum.to_le_bytes());
    let check = sum_of_header(&out);
    out[4..8].copy_from_slice(&check.to_le_bytes());
    out
}

/// Returns the places of the operations in a record.
pub(super) fn places(ops: &[StoreOp]) -> impl Iterator<Item = Range<usize>> {
    let mut end = HEADER;
    ops.iter().map(move |op| {
        let start = end;
        end += OP + parts(op).1.len() + parts(op).2.len();
        start..end
    })
}

/// Returns the number that a record says was synced when it was written, if its header is whole.
pub(super) fn known(bytes: &[u8]) -> Option<u64> {
    (bytes.len() >= HEADER && u32_at(bytes, 4)? == sum_of_header(bytes))
        .then(|| u64_at(bytes, 16))?
}

/// Returns whether all sums of a record are right.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let ops = bytes.get(HEADER..).unwrap_or_default();
    let fits = u32_at(bytes, 0).is_some_and(|len| len as usize == ops.len());
    fits && known(bytes).is_some() && u64_at(bytes, 24) == Some(sum(ops))
}

/// Reads the operations of a record for as long as they have a known form, and checks no sum.
pub(super) fn decode_unchecked(bytes: &[u8]) -> Vec<StoreOp> {
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    let mut ops = Vec::new();
    while let Some(op) = decode_op(&mut rest) {
        ops.push(op);
    }
    ops
}

fn decode_op(rest: &mut &[u8]) -> Option<StoreOp> {
    let (kind, key) = (*rest.first()?, u32_at(rest, 1)? as usize);
    let value = u32_at(rest, 5)? as usize;
    let body = rest.get(OP..)?;
    let (key, body) = body.split_at_checked(key)?;
    let (value, body) = body.split_at_checked(value)?;
    *rest = body;
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    match kind {
        PUT => Some(StoreOp::Put(Record { key, value })),
        DELETE => Some(StoreOp::Delete(key)),
        DELETE_RANGE => Some(StoreOp::DeleteRange {
            from: key,
            until: value,
        }),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

fn sum(bytes: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Sums the header up, without its check.
fn sum_of_header(bytes: &[u8]) -> u32 {
    let mut header = [0; HEADER];
    header.copy_from_slice(&bytes[..HEADER]);
    header[4..8].fill(0);
    sum(&header) as u32
}
