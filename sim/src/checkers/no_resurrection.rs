//! Deleted rows stay deleted.

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rumormill_core::table::Version;

use super::{Contents, RowState, Shown, Violation, by_key, for_each};
use crate::clock::is_beyond_drift;
use crate::model::{Effect, History, Model, Told};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "no_resurrection";

/// Judges what one node shows at the end: a key whose newest promised operation is a delete, or a write whose row may have ended, shows
/// nothing older. `expired` tells the latter.
pub fn check(
    at_us: u64,
    node: usize,
    contents: &Contents,
    model: &Model,
    expired: impl Fn(&Told) -> bool,
) -> Vec<Violation> {
    by_key(NAME, (at_us, node), contents, model, |row, history| {
        back(row?, history, &expired)
    })
}

fn back(row: &RowState, history: History<'_>, expired: impl Fn(&Told) -> bool) -> Option<String> {
    let newest = history.newest_promised()?;
    // A rejoin may write an old value again under a new version: whose write it was tells the value, or the same version.
    let written = history.author(row);
    // Guarantees, "Conflicts and clocks": once a delete with such a clock is freed nothing tells of it, and later writes have smaller ones.
    let beyond = is_beyond_drift(newest.version.clock, newest.at_us);
    // Guarantees, "Rejoining": a write that a node took along goes in newer than anything that the cluster has freed.
    let old = match written {
        Some(write) if beyond && write.at_us > newest.at_us => false,
        Some(write) => !write.alone && write.version < newest.version,
        None => row.version < newest.version,
    };
    // Rule 9: a row that expired where it was written, before its author joined, may be gone without a trace, as a delete may.
    let ended = newest.effect == Effect::Delete || expired(newest) && !newest.alone;
    (ended && old).then(|| {
        format!(
            "shows {} ({}) again, ended at n{} at {} ({})",
            row.shown(),
            Shown(row.version),
            newest.node,
            newest.at_us,
            Shown(newest.version)
        )
    })
}

/// Watches one boot of one node: a version that was hidden by a delete or by a newer version never shows again.
#[derive(Debug, Default)]
struct Watch([HashMap<Bytes, Seen, FixedState>; Table::ALL.len()]);

#[derive(Clone, Copy, Debug)]
struct Seen {
    newest: Version,
    hidden: bool,
    /// It was hidden after it had a clock that not every member follows. Guarantees, "Conflicts and clocks": what is written once the delete is
    /// freed may be older, so that only the same version is one that is back.
    unordered: bool,
}

impl Watch {
    /// The key shows this version now, or none, and that expires or does not.
    fn observe(
        &mut self,
        (at_us, node): (u64, usize),
        (table, key): (Table, &Bytes),
        shows: Option<(Version, bool)>,
    ) -> Option<Violation> {
        let keys = &mut self.0[table as usize];
        let Some((version, expires)) = shows else {
            if let Some(seen) = keys.get_mut(key) {
                seen.hidden = true;
                seen.may_be_hidden(at_us);
            }
            return None;
        };
        let fresh = Seen {
            newest: version,
            hidden: false,
            unordered: false,
        };
        let seen = keys.entry_ref(key).or_insert(fresh);
        let older = version < seen.newest && !seen.unordered;
        // Guarantees, "Expiry": a row that was hidden shows again if the clock goes back.
        let back = older || (seen.hidden && !expires && version == seen.newest);
        let newest = seen.newest;
        *seen = Seen {
            // From what shows first after such a delete versions are in order again.
            newest: if seen.unordered {
                version
            } else {
                newest.max(version)
            },
            ..fresh
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

impl Seen {
    /// The key shows nothing now, or may have shown nothing lately.
    fn may_be_hidden(&mut self, at_us: u64) {
        self.unordered |= is_beyond_drift(self.newest.clock, at_us);
    }
}

/// Watches what each node shows.
pub(crate) struct Resurrections(Vec<Watch>);

impl Resurrections {
    pub(crate) fn new(nodes: usize) -> Self {
        Resurrections(for_each(nodes))
    }

    /// A boot of the node begins, or the rows of its cluster take the place of its own.
    pub(crate) fn on_view(&mut self, node: usize) {
        self.0[node] = Watch::default();
    }

    /// Changes of the table were missed. Guarantees, "Watches": a watcher that is too slow is told that it missed some.
    pub(crate) fn on_lag(&mut self, (at_us, node): (u64, usize), table: Table) {
        let keys = &mut self.0[node].0[table as usize];
        keys.values_mut().for_each(|seen| seen.may_be_hidden(at_us));
    }

    /// The key shows this version now, or none, and that expires or does not.
    pub(crate) fn on_shown(
        &mut self,
        at: (u64, usize),
        place: (Table, &Bytes),
        shows: Option<(Version, bool)>,
    ) -> Option<Violation> {
        self.0[at.1].observe(at, place, shows)
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::{Actor, NodeId, table::Hlc};

    use super::*;
    use crate::clock::Clock;

    /// A version with a clock so many seconds ahead of the truth.
    fn ahead(seconds: u64, counter: u64) -> Version {
        let actor = Actor {
            node: NodeId(1),
            boot: 1,
        };
        let wall = Clock::default().now(0).wall + std::time::Duration::from_secs(seconds);
        Version {
            clock: Hlc::at(wall),
            actor,
            counter,
        }
    }

    /// Whether a key that shows these versions, one after the other, is found to show the last one again.
    fn is_back(shown: &[Option<Version>]) -> bool {
        let stays = |version: &Option<Version>| version.map(|version| (version, false));
        is_back_of(&shown.iter().map(stays).collect::<Vec<_>>())
    }

    /// The same for versions that expire or do not.
    fn is_back_of(shown: &[Option<(Version, bool)>]) -> bool {
        let (mut watch, key) = (Watch::default(), Bytes::from("k"));
        let mut observe = |shows: &Option<(Version, bool)>| {
            let found = watch.observe((0, 0), (Table::Periodic, &key), *shows);
            found.is_some()
        };
        let (last, before) = shown.split_last().unwrap();
        assert!(!before.iter().any(&mut observe));
        observe(last)
    }

    #[test]
    fn what_was_hidden_does_not_show_again() {
        let (older, newer) = (ahead(0, 1), ahead(1, 2));
        assert!(is_back(&[Some(older), None, Some(older)]));
        assert!(is_back(&[Some(newer), Some(older)]));
        assert!(!is_back(&[Some(older), None, Some(newer)]));
        assert!(!is_back(&[Some(newer), Some(newer)]));
    }

    #[test]
    fn a_row_that_was_hidden_by_its_expiry_may_show_again_and_one_that_was_replaced_may_not() {
        let (older, newer) = (ahead(0, 1), ahead(1, 2));
        assert!(!is_back_of(&[
            Some((older, true)),
            None,
            Some((older, true))
        ]));
        assert!(is_back_of(&[Some((newer, false)), Some((older, true))]));
        assert!(is_back_of(&[
            Some((newer, true)),
            None,
            Some((older, true))
        ]));
    }

    #[test]
    fn a_delete_that_a_late_watcher_missed_excuses_what_is_older_than_a_clock_that_no_member_follows()
     {
        let (now, far, key) = (ahead(0, 2), ahead(1_000_000, 1), Bytes::from("k"));
        for (newest, is_excused) in [(far, true), (ahead(1, 1), false)] {
            let mut nodes = Resurrections::new(1);
            let place = (Table::Periodic, &key);
            nodes.on_shown((0, 0), place, Some((newest, false)));
            nodes.on_lag((0, 0), Table::Periodic);
            let found = nodes.on_shown((0, 0), place, Some((now, false)));
            assert_eq!(found.is_none(), is_excused);
        }
    }

    #[test]
    fn after_a_delete_from_the_far_future_what_is_older_may_show_but_not_the_same() {
        let (now, later, far) = (ahead(0, 2), ahead(1, 3), ahead(1_000_000, 1));
        assert!(!is_back(&[Some(far), None, Some(now)]));
        assert!(is_back(&[Some(far), None, Some(far)]));
        assert!(is_back(&[Some(far), None, Some(now), None, Some(now)]));
        assert!(is_back(&[Some(far), None, Some(later), Some(now)]));
    }
}
