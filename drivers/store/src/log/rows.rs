//! The newest operation of each key in log files, in the order of the tree.

use std::cmp::Ordering;
use std::io;
use std::ops::{Range, RangeInclusive};

use bytes::Bytes;

use super::format;
use super::{Index, Part};
use crate::disk::Disk;
use crate::key;

/// A log file in memory, with the places of the operations of its records.
pub(crate) struct Buffer {
    pub(crate) bytes: Bytes,
    pub(crate) records: Vec<Range<usize>>,
    pub(crate) salt: u64,
}

/// Reads a file that was written by this process or found whole; an error if it is not whole now.
pub(crate) fn buffer_of(disk: &dyn Disk, part: &Part) -> io::Result<Buffer> {
    let bytes = part.file.read_all(disk, part.end)?;
    let records = part.file.records(&bytes)?;
    Ok(Buffer {
        bytes: bytes.into(),
        records,
        salt: part.file.header.salt,
    })
}

/// The key and value of an operation, borrowed; no value deletes the key.
pub(crate) type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// The newest operations, in the order in which a tree has their keys.
pub(crate) struct Rows<'a> {
    rows: Vec<Entry<'a>>,
    /// Rows with keys that a tree has by their hash.
    long: Vec<(Bytes, Entry<'a>)>,
    /// Ranges that were deleted, in order, and apart from each other.
    ranges: Vec<(&'a [u8], &'a [u8])>,
}

/// A row with its place in the order of all operations.
#[derive(Clone, Copy)]
struct Entry<'a> {
    row: Row<'a>,
    at: (usize, usize),
}

/// A range that was deleted, and when.
type Deleted<'a> = (format::Op<'a>, (usize, usize));

/// Sorts the operations of files, the oldest first, and keeps the newest of each key. Their indexes leave out what is overwritten before it is sorted.
///
/// # Errors
///
/// When an operation is of no known form.
pub(crate) fn newest<'a>(buffers: &'a [Buffer], indexes: &[&Index]) -> io::Result<Rows<'a>> {
    let mut rows = Vec::new();
    let mut long = Vec::new();
    let mut deleted: Vec<Deleted<'a>> = Vec::new();
    for (number, buffer) in buffers.iter().enumerate() {
        let index = indexes.get(number);
        for place in &buffer.records {
            for op in format::ops(&buffer.bytes, place.clone(), buffer.salt) {
                let (at, op) = op.ok_or_else(super::file::rotten)?;
                if op.until.is_some() {
                    deleted.push((op, (number, at)));
                    continue;
                }
                if index.is_some_and(|index| overwritten(buffer, index, at, op.key)) {
                    continue;
                }
                let entry = Entry {
                    row: (op.key, op.value),
                    at: (number, at),
                };
                match op.key.len() <= key::PLAIN_MAX {
                    true => rows.push(entry),
                    false => long.push((key::stored_key(op.key), entry)),
                }
            }
        }
    }
    // Both sorts keep the order of equal keys, so the newest is the last of them.
    sort_by_key(&mut rows);
    keep_last(&mut rows, |one, other| one.row.0 == other.row.0);
    long.sort_by(|one, other| one.0.cmp(&other.0));
    keep_last(&mut long, |one, other| one.0 == other.0);
    let entries = rows
        .iter_mut()
        .chain(long.iter_mut().map(|(_, entry)| entry));
    if !deleted.is_empty() {
        entries.for_each(|entry| delete_covered(entry, &deleted));
    }
    let ranges = join(&deleted);
    Ok(Rows { rows, long, ranges })
}

/// Takes away the value that a later range has deleted.
fn delete_covered(entry: &mut Entry<'_>, deleted: &[Deleted<'_>]) {
    let mut later = deleted.iter().rev().take_while(|(_, at)| *at > entry.at);
    if later.any(|(op, _)| op.decides(entry.row.0)) {
        entry.row.1 = None;
    }
}

/// Joins ranges that meet, and sorts them.
fn join<'a>(deleted: &[Deleted<'a>]) -> Vec<(&'a [u8], &'a [u8])> {
    let ends = deleted
        .iter()
        .filter_map(|(op, _)| Some((op.key, op.until?)));
    let mut all: Vec<_> = ends.filter(|(from, until)| from < until).collect();
    all.sort_unstable();
    let mut joined: Vec<(&[u8], &[u8])> = Vec::new();
    for (from, until) in all {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => joined.push((from, until)),
        }
    }
    joined
}

/// Whether a later operation in the file is about the same key.
fn overwritten(buffer: &Buffer, index: &Index, at: usize, key: &[u8]) -> bool {
    let Some(place) = index.get(Index::hash(key, buffer.salt)) else {
        return false;
    };
    let newest = place.at as usize;
    newest != at
        && buffer
            .bytes
            .get(newest..)
            .and_then(|bytes| format::op(bytes, buffer.salt, false))
            .is_some_and(|op| op.key == key)
}

/// Sorts by key: what all keys begin with is skipped, and the eight bytes behind it decide most comparisons.
fn sort_by_key(rows: &mut Vec<Entry<'_>>) {
    let Some(Entry {
        row: (first, _), ..
    }) = rows.first()
    else {
        return;
    };
    let common = rows.iter().fold(first.len(), |len, entry| {
        let same = first.iter().zip(entry.row.0).take(len);
        same.take_while(|(one, other)| one == other).count()
    });
    let part = |key: &[u8]| {
        let rest = key.get(common..).unwrap_or_default();
        let mut part = [0; 8];
        part.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(part)
    };
    let keyed = rows.drain(..).map(|entry| (part(entry.row.0), entry));
    let mut keyed: Vec<(u64, Entry<'_>)> = keyed.collect();
    keyed.sort_by(
        |(part, row), (other_part, other)| match part.cmp(other_part) {
            Ordering::Equal => row.row.0.cmp(other.row.0),
            decided => decided,
        },
    );
    rows.extend(keyed.into_iter().map(|(_, row)| row));
}

/// Keeps the last of rows that are equal and follow each other.
fn keep_last<T>(rows: &mut Vec<T>, equal: impl Fn(&T, &T) -> bool) {
    rows.reverse();
    rows.dedup_by(|later, earlier| equal(later, earlier));
    rows.reverse();
}

impl<'a> Rows<'a> {
    /// All rows, each with the key that a tree has for it, in the order of the tree.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Bytes, Row<'a>)> {
        let plain = self.rows.iter().map(|entry| entry.row);
        let plain = plain.map(|row| (key::stored_key(row.0), row));
        let long = self.long.iter();
        plain.chain(long.map(|(stored, entry)| (stored.clone(), entry.row)))
    }

    /// Whether a key that has no row was deleted with a range.
    pub(crate) fn is_deleted(&self, key: &[u8]) -> bool {
        let before = self.ranges.partition_point(|(from, _)| *from <= key);
        let last = before.checked_sub(1).and_then(|at| self.ranges.get(at));
        last.is_some_and(|(_, until)| key < *until)
    }

    /// The ranges of stored keys in which all keys lie that were deleted with ranges, in order; others may lie in them.
    pub(crate) fn stored_ranges(&self) -> Vec<RangeInclusive<Bytes>> {
        let plain = self.ranges.iter();
        let mut stored: Vec<_> = plain
            .map(|(from, until)| key::plain_range(from, until))
            .collect();
        if !stored.is_empty() {
            stored.push(key::hashed_range());
        }
        stored
    }
}
