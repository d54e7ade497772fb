//! A row that is hidden, because its expiry has come by the clock of the node that is asked, may show elsewhere: a delete of it is a write.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::table::Version;

use super::{Shown, Violation, for_each};
use crate::model::{Effect, History, Model, Told};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "hidden_deletes";

/// The rows with an expiry that one node has shown since its boot began, or since it took over the rows of its cluster.
#[derive(Debug, Default)]
struct Expiring(BTreeMap<(Table, Bytes), Version>);

impl Expiring {
    /// The key shows this version now, or none, and that expires or does not.
    fn observe(&mut self, table: Table, key: &Bytes, shows: Option<(Version, bool)>) {
        match shows {
            Some((version, true)) => {
                self.0.insert((table, key.clone()), version);
            }
            Some((_, false)) => {
                self.0.remove(&(table, key.clone()));
            }
            // It is hidden, has ended, or was deleted.
            None => {}
        }
    }

    /// The node itself has flushed the table. Guarantees, "Flushes": that removes all rows that it holds, hidden ones too and whatever their clocks.
    fn flushed(&mut self, table: Table) {
        self.0.retain(|(of, _), _| *of != table);
    }

    /// The last row with an expiry that the key has shown, if no other row took its place.
    fn last(&self, table: Table, key: &Bytes) -> Option<Version> {
        self.0.get(&(table, key.clone())).copied()
    }
}

/// Judges a delete that wrote nothing, by a node that has shown the version `last` of the key. `ended` says of a write whether its row
/// may have ended. Guarantees, "Expiry": a delete of a row that is hidden is a write.
fn check(
    (at_us, node): (u64, usize),
    (table, key): (Table, &Bytes),
    history: History<'_>,
    last: Version,
    ended: impl Fn(&Told) -> bool,
) -> Option<Violation> {
    let op = history.ops().find(|op| op.version == last)?;
    let expires = matches!(op.effect, Effect::PutFor(..));
    if !expires || ended(op) || history.may_be_gone(last, ended) {
        return None;
    }
    Some(Violation {
        checker: NAME,
        at_us,
        text: format!(
            "{}/{} on n{node}: a delete wrote nothing, and {} may show elsewhere",
            table.name(),
            key.escape_ascii(),
            Shown(last)
        ),
    })
}

/// Watches the rows with an expiry that each node shows.
pub(crate) struct Hidden(Vec<Expiring>);

impl Hidden {
    pub(crate) fn new(nodes: usize) -> Self {
        Hidden(for_each(nodes))
    }

    /// A boot of the node begins, or the rows of its cluster take the place of its own.
    pub(crate) fn on_view(&mut self, node: usize) {
        self.0[node] = Expiring::default();
    }

    /// The key shows this version now, or none, and that expires or does not.
    pub(crate) fn on_shown(
        &mut self,
        node: usize,
        (table, key): (Table, &Bytes),
        shows: Option<(Version, bool)>,
    ) {
        self.0[node].observe(table, key, shows);
    }

    /// The node itself has flushed the table.
    pub(crate) fn on_flush(&mut self, node: usize, table: Table) {
        self.0[node].flushed(table);
    }

    /// Judges a delete that wrote nothing. `ended` says of a write whether its row may have ended.
    pub(crate) fn on_unwritten(
        &self,
        (at_us, node): (u64, usize),
        (table, key): (Table, &Bytes),
        model: &Model,
        ended: impl Fn(&Told) -> bool,
    ) -> Option<Violation> {
        let last = self.0[node].last(table, key)?;
        let history = model.history(table, key)?;
        // Guarantees, "Damage": what a disk lost without an error is repaired, and not promised.
        if model.is_lost(table, key) {
            return None;
        }
        check((at_us, node), (table, key), history, last, ended)
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::{Actor, NodeId, table::Hlc};

    use super::*;
    use crate::model::{Accepted, Model};

    fn version(clock: u64) -> Version {
        let (node, boot) = (NodeId(1), 1);
        Version {
            clock: Hlc(clock),
            actor: Actor { node, boot },
            counter: clock,
        }
    }

    /// Whether a delete that writes nothing is wrong after these operations, of which the first was shown.
    fn is_wrong(effects: &[Effect], has_ended: bool) -> bool {
        let (mut model, key) = (Model::default(), Bytes::from("k"));
        for (at, effect) in effects.iter().enumerate() {
            let op = Accepted {
                at_us: 0,
                node: 0,
                version: version(at as u64),
                effect: effect.clone(),
                alone: false,
            };
            model.accepted(Table::Periodic, Some(&key), op);
        }
        let history = model.history(Table::Periodic, &key).unwrap();
        let place = (Table::Periodic, &key);
        check((0, 0), place, history, version(0), |_| has_ended).is_some()
    }

    #[test]
    fn a_delete_of_what_may_show_elsewhere_has_to_write() {
        let value = || Bytes::from("v");
        let (hidden, stays) = (Effect::PutFor(value(), 9), Effect::Put(value()));
        assert!(is_wrong(std::slice::from_ref(&hidden), false));
        assert!(is_wrong(&[hidden.clone(), stays.clone()], false));
        assert!(!is_wrong(std::slice::from_ref(&hidden), true));
        assert!(!is_wrong(&[hidden, Effect::Delete], false));
        assert!(!is_wrong(&[stays], false));
    }

    #[test]
    fn what_another_row_has_replaced_is_hidden_no_more() {
        let (mut shown, key) = (Expiring::default(), Bytes::from("k"));
        shown.observe(Table::Sync, &key, Some((version(1), true)));
        shown.observe(Table::Sync, &key, None);
        assert_eq!(shown.last(Table::Sync, &key), Some(version(1)));
        assert_eq!(shown.last(Table::Memory, &key), None);
        shown.observe(Table::Sync, &key, Some((version(2), false)));
        assert_eq!(shown.last(Table::Sync, &key), None);
        shown.observe(Table::Sync, &key, Some((version(3), true)));
        shown.flushed(Table::Memory);
        assert_eq!(shown.last(Table::Sync, &key), Some(version(3)));
        shown.flushed(Table::Sync);
        assert_eq!(shown.last(Table::Sync, &key), None);
    }
}
