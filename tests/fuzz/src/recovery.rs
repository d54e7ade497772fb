//! Stores after damage: an error or a node, never a panic.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use rapidhash::v3::rapidhash_v3;
use rumormill_core::{
    Config, Node, Recovery, Seed, Storage, TableId,
    io::{Input, Output, Record},
    table::{TableOptions, Write},
};

use super::start;

/// The bytes say which records of a real store are kept, which are changed, and what is added.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut records = records().to_vec();
    for _ in 0..16 {
        if u.is_empty() || change(&mut u, &mut records).is_err() {
            break;
        }
    }
    let mut recovery = Recovery::new(config(), Seed::from_u64(8));
    for record in records {
        if recovery.record(record).is_err() {
            return;
        }
    }
    if let Ok(mut node) = recovery.finish(start()) {
        live(&mut node);
    }
}

fn config() -> Config {
    let mut config = Config::new("fuzzed", "here");
    config.storage = Storage::Ordered;
    config
}

/// A turn in which the node reads, writes and stores.
fn live(node: &mut Node) {
    let value = Bytes::from_static(b"again");
    let put = Write::Put {
        key: b"k1",
        value,
        expires: None,
    };
    // It may be refused, for the node may have left.
    let _ = node.write(start(), TableId::DEFAULT, put);
    for _ in 0..3 {
        node.handle(start(), Input::Tick);
        while let Some(output) = node.poll_output() {
            if let Output::Store { seq, .. } = output {
                node.handle(start(), Input::Stored { upto: seq });
            }
        }
        node.inspect().check();
    }
    let _ = (node.members(), node.status(start()));
}

/// The records of a node that wrote, deleted and expired rows.
fn records() -> &'static [Record] {
    static RECORDS: OnceLock<Vec<Record>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let recovery = Recovery::new(config(), Seed::from_u64(7));
        let mut node = recovery.finish(start()).expect("a new node starts");
        let options = TableOptions::default();
        let (table, _) = node
            .create_table(start(), "hash", options)
            .expect("a new table");
        let expires = Some(start().wall + std::time::Duration::from_secs(1));
        for (table, key, expires) in [
            (TableId::DEFAULT, b"k1", None),
            (TableId::DEFAULT, b"k2", expires),
            (table, b"k3", None),
        ] {
            let value = Bytes::from_static(b"value");
            let put = Write::Put {
                key,
                value,
                expires,
            };
            node.write(start(), table, put).expect("accepted");
        }
        let delete = Write::Delete { key: b"k3" };
        node.write(start(), table, delete).expect("accepted");
        node.handle(start(), Input::Tick);
        let mut records = std::collections::BTreeMap::new();
        while let Some(output) = node.poll_output() {
            if let Output::Store { batch, .. } = output {
                batch.into_iter().for_each(|op| op.apply(&mut records));
            }
        }
        let records = records.into_iter();
        records.map(|(key, value)| Record { key, value }).collect()
    })
}

fn change(u: &mut Unstructured<'_>, records: &mut Vec<Record>) -> Result<()> {
    if records.is_empty() || u.ratio(1, 8)? {
        let (key, value) = (u.arbitrary::<&[u8]>()?, u.arbitrary::<&[u8]>()?);
        records.push(seal(key.to_vec(), value.to_vec()));
        return Ok(());
    }
    let index = u.choose_index(records.len())?;
    let Record { key, value } = records.swap_remove(index);
    let (mut key, mut value) = (key.to_vec(), value.to_vec());
    match u.int_in_range(0..=5)? {
        0 => return Ok(()),
        // Damage that the checksum tells.
        1 => {
            let (key, value) = (key.into(), u.bytes(u.len().min(9))?.to_vec().into());
            records.push(Record { key, value });
            return Ok(());
        }
        kind => {
            value.truncate(value.len().saturating_sub(8));
            let bytes = if kind % 2 == 0 { &mut key } else { &mut value };
            overwrite(u, bytes)?;
            if kind > 3 {
                bytes.truncate(u.int_in_range(0..=bytes.len())?);
            }
        }
    }
    records.push(seal(key, value));
    Ok(())
}

fn overwrite(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    let at = u.int_in_range(0..=bytes.len())?;
    let length = usize::from(u.arbitrary::<u8>()? % 9);
    let with = u.bytes(length.min(u.len()))?;
    bytes.truncate(bytes.len().max(at));
    for (offset, byte) in with.iter().enumerate() {
        match bytes.get_mut(at + offset) {
            Some(place) => *place = *byte,
            None => bytes.push(*byte),
        }
    }
    Ok(())
}

/// A record with a right checksum.
fn seal(key: Vec<u8>, mut value: Vec<u8>) -> Record {
    let sum = rapidhash_v3(&key) ^ rapidhash_v3(&value).rotate_left(1);
    value.extend_from_slice(&sum.to_le_bytes());
    Record {
        key: key.into(),
        value: value.into(),
    }
}
