//! The content of a file of a database, in words.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use lsm_tree::{Cache, Checksum, Table};
use rumormill_core::store::RecordKind;

use super::manifest::Holds;
use crate::check;
use crate::key;

/// The memory for the blocks of one table that is looked at alone.
const CACHE_BYTES: u64 = 1 << 20;
/// The longest part of a key that is shown, in characters.
const SHOWN: usize = 60;

/// Opens a table by itself, to look at it; nothing if it cannot be opened. lsm-tree asserts some of what it reads.
pub(crate) fn table(path: &Path, sum: u128, sequence: u64) -> Option<Table> {
    if !check::has_contents(path).unwrap_or(false) {
        return None;
    }
    let open = || {
        let (path, sum) = (path.to_path_buf(), Checksum::from_raw(sum));
        let cache = Arc::new(Cache::with_capacity_bytes(CACHE_BYTES));
        Table::recover(path, sum, sequence, 0, cache, None, true, true).ok()
    };
    panic::catch_unwind(AssertUnwindSafe(open)).ok().flatten()
}

/// Says what a table holds, as far as it says so itself.
pub(crate) fn of_table(path: &Path, sum: u128) -> Option<Holds> {
    let table = table(path, sum, 0)?;
    let range = &table.metadata.key_range;
    Some(Holds::Table {
        rows: table.metadata.item_count,
        first: stored_key(range.min()),
        last: stored_key(range.max()),
    })
}

/// Describes a record by the key that the tree has for it.
pub(crate) fn stored_key(stored: &[u8]) -> String {
    match stored.split_first() {
        _ if stored == key::NUMBER => "the note of what was merged".into(),
        Some((&key::PLAIN, key)) => record_key(key),
        Some((&key::HASHED, hash)) => format!("the long key with the hash {}", shown(hash)),
        _ => format!("an unknown key {}", shown(stored)),
    }
}

/// Describes a record by its key.
pub(crate) fn record_key(key: &[u8]) -> String {
    match RecordKind::of(key) {
        RecordKind::Node { name } => format!("the node's {}", String::from_utf8_lossy(name)),
        RecordKind::Row { table, key, .. } => format!("row {} of {table}", shown(key)),
        RecordKind::Context { actor, .. } => format!("the writes known of node {}", actor.node),
        RecordKind::FreedOn { node } => {
            format!("the claims of node {node} that deletes were freed on")
        }
        _ => format!("key {}", shown(key)),
    }
}

/// A key as text in quotes where it is text, else in hex; cut where it is long.
fn shown(key: &[u8]) -> String {
    let text = std::str::from_utf8(key).ok();
    let text = text.filter(|text| !text.contains(char::is_control));
    let Some(text) = text else {
        let hex = key.iter().take(SHOWN / 2).map(|byte| format!("{byte:02x}"));
        let more = if key.len() > SHOWN / 2 { "..." } else { "" };
        return format!("0x{}{more}", hex.collect::<String>());
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_text_or_in_hex_and_cut() {
        assert_eq!(stored_key(&[2]), "the note of what was merged");
        assert_eq!(stored_key(b"\x00midentity"), "the node's identity");
        assert_eq!(stored_key(b"\x00xyz"), "key \"xyz\"");
        assert_eq!(stored_key(b"\x00\xff\x01"), "key 0xff01");
        let long = format!("\x00{}", "x".repeat(100));
        let cut = format!("key \"{}\"...", "x".repeat(60));
        assert_eq!(stored_key(long.as_bytes()), cut);
    }
}
