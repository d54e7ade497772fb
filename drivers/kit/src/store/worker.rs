//! Two threads: one writes, takes what has piled up, applies it in order and syncs once; the other reads single records, so that
//! no reader waits behind a sync.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    LoadId, Seq,
    io::{Input, StoreOp},
};

use super::{Store, StoreError, StoreReader};

/// The reports of the store to the core. Exhaustive: the node has to hear of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreReport {
    /// Every batch up to and including this one survives a loss of power. Ends a stall.
    Stored {
        /// The watermark.
        upto: Seq,
    },
    /// Out of space. The batches are kept and tried again; said once until the next `Stored`.
    Stalled {
        /// The store's words.
        why: String,
    },
    /// The store writes into space that it has kept back, for these reasons, or has found more.
    Short {
        /// The store's words, `None` once it has space again.
        why: Option<String>,
    },
    /// A write or a sync failed. The last report: nothing is tried again.
    Failed {
        /// The store's words.
        error: String,
    },
    /// A record was read, or could not be.
    Loaded {
        /// The number it was asked for with.
        load: LoadId,
        /// Its value, `None` when there is no such record, or the store's words.
        result: Result<Option<Bytes>, String>,
    },
}

impl From<StoreReport> for Input {
    fn from(report: StoreReport) -> Input {
        match report {
            StoreReport::Stored { upto } => Input::Stored { upto },
            StoreReport::Stalled { why } => Input::StoreStalled { why },
            StoreReport::Short { why } => Input::StoreShort { why },
            StoreReport::Failed { error } => Input::StoreFailed { error },
            StoreReport::Loaded { load, result } => Input::Loaded { load, result },
        }
    }
}

/// Why a batch or a load was not taken. For a batch either must be reported to the core as a failure of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// More batches wait for their sync, or more loads for their turn, than were agreed on.
    #[error("more waits for the store than its queue holds")]
    Backlog,
    /// The store has failed.
    #[error("the store has stopped")]
    Stopped,
}

/// How long a store without space is left alone at first; doubled after each try.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest time between two tries.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Writes batches to a store on a thread of its own.
pub struct StoreWorker<S, N: Fn()> {
    store: S,
    shared: Arc<Shared>,
    reports: Reports<N>,
    /// Batches that no sync covers yet. A store out of space may have lost them.
    unsynced: Vec<Vec<StoreOp>>,
    last: Seq,
    /// Whether the store was said to be short of space, and for how long it is left alone then.
    short: bool,
    look: Duration,
}

impl<S: Store, N: Fn() + Send + Sync + 'static> StoreWorker<S, N> {
    /// Starts the threads. `notify` is called on them after each report and should only wake the loop
    /// that calls [`StoreHandle::poll`]. `backlog` is how many batches may wait for their sync, and how
    /// many loads for their turn: at least what the core's limits `store_backlog` and `loads` allow.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn spawn(store: S, backlog: usize, notify: N) -> io::Result<StoreHandle> {
        let shared = Arc::new(Shared::default());
        let (sender, reports) = mpsc::channel();
        let notify = Arc::new(notify);
        let reader = ReadWorker {
            reader: store.reader(),
            shared: Arc::clone(&shared),
            reports: Reports {
                sender: sender.clone(),
                notify: Arc::clone(&notify),
            },
        };
        let worker = StoreWorker {
            store,
            shared: Arc::clone(&shared),
            reports: Reports { sender, notify },
            unsynced: Vec::new(),
            last: Seq(0),
            short: false,
            look: FIRST_RETRY,
        };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || worker.run())?;
        thread::Builder::new()
            .name("store-reader".into())
            .spawn(move || reader.run())
            .inspect_err(|_| shared.close())?;
        Ok(StoreHandle {
            shared,
            reports,
            thread: Some(thread),
            backlog,
            closed: Closed::default(),
        })
    }

    fn run(mut self) {
        let _ends = EndsReads(Arc::clone(&self.shared));
        if let Err(error) = self.write_until_closed() {
            self.shared.lock().stopped = true;
            self.reports.send(StoreReport::Failed { error });
        }
    }

    fn write_until_closed(&mut self) -> Result<(), String> {
        while let Some(work) = self.shared.next(self.short.then_some(self.look)) {
            let is_idle = work.batches.is_empty();
            if let Err(error) = self.write(work) {
                self.recover(error)?;
            }
            self.look_for_space(is_idle);
        }
        Ok(())
    }

    /// Says whether the store is short of space. Without work it is asked more and more seldom.
    fn look_for_space(&mut self, is_idle: bool) {
        let why = self.store.short(is_idle);
        self.look = match (&why, is_idle) {
            (Some(_), true) => LAST_RETRY.min(self.look * 2),
            _ => FIRST_RETRY,
        };
        if std::mem::replace(&mut self.short, why.is_some()) != why.is_some() {
            self.reports.send(StoreReport::Short { why });
        }
    }

    fn write(&mut self, work: Work) -> Result<(), StoreError> {
        let applied = self.unsynced.len();
        for (seq, batch) in work.batches {
            self.last = seq;
            self.unsynced.push(batch);
        }
        for batch in self.unsynced.iter().skip(applied) {
            self.store.apply(batch)?;
        }
        if work.sync && !self.unsynced.is_empty() {
            self.store.sync()?;
            self.stored();
        }
        Ok(())
    }

    /// Tries again for as long as only space is missing. One merged batch, because a crash between
    /// two repeated ones would leave the older of two writes on top of the newer.
    fn recover(&mut self, error: StoreError) -> Result<(), String> {
        let mut why = match error {
            StoreError::Failed(why) => return Err(why),
            StoreError::Full(why) => why,
        };
        self.reports.send(StoreReport::Stalled { why: why.clone() });
        let merged: Vec<StoreOp> = self.unsynced.iter().flatten().cloned().collect();
        let mut retry = FIRST_RETRY;
        loop {
            let closing = self.shared.pause(retry);
            match self.store.apply(&merged).and_then(|()| self.store.sync()) {
                Ok(()) => break,
                Err(StoreError::Failed(why)) => return Err(why),
                Err(StoreError::Full(again)) => why = again,
            }
            if closing {
                return Err(why);
            }
            retry = LAST_RETRY.min(retry * 2);
        }
        self.stored();
        Ok(())
    }

    fn stored(&mut self) {
        self.shared.lock().waiting -= self.unsynced.len();
        self.unsynced.clear();
        self.reports.send(StoreReport::Stored { upto: self.last });
    }
}

/// Reads records one after the other.
struct ReadWorker<R, N: Fn()> {
    reader: R,
    shared: Arc<Shared>,
    reports: Reports<N>,
}

impl<R: StoreReader, N: Fn()> ReadWorker<R, N> {
    fn run(mut self) {
        while let Some((load, query)) = self.shared.next_load() {
            let result = self.reader.read(&query).map_err(|error| error.to_string());
            self.reports.send(StoreReport::Loaded { load, result });
        }
    }
}

/// Ends the reader with the writer, however that ends.
struct EndsReads(Arc<Shared>);

impl Drop for EndsReads {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.asked.notify_all();
    }
}

/// The loop's end of a [`StoreWorker`]. Dropped without [`StoreHandle::close`] it still lets
/// the thread write what it was given, but does not wait for it.
pub struct StoreHandle {
    shared: Arc<Shared>,
    reports: Receiver<StoreReport>,
    thread: Option<JoinHandle<()>>,
    backlog: usize,
    closed: Closed,
}

impl StoreHandle {
    /// Queues a batch and returns at once. `sync` asks for a report once it is durable; without
    /// it the batch is written soon and reported with a later one.
    ///
    /// # Errors
    ///
    /// The batch was not taken, and no later one may be.
    pub fn push(&self, seq: Seq, batch: Vec<StoreOp>, sync: bool) -> Result<(), PushError> {
        let mut state = self.shared.lock();
        if state.stopped || self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(PushError::Stopped);
        }
        if state.waiting >= self.backlog {
            return Err(PushError::Backlog);
        }
        state.waiting += 1;
        state.queue.push_back((seq, batch));
        state.sync |= sync;
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Asks for a record and returns at once; the answer is a [`StoreReport::Loaded`].
    ///
    /// # Errors
    ///
    /// The load was not taken and is not answered.
    pub fn load(&self, load: LoadId, query: Bytes) -> Result<(), PushError> {
        let mut state = self.shared.lock();
        if state.stopped || state.ended {
            return Err(PushError::Stopped);
        }
        if state.loads.len() >= self.backlog {
            return Err(PushError::Backlog);
        }
        state.loads.push_back((load, query));
        drop(state);
        self.shared.asked.notify_one();
        Ok(())
    }

    /// The next report, if there is one. Never blocks.
    pub fn poll(&mut self) -> Option<StoreReport> {
        let report = self.reports.try_recv().ok()?;
        match &report {
            StoreReport::Stored { upto } => self.closed.stored = Some(*upto),
            StoreReport::Failed { error } => self.closed.error = Some(error.clone()),
            StoreReport::Stalled { .. }
            | StoreReport::Short { .. }
            | StoreReport::Loaded { .. } => {}
        }
        Some(report)
    }

    /// Writes and syncs what is queued, stops the thread and says how far it came. Blocks for as long
    /// as the store does; a store without space is tried one last time.
    pub fn close(mut self) -> Closed {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
        while self.poll().is_some() {}
        std::mem::take(&mut self.closed)
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// How far a closed store came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The last batch that is durable, `None` if none was written.
    pub stored: Option<Seq>,
    /// Why the batches after it are not, `None` if there are none.
    pub error: Option<String>,
}

struct Reports<N: Fn()> {
    sender: Sender<StoreReport>,
    notify: Arc<N>,
}

impl<N: Fn()> Reports<N> {
    fn send(&self, report: StoreReport) {
        // After a handle was dropped the report has no receiver.
        let _ = self.sender.send(report);
        (self.notify)();
    }
}

impl<N: Fn()> Drop for Reports<N> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.send(StoreReport::Failed {
                error: "the store's thread panicked".into(),
            });
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// The writer's queue has changed.
    changed: Condvar,
    /// The reader's queue has changed.
    asked: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Seq, Vec<StoreOp>)>,
    /// Whether a queued batch asks for a sync.
    sync: bool,
    /// Batches pushed that no sync covers yet.
    waiting: usize,
    closing: bool,
    stopped: bool,
    /// Records to be read.
    loads: VecDeque<(LoadId, Bytes)>,
    /// The writer has ended, and the reader ends with it.
    ended: bool,
}

struct Work {
    batches: VecDeque<(Seq, Vec<StoreOp>)>,
    sync: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything queued, once there is something, or after a time; `None` when closed and nothing is left to sync.
    fn next(&self, time: Option<Duration>) -> Option<Work> {
        let idle = |state: &mut State| state.queue.is_empty() && !state.closing;
        let mut state = match time {
            None => self.changed.wait_while(self.lock(), idle),
            Some(time) => match self.changed.wait_timeout_while(self.lock(), time, idle) {
                Ok((state, _)) => Ok(state),
                Err(poisoned) => Ok(poisoned.into_inner().0),
            },
        }
        .unwrap_or_else(PoisonError::into_inner);
        if state.closing && state.waiting == 0 {
            return None;
        }
        let sync = std::mem::take(&mut state.sync) || state.closing;
        Some(Work {
            batches: std::mem::take(&mut state.queue),
            sync,
        })
    }

    /// The next record to read, once there is one; `None` when the writer has ended.
    fn next_load(&self) -> Option<(LoadId, Bytes)> {
        let idle = |state: &mut State| state.loads.is_empty() && !state.ended;
        let waited = self.asked.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return None;
        }
        state.loads.pop_front()
    }

    /// Waits, but not once closed. Returns whether it is.
    fn pause(&self, time: Duration) -> bool {
        let open = |state: &mut State| !state.closing;
        let waited = self.changed.wait_timeout_while(self.lock(), time, open);
        waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }

    fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
