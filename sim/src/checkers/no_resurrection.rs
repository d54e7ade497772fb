//! What is deleted stays deleted.

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rumormill_core::Version;

use super::{Contents, MAX_VIOLATIONS, Shown, Violation};
use crate::clock::is_beyond_drift;
use crate::model::{Effect, Model};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "no_resurrection";

/// Judges what one node shows at the end: a key whose newest promised operation is a delete shows nothing older.
pub fn check(at_us: u64, node: usize, contents: &Contents, model: &Model) -> Vec<Violation> {
    let mut out = Vec::new();
    for (table, key, history) in model.keys().filter(|(table, ..)| *table != Table::Siblings) {
        let Some(newest) = history.newest_promised() else {
            continue;
        };
        let Some(row) = contents.get(table, key) else {
            continue;
        };
        // A reunion may write an old value again under a new version: whose write it was tells the value alone.
        let written = row.value.as_ref().and_then(|value| history.writer(value));
        // Members whose clocks are right do not follow such a clock: once the delete is freed, later writes have smaller ones.
        let beyond = is_beyond_drift(newest.version.clock, newest.at_us);
        let old = match written {
            Some(write) if beyond && write.at_us > newest.at_us => false,
            Some(write) => !write.alone && write.version < newest.version,
            None => row.version < newest.version,
        };
        if newest.effect == Effect::Delete && old && out.len() < MAX_VIOLATIONS {
            let text = format!(
                "{}/{} on n{node} shows {} ({}) again, deleted at n{} at {} ({})",
                table.name(),
                key.escape_ascii(),
                row.shown(),
                Shown(row.version),
                newest.node,
                newest.at_us,
                Shown(newest.version)
            );
            out.push(Violation {
                checker: NAME,
                at_us,
                text,
            });
        }
    }
    out
}

/// Watches one life of one node: a version that was hidden by a delete or by a newer version never shows again.
#[derive(Debug, Default)]
pub struct Watch([HashMap<Bytes, Seen, FixedState>; Table::ALL.len()]);

#[derive(Debug)]
struct Seen {
    newest: Version,
    hidden: bool,
}

impl Watch {
    /// The key shows this version now, or none.
    pub fn observe(
        &mut self,
        at_us: u64,
        node: usize,
        table: Table,
        key: &Bytes,
        shows: Option<Version>,
    ) -> Option<Violation> {
        let keys = &mut self.0[table as usize];
        let Some(version) = shows else {
            if let Some(seen) = keys.get_mut(key) {
                seen.hidden = true;
                if is_beyond_drift(seen.newest.clock, at_us) {
                    keys.remove(key);
                }
            }
            return None;
        };
        let fresh = Seen {
            newest: version,
            hidden: false,
        };
        let seen = keys.entry_ref(key).or_insert(fresh);
        let back = version < seen.newest || (seen.hidden && version == seen.newest);
        let newest = seen.newest;
        *seen = Seen {
            newest: newest.max(version),
            hidden: false,
        };
        back.then(|| Violation {
            checker: NAME,
            at_us,
            text: format!(
                "{}/{} on n{node} shows {} again after {}",
                table.name(),
                key.escape_ascii(),
                Shown(version),
                Shown(newest)
            ),
        })
    }
}
