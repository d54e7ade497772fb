//! An acknowledged write stays, or something newer has taken its place.

use bytes::Bytes;
use rumormill_core::Version;

use super::{Contents, MAX_VIOLATIONS, RowState, Shown, Violation};
use crate::model::{History, Model, Told};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "durability";

/// Judges what one node shows at the end against all that clients were told. `expired` says of a write whether its row may have ended, or
/// is hidden on the node.
pub fn check(
    at_us: u64,
    node: usize,
    contents: &Contents,
    model: &Model,
    expired: impl Fn(&Told) -> bool,
) -> Vec<Violation> {
    let mut out = Vec::new();
    for (table, key, history) in model.keys().filter(|(table, ..)| *table != Table::Siblings) {
        let row = contents.get(table, key);
        let wrong = missing(row, history, &expired)
            .or_else(|| row.and_then(|row| invented(row.version, row.value.as_ref()?, history)));
        if let Some(text) = wrong {
            let text = format!("{}/{} on n{node}: {text}", table.name(), key.escape_ascii());
            out.push(Violation {
                checker: NAME,
                at_us,
                text,
            });
        }
        if out.len() == MAX_VIOLATIONS {
            break;
        }
    }
    out
}

fn missing(
    row: Option<&RowState>,
    history: History<'_>,
    expired: impl Fn(&Told) -> bool,
) -> Option<String> {
    let newest = history.newest_promised()?;
    let value = newest.effect.value()?;
    if expired(newest) {
        // The judge of resurrections says which rows may show in its place.
        return None;
    }
    let promise = format!(
        "value {} ({}), acknowledged by n{} at {}",
        value.escape_ascii(),
        Shown(newest.version),
        newest.node,
        newest.at_us
    );
    match row {
        None if history.may_be_gone(newest.version, expired) => None,
        None => Some(format!("{promise}, is missing")),
        Some(row) if row.version >= newest.version => None,
        Some(_) if history.was_undone(newest) => None,
        Some(row) => Some(format!(
            "{promise}, has been replaced by the older {}",
            Shown(row.version)
        )),
    }
}

/// A row must carry what somebody wrote, and under a version that was given for it the very value of that write.
fn invented(version: Version, value: &Bytes, history: History<'_>) -> Option<String> {
    let known = history.ops().find(|op| op.version == version);
    let right = match known {
        Some(op) => op.effect.value() == Some(value),
        None => history.ops().any(|op| op.effect.value() == Some(value)),
    };
    (!right).then(|| {
        let (value, version) = (value.escape_ascii(), Shown(version));
        format!("value {value} at {version} was never written")
    })
}

/// Judges what one read has shown.
pub(crate) fn check_read(
    table: Table,
    key: &Bytes,
    version: Version,
    value: &Bytes,
    model: &Model,
) -> Option<String> {
    let wrong = match model.history(table, key) {
        Some(history) => invented(version, value, history),
        None => Some("nobody wrote it".to_string()),
    };
    wrong.map(|text| format!("{}/{} was read: {text}", table.name(), key.escape_ascii()))
}
