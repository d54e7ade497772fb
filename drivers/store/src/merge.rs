//! Merging: the rows of a full log file go sorted into the tree, and the file is deleted once they are durable there.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use lsm_tree::Error;
use rumormill_kit::store::StoreError;

use crate::beside::Sequences;
use crate::error::{of_io, store_error};
use crate::key;
use crate::log::{Part, Rows, buffer_of, newest};
use crate::rules::Rules;
use crate::shared::Shared;
use crate::tree::Tree;

/// How long merging waits at first where there is no space; doubled after each try.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest time between two tries.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Merges files and compacts the tree, one after the other.
pub(crate) struct Merger {
    shared: Arc<Shared>,
    /// Whether there may be something to compact.
    compact: bool,
}

impl Drop for Merger {
    /// Tells of a panic outside of the caught ones: a writer waits for this thread.
    fn drop(&mut self) {
        if thread::panicking() {
            let why = "merging panicked".to_string();
            self.shared.change(|state| {
                state.failed.get_or_insert(why);
            });
        }
    }
}

impl Merger {
    pub(crate) fn new(shared: Arc<Shared>) -> Merger {
        Merger {
            shared,
            compact: true,
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system gives none.
    pub(crate) fn spawn(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("store-merge".into())
            .spawn(move || self.run())
    }

    fn run(mut self) {
        let mut retry = FIRST_RETRY;
        while !self.shared.is_stopping() {
            match self.work() {
                Ok(true) => retry = FIRST_RETRY,
                Ok(false) => self.shared.wait_while(None, |state| state.sealed == 0),
                Err(StoreError::Full(_)) => {
                    self.shared.wait_while(Some(retry), |_| true);
                    retry = LAST_RETRY.min(retry * 2);
                }
                Err(_) => return,
            }
        }
    }

    /// Does the most urgent work, and says whether there was anything. An error is in the state as well.
    pub(crate) fn work(&mut self) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        let _merging = shared.keep_files();
        let caught = panic::catch_unwind(AssertUnwindSafe(|| self.try_work()));
        let done = caught.unwrap_or_else(|_| Err(StoreError::Failed("merging panicked".into())));
        if self.shared.is_stopping() {
            return Ok(false);
        }
        let done = done.map_err(|error| match error {
            // The files of the attempt take space.
            StoreError::Full(why) => match self.shared.reopen_tree() {
                Ok(()) | Err(StoreError::Full(_)) => StoreError::Full(why),
                Err(error) => error,
            },
            error => error,
        });
        self.shared.change(|state| match &done {
            Ok(more) => {
                state.short = None;
                state.idle = !more && state.sealed == 0;
            }
            Err(StoreError::Full(why)) => state.short = Some(why.clone()),
            Err(StoreError::Failed(why)) => state.failed = Some(why.clone()),
            Err(error) => state.failed = Some(error.to_string()),
        });
        done
    }

    fn try_work(&mut self) -> Result<bool, StoreError> {
        if self.shared.tree().is_none() {
            self.shared.reopen_tree()?;
        }
        let behind = self
            .shared
            .tree()
            .as_ref()
            .is_some_and(|tree| tree.is_behind());
        let next = self.shared.view().sealed.front().cloned();
        let compact = std::mem::take(&mut self.compact);
        match next {
            Some(part) if !(behind && compact) => {
                self.merge(&part)?;
                // Its space is free once it is closed: the writer looks for that when it is counted off.
                drop(part);
                self.shared.change(|state| state.sealed -= 1);
                self.compact = true;
                Ok(true)
            }
            _ if compact => {
                self.compact = self.compact()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn compact(&self) -> Result<bool, StoreError> {
        let tree = self.shared.tree();
        let Some(tree) = tree.as_ref() else {
            return Ok(false);
        };
        let done = tree.compact().map_err(store_error)?;
        if done {
            self.note_order(tree);
        }
        Ok(done)
    }

    fn note_order(&self, tree: &Tree) {
        if self.shared.options.rules.notes_order() {
            Sequences::new(tree.sequences()).save(&*self.shared.disk, &self.shared.db);
        }
    }

    fn merge(&self, part: &Part) -> Result<(), StoreError> {
        let rules = self.shared.options.rules;
        if !rules.shows_unmerged() {
            self.shared.view_mut().sealed.pop_front();
        }
        let buffer = buffer_of(&*self.shared.disk, part).map_err(of_io)?;
        if !rules.removes_merged() {
            self.remove(part)?;
        }
        let rows = newest(std::slice::from_ref(&buffer), &[&part.index]).map_err(of_io)?;
        let logged = rows.iter().map(|(stored, (key, value))| {
            let value = value.map(|value| key::stored_value(key, buffer.bytes.slice_ref(value)));
            (stored, value)
        });
        {
            let tree = self.shared.tree();
            let tree = tree.as_ref();
            let tree = tree.ok_or_else(|| StoreError::Failed("the tree is closed".into()))?;
            tree.ingest(with_deleted(tree, &rows, rules, logged), part.last, rules)
                .map_err(store_error)?;
            self.note_order(tree);
        }
        if rules.shows_unmerged() {
            self.shared.view_mut().sealed.pop_front();
        }
        self.remove(part)
    }

    /// Removes a file, durably. In order, and each before the next: the files that are there have no gap.
    fn remove(&self, part: &Part) -> Result<(), StoreError> {
        let removed = match self.shared.disk.remove(&part.file.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        let dir = self.shared.db.join("log");
        let synced = removed.and_then(|()| match self.shared.options.rules.syncs_removals() {
            true => self.shared.disk.sync_directory(&dir),
            false => Ok(()),
        });
        synced.map_err(|error| StoreError::Failed(error.to_string()))
    }
}

/// Adds to the rows of a log the deletion of each key that the tree has in a range that was deleted, unless it was put again.
fn with_deleted(
    tree: &Tree,
    rows: &Rows<'_>,
    rules: Rules,
    logged: impl Iterator<Item = (Bytes, Option<Bytes>)>,
) -> impl Iterator<Item = Result<(Bytes, Option<Bytes>), Error>> {
    let ranges = rows.stored_ranges().into_iter();
    let ranges = ranges.filter(move |_| rules.ranges_reach_tree());
    let stored = ranges.flat_map(|range| tree.range(range));
    // Ranges of plain keys meet where their ends are cut.
    let mut last = None;
    let stored = stored.filter(move |entry| {
        let Ok((stored, value)) = entry else {
            return true;
        };
        let record = key::record(stored, value);
        let is_deleted = record.is_some_and(|record| rows.is_deleted(&record.key));
        is_deleted && last.replace(stored.clone()).as_ref() != Some(stored)
    });
    let mut stored = stored.peekable();
    let mut logged = logged.peekable();
    std::iter::from_fn(move || {
        match (stored.peek(), logged.peek()) {
            (Some(Err(_)), _) => return Some(stored.next()?.map(|(key, _)| (key, None))),
            (Some(Ok((key, _))), Some((other, _))) if key == other => {
                stored.next();
            }
            (Some(Ok((key, _))), other) if other.is_none_or(|(other, _)| key < other) => {
                return Some(stored.next()?.map(|(key, _)| (key, None)));
            }
            _ => {}
        }
        logged.next().map(Ok)
    })
}
