//! One table: each row is found through the table's own filter and index, and is a record.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use lsm_tree::{InternalValue, SeqNo, Table};
use rumormill_core::store::inspect;
use xxhash_rust::xxh3::xxh3_64;

use super::Depth;
use crate::checkpoint::holds;
use crate::key;
use crate::progress::Progress;

/// So many faults of one table are told.
const TOLD: usize = 8;

/// The findings about a table.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: u64,
    pub(crate) faults: Vec<String>,
    /// The seq up to which the log was merged, where this table says so, with the sequence of that row.
    pub(crate) merged: Option<(u64, u64)>,
    /// Whether the pass was stopped.
    pub(crate) stopped: bool,
}

/// Checks a table whose checksum is right. lsm-tree asserts some of what it reads: that is a fault as well.
pub(crate) fn check(
    path: &Path,
    sum: u128,
    sequence: u64,
    depth: Depth,
    progress: &Progress,
) -> Rows {
    let mut rows = Rows::default();
    let Some(table) = holds::table(path, sum, sequence) else {
        rows.faults.push("it cannot be opened".into());
        return rows;
    };
    let walk = AssertUnwindSafe(|| walk(&table, depth, progress, &mut rows));
    if panic::catch_unwind(walk).is_err() {
        rows.faults.push("its blocks contradict each other".into());
    }
    rows
}

fn walk(table: &Table, depth: Depth, progress: &Progress, found: &mut Rows) {
    let rows = match table.scan() {
        Ok(rows) => rows,
        Err(error) => return found.faults.push(crate::error::describe(&error)),
    };
    let mut last: Option<InternalValue> = None;
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let after = last.map_or("its first row".into(), |last| {
                    format!("the row after {}", holds::stored_key(&last.key.user_key))
                });
                let why = crate::error::describe(&error);
                return found.faults.push(format!("{after} cannot be read: {why}"));
            }
        };
        found.rows += 1;
        let bytes = row.key.user_key.len() + row.value.len();
        if progress.step(bytes as u64).is_err() {
            found.stopped = true;
            return;
        }
        let fault = order(last.as_ref(), &row)
            .or_else(|| lookup(table, last.as_ref(), &row))
            .or_else(|| record(&row, depth));
        if let Some(why) = fault {
            if found.faults.len() == TOLD {
                return found.faults.push("and more rows of it".into());
            }
            let row = holds::stored_key(&row.key.user_key);
            found.faults.push(format!("{row} {why}"));
        }
        if *row.key.user_key == *key::NUMBER
            && let Some(number) = row.value.first_chunk()
        {
            found.merged = Some((row.key.seqno, u64::from_le_bytes(*number)));
        }
        last = Some(row);
    }
    if found.rows != table.metadata.item_count {
        let said = table.metadata.item_count;
        let rows = found.rows;
        found
            .faults
            .push(format!("it has {rows} rows, and says {said}"));
    }
}

/// Keys ascend, and versions of one key descend.
fn order(last: Option<&InternalValue>, row: &InternalValue) -> Option<String> {
    let last = last?;
    let ordered = match last.key.user_key.cmp(&row.key.user_key) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => last.key.seqno > row.key.seqno,
        std::cmp::Ordering::Greater => false,
    };
    (!ordered).then(|| "is out of order".into())
}

/// A point read goes through the filter and the index.
fn lookup(table: &Table, last: Option<&InternalValue>, row: &InternalValue) -> Option<String> {
    // An older version of the key before: a point read has found the newer one.
    if last.is_some_and(|last| last.key.user_key == row.key.user_key) {
        return None;
    }
    let key = &row.key.user_key;
    match table.get(key, SeqNo::MAX, xxh3_64(key)) {
        Ok(Some(found)) if found.key.seqno == row.key.seqno && found.value == row.value => None,
        Ok(Some(_)) => Some("is another one where the index finds it".into()),
        Ok(None) => Some("is not found through the filter and the index".into()),
        Err(error) => Some(format!(
            "cannot be read through the index: {}",
            crate::error::describe(&error)
        )),
    }
}

fn record(row: &InternalValue, depth: Depth) -> Option<String> {
    if row.key.value_type.is_tombstone() || *row.key.user_key == *key::NUMBER {
        return None;
    }
    let Some(record) = key::record(&row.key.user_key, &row.value) else {
        return Some("is of an unknown layout".into());
    };
    let fault = depth.records && !inspect(&record).whole;
    fault.then(|| "has a wrong checksum or form of its own".into())
}
