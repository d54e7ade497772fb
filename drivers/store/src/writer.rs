//! The end of the log: batches are appended to its last file, and a full file is followed by the next.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::random_seed;
use rumormill_kit::store::StoreError;

use crate::error::of_io;
use crate::log::format::{self, HEADER, Header};
use crate::log::{Index, LogFile, Part, Place, Range, create};
use crate::merge::Merger;
use crate::options::Options;
use crate::rules::Rules;
use crate::shared::Shared;

/// Files that may wait to be merged. With as many, the next full file waits.
pub(crate) const SEALED: usize = 4;
/// A file that deletes as many ranges is full: a point read and a merge compare keys with each.
const RANGES: usize = 256;
/// Places in a file are 32 bits.
const LARGEST_FILE: u64 = u32::MAX as u64;

/// Writes the log.
pub(crate) struct Writer {
    file: Arc<LogFile>,
    /// The end of the last record, and of the space that the file has.
    end: u64,
    allocated: u64,
    /// The seq of the last record, and of the last that is synced.
    seq: u64,
    durable: u64,
    /// How many ranges the file deletes.
    marked: usize,
    buffer: Vec<u8>,
    places: Vec<(u64, Place)>,
    ranges: Vec<Range>,
    /// Why it writes into the space that was kept back, and the last record when that was looked at.
    short: Option<String>,
    looked: u64,
}

/// Room for a table beside its rows.
const TABLE: u64 = 64 << 10;
/// Buffers beyond this size are let go after a batch.
const BUFFER_BYTES: usize = 4 << 20;

impl Writer {
    /// Goes on behind the last record of a file that is synced.
    pub(crate) fn new(part: &Part, allocated: u64) -> Writer {
        Writer {
            file: Arc::clone(&part.file),
            end: part.end,
            allocated,
            seq: part.last,
            durable: part.last,
            marked: part.index.ranges(),
            buffer: Vec::new(),
            places: Vec::new(),
            ranges: Vec::new(),
            short: None,
            looked: 0,
        }
    }

    /// The seq up to which the log is synced.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// Appends a batch.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] with nothing changed; else [`StoreError::Failed`], after which the log is not written again.
    pub(crate) fn append(
        &mut self,
        shared: &Shared,
        merger: Option<&mut Merger>,
        batch: &[StoreOp],
    ) -> Result<(), StoreError> {
        let size = format::size(batch) as u64;
        let must = self.end + size > LARGEST_FILE && self.end > HEADER as u64;
        if must || self.is_full(shared) && self.short.is_none() {
            let sealed = self.seal(shared, merger, shared.options.step);
            self.or_from_reserve(sealed, size)?;
        }
        if self.end + size > LARGEST_FILE {
            return Err(StoreError::Failed("a batch is larger than 4 GiB".into()));
        }
        self.encode(batch);
        let end = self.end + self.buffer.len() as u64;
        if self.short.is_none() || end > self.allocated {
            let grown = self.grow(shared, end);
            self.or_from_reserve(grown, size)?;
        }
        let written = shared.disk.write(&self.file.file, &self.buffer, self.end);
        written.map_err(|error| self.undo(shared, error))?;
        self.seq += 1;
        self.marked += self.ranges.len();
        self.end = end;
        let mut view = shared.view_mut();
        if let Some(active) = &mut view.active {
            for (hash, place) in self.places.drain(..) {
                active.index.insert(hash, place);
            }
            for range in self.ranges.drain(..) {
                active.index.insert_range(range);
            }
            active.end = self.end;
            active.last = self.seq;
        }
        drop(view);
        if self.buffer.capacity() > BUFFER_BYTES {
            self.buffer = Vec::new();
            self.places = Vec::new();
        }
        Ok(())
    }

    /// Whether the file should be followed by the next.
    fn is_full(&self, shared: &Shared) -> bool {
        let is_long = self.end >= shared.options.log_bytes || self.marked >= RANGES;
        is_long && self.end > HEADER as u64
    }

    /// Makes the file longer, so that it has the reserve behind `end`.
    fn grow(&mut self, shared: &Shared, end: u64) -> Result<(), StoreError> {
        let Options {
            step,
            reserve,
            rules,
            ..
        } = shared.options;
        let wanted = match rules.keeps_reserve() {
            true => end + reserve,
            false => end,
        };
        if wanted > self.allocated {
            let to = wanted.div_ceil(step) * step;
            let more = shared.disk.preallocate(&self.file.file, self.allocated, to);
            more.map_err(of_io)?;
            self.allocated = to;
        }
        Ok(())
    }

    /// Lets a batch of a size go into the space that was kept back, where there is no other.
    fn or_from_reserve(
        &mut self,
        done: Result<(), StoreError>,
        size: u64,
    ) -> Result<(), StoreError> {
        let end = self.end + size;
        match done {
            Err(StoreError::Full(why)) if end <= self.allocated.min(LARGEST_FILE) => {
                self.short = Some(why);
                Ok(())
            }
            done => done,
        }
    }

    /// Looks for space where there was none, and says why there still is none. While nothing is written (`idle`) a file is sealed if the rows
    /// that are left of it fit into what room there is: merging it gives back the rest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`], after which the log is not written again.
    pub(crate) fn look_for_space(
        &mut self,
        shared: &Shared,
        mut merger: Option<&mut Merger>,
        idle: bool,
    ) -> Result<Option<String>, StoreError> {
        if self.short.is_none() {
            return Ok(None);
        }
        // A file that was made of what was left has room for a moment: the rest comes when the one before it is merged.
        let is_merging = {
            let state = shared.state();
            state.sealed > 0 && state.short.is_none()
        };
        if is_merging && shared.options.rules.awaits_merge() {
            return Ok(self.short.clone());
        }
        let found = match self.is_full(shared) {
            true => self.seal(shared, merger.as_deref_mut(), shared.options.step),
            false => self.grow(shared, self.end),
        };
        match found {
            Err(StoreError::Full(why)) => self.short = Some(why),
            found => {
                found?;
                self.short = None;
            }
        }
        let is_new = std::mem::replace(&mut self.looked, self.seq) != self.seq;
        if idle && !is_new && self.short.is_some() && self.would_fit(shared) {
            self.seal_small(shared, merger)?;
        }
        Ok(self.short.clone())
    }

    /// Whether nothing waits to be merged, and what is left of the rows of the file fits into what room there is.
    fn would_fit(&self, shared: &Shared) -> bool {
        let written = self.end.saturating_sub(HEADER as u64);
        if shared.state().sealed > 0 || written == 0 {
            return false;
        }
        let index = |part: &Part| part.index.bytes();
        let left = shared.view().active.as_ref().map_or(written, index);
        let room = shared.disk.room(&shared.db).unwrap_or(0);
        // Tables have indexes and filters as well.
        left + left / 4 + TABLE <= room && left < written / 2
    }

    /// Begins the next file with the space that this one does not need.
    fn seal_small(
        &mut self,
        shared: &Shared,
        merger: Option<&mut Merger>,
    ) -> Result<(), StoreError> {
        let kept = self.allocated.saturating_sub(self.end);
        let failed = |error: io::Error| StoreError::Failed(error.to_string());
        shared.disk.cut(&self.file.file, self.end).map_err(failed)?;
        let before = std::mem::replace(&mut self.allocated, self.end);
        match self.seal(shared, merger, kept) {
            Err(StoreError::Full(why)) => {
                self.short = Some(why);
                // Another program may have taken the space meanwhile.
                let file = &self.file.file;
                if shared.disk.preallocate(file, self.end, before).is_ok() {
                    self.allocated = before;
                }
                Ok(())
            }
            sealed => sealed,
        }
    }

    /// Takes away what a failed write may have left: a shorter record would not cover it.
    fn undo(&mut self, shared: &Shared, error: io::Error) -> StoreError {
        let failed = of_io(error);
        if matches!(failed, StoreError::Full(_)) && shared.options.rules.undoes_half() {
            if let Err(error) = shared.disk.cut(&self.file.file, self.end) {
                return StoreError::Failed(error.to_string());
            }
            self.allocated = self.end;
        }
        failed
    }

    fn encode(&mut self, batch: &[StoreOp]) {
        let salt = self.file.header.salt;
        self.places.clear();
        self.ranges.clear();
        format::begin(&mut self.buffer);
        for op in batch {
            let start = self.buffer.len();
            format::push(&mut self.buffer, op, salt);
            let place = Place {
                at: (self.end + start as u64) as u32,
                len: (self.buffer.len() - start) as u32,
            };
            match op {
                StoreOp::Put(Record { key, .. }) | StoreOp::Delete(key) => {
                    self.places.push((Index::hash(key, salt), place));
                }
                StoreOp::DeleteRange { from, until } => self.ranges.push(Range {
                    from: Bytes::copy_from_slice(from),
                    until: Bytes::copy_from_slice(until),
                    at: place.at,
                }),
            }
        }
        format::finish(&mut self.buffer, self.seq + 1, self.durable, salt);
    }

    /// Returns once all that was appended survives a loss of power.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: the system may have dropped what it could not write.
    pub(crate) fn sync(&mut self, shared: &Shared) -> Result<(), StoreError> {
        if self.durable < self.seq {
            let rules = shared.options.rules;
            let sync = || match rules.syncs_before_ack() {
                true => shared.disk.sync(&self.file.file),
                false => Ok(()),
            };
            let synced = sync().or_else(|error| match rules.fails_for_good() {
                true => Err(error),
                false => sync(),
            });
            synced.map_err(|error| StoreError::Failed(error.to_string()))?;
            self.durable = self.seq;
        }
        Ok(())
    }

    /// Begins the next file. The one before is synced first, so that a file is proof that all before it was durable.
    fn seal(
        &mut self,
        shared: &Shared,
        merger: Option<&mut Merger>,
        bytes: u64,
    ) -> Result<(), StoreError> {
        await_room(shared, merger)?;
        let rules = shared.options.rules;
        if rules.syncs_before_next() {
            self.sync(shared)?;
        }
        let header = Header {
            number: self.file.header.number + 1,
            first: self.seq + 1,
            salt: random_salt(rules).map_err(of_io)?,
        };
        let dir = shared.db.join("log");
        let file = create(&shared.options, &dir, header, bytes)?;
        let next = Part {
            file: Arc::new(file),
            index: Index::default(),
            end: HEADER as u64,
            last: self.seq,
        };
        self.file = Arc::clone(&next.file);
        self.end = HEADER as u64;
        self.allocated = bytes.max(HEADER as u64);
        self.marked = 0;
        // Counted first: a merger that sees the file counts it off.
        shared.change(|state| {
            state.sealed += 1;
            state.idle = false;
        });
        let mut view = shared.view_mut();
        let full = view.active.replace(next);
        view.sealed.extend(full.map(Arc::new));
        Ok(())
    }
}

/// Waits until fewer files wait to be merged than may.
fn await_room(shared: &Shared, merger: Option<&mut Merger>) -> Result<(), StoreError> {
    if !shared.options.rules.bounds_waiting() {
        return Ok(());
    }
    match merger {
        Some(merger) => while shared.state().sealed > 0 && merger.work()? {},
        None => shared.wait_while(None, |state| {
            state.sealed >= SEALED && state.failed.is_none() && state.short.is_none()
        }),
    }
    let state = shared.state();
    match (&state.failed, &state.short) {
        (Some(why), _) => Err(StoreError::Failed(why.clone())),
        (None, Some(why)) if state.sealed >= SEALED => Err(StoreError::Full(why.clone())),
        (None, _) => Ok(()),
    }
}

/// A random number that no client knows.
pub(crate) fn random_salt(rules: Rules) -> io::Result<u64> {
    if !rules.salts_files() {
        return Ok(0);
    }
    let seed = random_seed()?.0;
    let salt = seed.first_chunk::<8>().copied().unwrap_or_default();
    Ok(u64::from_le_bytes(salt))
}
