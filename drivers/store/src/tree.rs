//! The tree of sorted tables under the log: lsm-tree, the lower half of fjall, without the journal and threads of fjall.
//!
//! It is written by bulk ingestion alone, which is durable and whole once it returns: tables, their names and the manifest are synced.
//! The last row of each ingestion says which seq of the log it reaches.

use std::ops::RangeInclusive;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use lsm_tree::compaction::filter::{Context, ItemAccessor};
use lsm_tree::compaction::{CompactionFilter, Factory, Leveled, Verdict};
use lsm_tree::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, DescriptorTable, Error, Guard as _,
    SeqNo, SequenceNumberCounter,
};

use crate::key;
use crate::rules::Rules;

/// Leaves most of a usual limit of 1,024 descriptors to connections.
const OPEN_FILES: usize = 128;
/// Ingestions wait while so many runs wait to be compacted: each costs a read.
pub(crate) const LEVEL_0_RUNS: usize = 20;

/// How a tree is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeOptions {
    pub(crate) cache_bytes: u64,
    /// Whether tables have bloom filters; only a benchmark leaves them out.
    pub(crate) filters: bool,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        TreeOptions {
            cache_bytes: 32 << 20,
            filters: true,
        }
    }
}

/// An open tree.
pub(crate) struct Tree {
    inner: AnyTree,
    visible: SequenceNumberCounter,
}

/// Ends a compaction early where it is set.
pub(crate) type Stop = Arc<AtomicBool>;

impl Tree {
    /// Opens a tree whose files were checked, or creates one.
    ///
    /// # Errors
    ///
    /// lsm-tree's. It asserts some of what it reads: that is [`Error::Unrecoverable`].
    pub(crate) fn open(path: &Path, options: TreeOptions, stop: &Stop) -> Result<Tree, Error> {
        let (seqno, visible) = (
            SequenceNumberCounter::default(),
            SequenceNumberCounter::default(),
        );
        let filters = match options.filters {
            true => FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0)),
            false => FilterPolicyEntry::None,
        };
        let (none, lz4) = (CompressionType::None, CompressionType::Lz4);
        let config = Config::new(path, seqno.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(options.cache_bytes)))
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(OPEN_FILES))))
            // The first level is written again soon.
            .data_block_compression_policy(CompressionPolicy::new([none, lz4]))
            .filter_policy(FilterPolicy::all(filters))
            .with_compaction_filter_factory(Some(Arc::new(Stops(Arc::clone(stop)))));
        let opened = panic::catch_unwind(AssertUnwindSafe(|| config.open()));
        let inner = opened.map_err(|_| Error::Unrecoverable)??;
        let next = inner.get_highest_seqno().map_or(0, |seqno| seqno + 1);
        seqno.fetch_max(next);
        visible.fetch_max(next);
        Ok(Tree { inner, visible })
    }

    /// The seq up to which the log was merged into it.
    pub(crate) fn merged(&self) -> Result<u64, Error> {
        let stored = self.get(key::NUMBER)?;
        let merged =
            stored.and_then(|bytes| Some(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)));
        Ok(merged.unwrap_or(0))
    }

    /// The value that is stored under a key of the tree.
    pub(crate) fn get(&self, stored_key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.inner.get(stored_key, SeqNo::MAX)?.map(Bytes::from))
    }

    /// All that is stored, in order; from both ends.
    pub(crate) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), Error>> + use<> {
        let entries = self.inner.iter(SeqNo::MAX, None);
        entries.map(|entry| {
            let (key, value) = entry.into_inner()?;
            Ok((Bytes::from(key), Bytes::from(value)))
        })
    }

    /// All that is stored in a range, in order.
    pub(crate) fn range(
        &self,
        stored: RangeInclusive<Bytes>,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Error>> + use<> {
        let entries = self.inner.range(stored, SeqNo::MAX, None);
        entries.map(|entry| {
            let (key, value) = entry.into_inner()?;
            Ok((Bytes::from(key), Bytes::from(value)))
        })
    }

    /// Puts sorted rows into the tree, with the seq that they reach. Rows without a value delete: those whose key is not there are left
    /// out. Nothing is changed after an error, but files may be left that are in no manifest, until the tree is opened again.
    ///
    /// # Errors
    ///
    /// lsm-tree's.
    pub(crate) fn ingest(
        &self,
        rows: impl Iterator<Item = Result<(Bytes, Option<Bytes>), Error>>,
        merged: u64,
        rules: Rules,
    ) -> Result<(), Error> {
        let mut ingestion = self.inner.ingestion()?;
        for row in rows {
            let (key, value) = row?;
            match value {
                Some(value) => ingestion.write(key, value)?,
                None if !rules.keeps_brief_out()
                    || self.inner.contains_key(&key, SeqNo::MAX)? =>
                {
                    ingestion.write_tombstone(key)?;
                }
                None => {}
            }
        }
        ingestion.write(key::NUMBER, Bytes::copy_from_slice(&merged.to_le_bytes()))?;
        ingestion.finish()
    }

    /// Whether so many runs wait to be compacted that no more should be added.
    pub(crate) fn is_behind(&self) -> bool {
        self.inner.l0_run_count() >= LEVEL_0_RUNS
    }

    /// Compacts once and says whether there was something to compact.
    ///
    /// # Errors
    ///
    /// lsm-tree's, and one if it was stopped.
    pub(crate) fn compact(&self) -> Result<bool, Error> {
        let before = self.inner.current_version().id();
        let watermark = self.visible.get();
        self.inner
            .compact(Arc::new(Leveled::default()), watermark)?;
        Ok(self.inner.current_version().id() != before)
    }

    /// The number of each table, with the sequence of its ingestion.
    pub(crate) fn sequences(&self) -> Vec<(u64, u64)> {
        let version = self.inner.current_version();
        let tables = version.iter_tables();
        tables
            .map(|table| (table.id(), table.global_seqno()))
            .collect()
    }

    /// How many rows and tombstones it has, with those that are overwritten and not compacted yet.
    #[cfg(test)]
    pub(crate) fn rough_len(&self) -> usize {
        self.inner.approximate_len()
    }
}

/// A filter that keeps everything, and ends the compaction when it is told to.
struct Stops(Stop);

impl Factory for Stops {
    fn name(&self) -> &str {
        "stops"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Stops(Arc::clone(&self.0)))
    }
}

impl CompactionFilter for Stops {
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> Result<Verdict, Error> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Error::Io(std::io::ErrorKind::Interrupted.into())),
            false => Ok(Verdict::Keep),
        }
    }
}
