//! The bytes of a log file. All numbers are little endian.
//!
//! ```text
//! file     header, twice; records; zeros
//! header   "RUMORLOG", version u32, 0 u32, number u64, first seq u64, salt u64, XXH3 of these u64
//! record   length of the operations u32, check u32, seq u64, durable u64, XXH3 of the operations u64; operations
//! op       kind u8, check u32, key length u32, value length u32; key; value, or the end of a range
//! ```
//!
//! All but the header's checksum begin with the salt of the file, which is random: no value of a client imitates a record. `check` of a
//! record is about its other fields, so that a place can be told from a record by 32 bytes. `durable` is the highest seq that
//! was known to be synced when the record was written. A check of an operation is for readers, which read no whole record.

use std::ops::Range;

use rumormill_core::io::StoreOp;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const MAGIC: &[u8; 8] = b"RUMORLOG";
/// The version of a whole database: of its log, of its tree and of the notes beside them. Every version keeps the first twelve bytes of a header
/// and the place and the reach of its checksum, so that a program can name a version that it does not read.
pub(crate) const VERSION: u32 = 1;
const ONE_HEADER: usize = 48;
/// Where the first record begins.
pub(crate) const HEADER: usize = 2 * ONE_HEADER;
/// The fields of a record before its operations.
pub(crate) const RECORD: usize = 32;
/// The fields of an operation before its key.
pub(crate) const OP: usize = 13;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// The beginning of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    /// The seq of its first record.
    pub(crate) first: u64,
    pub(crate) salt: u64,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let sum = xxh3_64(&bytes[..40]);
        bytes[40..48].copy_from_slice(&sum.to_le_bytes());
        bytes.copy_within(..ONE_HEADER, ONE_HEADER);
        bytes
    }

    /// Reads the version of a file, from the first copy of its header that is whole.
    pub(crate) fn version(file: &[u8]) -> Option<u32> {
        let mut copies = [0, ONE_HEADER].into_iter();
        copies.find_map(|at| u32_at(whole(file, at)?, 8))
    }

    /// The header of a file, from whichever copy is whole, and whether both are.
    pub(crate) fn from_bytes(file: &[u8]) -> Option<(Header, bool)> {
        let copies = [0, ONE_HEADER].map(|at| {
            let bytes = whole(file, at)?;
            (u32_at(bytes, 8)? == VERSION).then_some(Header {
                number: u64_at(bytes, 16)?,
                first: u64_at(bytes, 24)?,
                salt: u64_at(bytes, 32)?,
            })
        });
        let header = copies[0].or(copies[1])?;
        Some((header, copies[0] == copies[1]))
    }
}

/// The copy of a header at a place, if it is whole.
fn whole(file: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = file.get(at..at + ONE_HEADER)?;
    let whole = bytes.starts_with(MAGIC) && xxh3_64(bytes.get(..40)?) == u64_at(bytes, 40)?;
    whole.then_some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn check_of(bytes: &[u8], salt: u64) -> u32 {
    xxh3_64_with_seed(bytes, salt) as u32
}

/// The fields of a record that are not its operations, found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) durable: u64,
    /// Where its operations are in the file.
    pub(crate) ops: Range<usize>,
    /// Whether they are whole as well.
    pub(crate) whole: bool,
}

/// Begins a record in a buffer. Operations are appended, then [`finish`] is called.
pub(crate) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(RECORD, 0);
}

/// Completes a record whose operations are in the buffer; their length fits a `u32`.
pub(crate) fn finish(buffer: &mut [u8], seq: u64, durable: u64, salt: u64) {
    let Some((head, ops)) = buffer.split_first_chunk_mut::<RECORD>() else {
        return;
    };
    head[..4].copy_from_slice(&(ops.len() as u32).to_le_bytes());
    head[8..16].copy_from_slice(&seq.to_le_bytes());
    head[16..24].copy_from_slice(&durable.to_le_bytes());
    head[24..].copy_from_slice(&xxh3_64_with_seed(ops, salt).to_le_bytes());
    let check = check_of(head, salt);
    head[4..8].copy_from_slice(&check.to_le_bytes());
}

/// Reads the record at a place, if its fields are whole and its seq is one of these.
pub(crate) fn record(file: &[u8], at: usize, seqs: &Range<u64>, salt: u64) -> Option<Record> {
    let mut head: [u8; RECORD] = file.get(at..at.checked_add(RECORD)?)?.try_into().ok()?;
    let seq = u64_at(&head, 8)?;
    if !seqs.contains(&seq) {
        return None;
    }
    let len = usize::try_from(u32_at(&head, 0)?).ok()?;
    let check = u32_at(&head, 4)?;
    head[4..8].fill(0);
    if len == 0 || check_of(&head, salt) != check {
        return None;
    }
    let start = at + RECORD;
    let ops = start..start.checked_add(len)?;
    let bytes = file.get(ops.clone());
    Some(Record {
        seq,
        durable: u64_at(&head, 16)?,
        whole: bytes.is_some_and(|ops| Some(xxh3_64_with_seed(ops, salt)) == u64_at(&head, 24)),
        ops,
    })
}

/// An operation in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op<'a> {
    pub(crate) key: &'a [u8],
    /// `None` deletes the key.
    pub(crate) value: Option<&'a [u8]>,
    /// Where it deletes all keys from its key on: the one before which that ends.
    pub(crate) until: Option<&'a [u8]>,
    /// Its bytes, from its kind to its end.
    pub(crate) len: usize,
}

impl Op<'_> {
    /// Whether it decides what is under a key.
    pub(crate) fn decides(&self, key: &[u8]) -> bool {
        match self.until {
            None => self.key == key,
            Some(until) => self.key <= key && key < until,
        }
    }
}

/// The bytes that a batch takes in a log.
pub(crate) fn size(batch: &[StoreOp]) -> usize {
    let ops = batch.iter().map(|op| OP + op.size());
    RECORD + ops.sum::<usize>()
}

/// Appends an operation to a record.
pub(crate) fn push(buffer: &mut Vec<u8>, op: &StoreOp, salt: u64) {
    let (kind, key, value): (_, &[u8], &[u8]) = match op {
        StoreOp::Put(record) => (PUT, &record.key, &record.value),
        StoreOp::Delete(key) => (DELETE, key, &[]),
        StoreOp::DeleteRange { from, until } => (DELETE_RANGE, from, until),
    };
    let start = buffer.len();
    buffer.extend_from_slice(&[0; OP]);
    buffer.extend_from_slice(key);
    buffer.extend_from_slice(value);
    let Some((head, content)) = buffer
        .get_mut(start..)
        .and_then(|op| op.split_first_chunk_mut::<OP>())
    else {
        return;
    };
    head[0] = kind;
    head[5..9].copy_from_slice(&(key.len() as u32).to_le_bytes());
    head[9..].copy_from_slice(&(value.len() as u32).to_le_bytes());
    let check = op_check(head, content, salt);
    head[1..5].copy_from_slice(&check.to_le_bytes());
}

fn op_check(head: &[u8; OP], content: &[u8], salt: u64) -> u32 {
    let lengths = u64::from_le_bytes([
        head[5], head[6], head[7], head[8], head[9], head[10], head[11], head[12],
    ]);
    let seed = salt ^ lengths.rotate_left(8) ^ u64::from(head[0]);
    check_of(content, seed)
}

/// Reads an operation at the beginning of these bytes. `checked` is false where the record around it was found whole.
pub(crate) fn op(bytes: &[u8], salt: u64, checked: bool) -> Option<Op<'_>> {
    let (head, rest) = bytes.split_first_chunk::<OP>()?;
    let key_len = usize::try_from(u32_at(head, 5)?).ok()?;
    let value_len = usize::try_from(u32_at(head, 9)?).ok()?;
    let len = key_len.checked_add(value_len)?;
    let content = rest.get(..len)?;
    if checked && Some(op_check(head, content, salt)) != u32_at(head, 1) {
        return None;
    }
    let (key, value) = content.split_at_checked(key_len)?;
    let (value, until) = match head[0] {
        PUT => (Some(value), None),
        DELETE if value.is_empty() => (None, None),
        DELETE_RANGE => (None, Some(value)),
        _ => return None,
    };
    Some(Op {
        key,
        value,
        until,
        len: OP + len,
    })
}

/// The operations of a record that was found whole, with their places in the file; `None` in place of the first one that is of no
/// known form, which is the last.
pub(crate) fn ops(
    file: &[u8],
    place: Range<usize>,
    salt: u64,
) -> impl Iterator<Item = Option<(usize, Op<'_>)>> {
    let mut at = place.start;
    let end = place.end;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let found = file
            .get(at..end)
            .and_then(|bytes| op(bytes, salt, false))
            .map(|op| (at, op));
        at = found.as_ref().map_or(end, |(at, op)| at + op.len);
        Some(found)
    })
}
