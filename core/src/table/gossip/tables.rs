//! The tables a node has heard of, and which of them a name means.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::TableId;
use crate::store::bytes::{Reader, Writer};
use crate::table::{Conflict, Domain, Durability, Namespace, TableName, TableOptions};

/// Key of the floor under all user tables.
pub(crate) const FLOOR_OF_ALL: &[u8] = b"*";

/// Key of a table's floor: a letter, so that no name is mistaken for [`FLOOR_OF_ALL`].
pub(crate) fn floor_key(name: &str) -> Vec<u8> {
    let mut key = alloc::vec![b't'];
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn floor_name(key: &[u8]) -> Option<&str> {
    core::str::from_utf8(key.strip_prefix(b"t")?).ok()
}

/// System tables whose rows describe tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    Tables,
    Floors,
}

/// A table by domain and name. One name may have rows in several domains, until its definition has reached everybody.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) domain: Domain,
    pub(crate) name: Arc<str>,
}

impl Table {
    pub(crate) fn namespace(&self) -> Namespace {
        if self.domain == Domain::Sys {
            Namespace::Sys
        } else {
            Namespace::Usr
        }
    }
}

/// Ids of forgotten tables that are not given out again yet: nothing may know one of them any more.
const SPARE: usize = 1 << 16;

/// What a name stands for.
#[derive(Default)]
struct Named {
    ids: [Option<TableId>; Domain::ALL.len()],
    /// A program of this node has the id.
    kept: bool,
}

/// All tables, interned.
pub(crate) struct Tables {
    /// By id; `None` for those that are forgotten.
    all: Vec<Option<Table>>,
    by_name: BTreeMap<Arc<str>, Named>,
    /// The ids of forgotten tables, the last one at the end.
    forgotten: VecDeque<TableId>,
    /// Explicit options by name.
    defined: BTreeMap<String, TableOptions>,
}

impl Tables {
    pub(crate) const MEMBERS: TableId = TableId(1);
    pub(crate) const TABLES: TableId = TableId(2);
    pub(crate) const SETTINGS: TableId = TableId(3);
    pub(crate) const FLOORS: TableId = TableId(4);
    pub(crate) const DEPARTED: TableId = TableId(5);

    pub(crate) fn new() -> Self {
        let mut tables = Tables {
            all: Vec::new(),
            by_name: BTreeMap::new(),
            forgotten: VecDeque::new(),
            defined: BTreeMap::new(),
        };
        tables.intern(Domain::UsrDurable, "default");
        for name in ["members", "tables", "settings", "floors", "departed"] {
            tables.intern(Domain::Sys, name);
        }
        tables
    }

    /// Whether a table of the store's own names present and former members.
    pub(crate) fn are_of_members(name: &str) -> bool {
        matches!(name, "members" | "departed")
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = TableId> + use<> {
        (0..self.all.len() as u32).map(TableId)
    }

    /// How many names of users are known.
    #[cfg(test)]
    pub(crate) fn names(&self) -> usize {
        let users = |named: &&Named| named.ids[Domain::Sys.index()].is_none();
        self.by_name.values().filter(users).count()
    }

    pub(crate) fn get(&self, id: TableId) -> Option<&Table> {
        self.all.get(id.0 as usize)?.as_ref()
    }

    /// A program has got the id of a table, which stands for the name from now on.
    pub(crate) fn keep(&mut self, id: TableId) {
        let name = self.get(id).map(|table| Arc::clone(&table.name));
        if let Some(named) = name.and_then(|name| self.by_name.get_mut(&name)) {
            named.kept = true;
        }
    }

    /// Whether a name may be forgotten, once its tables have no rows: it has no options, and no program has its id.
    pub(crate) fn is_forgettable(&self, name: &str) -> bool {
        let named = self.by_name.get(name);
        let is_users = |named: &Named| named.ids[Domain::Sys.index()].is_none();
        named.is_some_and(|named| !named.kept && is_users(named))
            && !self.defined.contains_key(name)
    }

    /// Forgets a name; returns the ids that its tables had.
    pub(crate) fn forget(&mut self, name: &str) -> impl Iterator<Item = TableId> + use<> {
        let ids = self.by_name.remove(name).unwrap_or_default().ids;
        let ids = ids.into_iter().flatten();
        for id in ids.clone() {
            self.all[id.0 as usize] = None;
            self.forgotten.push_back(id);
        }
        ids
    }

    pub(crate) fn domain(&self, id: TableId) -> Domain {
        self.get(id)
            .map_or(Domain::UsrDurable, |table| table.domain)
    }

    pub(crate) fn name(&self, id: TableId) -> &str {
        self.get(id).map_or("", |table| &table.name)
    }

    /// The name under which readers are told of a user's table.
    pub(crate) fn listed(&self, id: TableId) -> Option<&Arc<str>> {
        let table = self.get(id)?;
        (table.domain != Domain::Sys).then_some(&table.name)
    }

    pub(crate) fn find(&self, domain: Domain, name: &str) -> Option<TableId> {
        self.by_name.get(name)?.ids[domain.index()]
    }

    pub(crate) fn intern(&mut self, domain: Domain, name: &str) -> TableId {
        if let Some(id) = self.find(domain, name) {
            return id;
        }
        let id = self.free_id();
        let known = self.by_name.get_key_value(name);
        let name = known.map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        self.all[id.0 as usize] = Some(Table {
            domain,
            name: Arc::clone(&name),
        });
        self.by_name.entry(name).or_default().ids[domain.index()] = Some(id);
        id
    }

    /// A new id, or one that was forgotten long ago.
    fn free_id(&mut self) -> TableId {
        if self.forgotten.len() > SPARE
            && let Some(id) = self.forgotten.pop_front()
        {
            return id;
        }
        self.all.push(None);
        TableId(self.all.len() as u32 - 1)
    }

    /// The domain that a user table's definition gives it.
    fn home(&self, name: &str) -> Domain {
        Domain::of(self.defined.get(name).copied().unwrap_or_default())
    }

    pub(crate) fn resolve_or_intern(&mut self, name: &str) -> TableId {
        self.intern(self.home(name), name)
    }

    pub(crate) fn resolve(&self, name: &TableName) -> Option<TableId> {
        match name.namespace {
            Namespace::Sys => self.find(Domain::Sys, &name.name),
            Namespace::Usr => self.resolve_user(&name.name),
        }
    }

    pub(crate) fn resolve_user(&self, name: &str) -> Option<TableId> {
        self.find(self.home(name), name)
    }

    /// The user tables of that name which this node has heard of.
    pub(crate) fn all_known(&self, name: &str) -> Vec<TableId> {
        let ids = Domain::USR.map(|domain| self.find(domain, name));
        ids.into_iter().flatten().collect()
    }

    /// The user tables of the same name as this one.
    pub(crate) fn known_as(&self, id: TableId) -> Vec<TableId> {
        self.all_known(self.name(id))
    }

    pub(crate) fn options(&self, id: TableId) -> TableOptions {
        let Some(table) = self.get(id) else {
            return TableOptions::default();
        };
        let explicit = self
            .defined
            .get(&*table.name)
            .filter(|_| table.domain != Domain::Sys);
        match (explicit, table.domain) {
            (Some(options), _) if self.home(&table.name) == table.domain => *options,
            (_, domain) if domain.is_durable() => TableOptions {
                conflict: domain.conflict(),
                ..TableOptions::default()
            },
            (_, domain) => TableOptions {
                durability: Durability::Memory,
                conflict: domain.conflict(),
            },
        }
    }

    pub(crate) fn is_explicit(&self, id: TableId) -> bool {
        self.get(id).is_some_and(|table| {
            table.domain == Domain::Sys
                || (self.defined.contains_key(&*table.name)
                    && self.home(&table.name) == table.domain)
        })
    }

    /// A definition has arrived; a value of a newer version than this program's is left alone.
    pub(crate) fn define(&mut self, name: &[u8], value: Option<&[u8]>) -> Option<TableId> {
        let name = core::str::from_utf8(name).ok()?;
        self.defined
            .insert(name.to_string(), decode_options(value?)?);
        Some(self.resolve_or_intern(name))
    }

    /// By namespace and name.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = TableId> {
        let by = |sys: bool| {
            self.by_name.values().flat_map(move |named| {
                named
                    .ids
                    .iter()
                    .flatten()
                    .copied()
                    .filter(move |id| (self.domain(*id) == Domain::Sys) == sys)
            })
        };
        by(true).chain(by(false))
    }

    pub(crate) fn meta_of(&self, id: TableId) -> Option<Meta> {
        match id {
            Self::TABLES => Some(Meta::Tables),
            Self::FLOORS => Some(Meta::Floors),
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
