//! The records of a node, bytewise.
//!
//! ```text
//! m<name>                                        meta: format, node, actor, cluster, clock ceiling, standing, agreed evictions, damage
//! r<class u8><len u8><table><key>               a row: actor, counter, clock, expires, live, value or form of siblings
//! c<class u8><node u64 be><run u64 be>          what is covered of an actor: runs
//! ```
//! Integers are little-endian unless marked. Every value ends in eight bytes of rapidhash (v3) over key and value.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use rapidhash::v3::rapidhash_v3;

use super::bytes::{Reader, Writer};
use crate::error::RecoverError;
use crate::id::{Actor, ClusterId, NodeId};
use crate::io::{Record, StoreOp};
use crate::table::gossip::{Arrival, Value};
use crate::table::siblings::SiblingRow;
use crate::table::{Hlc, RowClass, Runs};

/// The longest words about a damage that are kept.
const DAMAGE_BYTES: usize = 1_024;

/// The format this program writes, and the newest it reads.
pub(crate) const FORMAT: u64 = 1;

/// A record, understood.
pub(crate) enum Known {
    Format(u64),
    Identity(Identity),
    Cluster(ClusterRecord),
    Ceiling(Hlc),
    Agreed(Vec<Agreement>),
    /// The damage of this store, in words.
    Damage(String),
    Row {
        class: RowClass,
        table: String,
        actor: Actor,
        row: RowRecord,
    },
    Covered {
        class: RowClass,
        actor: Actor,
        runs: Runs,
    },
}

/// The identity of the node in its last life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) run: u64,
    pub(crate) epoch: u64,
}

/// Which cluster the node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterRecord {
    pub(crate) name: String,
    pub(crate) id: ClusterId,
    /// Whether it ever had a fellow member.
    pub(crate) settled: bool,
    /// Whether it has caught up with the cluster since it entered it.
    pub(crate) joined: bool,
    /// Set from a departure until the reunion.
    pub(crate) away: Option<Away>,
}

/// That a member may end another's life: it alone may, until it has said that it did or that it gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) by: NodeId,
    pub(crate) node: NodeId,
    pub(crate) epoch: u64,
}

/// The departure that a node has to make good by a reunion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// The clock of the departure.
    pub(crate) since: Hlc,
    /// The members that were active then: they may have gone on without this node.
    pub(crate) active: Vec<NodeId>,
}

/// A stored row without its table and actor.
pub(crate) struct RowRecord {
    pub(crate) counter: u64,
    pub(crate) clock: Hlc,
    pub(crate) expires: u64,
    pub(crate) key: Bytes,
    pub(crate) value: Value,
}

fn seal(key: Bytes, mut value: Writer) -> StoreOp {
    let sum = checksum(&key, value.as_slice());
    value.u64(sum);
    StoreOp::Put(Record {
        key,
        value: value.finish(),
    })
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    rapidhash_v3(key) ^ rapidhash_v3(value).rotate_left(1)
}

fn meta(name: &str, value: Writer) -> StoreOp {
    let mut key = Writer::with_capacity(1 + name.len());
    key.u8(b'm').raw(name.as_bytes());
    seal(key.finish(), value)
}

pub(crate) fn format() -> StoreOp {
    let mut value = Writer::default();
    value.u64(FORMAT);
    meta("format", value)
}

pub(crate) fn identity(identity: &Identity) -> StoreOp {
    let mut value = Writer::default();
    value
        .u64(identity.node.0)
        .u64(identity.run)
        .u64(identity.epoch);
    meta("identity", value)
}

pub(crate) fn cluster(cluster: &ClusterRecord) -> StoreOp {
    let mut value = Writer::default();
    value
        .text(&cluster.name)
        .u64(cluster.id.0)
        .u8(u8::from(cluster.settled))
        .u8(u8::from(cluster.joined));
    if let Some(away) = &cluster.away {
        value.u64(away.since.0);
        for node in &away.active {
            value.u64(node.0);
        }
    }
    meta("cluster", value)
}

pub(crate) fn agreed(agreements: &[Agreement]) -> StoreOp {
    let mut value = Writer::default();
    for agreement in agreements {
        value
            .u64(agreement.by.0)
            .u64(agreement.node.0)
            .u64(agreement.epoch);
    }
    meta("agreed", value)
}

/// Says that the store has lost something, in words that are cut after 1,024 bytes.
pub(crate) fn damage(what: &str) -> StoreOp {
    let mut value = Writer::default();
    value.text(
        what.get(..what.floor_char_boundary(DAMAGE_BYTES))
            .unwrap_or_default(),
    );
    meta("damage", value)
}

pub(crate) fn damage_key() -> Bytes {
    Bytes::from_static(b"mdamage")
}

impl Record {
    /// Notes that a store has lost something: for a driver that puts what it could read of a damaged store into a new one. The next
    /// recovery takes the note for damage, and the node that begins drops it when it has reunited with a member.
    pub fn damage(what: &str) -> Record {
        match damage(what) {
            StoreOp::Put(record) => record,
            StoreOp::Delete(key) => Record {
                key,
                value: Bytes::new(),
            },
        }
    }

    /// Whether the record says which node of which cluster this store is. A driver may keep a copy of such records beside the store, for
    /// [`Recovery::spare`](crate::Recovery::spare).
    pub fn says_which_node(&self) -> bool {
        matches!(&*self.key, b"midentity" | b"mcluster")
    }
}

pub(crate) fn clock_ceiling(ceiling: Hlc) -> StoreOp {
    let mut value = Writer::default();
    value.u64(ceiling.0);
    meta("ceiling", value)
}

pub(crate) fn row_key(class: RowClass, table: &str, key: &[u8]) -> Bytes {
    let mut out = Writer::with_capacity(3 + table.len() + key.len());
    // Table names have at most 255 bytes, here and on the wire.
    out.u8(b'r')
        .u8(class as u8)
        .u8(table.len() as u8)
        .raw(table.as_bytes())
        .raw(key);
    out.finish()
}

pub(crate) fn put_row(class: RowClass, table: &str, actor: Actor, row: &Arrival) -> StoreOp {
    let len = row.value.as_ref().map_or(0, Bytes::len);
    let mut value = Writer::with_capacity(len + 64);
    value
        .u64(actor.node.0)
        .u64(actor.run)
        .u64(row.counter)
        .u64(row.clock.0)
        .u64(row.expires);
    value
        .u8(u8::from(row.value.is_some()))
        .raw(row.value.as_deref().unwrap_or_default());
    seal(row_key(class, table, &row.key), value)
}

pub(crate) fn covered(class: RowClass, actor: Actor, runs: &Runs) -> StoreOp {
    let mut value = Writer::with_capacity(16 * runs.as_slice().len() + 8);
    for (low, high) in runs.as_slice() {
        value.u64(*low).u64(*high);
    }
    seal(covered_key(class, actor), value)
}

pub(crate) fn covered_key(class: RowClass, actor: Actor) -> Bytes {
    let mut key = Writer::with_capacity(18);
    key.u8(b'c')
        .u8(class as u8)
        .u64_be(actor.node.0)
        .u64_be(actor.run);
    key.finish()
}

/// Returns whether the key is one of those that identify the node: without them no other record can be used.
pub(crate) fn is_meta(key: &[u8]) -> bool {
    matches!(
        key.strip_prefix(b"m"),
        Some(b"format" | b"identity" | b"cluster" | b"ceiling")
    )
}

/// Reads a record.
///
/// # Errors
/// [`RecoverError::Damaged`] when its checksum or form is wrong.
pub(crate) fn read(record: &Record) -> Result<Known, RecoverError> {
    let damaged = |why| RecoverError::Damaged {
        key: hex(&record.key),
        why,
    };
    let Some(split) = record.value.len().checked_sub(8) else {
        return Err(damaged("too short"));
    };
    let (body, sum) = record.value.split_at(split);
    if checksum(&record.key, body).to_le_bytes() != sum {
        return Err(damaged("checksum"));
    }
    match record.key.split_first() {
        Some((b'm', name)) => read_meta(name, body),
        Some((b'r', rest)) => read_row(rest, body),
        Some((b'c', rest)) => read_covered(rest, body),
        _ => None,
    }
    .ok_or_else(|| damaged("unknown form"))
}

fn read_meta(name: &[u8], body: &[u8]) -> Option<Known> {
    let mut value = Reader::new(body);
    let known = match name {
        b"format" => return value.u64().map(Known::Format),
        b"identity" => Known::Identity(Identity {
            node: NodeId(value.u64()?),
            run: value.u64()?,
            // The next life takes a larger one.
            epoch: value.u64().filter(|epoch| *epoch < u64::MAX)?,
        }),
        b"cluster" => Known::Cluster(ClusterRecord {
            name: value.text()?,
            id: ClusterId(value.u64()?),
            settled: value.u8()? != 0,
            joined: value.u8()? != 0,
            away: read_away(&mut value)?,
        }),
        b"ceiling" => Known::Ceiling(Hlc(value.u64()?)),
        b"agreed" => Known::Agreed(read_agreed(&mut value)?),
        b"damage" => Known::Damage(value.text()?),
        _ => return None,
    };
    value.end()?;
    Some(known)
}

fn read_agreed(value: &mut Reader<'_>) -> Option<Vec<Agreement>> {
    let mut agreed = Vec::new();
    while value.end().is_none() {
        agreed.push(Agreement {
            by: NodeId(value.u64()?),
            node: NodeId(value.u64()?),
            epoch: value.u64()?,
        });
    }
    Some(agreed)
}

fn read_away(value: &mut Reader<'_>) -> Option<Option<Away>> {
    if value.end().is_some() {
        return Some(None);
    }
    let since = Hlc(value.u64()?);
    let mut active = Vec::new();
    while value.end().is_none() {
        active.push(NodeId(value.u64()?));
    }
    Some(Some(Away { since, active }))
}

fn read_row(rest: &[u8], body: &[u8]) -> Option<Known> {
    let mut key = Reader::new(rest);
    let class = RowClass::from_u8(key.u8()?)?;
    let len = usize::from(key.u8()?);
    let table = String::from(core::str::from_utf8(key.take(len)?).ok()?);
    let mut value = Reader::new(body);
    let actor = Actor {
        node: NodeId(value.u64()?),
        run: value.u64()?,
    };
    let (counter, clock, expires) = (value.u64()?, Hlc(value.u64()?), value.u64()?);
    let live = value.u8()? != 0;
    let held = match (class.has_siblings(), live) {
        (true, _) => Value::Siblings(Box::new(SiblingRow::decode(value.rest()).ok()?)),
        (false, true) => Value::Resident(Bytes::copy_from_slice(value.rest())),
        (false, false) => Value::Dead,
    };
    let row = RowRecord {
        counter,
        clock,
        expires,
        key: Bytes::copy_from_slice(key.rest()),
        value: held,
    };
    (!row.key.is_empty() && counter != 0).then_some(Known::Row {
        class,
        table,
        actor,
        row,
    })
}

fn read_covered(rest: &[u8], body: &[u8]) -> Option<Known> {
    let mut key = Reader::new(rest);
    let class = RowClass::from_u8(key.u8()?)?;
    let actor = Actor {
        node: NodeId(key.u64_be()?),
        run: key.u64_be()?,
    };
    key.end()?;
    let mut value = Reader::new(body);
    let mut runs = Vec::new();
    while value.end().is_none() {
        runs.push((value.u64()?, value.u64()?));
    }
    Runs::from_wire(&runs).map(|runs| Known::Covered { class, actor, runs })
}

fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    let mut out = String::new();
    for byte in bytes.iter().take(64) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
