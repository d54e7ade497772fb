//! The catalog: the tables a node has heard of, of all modes, their ids and options, and which of them a name means.
//!
//! Rows carry their row class, and so one name of users may have a table in each. The definition says which of them the name means: its
//! *home*. Readers and writers know one id for each name, the *public* one, and it stands for the home, also when the definition comes after
//! the id was given out. The two tables of a name in which the last writer wins keep their rows in one place, a *group*: of two
//! versions of a key one wins, whatever the row classes of their dots.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::error::TableError;
use crate::id::TableId;
use crate::store::bytes::{Reader, Writer};
use crate::table::{
    Conflict, Durability, Mode, Namespace, RowClass, TableInfo, TableName, TableOptions,
};

/// The ids of the store's own tables, the same on every node.
pub(crate) mod sys {
    use crate::id::TableId;

    /// Members, by node id.
    pub(crate) const MEMBERS: TableId = TableId(1);
    /// Definitions of tables, by name.
    pub(crate) const TABLES: TableId = TableId(2);
    /// Settings of the cluster, by name.
    pub(crate) const SETTINGS: TableId = TableId(3);
    /// Drop markers of gossip tables.
    pub(crate) const DROP_MARKERS: TableId = TableId(4);
    /// Generations that ended.
    pub(crate) const DEPARTED: TableId = TableId(5);

    /// Their names, in order of their ids.
    pub(super) const NAMES: [&str; 5] =
        ["members", "tables", "settings", "drop_markers", "departed"];

    /// Returns whether a table of the store's own names present and former members.
    pub(crate) fn are_of_members(name: &str) -> bool {
        matches!(name, "members" | "departed")
    }
}

/// System tables whose rows describe tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    Tables,
    DropMarkers,
}

/// A table by row class and name. One name may have rows in several row classes, until its definition has reached all members.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) class: RowClass,
    pub(crate) name: Arc<str>,
    /// The id by which readers and writers know the name.
    public: TableId,
    /// The table that the name means.
    home: TableId,
    /// Whether a version of this table's has been here in this boot.
    used: bool,
    mode: Mode,
}

impl Table {
    pub(crate) fn namespace(&self) -> Namespace {
        if self.class == RowClass::Sys {
            Namespace::Sys
        } else {
            Namespace::Usr
        }
    }

    /// Returns the way in which the members keep it.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }
}

/// Ids of forgotten tables that are not given out again yet: nothing may know one of them any more.
const SPARE: usize = if cfg!(test) { 16 } else { 1 << 16 };

/// The tables that a name stands for.
#[derive(Default)]
struct Named {
    ids: [Option<TableId>; RowClass::ALL.len()],
    /// A program of this node has the id.
    kept: bool,
}

/// All tables, interned.
pub(crate) struct Catalog {
    /// By id; `None` for those that are forgotten.
    all: Vec<Option<Table>>,
    by_name: BTreeMap<Arc<str>, Named>,
    /// The ids of forgotten tables, the last one at the end.
    forgotten: VecDeque<TableId>,
    /// Explicit options by name.
    defined: BTreeMap<String, TableOptions>,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        let mut catalog = Catalog {
            all: Vec::new(),
            by_name: BTreeMap::new(),
            forgotten: VecDeque::new(),
            defined: BTreeMap::new(),
        };
        catalog.intern(RowClass::UsrDurable, "default");
        for name in sys::NAMES {
            catalog.intern(RowClass::Sys, name);
        }
        catalog
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = TableId> + use<> {
        (0..self.all.len() as u32).map(TableId)
    }

    /// Returns how many names of users are known.
    #[cfg(test)]
    pub(crate) fn names(&self) -> usize {
        let users = |named: &&Named| named.ids[RowClass::Sys.index()].is_none();
        self.by_name.values().filter(users).count()
    }

    pub(crate) fn get(&self, id: TableId) -> Option<&Table> {
        self.all.get(id.0 as usize)?.as_ref()
    }

    /// Keeps the id of a table, which a program has got: it stands for the name from now on.
    pub(crate) fn keep(&mut self, id: TableId) {
        let name = self.get(id).map(|table| Arc::clone(&table.name));
        if let Some(named) = name.and_then(|name| self.by_name.get_mut(&name)) {
            named.kept = true;
        }
    }

    /// Returns whether a name may be forgotten, once its tables have no rows: it has no options, and no program has its id.
    pub(crate) fn is_forgettable(&self, name: &str) -> bool {
        let named = self.by_name.get(name);
        let is_users = |named: &Named| named.ids[RowClass::Sys.index()].is_none();
        named.is_some_and(|named| !named.kept && is_users(named))
            && !self.defined.contains_key(name)
    }

    /// Forgets a name; returns the ids that its tables had.
    #[must_use = "rows of these tables have to go as well"]
    pub(crate) fn forget(&mut self, name: &str) -> impl Iterator<Item = TableId> + use<> {
        let ids = self.by_name.remove(name).unwrap_or_default().ids;
        let ids = ids.into_iter().flatten();
        for id in ids.clone() {
            self.all[id.0 as usize] = None;
            self.forgotten.push_back(id);
        }
        ids
    }

    pub(crate) fn class(&self, id: TableId) -> RowClass {
        self.get(id)
            .map_or(RowClass::UsrDurable, |table| table.class)
    }

    /// Lets a table have another mode than its name says.
    #[cfg(any(test, feature = "delays"))]
    pub(crate) fn set_mode(&mut self, id: TableId, mode: Mode) {
        for id in self.known_as(id) {
            if let Some(table) = &mut self.all[id.0 as usize] {
                table.mode = mode;
            }
        }
    }

    /// Returns the mode of a table; of one that is forgotten that of names without a prefix.
    pub(crate) fn mode(&self, id: TableId) -> Mode {
        self.get(id).map_or(Mode::Gossip, Table::mode)
    }

    /// Returns whether the mode of a table answers later, so that its rows are told by requests alone.
    #[inline]
    pub(crate) fn answers_later(&self, id: TableId) -> bool {
        self.mode(id) != Mode::Gossip
    }

    pub(crate) fn name(&self, id: TableId) -> &str {
        self.get(id).map_or("", |table| &table.name)
    }

    /// Returns the name under which readers are told of a user's table.
    pub(crate) fn listed(&self, id: TableId) -> Option<&Arc<str>> {
        let table = self.get(id)?;
        (table.class != RowClass::Sys).then_some(&table.name)
    }

    /// Returns the id by which readers and writers know the table.
    pub(crate) fn public(&self, id: TableId) -> TableId {
        self.get(id).map_or(id, |table| table.public)
    }

    /// Returns the table that the name of this one means.
    pub(crate) fn home(&self, id: TableId) -> TableId {
        self.get(id).map_or(id, |table| table.home)
    }

    /// Returns the table with whose rows those of this one are kept.
    pub(crate) fn group(&self, id: TableId) -> TableId {
        match self.get(id) {
            Some(table) if table.class == RowClass::UsrMemory => table.public,
            _ => id,
        }
    }

    /// Returns whether readers of the name see the rows of this table.
    pub(crate) fn is_shown(&self, id: TableId) -> bool {
        self.group(id) == self.group(self.home(id))
    }

    /// Notes that a version of this table is here. Returns whether there were some of both tables of its group.
    pub(crate) fn mark_used(&mut self, id: TableId) -> bool {
        let Some(table) = self.all.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return false;
        };
        table.used = true;
        let (class, public) = (table.class, table.public);
        let other = match class {
            RowClass::UsrMemory => Some(public),
            RowClass::UsrDurable => self.find(RowClass::UsrMemory, self.name(id)),
            _ => None,
        };
        other
            .and_then(|id| self.get(id))
            .is_some_and(|table| table.used)
    }

    /// Returns whether a version of this table, or of the other one of its group, has been here in this boot.
    pub(crate) fn was_used(&self, id: TableId) -> bool {
        let of_group = |known: &TableId| self.group(*known) == self.group(id);
        let mut known = self.known_as(id).into_iter().filter(of_group);
        known.any(|id| self.get(id).is_some_and(|table| table.used))
    }

    pub(crate) fn find(&self, class: RowClass, name: &str) -> Option<TableId> {
        self.by_name.get(name)?.ids[class.index()]
    }

    /// Returns the table of this row class and name. The public id of a user's name is that of its durable table, which is interned first.
    pub(crate) fn intern(&mut self, class: RowClass, name: &str) -> TableId {
        if let Some(id) = self.find(class, name) {
            return id;
        }
        let known = match class {
            RowClass::Sys | RowClass::UsrDurable => None,
            _ => Some(self.intern(RowClass::UsrDurable, name)),
        };
        let id = self.free_id();
        let (public, home) = known.map_or((id, id), |public| (public, self.home(public)));
        let known = self.by_name.get_key_value(name);
        let name = known.map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        self.all[id.0 as usize] = Some(Table {
            class,
            name: Arc::clone(&name),
            public,
            home,
            used: false,
            mode: Mode::of(&name),
        });
        self.by_name.entry(name).or_default().ids[class.index()] = Some(id);
        id
    }

    /// Returns a new id, or one that was forgotten long ago.
    fn free_id(&mut self) -> TableId {
        if self.forgotten.len() > SPARE
            && let Some(id) = self.forgotten.pop_front()
        {
            return id;
        }
        self.all.push(None);
        TableId(self.all.len() as u32 - 1)
    }

    /// Returns the public id of the user table called `name`, interned on first use. It stands for the name while it is kept, or the table is
    /// used.
    ///
    /// # Errors
    /// [`TableError::BadName`] when the name is empty or longer than `limit`, [`TableError::ModeNotBuilt`] when it is that of a mode that this
    /// program does not keep; nothing was changed.
    pub(crate) fn user_table(
        &mut self,
        name: &str,
        limit: usize,
        kept: bool,
    ) -> Result<TableId, TableError> {
        // Records and the wire give a name one byte of length.
        let limit = limit.min(usize::from(u8::MAX));
        if name.is_empty() || name.len() > limit {
            return Err(TableError::BadName {
                size: name.len(),
                limit,
            });
        }
        Mode::built(name)?;
        let id = self.intern(RowClass::UsrDurable, name);
        if kept {
            self.keep(id);
        }
        Ok(id)
    }

    /// Returns the description of a table with so many live rows, if that is known.
    pub(crate) fn info(&self, id: TableId, rows: Option<u64>) -> Option<TableInfo<'_>> {
        let table = self.get(id)?;
        let id = table.public;
        Some(TableInfo {
            id,
            namespace: table.namespace(),
            name: &table.name,
            options: self.options(id),
            explicit: self.is_explicit(id),
            rows,
        })
    }

    pub(crate) fn resolve(&self, name: &TableName) -> Option<TableId> {
        match name.namespace {
            Namespace::Sys => self.find(RowClass::Sys, &name.name),
            Namespace::Usr => self.resolve_user(&name.name),
        }
    }

    pub(crate) fn resolve_user(&self, name: &str) -> Option<TableId> {
        self.find(RowClass::UsrDurable, name)
    }

    /// Returns the user tables of that name which this node has heard of.
    pub(crate) fn all_known(&self, name: &str) -> Vec<TableId> {
        let ids = RowClass::USR.map(|class| self.find(class, name));
        ids.into_iter().flatten().collect()
    }

    /// Returns the groups of rows of the user tables of that name.
    pub(crate) fn groups_of(&self, name: &str) -> Vec<TableId> {
        let mut ids = self.all_known(name);
        ids.retain(|id| self.group(*id) == *id);
        ids
    }

    /// Returns the user tables of the same name as this one.
    pub(crate) fn known_as(&self, id: TableId) -> Vec<TableId> {
        self.all_known(self.name(id))
    }

    /// Returns the options of the table that the name means.
    pub(crate) fn options(&self, id: TableId) -> TableOptions {
        let home = self.home(id);
        let Some(table) = self.get(home) else {
            return TableOptions::default();
        };
        match self.defined.get(&*table.name) {
            Some(options) if table.class != RowClass::Sys => *options,
            _ => TableOptions::default(),
        }
    }

    pub(crate) fn is_explicit(&self, id: TableId) -> bool {
        self.get(id).is_some_and(|table| {
            table.class == RowClass::Sys || self.defined.contains_key(&*table.name)
        })
    }

    /// Takes in a definition; a value of a newer version than this program's, or of another mode, is left alone. Returns what the name meant, and what it means
    /// from now on.
    #[must_use = "rows of the table that the name meant before are shown no more"]
    pub(crate) fn define(
        &mut self,
        name: &[u8],
        value: Option<&[u8]>,
    ) -> Option<(TableId, TableId)> {
        let name = core::str::from_utf8(name).ok()?;
        // A member of a later version may define tables that this program does not keep.
        Mode::built(name).ok()?;
        let options = decode_options(value?)?;
        self.defined.insert(name.to_string(), options);
        let home = self.intern(RowClass::of(options), name);
        let before = self.home(home);
        for id in self.known_as(home) {
            if let Some(table) = &mut self.all[id.0 as usize] {
                table.home = home;
            }
        }
        Some((before, home))
    }

    /// By namespace and name, users' tables by their public ids.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = TableId> {
        let by = |class: RowClass| {
            let names = self.by_name.values();
            names.filter_map(move |named| named.ids[class.index()])
        };
        by(RowClass::Sys).chain(by(RowClass::UsrDurable))
    }

    pub(crate) fn meta_of(&self, id: TableId) -> Option<Meta> {
        match id {
            sys::TABLES => Some(Meta::Tables),
            sys::DROP_MARKERS => Some(Meta::DropMarkers),
            _ => None,
        }
    }
}

pub(crate) fn encode_options(options: TableOptions) -> Bytes {
    let mut out = Writer::default();
    out.u8(1);
    out.u8(match options.durability {
        Durability::Memory => 0,
        Durability::Periodic => 1,
        Durability::Sync => 2,
    });
    out.u8(match options.conflict {
        Conflict::LastWriterWins => 0,
        Conflict::Siblings => 1,
    });
    out.finish()
}

/// Ranks how much a definition keeps of what is written: siblings more than the last write, and on disk more than in memory. Of
/// last writers one wins, whatever the durability.
pub(crate) fn keeps(value: Option<&[u8]>) -> u8 {
    match value.and_then(decode_options).map(RowClass::of) {
        Some(RowClass::UsrDurableSiblings) => 2,
        Some(RowClass::UsrMemorySiblings) => 1,
        _ => 0,
    }
}

fn decode_options(value: &[u8]) -> Option<TableOptions> {
    let mut value = Reader::new(value);
    if value.u8()? != 1 {
        return None;
    }
    let durability = match value.u8()? {
        0 => Durability::Memory,
        1 => Durability::Periodic,
        2 => Durability::Sync,
        _ => return None,
    };
    let conflict = match value.u8()? {
        0 => Conflict::LastWriterWins,
        1 => Conflict::Siblings,
        _ => return None,
    };
    Some(TableOptions {
        durability,
        conflict,
    })
}
