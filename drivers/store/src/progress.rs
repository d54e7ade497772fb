//! How far a long pass over files has come, and how fast it may go.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest time that a pass may save up: after a pause it does not go faster than this many seconds' worth at once.
const SAVED: Duration = Duration::from_millis(200);

/// How far a pass over files has come, in bytes; shared with the threads that show it, slow it down or stop it.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    rate: AtomicU64,
    stopped: AtomicBool,
    /// When the bytes that were read so far are due at the rate.
    due: Mutex<Option<Instant>>,
    changed: Condvar,
}

/// The error of a pass that was told to stop.
pub(crate) fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "it was told to stop")
}

impl Progress {
    /// Returns the progress of a pass that has not begun, without a limit to its rate.
    pub fn new() -> Progress {
        Progress::default()
    }

    /// Returns the bytes that are done, and all bytes as far as they are known. Less is done than there is until the pass ends.
    pub fn bytes(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed).min(total), total)
    }

    /// Sets the rate from now on, in bytes per second; 0 is no limit.
    pub fn limit(&self, bytes_per_second: u64) {
        self.rate.store(bytes_per_second, Ordering::Relaxed);
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.changed.notify_all();
    }

    /// Ends the pass soon: it returns an error, and leaves what was there before.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _due = self.due.lock();
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Adds bytes that are to be done.
    pub(crate) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that are done, and waits as long as the rate wants it.
    ///
    /// # Errors
    /// When the pass was told to stop.
    pub(crate) fn step(&self, bytes: u64) -> io::Result<()> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        let rate = self.rate.load(Ordering::Relaxed);
        if rate > 0 && !self.is_stopped() {
            self.wait(bytes, rate);
        }
        match self.is_stopped() {
            true => Err(stopped()),
            false => Ok(()),
        }
    }

    fn wait(&self, bytes: u64, rate: u64) {
        let now = Instant::now();
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(SAVED).unwrap_or(now);
        let from = due.map_or(now, |due| due.max(earliest));
        let at = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *due = Some(at);
        // A rate that is changed meanwhile begins anew.
        let so = |due: &mut Option<Instant>| !self.is_stopped() && *due == Some(at);
        let _due = self
            .changed
            .wait_timeout_while(due, at.saturating_duration_since(now), so);
    }
}
