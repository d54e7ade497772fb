//! Users' tables that have rows or options: in order of name, counted, and to draw one from.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::id::TableId;

type Name = (Arc<str>, TableId);

/// Users' tables that are of interest to readers.
#[derive(Default)]
pub(crate) struct Listing {
    /// Tables with live rows, by name.
    by_name: BTreeSet<Name>,
    /// Tables with options, by name.
    explicit: BTreeSet<Name>,
    /// How many have options and no live rows.
    empty: usize,
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

    /// The table was taken out together with all others.
    pub(super) fn forget_place(&mut self) {
        self.place = None;
    }
}

impl Listing {
    /// Lists a table that has got its first live row. O(log tables).
    pub(super) fn populate(&mut self, table: TableId, listed: &mut Listed) {
        listed.place = u32::try_from(self.populated.len()).ok();
        self.populated.push(table);
        self.by_name.insert((Arc::clone(&listed.name), table));
        self.empty -= usize::from(listed.explicit);
    }

    /// Takes out a table that has lost its last live row; returns the table whose place has changed, and that place. O(log tables).
    pub(super) fn depopulate(
        &mut self,
        table: TableId,
        listed: &mut Listed,
    ) -> Option<(TableId, u32)> {
        let place = listed.place.take()?;
        self.populated.swap_remove(place as usize);
        self.by_name.remove(&(Arc::clone(&listed.name), table));
        self.empty += usize::from(listed.explicit);
        let moved = self.populated.get(place as usize)?;
        Some((*moved, place))
    }

    /// Takes out all tables with live rows, each of which forgets its place later; returns what is left to be freed. O(1).
    pub(super) fn depopulate_all(&mut self) -> Names {
        self.populated = Vec::new();
        self.empty = self.explicit.len();
        Names(core::mem::take(&mut self.by_name))
    }

    /// Another table has taken a place.
    pub(super) fn moved(listed: &mut Listed, place: u32) {
        listed.place = Some(place);
    }

    /// Lists a table for its options, or no longer. O(log tables).
    pub(super) fn set_explicit(&mut self, table: TableId, listed: &mut Listed, explicit: bool) {
        if core::mem::replace(&mut listed.explicit, explicit) == explicit {
            return;
        }
        let name = (Arc::clone(&listed.name), table);
        let is_empty = usize::from(listed.place.is_none());
        if explicit {
            self.explicit.insert(name);
            self.empty += is_empty;
        } else {
            self.explicit.remove(&name);
            self.empty -= is_empty;
        }
    }

    /// Tables with live rows or options.
    pub(crate) fn len(&self) -> usize {
        self.populated.len() + self.empty
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
        let start = || {
            after.map_or(Bound::Unbounded, |name| {
                Bound::Excluded((Arc::from(name), TableId(u32::MAX)))
            })
        };
        let mut populated = self.by_name.range((start(), Bound::Unbounded)).peekable();
        let mut explicit = self.explicit.range((start(), Bound::Unbounded)).peekable();
        core::iter::from_fn(move || {
            let name: &Name = match (populated.peek().copied(), explicit.peek().copied()) {
                (Some(a), Some(b)) => a.min(b),
                (a, b) => a.or(b)?,
            };
            populated.next_if(|next| *next == name);
            explicit.next_if(|next| *next == name);
            Some(name.1)
        })
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

/// Names of tables that were dropped together.
pub(super) struct Names(BTreeSet<Name>);

impl Names {
    /// Forgets up to `count` names; whether some are left. O(count).
    pub(super) fn forget(&mut self, count: usize) -> bool {
        for _ in 0..count.min(self.0.len()) {
            self.0.pop_first();
        }
        !self.0.is_empty()
    }
}
