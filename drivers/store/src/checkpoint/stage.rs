//! The files of a database at one moment, kept from being removed while they are copied.
//!
//! Tables and full log files are linked into a directory of the data directory. Of the log's last file the open file is kept, with the place
//! up to which it is written: nothing before that place is ever written again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{CheckpointError, at};
use super::manifest::{Holds, Part};
use crate::check;
use crate::error::Damage;
use crate::feed::{Fed, feed_file};
use crate::log::{LogFile, Part as LogPart};
use crate::open::remove;
use crate::progress::Progress;
use crate::shared::Shared;

/// The directory of links, below the data directory.
pub(crate) const STAGING: &str = "checkpoint.staging";

/// A file that a checkpoint is made of.
pub(super) struct Source {
    pub(super) part: Part,
    pub(super) len: u64,
    /// The checksum that the tree has noted.
    pub(super) sum: Option<u128>,
    /// Its content, where that is known already.
    pub(super) holds: Option<Holds>,
    pub(super) from: From,
}

/// Where the bytes of a file are.
pub(super) enum From {
    /// In a file that is written no more.
    File(PathBuf),
    /// In the beginning of a file that is still written.
    Open(Arc<LogFile>),
    Bytes(Vec<u8>),
}

/// The files of a database, at one moment. Dropped, the links are removed.
pub(super) struct Staged {
    dir: PathBuf,
    pub(super) files: Vec<Source>,
    /// The seq of the last batch.
    pub(super) watermark: u64,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Left behind, the next checkpoint or start removes it.
        let _ = remove(&self.dir);
    }
}

impl Staged {
    /// Takes the files as they are now. Merging waits meanwhile; the writer does not.
    pub(super) fn take(shared: &Shared, progress: &Progress) -> Result<Staged, CheckpointError> {
        let dir = shared.data_dir().join(STAGING);
        let _kept = shared.keep_files();
        remove(&dir).map_err(at(&dir))?;
        let (sealed, active) = logs(shared)?;
        let mut staged = Staged {
            dir,
            files: Vec::new(),
            watermark: active.last,
        };
        let made = shared.disk.create_directory(&staged.dir);
        made.map_err(at(&staged.dir))?;
        staged.take_tree(shared, progress)?;
        for part in &sealed {
            let name = format!("{}.log", part.file.header.number);
            let len = staged.keep(shared, &part.file.path, &name, progress)?;
            let from = From::File(staged.dir.join(name));
            staged.files.push(log(part, len, from));
        }
        let from = match shared.options.rules.copies_written() {
            true => From::Open(Arc::clone(&active.file)),
            false => From::File(active.file.path.clone()),
        };
        staged.files.push(log(&active, active.end, from));
        Ok(staged)
    }

    fn take_tree(&mut self, shared: &Shared, progress: &Progress) -> Result<(), CheckpointError> {
        let tree = shared.db.join("tree");
        let damaged = |file: &str, why: &str| CheckpointError::Damaged {
            dir: shared.data_dir().into(),
            found: vec![Damage {
                file: format!("db/tree/{file}"),
                why: why.into(),
            }],
        };
        let listed = check::list(&tree).map_err(at(&tree))?;
        let listed = listed.map_err(|(file, why)| damaged(&file, why))?;
        for table in &listed.tables {
            let (id, from) = (table.id, tree.join("tables").join(table.id.to_string()));
            let kept = self.keep(shared, &from, &id.to_string(), progress);
            let len = kept.map_err(|error| match error {
                CheckpointError::Unusable { error, .. }
                    if error.kind() == io::ErrorKind::NotFound =>
                {
                    damaged(&format!("tables/{id}"), check::MISSING)
                }
                error => error,
            })?;
            self.files.push(Source {
                part: Part::Table(id),
                len,
                sum: Some(table.sum),
                holds: None,
                from: From::File(self.dir.join(id.to_string())),
            });
        }
        let tables = listed.tables.len() as u32;
        self.files.extend([
            bytes(
                Part::Version(listed.version),
                listed.version_bytes,
                Holds::Version { tables },
            ),
            bytes(Part::Current, listed.current, Holds::Current),
        ]);
        Ok(())
    }

    /// Links a file into the staging directory, or copies it where that cannot be. Returns its length.
    fn keep(
        &self,
        shared: &Shared,
        from: &Path,
        name: &str,
        progress: &Progress,
    ) -> Result<u64, CheckpointError> {
        let disk = &*shared.disk;
        let to = self.dir.join(name);
        match disk.link(from, &to) {
            Err(error) if cannot_link(&error) => {
                let file = disk.create(&to).map_err(at(&to))?;
                let mut end = 0;
                feed_file(from, &mut |chunk| {
                    // A store that closes waits for its merger, which waits for this.
                    if progress.is_stopped() || shared.is_stopping() {
                        return Err(Fed::stopped());
                    }
                    disk.write(&file, chunk, end)
                        .map_err(|error| (true, error))?;
                    end += chunk.len() as u64;
                    Ok(())
                })
                .map_err(|fed| fed.at(from, &to))?;
            }
            linked => linked.map_err(at(from))?,
        }
        Ok(fs::metadata(&to).map_err(at(&to))?.len())
    }
}

/// Whether a file cannot have a second name there, though it can be copied.
pub(super) fn cannot_link(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(
        error.kind(),
        CrossesDevices | PermissionDenied | TooManyLinks | Unsupported
    )
}

fn bytes(part: Part, bytes: Vec<u8>, holds: Holds) -> Source {
    Source {
        part,
        len: bytes.len() as u64,
        sum: None,
        holds: Some(holds),
        from: From::Bytes(bytes),
    }
}

fn log(part: &Log, len: u64, from: From) -> Source {
    let header = part.file.header;
    Source {
        part: Part::Log(header.number),
        len,
        sum: None,
        holds: Some(Holds::Log {
            first: header.first,
            last: part.last,
        }),
        from,
    }
}

/// A log file as it was at the moment.
struct Log {
    file: Arc<LogFile>,
    end: u64,
    last: u64,
}

/// The files of the log: the full ones, and the one that is written.
fn logs(shared: &Shared) -> Result<(Vec<Log>, Log), CheckpointError> {
    let view = shared.view();
    let log = |part: &LogPart| Log {
        file: Arc::clone(&part.file),
        end: part.end,
        last: part.last,
    };
    let active = view.active.as_ref().map(log);
    let sealed = view.sealed.iter().map(|part| log(part)).collect();
    Ok((sealed, active.ok_or(CheckpointError::Closed)?))
}
