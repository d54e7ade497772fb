//! Verifying the files of a store that is open, while it works.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::holds;
use crate::log::Part;
use crate::progress::Progress;
use crate::shared::Shared;
use crate::verify::{Depth, Verified, VerifyError, at, table};
use crate::{DiskStore, check};

/// Verifies the files of an open store, on whatever thread it is called. Keeps nothing open once the store is dropped.
#[derive(Clone)]
pub struct Scrubber {
    shared: Arc<Shared>,
}

impl DiskStore {
    /// Returns a verifier of the open store, for other threads.
    pub fn scrubber(&self) -> Scrubber {
        Scrubber {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Scrubber {
    /// Reads each table that the store has now, and each log file that waits to be merged, and verifies them as [`verify`](crate::verify) does.
    /// Files that are merged away meanwhile are passed over. Writes and merging go on; nothing is changed.
    ///
    /// # Errors
    /// [`VerifyError::Stopped`] also when the store closes; else see [`VerifyError`]. Faults are no error.
    pub fn scrub(&self, progress: &Progress) -> Result<Verified, VerifyError> {
        self.scrub_to(Depth { records: true }, progress)
    }

    pub(crate) fn scrub_to(
        &self,
        depth: Depth,
        progress: &Progress,
    ) -> Result<Verified, VerifyError> {
        let mut found = Verified::default();
        let tree = self.shared.db.join("tree");
        let listed = {
            let _kept = self.shared.keep_files();
            check::list(&tree).map_err(at(&tree))?
        };
        let listed = match listed {
            Ok(listed) => listed.tables,
            Err((file, why)) => {
                found.fault(format!("db/tree/{file}"), why, "the list of the tables");
                Vec::new()
            }
        };
        let path = |id: u64| tree.join("tables").join(id.to_string());
        for listed in &listed {
            let len = path(listed.id).metadata().map_or(0, |file| file.len());
            progress.expect(len * 2);
        }
        let sealed: Vec<Arc<Part>> = self.shared.view().sealed.iter().cloned().collect();
        sealed.iter().for_each(|part| progress.expect(part.end));
        for listed in listed {
            if self.shared.is_stopping() {
                return Err(VerifyError::Stopped);
            }
            match self.table(&path(listed.id), &listed, depth, &mut found, progress) {
                Err(VerifyError::Unusable { error, .. })
                    if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        for part in sealed {
            self.log(&part, &mut found, progress)?;
        }
        let view = self.shared.view();
        found.watermark = view.active.as_ref().map_or(0, |part| part.last);
        drop(view);
        Ok(found)
    }

    /// Verifies a table, unless it is gone: then no newer list names it, or it is missing.
    fn table(
        &self,
        path: &Path,
        listed: &check::Listed,
        depth: Depth,
        found: &mut Verified,
        progress: &Progress,
    ) -> Result<(), VerifyError> {
        let file = format!("db/tree/tables/{}", listed.id);
        let held = || match holds::of_table(path, listed.sum) {
            Some(holds) => holds.to_string(),
            None => "rows that nothing else tells of".into(),
        };
        let sum = crate::verify::sum(path, found, progress)?;
        match sum {
            None if self.lists(listed.id)? => found.fault(file, check::MISSING, held()),
            None => {}
            Some((sum, _)) if sum != listed.sum => found.fault(file, check::WRONG, held()),
            Some(_) => {
                let rows = table::check(path, listed.sum, listed.sequence, depth, progress);
                if rows.stopped {
                    return Err(VerifyError::Stopped);
                }
                found.rows += rows.rows;
                // It may have been merged away between the two readings.
                if !rows.faults.is_empty() && (path.exists() || self.lists(listed.id)?) {
                    for why in rows.faults {
                        found.fault(file.clone(), why, held());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the tree still has a table.
    fn lists(&self, id: u64) -> Result<bool, VerifyError> {
        let tree = self.shared.db.join("tree");
        let _kept = self.shared.keep_files();
        let listed = check::list(&tree).map_err(at(&tree))?;
        Ok(listed.is_ok_and(|listed| listed.tables.iter().any(|table| table.id == id)))
    }

    /// Verifies a log file that is full, by the file that is open.
    fn log(
        &self,
        part: &Part,
        found: &mut Verified,
        progress: &Progress,
    ) -> Result<(), VerifyError> {
        let failed = at(&part.file.path);
        let bytes = part.file.read_all(&*self.shared.disk, part.end);
        let bytes = bytes.map_err(&failed)?;
        found.files += 1;
        found.bytes += part.end;
        match part.file.records(&bytes) {
            Ok(records) => found.rows += records.len() as u64,
            Err(error) => {
                let (first, last) = (part.file.header.first, part.last);
                let file = format!("db/log/{}.log", part.file.header.number);
                let held = format!("batches {first} to {last}");
                found.fault(file, error.to_string(), held);
            }
        }
        progress.step(part.end).map_err(failed)
    }
}
