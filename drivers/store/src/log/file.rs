//! One log file, open.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rumormill_kit::store::StoreError;

use super::format::{self, HEADER, Header};
use super::{Index, Place};
use crate::disk::Disk;
use crate::error::of_io;
use crate::options::Options;
use crate::rules::Rules;

/// An open log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    pub(crate) file: File,
}

/// The path of a log file.
pub(crate) fn name(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number}.log"))
}

/// Creates a log file of so many bytes, with space for its first records. It has its name once it is whole and durable, and not before.
///
/// # Errors
///
/// [`StoreError::Full`] where there is no space: the file does not exist. It may after any other error.
pub(crate) fn create(
    options: &Options,
    dir: &Path,
    header: Header,
    bytes: u64,
) -> Result<LogFile, StoreError> {
    let Options { disk, rules, .. } = options;
    let new = dir.join(format!("{}.new", header.number));
    let path = name(dir, header.number);
    let made = || {
        let file = disk.create(&new)?;
        disk.preallocate(&file, 0, bytes.max(HEADER as u64))?;
        disk.write(&file, &header.to_bytes(), 0)?;
        if rules.names_whole_files() {
            disk.sync(&file)?;
        }
        disk.rename(&new, &path)?;
        Ok(file)
    };
    let file = made().map_err(|error| {
        // The next start removes what is left of it otherwise.
        let _ = disk.remove(&new);
        of_io(error)
    })?;
    if rules.syncs_names() {
        disk.sync_directory(dir)
            .map_err(|error| StoreError::Failed(error.to_string()))?;
    }
    Ok(LogFile { path, header, file })
}

/// A log file with its index, as far as it is written.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: Arc<LogFile>,
    pub(crate) index: Index,
    /// The end of its last record.
    pub(crate) end: u64,
    /// The seq of its last record: one less than its first where it has none.
    pub(crate) last: u64,
}

/// A place in a log file, and the file.
pub(crate) struct Found {
    file: Arc<LogFile>,
    /// `None` where the key was deleted with a range, and not put again.
    place: Option<Place>,
    end: u64,
}

impl Part {
    /// Finds the newest operation with the hash of this key, or a later one that has deleted a range with it.
    pub(crate) fn find(&self, key: &[u8], rules: Rules) -> Option<Found> {
        let place = self.index.get(Index::hash(key, self.file.header.salt));
        let range = self.index.range_of(key);
        if place.is_none() && range.is_none() {
            return None;
        }
        // An operation of the key itself is not behind the place.
        let place = place.filter(|place| {
            range.is_none_or(|range| place.at > range && rules.ranges_spare_later())
        });
        Some(Found {
            file: Arc::clone(&self.file),
            place,
            end: self.end,
        })
    }
}

impl Found {
    /// Reads the value that the file has for the key, `Some(None)` if it was deleted there, `None` if the file has nothing of it.
    pub(crate) fn read(
        &self,
        disk: &dyn Disk,
        rules: Rules,
        key: &[u8],
    ) -> io::Result<Option<Option<Bytes>>> {
        let Some(place) = self.place else {
            return Ok(Some(None));
        };
        let mut bytes = vec![0; place.len as usize];
        disk.read(&self.file.file, &mut bytes, u64::from(place.at))?;
        let op = format::op(&bytes, self.file.header.salt, rules.checks_operations());
        let op = op.ok_or_else(rotten)?;
        if op.key != key && rules.compares_keys() {
            return self.search(disk, key);
        }
        let len = op.value.map(<[u8]>::len);
        Ok(Some(len.map(|len| {
            let from = bytes.len() - len;
            Bytes::from(bytes).slice(from..)
        })))
    }

    /// Reads the whole file, because another key has the same hash.
    fn search(&self, disk: &dyn Disk, key: &[u8]) -> io::Result<Option<Option<Bytes>>> {
        let bytes = self.file.read_all(disk, self.end)?;
        let mut found = None;
        for place in self.file.records(&bytes)? {
            for op in format::ops(&bytes, place, self.file.header.salt) {
                let (_, op) = op.ok_or_else(rotten)?;
                if op.decides(key) {
                    found = Some(op.value.map(Bytes::copy_from_slice));
                }
            }
        }
        Ok(found)
    }
}

impl LogFile {
    /// Reads the file up to the end of its last record.
    pub(crate) fn read_all(&self, disk: &dyn Disk, end: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(end).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        disk.read(&self.file, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// The places of all operations, by record, in what was read; an error if a record is not whole.
    pub(crate) fn records(&self, bytes: &[u8]) -> io::Result<Vec<std::ops::Range<usize>>> {
        let mut places = Vec::new();
        let mut at = format::HEADER;
        let mut seq = self.header.first;
        while at < bytes.len() {
            let record = format::record(bytes, at, &(seq..seq + 1), self.header.salt)
                .filter(|record| record.whole)
                .ok_or_else(rotten)?;
            at = record.ops.start + record.ops.len();
            places.push(record.ops);
            seq += 1;
        }
        Ok(places)
    }
}

/// The error about a checksum that does not match.
pub(crate) fn rotten() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a checksum of the log does not match",
    )
}
