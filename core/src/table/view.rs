//! Reading: borrowed straight from the tables, without a queue and without the network.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;
use core::str::FromStr;

use bytes::Bytes;

use super::catalog::Catalog;
use super::causal::CausalToken;
use super::changes::{ChangeLog, Entry};
use super::gossip::{Replica, StoredRow, Value};
use super::siblings::SiblingRow;
use super::{Mode, Namespace, RowClass, Slot, TableOptions, Version};
use crate::effects::Effects;
use crate::error::{AnswersLater, ChangesError, CursorError, Lagged};
use crate::id::{Seq, TableId};
use crate::time::Wall;

/// The answer to a point read. Exhaustive: a reader that passes one over takes a row that is there for absent.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// The live row.
    Row(RowRef<'a>),
    /// The live row, whose value is only in the store: [`TableOp::Get`](crate::table::TableOp::Get) loads it.
    Cold(RowRef<'a>),
    /// The live siblings of a key, one or more, in a table that keeps them.
    Siblings(RowRef<'a>),
    /// No live row.
    Absent,
    /// The mode of the table answers later: ask with [`Request::Table`](crate::io::Request::Table).
    Later,
}

impl<'a> Found<'a> {
    /// The row, if there is one, cold or not, with siblings or without; `None` also where the table answers later.
    pub fn row(self) -> Option<RowRef<'a>> {
        match self {
            Found::Row(row) | Found::Cold(row) | Found::Siblings(row) => Some(row),
            Found::Absent | Found::Later => None,
        }
    }
}

/// A live row, borrowed.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    catalog: &'a Catalog,
    gossip: &'a Replica,
    row: &'a StoredRow,
}

impl fmt::Debug for RowRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowRef")
            .field("key", self.key())
            .field("value", &self.value())
            .finish()
    }
}

impl<'a> RowRef<'a> {
    /// The key.
    pub fn key(&self) -> &'a Bytes {
        &self.row.key
    }

    /// The value, `None` when it is only in the store or the key has several siblings.
    pub fn value(&self) -> Option<&'a Bytes> {
        match &self.row.value {
            Value::Siblings(row) => only(row),
            value => value.resident(),
        }
    }

    /// The length of the value in bytes, wherever it is; of siblings that of all together.
    pub fn value_len(&self) -> usize {
        match &self.row.value {
            Value::Siblings(row) => row.live().map(|(_, value)| value.len()).sum(),
            value => value.len(),
        }
    }

    /// How many siblings the key has; 1 in a table that keeps none.
    pub fn sibling_count(&self) -> usize {
        let siblings = self.row.value.siblings();
        siblings.map_or(1, |row| row.live().count())
    }

    /// The siblings and what a writer has to hand back to replace them, in a table that keeps siblings. O(siblings).
    pub fn siblings(&self) -> Option<Siblings> {
        self.gossip.siblings(self.catalog, self.row)
    }

    /// Returns the token that a writer has to hand back to replace the siblings, in a table that keeps them.
    pub fn context(&self) -> Option<CausalToken> {
        self.gossip.context(self.catalog, self.row)
    }

    /// When it expires.
    pub fn expires(&self) -> Option<Wall> {
        (self.row.expires != 0).then(|| Wall::from_millis(self.row.expires))
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.gossip.version(self.row)
    }

    /// The batch that makes it durable here. A reply that shows a row of a table with
    /// [`Durability::Sync`](crate::table::Durability::Sync) waits for it.
    pub fn seq(&self) -> Seq {
        self.row.seq
    }
}

/// A live row, owned. Exhaustive: a program that serves reads makes some too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The value.
    pub value: Bytes,
    /// When it expires.
    pub expires: Option<Wall>,
    /// Its version.
    pub version: Version,
}

/// The live siblings of a key, owned. Exhaustive, as [`Row`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Siblings {
    /// Their values and versions, in an order that all members share.
    pub values: Vec<(Bytes, Version)>,
    /// The token that a writer has to hand back to replace them.
    pub context: CausalToken,
}

fn only(row: &SiblingRow) -> Option<&Bytes> {
    let mut live = row.live();
    let (_, value) = live.next()?;
    live.next().is_none().then_some(value)
}

/// Which keys a scan visits: those that meet every condition. The default is all; write `..ScanRange::default()` last, since there may be
/// more conditions one day.
#[derive(Clone, Debug, Default)]
pub struct ScanRange<'a> {
    /// Only keys that begin with this.
    pub prefix: &'a [u8],
    /// Only this key and those after it.
    pub from: &'a [u8],
    /// Only keys before this one.
    pub until: Option<&'a [u8]>,
    /// Only keys after this one.
    pub after: Option<&'a [u8]>,
}

/// Live rows of one table in key order.
pub struct Scan<'a> {
    reads: Reads<'a>,
    wall_ms: u64,
    prefix: Vec<u8>,
    until: Option<Vec<u8>>,
    inner: Option<super::gossip::InOrder<'a>>,
}

impl<'a> Iterator for Scan<'a> {
    type Item = RowRef<'a>;

    fn next(&mut self) -> Option<RowRef<'a>> {
        loop {
            let (key, slot) = self.inner.as_mut()?.next()?;
            let is_over = |until: &Vec<u8>| **key >= **until;
            if !key.starts_with(&self.prefix) || self.until.as_ref().is_some_and(is_over) {
                self.inner = None;
                return None;
            }
            // A drop marker may have hidden it.
            let Some(row) = self.reads.gossip.rows().row(slot) else {
                continue;
            };
            if row.is_live_at(self.wall_ms) {
                return Some(self.reads.row(row));
            }
        }
    }
}

/// A place in the changes that a watch reads: for gossip tables one in the local order of arrival, valid on one node, for one of its boots.
/// Its text (`gossip.17`) and its bytes name the mode whose order it is of, so that other modes can count otherwise.
///
/// ```
/// use rumormill_core::table::Cursor;
///
/// let next = Cursor::START.next();
/// assert_eq!(next.to_string().parse(), Ok(next));
/// assert_eq!(Cursor::from_bytes(next.to_bytes()), Ok(next));
/// assert!("17".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// The place before every change.
    pub const START: Cursor = Cursor(0);

    /// The length of its form as bytes.
    pub const BYTES: usize = 9;

    /// Returns the place after the change that is here: a watch that begins there does not see the change again.
    #[must_use = "the cursor itself stays where it is"]
    pub fn next(self) -> Cursor {
        Cursor(self.0.saturating_add(1))
    }

    /// Returns its form as bytes, which [`Cursor::from_bytes`] reads.
    pub fn to_bytes(self) -> [u8; Cursor::BYTES] {
        let mut out = [Mode::Gossip as u8; Cursor::BYTES];
        out[1..].copy_from_slice(&self.0.to_be_bytes());
        out
    }

    /// Reads the form as bytes.
    ///
    /// # Errors
    /// [`CursorError`].
    pub fn from_bytes(bytes: [u8; Cursor::BYTES]) -> Result<Cursor, CursorError> {
        let [tag, number @ ..] = bytes;
        let mode = Mode::ALL.into_iter().find(|mode| *mode as u8 == tag);
        Cursor::of(mode, Some(u64::from_be_bytes(number)))
    }

    fn of(mode: Option<Mode>, number: Option<u64>) -> Result<Cursor, CursorError> {
        match (mode, number) {
            (Some(Mode::Gossip), Some(number)) => Ok(Cursor(number)),
            (Some(mode @ (Mode::Strong | Mode::Quorum)), _) => Err(CursorError::OtherMode { mode }),
            (Some(Mode::Gossip) | None, _) => Err(CursorError::Malformed),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", Mode::Gossip, self.0)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let (name, number) = text.split_once('.').ok_or(CursorError::Malformed)?;
        let mode = Mode::ALL.into_iter().find(|mode| mode.as_str() == name);
        // `u64::from_str` takes a sign too, so that one place would have two names.
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        Cursor::of(mode, number.parse().ok().filter(|_| is_plain))
    }
}

/// Changes of a table since a cursor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Changes {
    /// The changes, oldest first. A key that changed twice is reported once, with its newest state.
    pub changes: Vec<Change>,
    /// Where to go on.
    pub next: Cursor,
    /// Whether the limit cut the answer short.
    pub more: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its place in the order of arrival.
    pub cursor: Cursor,
    /// The table.
    pub table: TableId,
    /// The kind of the change.
    pub kind: ChangeKind,
}

/// A change of a row or table. Exhaustive: a program that keeps a copy by these, and passes one over, has a wrong copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The row was written.
    Put {
        /// Its key.
        key: Bytes,
        /// Its value, `None` when it is only in the store.
        value: Option<Bytes>,
        /// When it expires.
        expires: Option<Wall>,
    },
    /// The siblings of a key have changed, and some are left.
    Siblings {
        /// The key.
        key: Bytes,
        /// They.
        siblings: Siblings,
    },
    /// The row was deleted.
    Deleted {
        /// Its key.
        key: Bytes,
    },
    /// The row expired.
    Expired {
        /// Its key.
        key: Bytes,
    },
    /// Everything in the table up to now was removed.
    Flushed {
        /// Whether all users' tables were flushed, and not this one alone.
        all: bool,
    },
}

impl ChangeKind {
    /// Bytes of keys and values that it keeps in memory. O(siblings).
    pub fn bytes(&self) -> usize {
        match self {
            ChangeKind::Put { key, value, .. } => key.len() + value.as_ref().map_or(0, Bytes::len),
            ChangeKind::Siblings { key, siblings } => {
                let values = siblings.values.iter().map(|(value, _)| value.len());
                key.len() + siblings.context.size() + values.sum::<usize>()
            }
            ChangeKind::Deleted { key } | ChangeKind::Expired { key } => key.len(),
            ChangeKind::Flushed { .. } => 0,
        }
    }
}

/// A table, its options and its size.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TableInfo<'a> {
    /// Its id on this node.
    pub id: TableId,
    /// Its owner.
    pub namespace: Namespace,
    /// Its name.
    pub name: &'a str,
    /// Its options.
    pub options: TableOptions,
    /// Whether the options were given explicitly, in a row of `sys.tables`.
    pub explicit: bool,
    /// Live rows, those included that have expired and wait for their timer. Hidden ones are not among them. `None` for a table that answers
    /// later.
    pub rows: Option<u64>,
}

/// The parts of a node that reads look at: the catalog and the log of all tables, and the tables of each mode.
#[derive(Clone, Copy)]
pub(crate) struct Reads<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) changes: &'a ChangeLog,
    pub(crate) gossip: &'a Replica,
    /// Counts the changes of each table.
    pub(crate) effects: &'a Effects,
}

impl<'a> Reads<'a> {
    /// Returns a live row as a reader sees it.
    fn row(self, row: &'a StoredRow) -> RowRef<'a> {
        RowRef {
            catalog: self.catalog,
            gossip: self.gossip,
            row,
        }
    }

    fn table_info(self, id: TableId) -> Option<TableInfo<'a>> {
        let live = self.gossip.live(self.catalog, self.catalog.public(id));
        let rows = live.map_or(0, |live| live.len() as u64);
        let is_known = !self.catalog.answers_later(id);
        self.catalog.info(id, is_known.then_some(rows))
    }
}

/// A look at the tables of a node at one moment. Borrowed, so nothing changes while it is held.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) reads: Reads<'a>,
    pub(crate) wall_ms: u64,
}

impl<'a> View<'a> {
    /// Returns whether the mode of a table answers later, so that its rows can only be read and written with
    /// [`Request::Table`](crate::io::Request::Table). O(1).
    pub fn answers_later(&self, table: TableId) -> bool {
        self.reads.catalog.answers_later(table)
    }

    /// The live row of a key. O(1).
    #[inline]
    pub fn get(&self, table: TableId, key: &[u8]) -> Found<'a> {
        #[cfg(any(test, feature = "delays"))]
        if self.answers_later(table) {
            return Found::Later;
        }
        match self.reads.gossip.get(self.reads.catalog, table, key) {
            Some(row) if row.is_live_at(self.wall_ms) => {
                let row = self.reads.row(row);
                match &row.row.value {
                    Value::Cold(_) => Found::Cold(row),
                    Value::Siblings(_) => Found::Siblings(row),
                    _ => Found::Row(row),
                }
            }
            Some(_) => Found::Absent,
            None if self.answers_later(table) => Found::Later,
            None => Found::Absent,
        }
    }

    /// Refuses a table whose rows a view cannot tell.
    fn answers_at_once(&self, table: TableId) -> Result<(), AnswersLater> {
        match self.answers_later(table) {
            true => Err(AnswersLater { table }),
            false => Ok(()),
        }
    }

    /// Live rows in key order, lazily. O(log rows) to begin, O(1) amortised per row.
    ///
    /// # Errors
    /// [`AnswersLater`].
    pub fn scan(&self, table: TableId, range: ScanRange<'_>) -> Result<Scan<'a>, AnswersLater> {
        self.answers_at_once(table)?;
        let first = range.prefix.max(range.from);
        let start = match range.after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let live = self.reads.gossip.live(self.reads.catalog, table);
        Ok(Scan {
            reads: self.reads,
            wall_ms: self.wall_ms,
            prefix: range.prefix.to_vec(),
            until: range.until.map(<[u8]>::to_vec),
            inner: live.map(|keys| keys.from(start)),
        })
    }

    /// A live row of the table, each with the same chance if `random` is a random number. O(1), but where most rows have expired and
    /// wait for their timer.
    ///
    /// # Errors
    /// [`AnswersLater`].
    pub fn sample(&self, table: TableId, random: u64) -> Result<Option<RowRef<'a>>, AnswersLater> {
        const TRIES: u64 = 16;
        self.answers_at_once(table)?;
        let gossip = self.reads.gossip;
        let home = self.reads.catalog.home(table);
        let rows = gossip.rows();
        let mut drawn = (0..TRIES).filter_map(|n| rows.sample(home, spread(random, n)));
        Ok(match drawn.find(|row| row.is_live_at(self.wall_ms)) {
            Some(row) => Some(self.reads.row(row)),
            None => self.scan(table, ScanRange::default())?.next(),
        })
    }

    /// One of users' tables that have live rows, each with the same chance if `random` is a random number; `but` is left out, and so are tables
    /// that answer later. O(1).
    pub fn sample_table(&self, random: u64, but: Option<TableId>) -> Option<TableInfo<'a>> {
        let gossip = self.reads.gossip;
        let but = but.map(|table| self.reads.catalog.home(table));
        let info = self.table_info(gossip.rows().sample_table(random, but)?);
        info.filter(|info| info.rows.is_some())
    }

    /// Live rows of all users' gossip tables, those included that have expired and wait for their timer. Hidden ones are not among them. O(1).
    pub fn user_rows(&self) -> u64 {
        self.reads.gossip.rows().user_rows()
    }

    /// Users' gossip tables that have live rows. O(1).
    pub fn populated_tables(&self) -> usize {
        self.reads.gossip.rows().listing().populated()
    }

    /// Users' tables that have live rows or explicit options, by name, from the first whose name is larger than `after`, lazily.
    /// O(log tables) to begin, O(1) amortised per table.
    pub fn user_tables(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = TableInfo<'a>> + use<'a> {
        let reads = self.reads;
        let ids = reads.gossip.rows().listing().after(after);
        ids.filter_map(move |id| reads.table_info(id))
    }

    /// Live rows of a table, those included that have expired and wait for their timer. Hidden ones are not among them. O(1).
    ///
    /// # Errors
    /// [`AnswersLater`].
    pub fn len(&self, table: TableId) -> Result<u64, AnswersLater> {
        self.answers_at_once(table)?;
        let live = self.reads.gossip.live(self.reads.catalog, table);
        Ok(live.map_or(0, |keys| keys.len() as u64))
    }

    /// Live rows of all tables that expire one day. Hidden ones are not among them. O(1).
    pub fn expiring_rows(&self) -> u64 {
        self.reads.gossip.expiring_rows()
    }

    /// Whether rows of a table are hidden: they have expired by this node's clock, have not ended, and may show elsewhere. O(log tables).
    pub fn hides(&self, table: TableId) -> bool {
        self.reads.gossip.hides_in(self.reads.catalog, table)
    }

    /// The tables that have rows or explicit options, by namespace and name. O(tables): [`View::user_tables`] gives them one by
    /// one.
    pub fn tables(&self) -> Vec<TableInfo<'a>> {
        let ids = self.reads.catalog.in_order();
        let infos = ids.filter_map(|id| self.reads.table_info(id));
        infos
            .filter(|info| info.explicit || info.rows != Some(0))
            .collect()
    }

    /// A table's description.
    pub fn table_info(&self, table: TableId) -> Option<TableInfo<'a>> {
        self.reads.table_info(table)
    }

    /// A number that grows with every change of a table, by a client here or another member, and is valid for one boot of this node.
    /// Equal numbers mean that nothing was written, deleted, flushed or found to be expired in between. O(1).
    pub fn revision(&self, table: TableId) -> u64 {
        self.reads
            .effects
            .revision(self.reads.catalog.public(table))
    }

    /// A number that grows whenever all users' tables change at once, and is valid for one boot of this node: a flush of all tables tells
    /// only in the turns that follow which tables had rows. O(1).
    pub fn revision_of_all(&self) -> u64 {
        self.reads.effects.revision_of_all()
    }

    /// A cursor at the end of the log: what comes later is read from it.
    pub fn cursor(&self) -> Cursor {
        Cursor(self.reads.changes.next())
    }

    /// Changes of `table` from `from` on, at most `limit` of them, and no more after a mebibyte of keys and values. O(entries of all
    /// tables passed over).
    ///
    /// # Errors
    /// [`ChangesError::Lagged`] when the log no longer reaches back to `from`: scan the table and go on from its cursor.
    /// [`ChangesError::AnswersLater`].
    pub fn changes(
        &self,
        table: TableId,
        from: Cursor,
        limit: usize,
    ) -> Result<Changes, ChangesError> {
        self.answers_at_once(table)?;
        let tables = self.reads.catalog;
        let (public, home) = (tables.public(table), tables.home(table));
        let changes = self.changes_where((from, limit), home, Some(public), |of| of == public);
        Ok(changes?)
    }

    /// Changes of all users' tables that answer at once from `from` on, within the bounds of [`View::changes`]. A flush of all tables is one change, of
    /// [`TableId::DEFAULT`].
    ///
    /// # Errors
    /// [`Lagged`] when the log no longer reaches back to `from`.
    pub fn all_changes(&self, from: Cursor, limit: usize) -> Result<Changes, Lagged> {
        self.changes_where((from, limit), TableId::DEFAULT, None, |of| {
            self.reads.catalog.class(of) != RowClass::Sys && !self.answers_later(of)
        })
    }

    fn changes_where(
        &self,
        (from, limit): (Cursor, usize),
        all: TableId,
        table: Option<TableId>,
        wanted: impl Fn(TableId) -> bool,
    ) -> Result<Changes, Lagged> {
        let (log, tables) = (self.reads.changes, self.reads.catalog);
        let is_anew = self.reads.gossip.is_redefined_since(table, from.0);
        if is_anew || from.0 < log.first() || from.0 > log.next() {
            return Err(Lagged {
                restart: self.cursor(),
            });
        }
        let mut out = Changes {
            changes: Vec::new(),
            next: from,
            more: false,
        };
        let mut bytes = 0;
        for (number, entry) in log.since(from.0) {
            if out.changes.len() == limit || bytes >= CHANGES_BYTES {
                out.more = true;
                return Ok(out);
            }
            if let Some((table, kind)) = self.change(number, entry, all)
                && tables.is_shown(table)
                && wanted(tables.public(table))
            {
                let table = tables.public(table);
                let cursor = Cursor(number);
                bytes += kind.bytes();
                out.changes.push(Change {
                    cursor,
                    table,
                    kind,
                });
            }
            out.next = Cursor(number + 1);
        }
        Ok(out)
    }

    /// Returns the change that an entry tells; for all users' tables under the name of `all`.
    fn change(&self, number: u64, entry: &Entry, all: TableId) -> Option<(TableId, ChangeKind)> {
        match entry {
            Entry::Row { mode, slot } => match mode {
                Mode::Gossip => self.row_change(number, *slot),
                Mode::Strong | Mode::Quorum => None,
            },
            Entry::Freed {
                table,
                expired,
                key,
            } => {
                let key = key.clone();
                let kind = if *expired {
                    ChangeKind::Expired { key }
                } else {
                    ChangeKind::Deleted { key }
                };
                Some((*table, kind))
            }
            Entry::Flushed { table } => Some((*table, ChangeKind::Flushed { all: false })),
            Entry::FlushedAll => {
                let is_users = self.reads.catalog.listed(all).is_some();
                is_users.then_some((all, ChangeKind::Flushed { all: true }))
            }
        }
    }

    /// The change of a row of a gossip table that arrived; nothing when it has changed again since.
    fn row_change(&self, number: u64, slot: Slot) -> Option<(TableId, ChangeKind)> {
        let gossip = self.reads.gossip;
        let row = gossip.rows().row(slot)?;
        if row.arrival != number {
            return None;
        }
        let key = row.key.clone();
        if let Some(siblings) = gossip.siblings(self.reads.catalog, row) {
            return Some((row.table, siblings_changed(key, siblings)));
        }
        let gone = row.value.is_dead() || gossip.rows().is_hidden(slot);
        let kind = match (gone, row.expires) {
            (false, expires) => ChangeKind::Put {
                key,
                value: row.value.resident().cloned(),
                expires: (expires != 0).then(|| Wall::from_millis(expires)),
            },
            (true, 0) => ChangeKind::Deleted { key },
            (true, _) => ChangeKind::Expired { key },
        };
        Some((row.table, kind))
    }
}

/// The `n`th of several random numbers that are made of one, itself the first.
fn spread(random: u64, n: u64) -> u64 {
    let odd = random.rotate_left(32) | 1;
    random.wrapping_add(odd.wrapping_mul(n))
}

fn siblings_changed(key: Bytes, siblings: Siblings) -> ChangeKind {
    match siblings.values.is_empty() {
        true => ChangeKind::Deleted { key },
        false => ChangeKind::Siblings { key, siblings },
    }
}

/// Bytes of keys and values after which an answer about changes ends: a reader that stops reading keeps so many alive, and one change
/// more.
const CHANGES_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_cursor_reads_its_own_forms_and_no_other() {
        for cursor in [Cursor::START, Cursor(17), Cursor(u64::MAX)] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
            assert_eq!(Cursor::from_bytes(cursor.to_bytes()), Ok(cursor));
        }
        assert_eq!(Cursor(17).to_string(), "gossip.17");
        for text in [
            "",
            "17",
            "gossip",
            "gossip.",
            "gossip.+1",
            "gossip.x",
            "gossip.18446744073709551616",
            "other.1",
        ] {
            assert_eq!(
                text.parse::<Cursor>(),
                Err(CursorError::Malformed),
                "{text}"
            );
        }
        let mode = Mode::Strong;
        assert_eq!(
            "strong.3".parse::<Cursor>(),
            Err(CursorError::OtherMode { mode })
        );
        let mut bytes = Cursor(3).to_bytes();
        bytes[0] = Mode::Quorum as u8;
        let mode = Mode::Quorum;
        assert_eq!(
            Cursor::from_bytes(bytes),
            Err(CursorError::OtherMode { mode })
        );
        bytes[0] = 9;
        assert_eq!(Cursor::from_bytes(bytes), Err(CursorError::Malformed));
    }
}
