//! Looking at stored records without a node: for checks, salvage, and tools.

use crate::id::{Actor, NodeId};
use crate::io::Record;
use crate::store::record::{self, Known};
use crate::table::gossip::record::{self as gossip, GossipKey};
use crate::table::{Mode, RowClass};

/// The part of a node that a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The node itself.
    Node,
    /// The tables of a mode. Those of the store itself are gossip tables.
    Mode(Mode),
}

impl Owner {
    pub(crate) const NODE: u8 = b'm';
    /// Kept for the records of strong tables.
    const STRONG: u8 = b's';
    /// Kept for the records of quorum tables.
    const QUORUM: u8 = b'q';

    /// Returns the owner of the record with this key; nothing when no record begins so. The first byte tells.
    pub fn of(key: &[u8]) -> Option<Owner> {
        match *key.first()? {
            Self::NODE => Some(Owner::Node),
            Self::STRONG => Some(Owner::Mode(Mode::Strong)),
            Self::QUORUM => Some(Owner::Mode(Mode::Quorum)),
            prefix if gossip::PREFIXES.contains(&prefix) => Some(Owner::Mode(Mode::Gossip)),
            _ => None,
        }
    }
}

/// The meaning of a record, as its key tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordKind<'a> {
    /// A record of the node itself: its format, identity, cluster, clock ceiling, agreed evictions, damage, last batch, or earlier boots.
    Node {
        /// Its name.
        name: &'a [u8],
    },
    /// A row of a gossip table.
    Row {
        /// The class of the row.
        class: RowClass,
        /// The table's name.
        table: &'a str,
        /// The key of the row.
        key: &'a [u8],
    },
    /// The counters that are durably covered of one actor.
    Context {
        /// The class of rows.
        class: RowClass,
        /// The actor.
        actor: Actor,
    },
    /// The claims of a node on which deletes were freed.
    FreedOn {
        /// The node.
        node: NodeId,
    },
    /// A record of a mode that this program does not have.
    Reserved {
        /// The mode.
        mode: Mode,
    },
    /// No record has such a key.
    Unknown,
}

impl<'a> RecordKind<'a> {
    /// Returns the meaning of the record with this key.
    pub fn of(key: &'a [u8]) -> RecordKind<'a> {
        match Owner::of(key) {
            Some(Owner::Node) => RecordKind::Node { name: &key[1..] },
            Some(Owner::Mode(Mode::Gossip)) => match gossip::read_key(key) {
                Some(GossipKey::Row { class, table, key }) => RecordKind::Row { class, table, key },
                Some(GossipKey::Covered { class, actor }) => RecordKind::Context { class, actor },
                Some(GossipKey::FreedOn { node }) => RecordKind::FreedOn { node },
                None => RecordKind::Unknown,
            },
            Some(Owner::Mode(mode)) => RecordKind::Reserved { mode },
            None => RecordKind::Unknown,
        }
    }

    /// Returns the table and key of a row of a table of users.
    pub fn user_row(&self) -> Option<(&'a str, &'a [u8])> {
        match *self {
            RecordKind::Row { class, table, key } if class != RowClass::Sys => Some((table, key)),
            _ => None,
        }
    }
}

/// The findings about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection<'a> {
    /// The part of the node that it belongs to.
    pub owner: Option<Owner>,
    /// Its meaning.
    pub kind: RecordKind<'a>,
    /// Whether its checksum and form are right, so that a recovery takes it.
    pub whole: bool,
    /// Whether it is a row that was deleted: a tombstone.
    pub deleted: bool,
}

/// Inspects a record: its mode, its meaning, whether it is whole, and whether it is a tombstone. O(bytes of the record).
pub fn inspect(record: &Record) -> Inspection<'_> {
    let known = record::read(record);
    Inspection {
        owner: Owner::of(&record.key),
        kind: RecordKind::of(&record.key),
        whole: known.is_ok(),
        deleted: matches!(known, Ok(Known::Mode(record)) if record.is_deleted()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::NodeId;
    use crate::io::StoreOp;
    use crate::store::batch::Batch;
    use crate::table::gossip::{ActorIx, Arrival};
    use crate::table::{Hlc, Runs, sys};

    fn batched(put_into: impl FnOnce(&mut Batch)) -> Record {
        let mut batch = Batch::default();
        put_into(&mut batch);
        put(batch.take().remove(0))
    }

    fn put(op: StoreOp) -> Record {
        match op {
            StoreOp::Put(record) => record,
            StoreOp::Delete(_) | StoreOp::DeleteRange { .. } => panic!("a record is put"),
        }
    }

    #[test]
    fn a_record_tells_its_mode_its_meaning_and_whether_it_is_whole() {
        let actor = Actor {
            node: NodeId(1),
            boot: 2,
        };
        let class = RowClass::UsrDurable;
        let context = batched(|batch| gossip::put_covered(batch, class, actor, &Runs::default()));
        let found = inspect(&context);
        assert_eq!(found.owner, Some(Owner::Mode(Mode::Gossip)));
        assert_eq!(found.kind, RecordKind::Context { class, actor });
        assert!(found.whole && !found.deleted);
        let own = put(record::format());
        let found = inspect(&own);
        assert_eq!(found.owner, Some(Owner::Node));
        assert_eq!(found.kind, RecordKind::Node { name: b"format" });
        assert!(found.whole);
        let mut rotten = own.clone();
        rotten.value = Bytes::from([&[1], &own.value[1..]].concat());
        rotten.key = Bytes::from_static(b"midentity");
        assert!(!inspect(&rotten).whole);
    }

    #[test]
    fn a_row_tells_whether_it_was_deleted() {
        let class = RowClass::UsrDurable;
        let actor = Actor {
            node: NodeId(1),
            boot: 2,
        };
        for value in [Some(Bytes::from_static(b"1")), None] {
            let deleted = value.is_none();
            let row = Arrival {
                table: sys::TABLES,
                actor: ActorIx(0),
                counter: 1,
                clock: Hlc(1),
                expires: 0,
                key: Bytes::from_static(b"k"),
                value,
                siblings: None,
            };
            let row = batched(|batch| gossip::put_row(batch, class, "safe", actor, &row));
            let found = inspect(&row);
            assert!(found.whole);
            assert_eq!(found.deleted, deleted);
        }
    }

    #[test]
    fn only_rows_of_users_are_rows_of_users() {
        let row = gossip::row_key(RowClass::UsrDurable, "safe", b"k7");
        assert_eq!(RecordKind::of(&row).user_row(), Some(("safe", &b"k7"[..])));
        let sys = gossip::row_key(RowClass::Sys, "safe", b"k7");
        assert_eq!(RecordKind::of(&sys).user_row(), None);
        let short = RecordKind::of(&row[..6]);
        assert_eq!(short, RecordKind::Unknown, "the name is cut short");
    }

    #[test]
    fn the_first_byte_tells_the_mode_and_unknown_modes_are_read_by_none() {
        for (prefix, mode) in [(b's', Mode::Strong), (b'q', Mode::Quorum)] {
            let key = Bytes::from([prefix, 1, 2].to_vec());
            assert_eq!(RecordKind::of(&key), RecordKind::Reserved { mode });
            let mut value = crate::store::bytes::Writer::default();
            value.u64(7);
            assert!(!inspect(&put(crate::store::seal::seal(key, value))).whole);
        }
        assert_eq!(Owner::of(b""), None);
        assert_eq!(Owner::of(b"x"), None);
    }
}
