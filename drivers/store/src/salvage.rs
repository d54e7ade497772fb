//! The rest of a damaged database: read from a copy, put into a new one, and the damaged one set aside.
//!
//! The copy is that of the tree, put together from what is whole: tables are linked, and the manifest is written anew. The log is read where it
//! is: all its records that are whole, whatever is between them. Nothing of the damaged database is changed.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::{LoadError, Store, StoreError};
use xxhash_rust::xxh3::xxh3_128;

use crate::beside::{Identity, Sequences};
use crate::check::{self, Manifest, Table};
use crate::checkpoint;
use crate::disk::sync_directory;
use crate::error::{Damage, OpenError, is_full, name_all};
use crate::key;
use crate::log::{self, Buffer, Policy, newest};
use crate::open::{self, open_tree, remove, unusable};
use crate::options::Options;
use crate::shared;
use crate::tree::Tree;
use crate::{DiskStore, SetAside};

/// More damaged databases are not set aside: the disk fills up, and is no good.
const ASIDE: usize = 8;
/// A copy has each table in a run of its own; there are at most 255.
const TABLES: usize = 250;
const BATCH_BYTES: usize = 1 << 20;
const BATCH_RECORDS: usize = 1_000;

/// The readable records of a damaged store, in a new one that has not taken its place yet. Dropped without [`Salvage::keep`], everything is
/// as it was.
pub struct Salvage {
    dir: PathBuf,
    options: Options,
    store: DiskStore,
    found: Vec<Damage>,
    aside: PathBuf,
    earlier: usize,
    records: u64,
}

impl Salvage {
    /// Reads what is left of the damaged store in a directory. The new store has a note of the damage, for the recovery of the node.
    ///
    /// # Errors
    ///
    /// [`OpenError::Crowded`] when too many were set aside already; else see [`OpenError`].
    pub fn read(dir: &Path, options: Options, found: Vec<Damage>) -> Result<Salvage, OpenError> {
        let unusable = |error| unusable(dir, error);
        let lock = Arc::new(open::lock(dir)?);
        let (aside, earlier) = place(dir).map_err(unusable)?;
        if earlier >= ASIDE {
            return Err(OpenError::Crowded {
                dir: dir.into(),
                aside: earlier,
            });
        }
        remove(&dir.join("db.new")).map_err(unusable)?;
        let mut store = DiskStore::of(dir, "db.new", options.clone(), Policy::Damage, lock)?;
        let mut out = Out::new(&mut store);
        let note = format!("{}; set aside in {}", name_all(&found), aside.display());
        out.put(Record::damage(&note));
        let db = dir.join("db");
        if db.try_exists().map_err(unusable)? {
            read_all(dir, &db, &options, &mut out)?;
        }
        // The note is not one of them.
        let records = out.records - 1;
        out.finish()
            .map_err(|error| unusable(io::Error::other(error.to_string())))?;
        Ok(Salvage {
            dir: dir.into(),
            options,
            store,
            found,
            aside,
            earlier,
            records,
        })
    }

    /// Hands over every record that could be read, and the note.
    ///
    /// # Errors
    ///
    /// As for [`Store::load`].
    pub fn load<E>(
        &mut self,
        each: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), LoadError<E>> {
        self.store.load(each)
    }

    /// The damaged parts, and where the damaged database will lie.
    pub fn set_aside(&self) -> SetAside {
        SetAside {
            found: self.found.clone(),
            aside: self.aside.clone(),
            earlier: self.earlier,
            records: self.records,
        }
    }

    /// Removes what was read: everything is as it was.
    pub fn discard(self) {
        let _lock = self.store.close();
        // If it cannot be removed now, the next start does it.
        let _ = remove(&self.dir.join("db.new"));
    }

    /// Sets the damaged database aside and puts the new one in its place.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn keep(self) -> Result<DiskStore, OpenError> {
        let Salvage {
            dir,
            options,
            store,
            ..
        } = self;
        let unusable = |error| unusable(&dir, error);
        let lock = store.close();
        // From here on a crash does not undo it: the next start goes on.
        fs::rename(dir.join("db.new"), dir.join("db.next")).map_err(unusable)?;
        sync_directory(&dir).map_err(unusable)?;
        finish_swap(&dir)?;
        DiskStore::of(&dir, "db", options, Policy::Damage, lock)
    }
}

/// Where a damaged database goes, and how many went before it.
fn place(dir: &Path) -> io::Result<(PathBuf, usize)> {
    let mut earlier = 0;
    let mut largest = 0;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("damaged-"));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            earlier += 1;
            largest = largest.max(number);
        }
    }
    Ok((
        dir.join(format!("damaged-{}", largest.saturating_add(1))),
        earlier,
    ))
}

/// Puts a new database in the place of the damaged one, where that was begun.
pub(crate) fn finish_swap(dir: &Path) -> Result<(), OpenError> {
    let swap = || {
        let (db, next) = (dir.join("db"), dir.join("db.next"));
        if !next.try_exists()? {
            return Ok(());
        }
        if db.try_exists()? {
            fs::rename(&db, place(dir)?.0)?;
        }
        fs::rename(&next, &db)?;
        sync_directory(dir)
    };
    swap().map_err(|error| OpenError::Unusable {
        dir: dir.into(),
        error,
    })
}

/// Removes what a salvage has left that was not kept.
pub(crate) fn sweep(dir: &Path) -> Result<(), OpenError> {
    let swept = ["db.new", "db.copy", checkpoint::STAGING].into_iter();
    let mut swept = swept.map(|name| remove(&dir.join(name)));
    swept
        .try_for_each(|removed| removed)
        .map_err(|error| OpenError::Unusable {
            dir: dir.into(),
            error,
        })
}

/// Whether the directory had a database, and has none.
pub(crate) fn is_gone(dir: &Path) -> Result<bool, OpenError> {
    let gone = || Ok(Identity::exists(dir)? && !dir.join("db").try_exists()?);
    gone().map_err(|error| OpenError::Unusable {
        dir: dir.into(),
        error,
    })
}

pub(crate) fn gone() -> Damage {
    Damage {
        file: "db".into(),
        why: check::MISSING.into(),
    }
}

/// Puts all records of a damaged database that can be read: those of its log, and of its tree those that the log says nothing of.
fn read_all(dir: &Path, db: &Path, options: &Options, out: &mut Out<'_>) -> Result<(), OpenError> {
    let unusable = |error| unusable(dir, error);
    let scanned = log::scan(&db.join("log"), 0, Policy::Damage, options.rules).map_err(unusable)?;
    let mut buffers = Vec::new();
    for file in &scanned.files {
        buffers.push(Buffer {
            bytes: fs::read(&file.path).map_err(unusable)?.into(),
            records: file.records.clone(),
            salt: file.header.salt,
        });
    }
    let indexes: Vec<_> = scanned.files.iter().map(|file| &file.index).collect();
    let rows = newest(&buffers, &indexes).map_err(unusable)?;
    let logged: HashSet<Bytes> = rows.iter().map(|(stored, _)| stored).collect();
    if let Some(copy) = copy(dir, &db.join("tree"), options)? {
        each(&copy, &logged, &mut |record| {
            if !rows.is_deleted(&record.key) {
                out.put(record);
            }
        });
        drop(copy);
        remove(&dir.join("db.copy")).map_err(unusable)?;
    }
    for (_, (key, value)) in rows.iter() {
        if let Some(value) = value {
            out.put(Record {
                key: Bytes::copy_from_slice(key),
                value: Bytes::copy_from_slice(value),
            });
        }
    }
    Ok(())
}

/// Puts records into a store in batches.
struct Out<'a> {
    store: &'a mut DiskStore,
    batch: Vec<StoreOp>,
    bytes: usize,
    records: u64,
    failed: Option<StoreError>,
}

impl<'a> Out<'a> {
    fn new(store: &'a mut DiskStore) -> Out<'a> {
        Out {
            store,
            batch: Vec::new(),
            bytes: 0,
            records: 0,
            failed: None,
        }
    }

    fn put(&mut self, record: Record) {
        self.records += 1;
        self.bytes += record.key.len() + record.value.len();
        self.batch.push(StoreOp::Put(record));
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_RECORDS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if self.failed.is_none() {
            self.failed = self.store.apply(&batch).err();
        }
    }

    fn finish(mut self) -> Result<(), StoreError> {
        self.flush();
        match self.failed {
            Some(error) => Err(error),
            None => self.store.sync(),
        }
    }
}

/// Puts a tree together with as many tables as it can be opened with; nothing if it cannot be opened even without any.
fn copy(dir: &Path, tree: &Path, options: &Options) -> Result<Option<Tree>, OpenError> {
    let unusable = |error| unusable(dir, error);
    let path = dir.join("db.copy");
    let stop = shared::stop();
    let tables = tables(tree).map_err(unusable)?;
    // A damaged table can be read in part, if its index is whole.
    let choices: [fn(&Table) -> bool; 3] = [|_| true, |table| table.fault.is_none(), |_| false];
    for taken in choices {
        remove(&path).map_err(unusable)?;
        drop(open_tree(dir, &path, options, &stop)?);
        let has_contents = |table: &&Table| {
            let path = tree.join("tables").join(table.id.to_string());
            check::has_contents(&path).unwrap_or(false)
        };
        let tables = tables.iter().filter(|table| taken(table));
        let tables = tables.filter(has_contents);
        put_together(tree, &path, tables.take(TABLES).collect()).map_err(unusable)?;
        match open_tree(dir, &path, options, &stop) {
            Ok(tree) => return Ok(Some(tree)),
            Err(OpenError::Unusable { error, .. }) if is_full(&error) => {
                return Err(unusable(error));
            }
            // Whatever else it is, it comes from what is damaged.
            Err(_) => {}
        }
    }
    remove(&path).map_err(unusable)?;
    Ok(None)
}

/// Hands over every record of a tree that is not left out, up to the first that cannot be read, and from the end back to the last such.
fn each(tree: &Tree, left_out: &HashSet<Bytes>, each: &mut dyn FnMut(Record)) {
    let mut last: Option<Bytes> = None;
    let mut whole = false;
    let mut read = |backwards: bool, last: &mut Option<Bytes>| {
        let mut entries = tree.iter();
        loop {
            let entry = match backwards {
                false => entries.next(),
                true => entries.next_back(),
            };
            let Some(entry) = entry else {
                return true;
            };
            let Ok((key, value)) = entry else {
                return false;
            };
            if backwards && last.as_ref().is_some_and(|last| key <= *last) {
                return true;
            }
            let record = key::record(&key, &value);
            if let Some(record) = record.filter(|_| &*key != key::NUMBER)
                && !left_out.contains(&key)
            {
                each(record);
            }
            if !backwards {
                *last = Some(key);
            }
        }
    };
    // lsm-tree asserts some of what it reads.
    for backwards in [false, true] {
        if !whole {
            let read = AssertUnwindSafe(|| read(backwards, &mut last));
            whole = panic::catch_unwind(read).unwrap_or(false);
        }
    }
}

/// The tables of a tree: as its manifest names them, or all that lie there if it cannot be read.
fn tables(tree: &Path) -> io::Result<Vec<Table>> {
    let manifest = Manifest::read(tree)?;
    let folder = tree.join("tables");
    if manifest.damaged.is_empty() || !folder.try_exists()? {
        return Ok(manifest.tables);
    }
    let noted = tree.parent().and_then(Sequences::read);
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(id) = id else {
            continue;
        };
        let sequence = match &noted {
            Some(noted) => noted.of(id),
            // Most later tables are newer.
            None => Some(id.saturating_mul(1 << 32)),
        };
        if let (Some(sequence), Some(sum)) = (sequence, check::sum_of(&entry.path())?) {
            tables.push(Table {
                id,
                sum,
                sequence,
                fault: None,
            });
        }
    }
    tables.sort_unstable_by_key(|table| std::cmp::Reverse(table.id));
    Ok(tables)
}

/// Puts tables of a tree into an empty one.
fn put_together(from: &Path, to: &Path, tables: Vec<&Table>) -> io::Result<()> {
    fs::create_dir_all(to.join("tables"))?;
    let mut present = Vec::new();
    for table in tables {
        let name = format!("tables/{}", table.id);
        let (from, to) = (from.join(&name), to.join(&name));
        match fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)) {
            Ok(()) => present.push(table),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    write_manifest(to, &present)
}

/// Replaces the manifest of an empty tree by one with these tables, each in a run of its own.
fn write_manifest(tree: &Path, tables: &[&Table]) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let current = fs::read(tree.join("current"))?;
    let id = current.first_chunk::<8>().ok_or_else(invalid)?;
    let version = tree.join(format!("v{}", u64::from_le_bytes(*id)));
    let empty = fs::read(&version)?;
    let reader = sfa::Reader::from_reader(&mut io::Cursor::new(&empty)).map_err(|_| invalid())?;
    let mut bytes = Vec::new();
    let mut out = sfa::Writer::from_writer(io::Cursor::new(&mut bytes));
    for entry in reader.toc().iter() {
        out.start(entry.name())?;
        match entry.name() {
            b"tables" => out.write_all(&levels(tables))?,
            name => out.write_all(check::section(&empty, name).ok_or_else(invalid)?)?,
        }
    }
    out.finish().map_err(|_| invalid())?;
    fs::write(&version, &bytes)?;
    let mut current = id.to_vec();
    current.extend_from_slice(&xxh3_128(&bytes).to_le_bytes());
    current.push(0);
    fs::write(tree.join("current"), current)
}

/// The levels of a tree, with all tables in the first.
fn levels(tables: &[&Table]) -> Vec<u8> {
    let mut bytes = vec![LEVELS, tables.len() as u8];
    for table in tables {
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&table.id.to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&table.sum.to_le_bytes());
        bytes.extend_from_slice(&table.sequence.to_le_bytes());
    }
    bytes.extend(std::iter::repeat_n(0, usize::from(LEVELS) - 1));
    bytes
}

const LEVELS: u8 = 7;
