//! The records of a node itself, and the door to those of the modes.
//!
//! ```text
//! m<name>    format, identity, cluster, clock ceiling, agreed evictions, damage, restored, last batch, earlier boots
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Owner;
use super::bytes::{Reader, Writer};
use super::seal::{self, hex, seal, sealed};
use crate::error::RecoverError;
use crate::id::{ClusterId, NodeId};
use crate::io::{Record, StoreOp};
use crate::table::Hlc;
use crate::table::modes::{self, ModeRecord};
use crate::wire::ClaimNumber;

/// The longest words about a damage that are kept.
const DAMAGE_BYTES: usize = 1_024;

/// The format this program writes, and the newest it reads.
pub(crate) const FORMAT: u64 = 1;

/// How far a node is that a store was restored for from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromCheckpoint {
    /// It has no identity yet: that in the store is of the node that made the checkpoint.
    Anew,
    /// It looks for a member to enter the cluster through.
    Looks,
}

/// A record, understood.
pub(crate) enum Known<'a> {
    /// One of the node's own.
    Node(OwnRecord),
    /// One of a table mode.
    Mode(ModeRecord<'a>),
}

/// A record of the node itself, understood.
pub(crate) enum OwnRecord {
    Format(u64),
    Identity(Identity),
    Cluster(ClusterRecord),
    Ceiling(Hlc),
    Agreed(Vec<Agreement>),
    /// The damage of this store, in words.
    Damage(String),
    /// The store was restored from a checkpoint.
    Restored(FromCheckpoint),
    /// The last batch that may be claimed.
    Batch(ClaimNumber),
    Boots(Boots),
}

/// The generations that a store goes back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Boots {
    /// All generations before this one.
    pub(crate) since: u64,
    /// The last batch of each later generation that has ended, ascending.
    pub(crate) ended: Vec<ClaimNumber>,
}

/// The identity of the node in its last generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) boot: u64,
    pub(crate) generation: u64,
}

/// Which cluster the node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterRecord {
    pub(crate) name: String,
    pub(crate) id: ClusterId,
    /// Whether it ever had a fellow member.
    pub(crate) has_fellows: bool,
    /// Whether it has caught up with the cluster since it entered it.
    pub(crate) joined: bool,
    /// Set from a departure until the rejoin.
    pub(crate) rejoining: Option<Rejoining>,
}

/// That a member may end another's generation: it alone may, until it has said that it did or that it gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) by: NodeId,
    pub(crate) node: NodeId,
    pub(crate) generation: u64,
}

/// The departure that a node has to make good by a rejoin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejoining {
    /// The clock of the departure.
    pub(crate) since: Hlc,
    /// The members that were active then: they may have gone on without this node.
    pub(crate) active: Vec<NodeId>,
}

fn meta(name: &str, value: Writer) -> StoreOp {
    let mut key = Writer::with_capacity(1 + name.len());
    key.u8(Owner::NODE).raw(name.as_bytes());
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
        .u64(identity.boot)
        .u64(identity.generation);
    meta("identity", value)
}

pub(crate) fn cluster(cluster: &ClusterRecord) -> StoreOp {
    let mut value = Writer::default();
    value
        .text(&cluster.name)
        .u64(cluster.id.0)
        .u8(u8::from(cluster.has_fellows))
        .u8(u8::from(cluster.joined));
    if let Some(rejoining) = &cluster.rejoining {
        value.u64(rejoining.since.0);
        for node in &rejoining.active {
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
            .u64(agreement.generation);
    }
    meta("agreed", value)
}

/// Says that the store has lost something.
pub(crate) fn damage(what: &str) -> StoreOp {
    StoreOp::Put(Record::damage(what))
}

pub(crate) fn damage_key() -> Bytes {
    Bytes::from_static(b"mdamage")
}

const ANEW: u8 = 1;
const LOOKS: u8 = 2;

/// Says that the node of a restored store has its own identity, and looks for a member.
pub(crate) fn restored_looks() -> StoreOp {
    let mut value = Writer::default();
    value.u8(LOOKS);
    StoreOp::Put(sealed(restored_key(), value))
}

pub(crate) fn restored_key() -> Bytes {
    Bytes::from_static(b"mrestored")
}

impl Record {
    /// Notes that a store has lost something: for a driver that puts what it could read of a damaged store into a new one. The next
    /// recovery takes the note for damage, and the node that begins drops it when it has rejoined through a member. Words beyond 1,024 bytes
    /// are cut.
    pub fn damage(what: &str) -> Record {
        let mut value = Writer::default();
        let end = what.floor_char_boundary(DAMAGE_BYTES);
        value.text(what.get(..end).unwrap_or_default());
        sealed(damage_key(), value)
    }

    /// Notes that a store was made from a checkpoint: for a driver that has put the checkpoint's records into a new store. The next recovery
    /// makes a new node of it, which holds the rows of the checkpoint: with an id of its own, and without the members that the checkpoint knew.
    pub fn restored() -> Record {
        let mut value = Writer::default();
        value.u8(ANEW);
        sealed(restored_key(), value)
    }

    /// Whether the record says which node of which cluster this store is. A driver may keep a copy of such records beside the store, for
    /// [`Recovery::spare`](crate::Recovery::spare).
    pub fn says_which_node(&self) -> bool {
        matches!(&*self.key, b"midentity" | b"mcluster")
    }
}

/// The node and the cluster whose records a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// The name of the cluster.
    pub cluster_name: String,
    /// The id of the cluster.
    pub cluster: ClusterId,
    /// The id of the node.
    pub node: NodeId,
}

impl Whose {
    /// The keys of the two records that tell.
    pub const KEYS: [&'static [u8]; 2] = [b"midentity", b"mcluster"];

    /// Reads it from the two records that [say which node a store is](Record::says_which_node), in whatever order; nothing if one of them is missing or
    /// damaged.
    pub fn of(records: &[Record]) -> Option<Whose> {
        let (mut identity, mut cluster) = (None, None);
        for record in records {
            match read(record) {
                Ok(Known::Node(OwnRecord::Identity(found))) => identity = Some(found),
                Ok(Known::Node(OwnRecord::Cluster(found))) => cluster = Some(found),
                _ => {}
            }
        }
        let (identity, cluster) = identity.zip(cluster)?;
        Some(Whose {
            cluster_name: cluster.name,
            cluster: cluster.id,
            node: identity.node,
        })
    }
}

pub(crate) fn clock_ceiling(ceiling: Hlc) -> StoreOp {
    let mut value = Writer::default();
    value.u64(ceiling.0);
    meta("ceiling", value)
}

/// Names a batch, in each that may be claimed.
pub(crate) fn batch(number: ClaimNumber) -> StoreOp {
    let mut value = Writer::default();
    value.u64(number.generation).u64(number.batch);
    meta("batch", value)
}

pub(crate) fn batch_key() -> Bytes {
    Bytes::from_static(b"mbatch")
}

pub(crate) fn boots(boots: &Boots) -> StoreOp {
    let mut value = Writer::with_capacity(16 * boots.ended.len() + 16);
    value.u64(boots.since);
    write_numbers(&mut value, &boots.ended);
    meta("boots", value)
}

/// Writes claim numbers, which are the rest of a value.
pub(crate) fn write_numbers(value: &mut Writer, numbers: &[ClaimNumber]) {
    for number in numbers {
        value.u64(number.generation).u64(number.batch);
    }
}

/// Reads claim numbers, which are the rest of a value.
pub(crate) fn read_numbers(value: &mut Reader<'_>) -> Option<Vec<ClaimNumber>> {
    let mut numbers = Vec::new();
    while value.end().is_none() {
        numbers.push(read_number(value)?);
    }
    Some(numbers)
}

fn read_number(value: &mut Reader<'_>) -> Option<ClaimNumber> {
    Some(ClaimNumber {
        generation: value.u64()?,
        batch: value.u64()?,
    })
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
/// [`RecoverError::Damaged`] when its checksum or form is wrong; [`RecoverError::UnknownRecord`] when it is whole and its key is of no record of
/// this program.
pub(crate) fn read(record: &Record) -> Result<Known<'_>, RecoverError> {
    let damaged = |why| RecoverError::Damaged {
        key: hex(&record.key),
        why,
    };
    let body = seal::open(record).map_err(damaged)?;
    let unknown = |mode| {
        let key = hex(&record.key);
        Err(RecoverError::UnknownRecord { key, mode })
    };
    let known = match Owner::of(&record.key) {
        Some(Owner::Node) => match read_own(&record.key[1..], body) {
            Some(own) => own.map(Known::Node),
            None => return unknown(None),
        },
        Some(Owner::Mode(mode)) if !mode.is_built() => return unknown(Some(mode)),
        Some(Owner::Mode(mode)) => modes::read_record(mode, &record.key, body).map(Known::Mode),
        None => return unknown(None),
    };
    known.ok_or_else(|| damaged("unknown form"))
}

/// Reads a record of the node itself: `None` when it has none of this name, `Some(None)` when it is of no known form.
fn read_own(name: &[u8], body: &[u8]) -> Option<Option<OwnRecord>> {
    let read: fn(&mut Reader<'_>) -> Option<OwnRecord> = match name {
        b"format" => |value| value.u64().map(OwnRecord::Format),
        b"identity" => |value| {
            Some(OwnRecord::Identity(Identity {
                node: NodeId(value.u64()?),
                boot: value.u64()?,
                // The next generation takes a larger one.
                generation: value.u64().filter(|generation| *generation < u64::MAX)?,
            }))
        },
        b"cluster" => |value| {
            Some(OwnRecord::Cluster(ClusterRecord {
                name: value.text()?,
                id: ClusterId(value.u64()?),
                has_fellows: value.u8()? != 0,
                joined: value.u8()? != 0,
                rejoining: read_rejoining(value)?,
            }))
        },
        b"ceiling" => |value| Some(OwnRecord::Ceiling(Hlc(value.u64()?))),
        b"agreed" => |value| read_agreed(value).map(OwnRecord::Agreed),
        b"damage" => |value| value.text().map(OwnRecord::Damage),
        b"restored" => |value| match value.u8()? {
            ANEW => Some(OwnRecord::Restored(FromCheckpoint::Anew)),
            LOOKS => Some(OwnRecord::Restored(FromCheckpoint::Looks)),
            _ => None,
        },
        b"batch" => |value| read_number(value).map(OwnRecord::Batch),
        b"boots" => |value| {
            Some(OwnRecord::Boots(Boots {
                since: value.u64()?,
                ended: read_numbers(value)?,
            }))
        },
        _ => return None,
    };
    let mut value = Reader::new(body);
    let known = read(&mut value);
    // A later format may say more.
    let is_whole = matches!(known, Some(OwnRecord::Format(_))) || value.end().is_some();
    Some(known.filter(|_| is_whole))
}

fn read_agreed(value: &mut Reader<'_>) -> Option<Vec<Agreement>> {
    let mut agreed = Vec::new();
    while value.end().is_none() {
        agreed.push(Agreement {
            by: NodeId(value.u64()?),
            node: NodeId(value.u64()?),
            generation: value.u64()?,
        });
    }
    Some(agreed)
}

fn read_rejoining(value: &mut Reader<'_>) -> Option<Option<Rejoining>> {
    if value.end().is_some() {
        return Some(None);
    }
    let since = Hlc(value.u64()?);
    let mut active = Vec::new();
    while value.end().is_none() {
        active.push(NodeId(value.u64()?));
    }
    Some(Some(Rejoining { since, active }))
}
