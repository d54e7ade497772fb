//! The records of gossip tables, bytewise.
//!
//! ```text
//! r<class u8><len u8><table><key>          a row: actor, counter, clock, expires, live, value or form of siblings
//! c<class u8><node u64 be><boot u64 be>     the runs covered of an actor
//! f<node u64 be>                            the claims of a node on which deletes were freed: generations and batches
//! ```
//! Rows of the store's own tables are gossip rows too.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Arrival, Value};
use crate::id::{Actor, NodeId};
use crate::io::StoreOp;
use crate::store::batch::Batch;
use crate::store::bytes::{Reader, Writer};
use crate::store::record::{read_numbers, write_numbers};
use crate::store::seal::seal;
use crate::table::siblings::SiblingRow;
use crate::table::{Hlc, RowClass, Runs};
use crate::wire::ClaimNumber;

/// The first byte of the key of a row.
const ROW: u8 = b'r';

/// The first byte of the key of a durable context.
const COVERED: u8 = b'c';

/// The first byte of the key of the claims of a node on which deletes were freed.
const FREED_ON: u8 = b'f';

/// The first bytes of the keys of gossip tables.
pub(crate) const PREFIXES: [u8; 3] = [ROW, COVERED, FREED_ON];

/// A record of gossip tables, understood.
pub(crate) enum GossipRecord<'a> {
    Row {
        class: RowClass,
        table: &'a str,
        actor: Actor,
        row: RowRecord,
    },
    Covered {
        class: RowClass,
        actor: Actor,
        runs: Runs,
    },
    FreedOn {
        node: NodeId,
        claims: Vec<ClaimNumber>,
    },
}

/// A key of a record of gossip tables.
pub(crate) enum GossipKey<'a> {
    Row {
        class: RowClass,
        table: &'a str,
        key: &'a [u8],
    },
    Covered {
        class: RowClass,
        actor: Actor,
    },
    FreedOn {
        node: NodeId,
    },
}

/// A stored row without its table and actor.
pub(crate) struct RowRecord {
    pub(crate) counter: u64,
    pub(crate) clock: Hlc,
    pub(crate) expires: u64,
    pub(crate) key: Bytes,
    pub(crate) value: Value,
}

pub(crate) fn row_key(class: RowClass, table: &str, key: &[u8]) -> Bytes {
    let mut out = Writer::with_capacity(3 + table.len() + key.len());
    write_row_key(&mut out, class, table, key);
    out.finish()
}

fn write_row_key(out: &mut Writer, class: RowClass, table: &str, key: &[u8]) {
    // Table names have at most 255 bytes, here and on the wire.
    out.u8(ROW)
        .u8(class as u8)
        .u8(table.len() as u8)
        .raw(table.as_bytes())
        .raw(key);
}

pub(crate) fn put_row(
    batch: &mut Batch,
    class: RowClass,
    table: &str,
    actor: Actor,
    row: &Arrival,
) {
    batch.put(
        |key| write_row_key(key, class, table, &row.key),
        |value| {
            value
                .u64(actor.node.0)
                .u64(actor.boot)
                .u64(row.counter)
                .u64(row.clock.0)
                .u64(row.expires)
                .u8(u8::from(row.value.is_some()))
                .raw(row.value.as_deref().unwrap_or_default());
        },
    );
}

pub(crate) fn put_covered(batch: &mut Batch, class: RowClass, actor: Actor, runs: &Runs) {
    batch.put(
        |key| write_covered_key(key, class, actor),
        |value| {
            for (low, high) in runs.as_slice() {
                value.u64(*low).u64(*high);
            }
        },
    );
}

pub(crate) fn covered_key(class: RowClass, actor: Actor) -> Bytes {
    let mut key = Writer::with_capacity(18);
    write_covered_key(&mut key, class, actor);
    key.finish()
}

fn write_covered_key(key: &mut Writer, class: RowClass, actor: Actor) {
    key.u8(COVERED)
        .u8(class as u8)
        .u64_be(actor.node.0)
        .u64_be(actor.boot);
}

pub(crate) fn freed_on(node: NodeId, claims: &[ClaimNumber]) -> StoreOp {
    let mut key = Writer::with_capacity(9);
    key.u8(FREED_ON).u64_be(node.0);
    let mut value = Writer::with_capacity(16 * claims.len() + 8);
    write_numbers(&mut value, claims);
    seal(key.finish(), value)
}

/// Reads the key of a record; nothing when it is of another form.
pub(crate) fn read_key(key: &[u8]) -> Option<GossipKey<'_>> {
    let (prefix, rest) = key.split_first()?;
    let mut rest = Reader::new(rest);
    if *prefix == FREED_ON {
        let node = NodeId(rest.u64_be()?);
        rest.end()?;
        return Some(GossipKey::FreedOn { node });
    }
    let class = RowClass::from_u8(rest.u8()?)?;
    if *prefix == COVERED {
        let actor = Actor {
            node: NodeId(rest.u64_be()?),
            boot: rest.u64_be()?,
        };
        rest.end()?;
        return Some(GossipKey::Covered { class, actor });
    }
    let len = usize::from(rest.u8()?);
    let table = core::str::from_utf8(rest.take(len)?).ok()?;
    let key = rest.rest();
    let is_row = *prefix == ROW && !key.is_empty();
    is_row.then_some(GossipKey::Row { class, table, key })
}

/// Reads a record by its key and its value without the seal; nothing when it is of another form.
pub(crate) fn read<'a>(key: &'a [u8], body: &[u8]) -> Option<GossipRecord<'a>> {
    match read_key(key)? {
        GossipKey::Row { class, table, key } => read_row(class, table, key, body),
        GossipKey::Covered { class, actor } => read_covered(class, actor, body),
        GossipKey::FreedOn { node } => {
            let claims = read_numbers(&mut Reader::new(body))?;
            Some(GossipRecord::FreedOn { node, claims })
        }
    }
}

fn read_row<'a>(
    class: RowClass,
    table: &'a str,
    key: &[u8],
    body: &[u8],
) -> Option<GossipRecord<'a>> {
    let mut value = Reader::new(body);
    let actor = Actor {
        node: NodeId(value.u64()?),
        boot: value.u64()?,
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
        key: Bytes::copy_from_slice(key),
        value: held,
    };
    (counter != 0).then_some(GossipRecord::Row {
        class,
        table,
        actor,
        row,
    })
}

fn read_covered(class: RowClass, actor: Actor, body: &[u8]) -> Option<GossipRecord<'static>> {
    let mut value = Reader::new(body);
    let mut runs = Vec::new();
    while value.end().is_none() {
        runs.push((value.u64()?, value.u64()?));
    }
    Runs::from_wire(&runs).map(|runs| GossipRecord::Covered { class, actor, runs })
}
