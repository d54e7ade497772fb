//! The parts of a store that its threads share: the log's files with their indexes, and the tree.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

use bytes::Bytes;
use rumormill_kit::store::StoreError;

use crate::disk::Disk;
use crate::error::store_error;
use crate::key;
use crate::log::{Found, Part};
use crate::options::Options;
use crate::tree::{Stop, Tree};

/// The log as readers see it. Empty once the store is closed.
#[derive(Default)]
pub(crate) struct View {
    /// The file that is written.
    pub(crate) active: Option<Part>,
    /// Files that are full and not merged yet, the oldest first.
    pub(crate) sealed: VecDeque<Arc<Part>>,
}

/// How the merger gets on.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Files that wait for it.
    pub(crate) sealed: usize,
    /// Whether it has nothing to merge and nothing to compact.
    pub(crate) idle: bool,
    /// Why it has given up.
    pub(crate) failed: Option<String>,
    /// Why it cannot go on at present: there is no space.
    pub(crate) short: Option<String>,
}

/// Shared by the store, its merger and its reader. No lock is taken while another is held, but for `merging`, which is the first.
pub(crate) struct Shared {
    /// The directory of the database.
    pub(crate) db: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    view: RwLock<View>,
    /// `None` after it could not be opened again, and once the store is closed.
    tree: RwLock<Option<Tree>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Held by the merger while it works, and by a checkpoint while it takes its files.
    merging: Mutex<()>,
    /// Held by the checkpoint that is being made.
    pub(crate) checkpoint: Mutex<()>,
    stop: Stop,
}

impl Shared {
    pub(crate) fn new(db: PathBuf, options: Options, view: View, tree: Tree, stop: Stop) -> Shared {
        Shared {
            db,
            disk: Arc::clone(&options.disk),
            options,
            state: Mutex::new(State {
                sealed: view.sealed.len(),
                ..State::default()
            }),
            view: RwLock::new(view),
            tree: RwLock::new(Some(tree)),
            changed: Condvar::new(),
            merging: Mutex::new(()),
            checkpoint: Mutex::new(()),
            stop,
        }
    }

    /// The directory that the database lies in.
    pub(crate) fn data_dir(&self) -> &Path {
        self.db.parent().unwrap_or(&self.db)
    }

    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tree, which is not closed or opened again while this is held.
    pub(crate) fn tree(&self) -> RwLockReadGuard<'_, Option<Tree>> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes all that wait for a change.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits while the state is so and the store is not closed, for at most a time where there is one.
    pub(crate) fn wait_while(&self, time: Option<Duration>, so: impl Fn(&State) -> bool) {
        let so = |state: &mut State| !self.is_stopping() && so(state);
        let state = self.state();
        match time {
            None => drop(self.changed.wait_while(state, so)),
            Some(time) => drop(self.changed.wait_timeout_while(state, time, so)),
        }
    }

    /// Keeps files from being merged, compacted and removed while it is held. The writer goes on meanwhile.
    pub(crate) fn keep_files(&self) -> MutexGuard<'_, ()> {
        self.merging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells the merger to stop.
    pub(crate) fn stop(&self) {
        // Under the lock, so that no thread is about to wait for it.
        self.change(|_| self.stop.store(true, Ordering::Relaxed));
    }

    /// Lets go of all files.
    pub(crate) fn close(&self) {
        *self.view_mut() = View::default();
        *self.tree_mut() = None;
    }

    /// Closes the tree and opens it again, which removes the files that a failed ingestion has left.
    ///
    /// # Errors
    ///
    /// As for [`Tree::open`].
    pub(crate) fn reopen_tree(&self) -> Result<(), StoreError> {
        // Readers wait meanwhile: what they want is there.
        let mut tree = self.tree_mut();
        *tree = None;
        let path = self.db.join("tree");
        *tree = Some(Tree::open(&path, self.options.tree, &self.stop).map_err(store_error)?);
        Ok(())
    }

    fn tree_mut(&self) -> RwLockWriteGuard<'_, Option<Tree>> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the newest value of a key.
    ///
    /// # Errors
    ///
    /// When it cannot be read now.
    pub(crate) fn read(&self, wanted: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed(error.to_string());
        let rules = self.options.rules;
        for found in self.find(wanted) {
            let is_in_log = rules.reads_log_first() || self.of_tree(wanted)?.is_none();
            let read = found.read(&*self.disk, rules, wanted).map_err(failed)?;
            if let Some(value) = read.filter(|_| is_in_log) {
                return Ok(value);
            }
        }
        self.of_tree(wanted)
    }

    /// Reads what the tree has for a key.
    fn of_tree(&self, wanted: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let tree = self.tree();
        let Some(tree) = &*tree else {
            return Err(StoreError::Failed("it is closed at present".into()));
        };
        let stored = key::stored_key(wanted);
        let Some(value) = tree.get(&stored).map_err(store_error)? else {
            return Ok(None);
        };
        let record = key::record(&stored, &value).filter(|record| record.key == wanted);
        match record {
            Some(record) => Ok(Some(record.value)),
            None => Err(StoreError::Failed("a record in an unknown layout".into())),
        }
    }

    /// The places in the log that may have the key, the newest first.
    fn find(&self, key: &[u8]) -> Vec<Found> {
        let view = self.view();
        let active = view.active.iter();
        let sealed = view.sealed.iter().rev().map(|part| &**part);
        active
            .chain(sealed)
            .filter_map(|part| part.find(key, self.options.rules))
            .collect()
    }
}

/// A flag that ends compactions.
pub(crate) fn stop() -> Stop {
    Arc::new(AtomicBool::new(false))
}
