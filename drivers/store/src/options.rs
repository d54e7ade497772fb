//! How a store is opened.

use std::fmt;
use std::sync::Arc;

use crate::disk::{Disk, RealDisk};
use crate::rules::Rules;
use crate::tree::TreeOptions;

/// How a store is opened. The records of a store do not depend on it.
#[derive(Clone)]
pub struct Options {
    /// The size at which a file of the log is full and its rows are merged into the tree, in bytes.
    pub(crate) log_bytes: u64,
    /// By how much a file of the log grows.
    pub(crate) step: u64,
    /// The bytes of a file of the log that are kept back for when there is no space.
    pub(crate) reserve: u64,
    pub(crate) tree: TreeOptions,
    pub(crate) disk: Arc<dyn Disk>,
    /// Whether merging has a thread of its own. Without, a batch that finds a file full merges it first.
    pub(crate) thread: bool,
    /// The rules that it keeps: all of them, but in tests of planted bugs.
    pub(crate) rules: Rules,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            log_bytes: Options::LOG_BYTES,
            step: 4 << 20,
            reserve: 2 << 20,
            tree: TreeOptions::default(),
            disk: Arc::new(RealDisk),
            thread: true,
            rules: Rules::awake(),
        }
    }
}

impl Options {
    /// The size of a file of the log where nothing else is said: 64 MiB.
    pub const LOG_BYTES: u64 = 64 << 20;
    /// The smallest size that makes sense, and the largest: 1 MiB and 1 GiB.
    pub const LOG_BYTES_RANGE: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

    /// Sets the size at which a file of the log is merged, in bytes, brought into [`Options::LOG_BYTES_RANGE`]. A larger one merges a
    /// row that is written often fewer times; it takes memory for the index (about 30 bytes a key in it) and for a merge (its size, and 100 bytes a row), disk, and time at a start.
    #[must_use]
    pub fn log_bytes(mut self, bytes: u64) -> Options {
        let (min, max) = (
            *Options::LOG_BYTES_RANGE.start(),
            *Options::LOG_BYTES_RANGE.end(),
        );
        self.log_bytes = bytes.clamp(min, max);
        self
    }

    /// Sets how much memory the blocks of the tree may take, in bytes; 32 MiB where nothing else is said.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Options {
        self.tree.cache_bytes = bytes;
        self
    }

    /// Plants a bug: the store breaks one of its rules.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn mutant(mut self, mutant: crate::Mutant) -> Options {
        self.rules = Rules::without(mutant);
        self
    }

    /// Leaves out the bloom filters of new tables, to measure what they do.
    #[doc(hidden)]
    #[must_use]
    pub fn without_filters(mut self) -> Options {
        self.tree.filters = false;
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("log_bytes", &self.log_bytes)
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}
