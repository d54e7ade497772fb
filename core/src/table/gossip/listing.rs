//! Users' tables that have rows or options: in order of name, counted, and to draw one from.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::id::TableId;

/// Users' tables that are of interest to readers.
#[derive(Default)]
pub(crate) struct Listing {
    /// Tables with live rows or options, by name.
    by_name: BTreeSet<(Arc<str>, TableId)>,
    /// Tables with live rows, in no order.
    populated: Vec<TableId>,
}

/// The place of a table in a [`Listing`].
#[derive(Default)]
pub(super) struct Listed {
    name: Arc<str>,
    /// Where it is among the tables with live rows.
    place: Option<u32>,
    explicit: bool,
}

impl Listed {
    pub(super) fn new(name: Arc<str>) -> Self {
        Listed {
            name,
            place: None,
            explicit: false,
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }
}

impl Listing {
    /// Lists a table that has got its first live row. O(log tables).
    pub(super) fn populate(&mut self, table: TableId, listed: &mut Listed) {
        listed.place = u32::try_from(self.populated.len()).ok();
        self.populated.push(table);
        self.by_name.insert((Arc::clone(&listed.name), table));
    }

    /// Takes out a table that has lost its last live row; returns the table whose place has changed, and that place. O(log tables).
    pub(super) fn depopulate(
        &mut self,
        table: TableId,
        listed: &mut Listed,
    ) -> Option<(TableId, u32)> {
        let place = listed.place.take()?;
        self.populated.swap_remove(place as usize);
        if !listed.explicit {
            self.by_name.remove(&(Arc::clone(&listed.name), table));
        }
        let moved = self.populated.get(place as usize)?;
        Some((*moved, place))
    }

    /// Another table has taken a place.
    pub(super) fn moved(listed: &mut Listed, place: u32) {
        listed.place = Some(place);
    }

    /// Lists a table for its options, or no longer. O(log tables).
    pub(super) fn set_explicit(&mut self, table: TableId, listed: &mut Listed, explicit: bool) {
        listed.explicit = explicit;
        let entry = (Arc::clone(&listed.name), table);
        match explicit || listed.place.is_some() {
            true => self.by_name.insert(entry),
            false => self.by_name.remove(&entry),
        };
    }

    /// Tables with live rows or options.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Tables with live rows.
    pub(crate) fn populated(&self) -> usize {
        self.populated.len()
    }

    /// Tables with live rows or options whose names come after `after`, in order of name. O(log tables) for the first.
    pub(crate) fn after<'a>(
        &'a self,
        after: Option<&str>,
    ) -> impl Iterator<Item = TableId> + use<'a> {
        let start = after.map_or(Bound::Unbounded, |name| {
            Bound::Excluded((Arc::from(name), TableId(u32::MAX)))
        });
        let tables = self.by_name.range((start, Bound::Unbounded));
        tables.map(|(_, table)| *table)
    }

    /// One of the tables with live rows, each with the same chance; `but` is left out. O(1).
    pub(super) fn sample(&self, random: u64, but: Option<&Listed>) -> Option<TableId> {
        let left_out = but.and_then(|listed| listed.place);
        let choice = self.populated.len() - usize::from(left_out.is_some());
        let place = random.checked_rem(choice as u64)? as usize;
        let place = place + usize::from(left_out.is_some_and(|out| place >= out as usize));
        self.populated.get(place).copied()
    }
}
