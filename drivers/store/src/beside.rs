//! Small files that tell what a database may have lost: how far it was synced, in which order its tables came, and which node it was.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use rumormill_core::io::Record;
use xxhash_rust::xxh3::xxh3_64;

use crate::check;
use crate::disk::Disk;

/// Up to which batch a database was synced. Written after each sync and not synced itself: it is true at any time, and a
/// process that is killed has written it. Two slots take turns, so that one is whole.
#[derive(Debug)]
pub(crate) struct Synced {
    file: File,
    pub(crate) upto: u64,
}

const SLOT: usize = 16;

impl Synced {
    /// Opens or creates the file in a database.
    pub(crate) fn open(db: &Path) -> io::Result<Synced> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(db.join("synced"))?;
        let mut bytes = Vec::new();
        (&mut file).take(1 << 10).read_to_end(&mut bytes)?;
        let slots = bytes.chunks_exact(SLOT).filter_map(slot);
        let upto = slots.max().unwrap_or(0);
        Ok(Synced { file, upto })
    }

    /// Reads the note without opening it for writing.
    pub(crate) fn read(db: &Path) -> io::Result<u64> {
        let bytes = check::read(&db.join("synced"))?.unwrap_or_default();
        let slots = bytes.chunks_exact(SLOT).filter_map(slot);
        Ok(slots.max().unwrap_or(0))
    }

    /// Notes a sync. That this cannot be written is no failure: less damage would be seen.
    pub(crate) fn note(&mut self, disk: &dyn Disk, upto: u64) {
        if upto <= self.upto {
            return;
        }
        self.upto = upto;
        let number = upto.to_le_bytes();
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(&number);
        slot[8..].copy_from_slice(&xxh3_64(&number).to_le_bytes());
        let _ = disk.note(&self.file, &slot, (upto % 2) * SLOT as u64);
    }
}

fn slot(bytes: &[u8]) -> Option<u64> {
    let (number, sum) = bytes.split_first_chunk::<8>()?;
    let whole = xxh3_64(number).to_le_bytes() == sum;
    whole.then_some(u64::from_le_bytes(*number))
}

/// The sequences of the tables, which only the manifest has otherwise: without them the newest of two values cannot be told. Not synced.
#[derive(Debug)]
pub(crate) struct Sequences(Vec<(u64, u64)>);

impl Sequences {
    pub(crate) fn new(tables: Vec<(u64, u64)>) -> Sequences {
        Sequences(tables)
    }

    /// Writes them into a database. That they cannot be written is no failure, since the manifest has them.
    pub(crate) fn save(&self, disk: &dyn Disk, db: &Path) {
        let mut bytes = Vec::with_capacity(SLOT * self.0.len() + 8);
        for (table, sequence) in &self.0 {
            bytes.extend_from_slice(&table.to_le_bytes());
            bytes.extend_from_slice(&sequence.to_le_bytes());
        }
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        let _ = disk.replace(&db.join("sequences"), &bytes, false);
    }

    /// Reads the sequences in a database, if they are whole.
    pub(crate) fn read(db: &Path) -> Option<Sequences> {
        let bytes = fs::read(db.join("sequences")).ok()?;
        let (content, sum) = bytes.split_last_chunk::<8>()?;
        let whole = xxh3_64(content).to_le_bytes() == *sum;
        let number = |bytes: &[u8]| bytes.first_chunk().copied().map(u64::from_le_bytes);
        let pairs = content.chunks_exact(SLOT).filter_map(|pair| {
            let (table, sequence) = pair.split_at_checked(8)?;
            number(table).zip(number(sequence))
        });
        whole.then(|| Sequences(pairs.collect()))
    }

    /// That of a table; nothing if the table is one that was replaced.
    pub(crate) fn of(&self, table: u64) -> Option<u64> {
        let known = self.0.iter().find(|(other, _)| *other == table);
        // A later table came after the last note: its rows have their own sequences, or are in the log as well.
        let is_later = self.0.iter().all(|(other, _)| *other < table);
        known
            .map(|(_, sequence)| *sequence)
            .or(is_later.then_some(0))
    }
}

/// Returns the files beside a database whose bytes are not those that were written, each with what it held.
///
/// # Errors
/// The system's.
pub(crate) fn check(dir: &Path) -> io::Result<Vec<(&'static str, &'static str)>> {
    let db = dir.join("db");
    let mut found = Vec::new();
    let synced = check::read(&db.join("synced"))?.unwrap_or_default();
    // One of the two is written at a time.
    let is_whole = |slot_bytes: &[u8]| slot(slot_bytes).is_some();
    if synced.len() >= SLOT && !synced.chunks_exact(SLOT).any(is_whole) {
        found.push(("db/synced", "the note of the last batch that was synced"));
    }
    for (path, name, held) in [
        (
            db.join("sequences"),
            "db/sequences",
            "the order of the tables",
        ),
        (
            dir.join(FILE),
            "identity",
            "a copy of the records that say which node this is",
        ),
    ] {
        let bytes = check::read(&path)?;
        let is_whole = |bytes: &Vec<u8>| {
            let parts = bytes.split_last_chunk::<8>();
            parts.is_some_and(|(content, sum)| xxh3_64(content).to_le_bytes() == *sum)
        };
        if bytes.is_some_and(|bytes| !is_whole(&bytes)) {
            found.push((name, held));
        }
    }
    Ok(found)
}

/// The records that say which node the store is, copied beside the database.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    records: Vec<Record>,
    changed: bool,
}

const FILE: &str = "identity";
const NEW: &str = "identity.new";

impl Identity {
    /// Takes in a record that was written.
    pub(crate) fn note(&mut self, record: &Record) {
        self.records.retain(|other| other.key != record.key);
        self.records.push(record.clone());
        self.changed = true;
    }

    /// Writes the copy if it has changed. That it cannot be written is no failure, since the database has it: an older one is good as well.
    pub(crate) fn save(&mut self, disk: &dyn Disk, dir: &Path) {
        if std::mem::replace(&mut self.changed, false) {
            let _ = Identity::write(disk, dir, &self.records);
        }
    }

    /// The copy in a data directory; empty if there is none that is whole.
    pub(crate) fn read(dir: &Path) -> Vec<Record> {
        let bytes = fs::read(dir.join(FILE)).unwrap_or_default();
        let Some((content, sum)) = bytes.split_last_chunk::<8>() else {
            return Vec::new();
        };
        match xxh3_64(content).to_le_bytes() == *sum {
            true => parse(content),
            false => Vec::new(),
        }
    }

    /// Whether a file of this name is the copy, or was to become it.
    pub(crate) fn is_of(name: &OsStr) -> bool {
        name == FILE || name == NEW
    }

    /// Writes a copy of records; durable when it returns.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn write(disk: &dyn Disk, dir: &Path, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for part in records.iter().flat_map(|one| [&one.key, &one.value]) {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let sum = xxh3_64(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        disk.replace(&dir.join(FILE), &bytes, true)
    }

    /// Whether the directory has had a database.
    pub(crate) fn exists(dir: &Path) -> io::Result<bool> {
        dir.join(FILE).try_exists()
    }
}

fn parse(mut content: &[u8]) -> Vec<Record> {
    let mut part = || {
        let (len, rest) = content.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (part, rest) = rest.split_at_checked(len)?;
        content = rest;
        Some(Bytes::copy_from_slice(part))
    };
    let mut records = Vec::new();
    while let (Some(key), Some(value)) = (part(), part()) {
        records.push(Record { key, value });
    }
    records
}
