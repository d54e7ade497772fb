//! The rest of a damaged database: read from a copy, put into a new one, and the damaged one set aside.
//!
//! The copy is put together from what is whole: fjall's own tables are linked, the batches of its journals that can be read are written into one,
//! and the rest is that of an empty database. Nothing of the damaged one is changed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace};
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::{LoadError, Store, StoreError};
use xxhash_rust::xxh3::xxh3_128;

use crate::beside::Identity;
use crate::check::{self, Manifest, Table};
use crate::error::{Damage, OpenError, is_full, name_all};
use crate::journal::Journals;
use crate::key;
use crate::open::{self, open_at, remove, sync_directory};
use crate::{FjallStore, SetAside};

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
    store: FjallStore,
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
    pub fn read(dir: &Path, found: Vec<Damage>) -> Result<Salvage, OpenError> {
        let unusable = |error| OpenError::Unusable {
            dir: dir.into(),
            error,
        };
        let lock = Arc::new(open::lock(dir)?);
        let (aside, earlier) = place(dir).map_err(unusable)?;
        if earlier >= ASIDE {
            return Err(OpenError::Crowded {
                dir: dir.into(),
                aside: earlier,
            });
        }
        remove(&dir.join("db.new")).map_err(unusable)?;
        let mut store = FjallStore::of(dir, "db.new", lock)?;
        let mut records = 0;
        let mut out = Out::new(&mut store);
        let note = format!("{}; set aside in {}", name_all(&found), aside.display());
        out.put(Record::damage(&note));
        let db = dir.join("db");
        if db.try_exists().map_err(unusable)? {
            let copy = Copied::open(dir, &db)?;
            if let Some(copy) = copy {
                copy.each(&mut |record| {
                    records += 1;
                    out.put(record);
                });
                copy.close(dir).map_err(unusable)?;
            }
        }
        out.finish()
            .map_err(|error| unusable(io::Error::other(error.to_string())))?;
        Ok(Salvage {
            dir: dir.into(),
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
        // If it cannot be removed now, the next start does it.
        if self.store.close().is_ok() {
            let _ = remove(&self.dir.join("db.new"));
        }
    }

    /// Sets the damaged database aside and puts the new one in its place.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn keep(self) -> Result<FjallStore, OpenError> {
        let Salvage { dir, store, .. } = self;
        let unusable = |error| OpenError::Unusable {
            dir: dir.clone(),
            error,
        };
        let lock = store.close().map_err(unusable)?;
        // From here on a crash does not undo it: the next start goes on.
        fs::rename(dir.join("db.new"), dir.join("db.next")).map_err(unusable)?;
        sync_directory(&dir).map_err(unusable)?;
        finish_swap(&dir)?;
        FjallStore::of(&dir, "db", lock)
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
    let swept = ["db.new", "db.copy"].into_iter();
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

/// Up to which batch a database reaches that may be damaged.
pub(crate) fn reached(dir: &Path, db: &Path) -> Result<u64, OpenError> {
    let Some(copy) = Copied::open(dir, db)? else {
        return Ok(0);
    };
    let number = open::number(&copy.records).unwrap_or(0);
    copy.close(dir).map_err(|error| OpenError::Unusable {
        dir: dir.into(),
        error,
    })?;
    Ok(number)
}

/// Puts records into a store in batches.
struct Out<'a> {
    store: &'a mut FjallStore,
    batch: Vec<StoreOp>,
    bytes: usize,
    failed: Option<StoreError>,
}

impl<'a> Out<'a> {
    fn new(store: &'a mut FjallStore) -> Out<'a> {
        Out {
            store,
            batch: Vec::new(),
            bytes: 0,
            failed: None,
        }
    }

    fn put(&mut self, record: Record) {
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

/// A database that was put together from the whole parts of another.
struct Copied {
    db: Database,
    records: Keyspace,
}

impl Copied {
    /// Puts it together with as many tables as it can be opened with; nothing if it cannot be opened even without any.
    fn open(dir: &Path, db: &Path) -> Result<Option<Copied>, OpenError> {
        let unusable = |error| OpenError::Unusable {
            dir: dir.into(),
            error,
        };
        let path = dir.join("db.copy");
        let tables = tables(&db.join("keyspaces/1")).map_err(unusable)?;
        // A damaged table can be read in part, if its index is whole.
        let choices: [fn(&Table) -> bool; 3] = [|_| true, |table| table.fault.is_none(), |_| false];
        for taken in choices {
            remove(&path).map_err(unusable)?;
            let (empty, records) = open_at(dir, &path)?;
            open::close(empty, records).map_err(unusable)?;
            let tables = tables.iter().filter(|table| taken(table));
            put_together(db, &path, tables.take(TABLES).collect()).map_err(unusable)?;
            match open_at(dir, &path) {
                Ok((db, records)) => return Ok(Some(Copied { db, records })),
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

    /// Hands over every record up to the first that cannot be read, and from the end back to the last such.
    fn each(&self, each: &mut dyn FnMut(Record)) {
        let mut last: Option<Vec<u8>> = None;
        let mut whole = false;
        let mut read = |backwards: bool, last: &mut Option<Vec<u8>>| {
            let mut entries = self.records.iter();
            loop {
                let entry = match backwards {
                    false => entries.next(),
                    true => entries.next_back(),
                };
                let Some(entry) = entry else {
                    return true;
                };
                let Ok((key, value)) = entry.into_inner() else {
                    return false;
                };
                if backwards && last.as_deref().is_some_and(|last| *key <= *last) {
                    return true;
                }
                if !backwards {
                    *last = Some(key.to_vec());
                }
                let record = key::record(&key, &value);
                if let Some(record) = record.filter(|_| &*key != key::NUMBER) {
                    each(record);
                }
            }
        };
        // fjall asserts some of what it reads.
        for backwards in [false, true] {
            if !whole {
                let read = AssertUnwindSafe(|| read(backwards, &mut last));
                whole = panic::catch_unwind(read).unwrap_or(false);
            }
        }
    }

    fn close(self, dir: &Path) -> io::Result<()> {
        open::close(self.db, self.records)?;
        remove(&dir.join("db.copy"))
    }
}

/// The tables of a keyspace: as its manifest names them, or all that lie there if it cannot be read.
fn tables(keyspace: &Path) -> io::Result<Vec<Table>> {
    let manifest = Manifest::read(keyspace)?;
    let folder = keyspace.join("tables");
    if manifest.damaged.is_empty() || !folder.try_exists()? {
        return Ok(manifest.tables);
    }
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let (Some(id), Some(sum)) = (id, check::sum_of(&entry.path())?) {
            tables.push(Table {
                id,
                sum,
                fault: None,
            });
        }
    }
    tables.sort_unstable_by_key(|table| std::cmp::Reverse(table.id));
    Ok(tables)
}

/// Puts tables and journals of a database into an empty one.
fn put_together(db: &Path, copy: &Path, tables: Vec<&Table>) -> io::Result<()> {
    let (from, to) = (db.join("keyspaces/1"), copy.join("keyspaces/1"));
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
    write_manifest(&to, &present)?;
    write_journal(db, copy)
}

/// Replaces the manifest of an empty keyspace by one with these tables, each in a run of its own.
fn write_manifest(keyspace: &Path, tables: &[&Table]) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let current = fs::read(keyspace.join("current"))?;
    let id = current.first_chunk::<8>().ok_or_else(invalid)?;
    let version = keyspace.join(format!("v{}", u64::from_le_bytes(*id)));
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
    fs::write(keyspace.join("current"), current)
}

/// The levels of a tree, with all tables in the first.
fn levels(tables: &[&Table]) -> Vec<u8> {
    let mut bytes = vec![LEVELS, tables.len() as u8];
    for table in tables {
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&table.id.to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&table.sum.to_le_bytes());
        bytes.extend_from_slice(&0_u64.to_le_bytes());
    }
    bytes.extend(std::iter::repeat_n(0, usize::from(LEVELS) - 1));
    bytes
}

const LEVELS: u8 = 7;

/// Writes the batches of all journals that are whole into one.
fn write_journal(db: &Path, copy: &Path) -> io::Result<()> {
    for (path, ..) in Journals::read(copy)?.files {
        fs::remove_file(path)?;
    }
    let mut out = File::create(copy.join("0.jnl"))?;
    for (path, batches) in Journals::read(db)?.files {
        let bytes = fs::read(path)?;
        for batch in batches {
            out.write_all(bytes.get(batch.place).unwrap_or_default())?;
        }
    }
    Ok(())
}
