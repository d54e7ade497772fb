//! One file of a checkpoint: found there from an earlier one, linked, or copied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::error::{CheckpointError, at};
use super::manifest::{FILES, name};
use super::stage::{From, Source, cannot_link};
use crate::check;
use crate::disk::Disk;
use crate::error::Damage;
use crate::feed::{self, CHUNK, Each, Fed, feed_file, pass};
use crate::log::LogFile;
use crate::progress::{Progress, stopped};
use crate::rules::Rules;

/// How a file came into the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It was there, and is whole.
    Kept,
    /// It has another name in the data directory.
    Linked,
    Copied,
}

impl Fed {
    pub(super) fn stopped() -> (bool, io::Error) {
        (true, stopped())
    }

    pub(super) fn at(self, from: &Path, to: &Path) -> CheckpointError {
        let path = if self.about_target { to } else { from };
        at(path)(self.error)
    }
}

/// Reads the beginning of a log file that is open, and hands its bytes over in order.
fn feed_log(disk: &dyn Disk, log: &LogFile, len: u64, each: Each<'_>) -> Result<(), Fed> {
    let mut buffer = vec![0; CHUNK];
    let mut from = 0;
    while from < len {
        let take = usize::try_from(len - from).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = buffer.get_mut(..take).unwrap_or_default();
        let read = disk.read(&log.file, chunk, from);
        read.map_err(|error| Fed {
            about_target: false,
            error,
        })?;
        pass(each, chunk)?;
        from += take as u64;
    }
    Ok(())
}

/// The files of a checkpoint's directory.
pub(super) struct Files<'a> {
    pub(super) disk: &'a dyn Disk,
    /// The data directory that the files come from.
    pub(super) store: &'a Path,
    /// The directory.
    pub(super) dir: PathBuf,
    pub(super) rules: Rules,
    pub(super) progress: &'a Progress,
}

impl Files<'_> {
    /// Puts a file into the directory, whole and durable but for its name. Returns its checksum.
    pub(super) fn put(&self, source: &Source) -> Result<(u128, Came), CheckpointError> {
        match (&source.from, source.sum) {
            (From::Bytes(bytes), _) => self.put_bytes(bytes),
            (From::Open(log), _) => {
                let sum = self.copy(source, &mut |each| {
                    feed_log(self.disk, log, source.len, each)
                })?;
                Ok((sum, Came::Copied))
            }
            (From::File(path), Some(sum)) => self.put_file(source, path, sum, false),
            (From::File(path), None) => {
                let sum = self.sum_of(path)?;
                self.put_file(source, path, sum, true)
            }
        }
    }

    pub(super) fn path(&self, sum: u128) -> PathBuf {
        self.dir.join(FILES).join(name(sum))
    }

    /// The file is named by its checksum, which its bytes are checked against unless they were read just now.
    fn put_file(
        &self,
        source: &Source,
        from: &Path,
        sum: u128,
        read: bool,
    ) -> Result<(u128, Came), CheckpointError> {
        let to = self.path(sum);
        if to.try_exists().map_err(at(&to))? {
            let is_whole = match read {
                _ if !self.rules.checks_kept() => true,
                true => check::sum_of(&to).is_ok_and(|found| found == Some(sum)),
                false => match self.sum_of(&to) {
                    Err(CheckpointError::Stopped) => return Err(CheckpointError::Stopped),
                    found => found.is_ok_and(|found| found == sum),
                },
            };
            if is_whole {
                return Ok((sum, Came::Kept));
            }
            // Also one that cannot be read: what the store has takes its place.
            self.disk.remove(&to).map_err(at(&to))?;
        }
        match self.disk.link(from, &to) {
            Ok(()) if read || !self.rules.checks_taken() => Ok((sum, Came::Linked)),
            Ok(()) if self.sum_of(&to)? == sum => Ok((sum, Came::Linked)),
            Ok(()) => {
                self.disk.remove(&to).map_err(at(&to))?;
                Err(self.damaged(source))
            }
            Err(error) if cannot_link(&error) => {
                let copied = self.copy(source, &mut |each| feed_file(from, each))?;
                match copied == sum {
                    true => Ok((sum, Came::Copied)),
                    false => Err(self.damaged(source)),
                }
            }
            Err(error) => Err(at(&to)(error)),
        }
    }

    fn put_bytes(&self, bytes: &[u8]) -> Result<(u128, Came), CheckpointError> {
        let sum = xxh3_128(bytes);
        let to = self.path(sum);
        self.progress.step(bytes.len() as u64).map_err(at(&to))?;
        if check::sum_of(&to).is_ok_and(|found| found == Some(sum)) {
            return Ok((sum, Came::Kept));
        }
        let new = to.with_extension("new");
        self.write_whole(&new, &to, bytes)?;
        Ok((sum, Came::Copied))
    }

    /// Writes a small file under another name, and gives it its own once it is durable.
    pub(super) fn write_whole(
        &self,
        new: &Path,
        to: &Path,
        bytes: &[u8],
    ) -> Result<(), CheckpointError> {
        let file = self.disk.create(new).map_err(at(new))?;
        self.disk.write(&file, bytes, 0).map_err(at(new))?;
        self.disk.sync(&file).map_err(at(new))?;
        self.disk.rename(new, to).map_err(at(to))
    }

    /// Copies bytes into a file that is named by their checksum once it is durable.
    fn copy(
        &self,
        source: &Source,
        feed: &mut dyn FnMut(Each<'_>) -> Result<(), Fed>,
    ) -> Result<u128, CheckpointError> {
        let name = format!("{}.new", source.part.path().display()).replace(['/', '\\'], "-");
        let new = self.dir.join(FILES).join(name);
        let file = self.disk.create(&new).map_err(at(&new))?;
        let mut sum = Xxh3::new();
        let mut end = 0;
        let fed = feed(&mut |chunk| {
            sum.update(chunk);
            let written = self.disk.write(&file, chunk, end);
            written.map_err(|error| (true, error))?;
            end += chunk.len() as u64;
            let step = self.progress.step(chunk.len() as u64);
            step.map_err(|error| (true, error))
        });
        fed.map_err(|fed| fed.at(&source.part.path(), &new))?;
        self.disk.sync(&file).map_err(at(&new))?;
        let sum = sum.digest128();
        let to = self.path(sum);
        self.disk.rename(&new, &to).map_err(at(&to))?;
        Ok(sum)
    }

    /// Reads a file for its checksum, at the pace of the checkpoint.
    fn sum_of(&self, path: &Path) -> Result<u128, CheckpointError> {
        let read = feed::sum_of(path, &mut |bytes| self.progress.step(bytes));
        Ok(read.map_err(at(path))?.0)
    }

    /// Removes files that are in no manifest. Those that cannot be removed are tried again at the next checkpoint.
    pub(super) fn sweep(&self, is_named: &dyn Fn(&str) -> bool) {
        let Ok(entries) = fs::read_dir(self.dir.join(FILES)) else {
            return;
        };
        for entry in entries.flatten() {
            let file = entry.file_name();
            if !file.to_str().is_some_and(is_named) {
                let _ = self.disk.remove(&entry.path());
            }
        }
    }

    /// The error of a file whose bytes are not those that the tree has written.
    pub(super) fn damaged(&self, source: &Source) -> CheckpointError {
        CheckpointError::Damaged {
            dir: self.store.into(),
            found: vec![Damage {
                file: format!("db/{}", source.part.path().display()),
                why: check::WRONG.into(),
            }],
        }
    }
}
