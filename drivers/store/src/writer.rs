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
}

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
        let is_long = self.end >= shared.options.log_bytes || self.end + size > LARGEST_FILE;
        let full = is_long || self.marked >= RANGES;
        if full && self.end > HEADER as u64 {
            self.seal(shared, merger)?;
        }
        if self.end + size > LARGEST_FILE {
            return Err(StoreError::Failed("a batch is larger than 4 GiB".into()));
        }
        self.encode(batch);
        let end = self.end + self.buffer.len() as u64;
        if end > self.allocated {
            let step = shared.options.step;
            let to = end.div_ceil(step) * step;
            let more = shared.disk.preallocate(&self.file.file, self.allocated, to);
            more.map_err(of_io)?;
            self.allocated = to;
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
    fn seal(&mut self, shared: &Shared, merger: Option<&mut Merger>) -> Result<(), StoreError> {
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
        let file = create(&shared.options, &dir, header)?;
        let next = Part {
            file: Arc::new(file),
            index: Index::default(),
            end: HEADER as u64,
            last: self.seq,
        };
        self.file = Arc::clone(&next.file);
        self.end = HEADER as u64;
        self.allocated = shared.options.step.max(HEADER as u64);
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
