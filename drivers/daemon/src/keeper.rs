//! Care of the store behind the node: checkpoints, and passes over its files, on threads that give way to the loop.

use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rumormill_gateway_http::{Ended, Running, Upkeep, UpkeepError, UpkeepState};
use rumormill_store::{Checkpointer, Made, Progress, Scrubber, Verified};

/// How long no pass begins by itself after one has ended.
const PAUSE: Duration = Duration::from_secs(3_600);
/// So many faults are logged and told over HTTP; all are counted.
const TOLD: usize = 100;

/// The store's maker of checkpoints and its verifier, and how far they are.
pub(crate) struct Keeper {
    name: String,
    checkpointer: Checkpointer,
    scrubber: Scrubber,
    checkpoints: Mutex<Job>,
    scrubs: Mutex<Job>,
}

/// One kind of work, of which one is under way at a time.
#[derive(Default)]
struct Job {
    begun: u64,
    running: Option<(Running, Arc<Progress>)>,
    last: Option<Ended>,
    /// Faults that the last pass has found.
    faults: u64,
}

impl Job {
    /// Begins the next; nothing if one is under way.
    fn begin(&mut self, dir: Option<String>) -> Option<(u64, Arc<Progress>)> {
        if self.running.is_some() {
            return None;
        }
        self.begun += 1;
        let (number, progress) = (self.begun, Arc::new(Progress::new()));
        let running = Running {
            number,
            dir,
            ..Running::default()
        };
        self.running = Some((running, Arc::clone(&progress)));
        Some((number, progress))
    }

    fn state(&self) -> UpkeepState {
        let running = self.running.as_ref().map(|(running, progress)| {
            let (done, total) = progress.bytes();
            Running {
                done,
                total,
                ..running.clone()
            }
        });
        UpkeepState {
            running,
            last: self.last.clone(),
        }
    }
}

fn held(job: &Mutex<Job>) -> MutexGuard<'_, Job> {
    job.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

/// Starts a thread that gives way to the loop and to the store's own.
fn behind(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let work = || {
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(10) {
            tracing::debug!(%error, "the care of the store does not give way to the loop");
        }
        work();
    };
    thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
}

impl Keeper {
    pub(crate) fn new(name: String, checkpointer: Checkpointer, scrubber: Scrubber) -> Arc<Keeper> {
        Arc::new(Keeper {
            name,
            checkpointer,
            scrubber,
            checkpoints: Mutex::default(),
            scrubs: Mutex::default(),
        })
    }

    /// Verifies all files again and again at a rate in bytes per second, for as long as the process lives; never for 0.
    pub(crate) fn scrub_for_ever(self: Arc<Keeper>, rate: u64) -> io::Result<()> {
        if rate == 0 {
            return Ok(());
        }
        behind("scrub", move || {
            loop {
                let begun = held(&self.scrubs).begin(None);
                if let Some((number, progress)) = begun {
                    progress.limit(rate);
                    whole(&self.scrubs, number, || self.pass(number, &progress));
                }
                thread::sleep(PAUSE);
            }
        })
    }

    /// Returns what `/metrics` shows of the store's care: names and values.
    pub(crate) fn gauges(&self) -> Vec<(String, u64)> {
        let (checkpoints, scrubs) = (held(&self.checkpoints), held(&self.scrubs));
        let gauge = |name: &str, value: u64| (name.to_string(), value);
        vec![
            gauge(
                "checkpoint_running",
                u64::from(checkpoints.running.is_some()),
            ),
            gauge("scrub_running", u64::from(scrubs.running.is_some())),
            gauge("scrub_faults", scrubs.faults),
        ]
    }

    fn make(&self, number: u64, dir: &Path, progress: &Progress) {
        let begun = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall_ms = wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(0));
        let who = (self.name.as_str(), wall_ms);
        let made = self.checkpointer.checkpoint(dir, who, progress);
        let mut ended = Ended {
            number,
            dir: Some(dir.display().to_string()),
            seconds: begun.elapsed().as_secs_f64(),
            ..Ended::default()
        };
        match made {
            Ok(made) => {
                let Made {
                    watermark,
                    files,
                    bytes,
                    kept,
                    kept_bytes,
                    ..
                } = made;
                tracing::info!(dir = %dir.display(), watermark, files, bytes, kept, "made a checkpoint");
                (ended.watermark, ended.files, ended.bytes) = (watermark, files, bytes);
                (ended.kept, ended.kept_bytes) = (Some(kept), Some(kept_bytes));
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "made no checkpoint");
                ended.error = Some(error.to_string());
            }
        }
        let mut job = held(&self.checkpoints);
        (job.running, job.last) = (None, Some(ended));
    }

    fn pass(&self, number: u64, progress: &Progress) {
        let begun = Instant::now();
        let verified = self.scrubber.scrub(progress);
        let mut ended = Ended {
            number,
            seconds: begun.elapsed().as_secs_f64(),
            ..Ended::default()
        };
        let mut faults = 0;
        match verified {
            Ok(found) => {
                faults = tell(&found);
                (ended.watermark, ended.files, ended.bytes) =
                    (found.watermark, found.files, found.bytes);
                ended.rows = Some(found.rows);
                let told = found.faults.iter().take(TOLD);
                ended.faults = told.map(ToString::to_string).collect();
            }
            Err(error) => {
                tracing::warn!(%error, "the store's files were not verified");
                ended.error = Some(error.to_string());
            }
        }
        let mut job = held(&self.scrubs);
        (job.running, job.last, job.faults) = (None, Some(ended), faults);
    }
}

/// Logs the findings of a pass, and returns how many faults there are.
fn tell(found: &Verified) -> u64 {
    for fault in found.faults.iter().take(TOLD) {
        tracing::error!(%fault, "a file of the store is damaged");
    }
    if found.is_clean() {
        let (files, bytes, rows) = (found.files, found.bytes, found.rows);
        tracing::info!(files, bytes, rows, "verified the store's files");
    } else {
        tracing::error!(
            "the node goes on with what it has in memory: check the disk, and restart it while other members are there: its start repairs what is damaged through one"
        );
    }
    found.faults.len() as u64 + found.more
}

/// Does a piece of work to its end: one that panics has ended with an error, and the next one can begin.
fn whole(job: &Mutex<Job>, number: u64, work: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
        let mut job = held(job);
        if job.running.take().is_some() {
            job.last = Some(Ended {
                number,
                error: Some("it stopped for a fault of the program, which its output shows".into()),
                ..Ended::default()
            });
        }
    }
}

/// Returns the error of a thread that the system does not give.
fn no_thread(error: &io::Error) -> UpkeepError {
    UpkeepError::Failed(format!("no thread: {error}"))
}

/// The keeper as the HTTP gateway holds it.
#[derive(Clone, Debug)]
pub(crate) struct Kept(pub(crate) Arc<Keeper>);

impl Upkeep for Kept {
    fn begin_checkpoint(&self, dir: &Path) -> Result<u64, UpkeepError> {
        let shown = Some(dir.display().to_string());
        let begun = held(&self.0.checkpoints).begin(shown);
        let (number, progress) = begun.ok_or(UpkeepError::Busy)?;
        let (keeper, dir) = (Arc::clone(&self.0), dir.to_path_buf());
        let started = behind("checkpoint", move || {
            whole(&keeper.checkpoints, number, || {
                keeper.make(number, &dir, &progress);
            });
        });
        started.map_err(|error| {
            held(&self.0.checkpoints).running = None;
            no_thread(&error)
        })?;
        Ok(number)
    }

    fn checkpoints(&self) -> UpkeepState {
        held(&self.0.checkpoints).state()
    }

    fn begin_scrub(&self, rate: u64) -> Result<u64, UpkeepError> {
        let mut job = held(&self.0.scrubs);
        if let Some((running, progress)) = &job.running {
            progress.limit(rate);
            return Ok(running.number);
        }
        let (number, progress) = job.begin(None).ok_or(UpkeepError::Busy)?;
        drop(job);
        progress.limit(rate);
        let keeper = Arc::clone(&self.0);
        let started = behind("scrub-now", move || {
            whole(&keeper.scrubs, number, || keeper.pass(number, &progress));
        });
        started.map_err(|error| {
            held(&self.0.scrubs).running = None;
            no_thread(&error)
        })?;
        Ok(number)
    }

    fn scrubs(&self) -> UpkeepState {
        held(&self.0.scrubs).state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_has_ended_and_the_next_can_begin() {
        let job = Mutex::<Job>::default();
        let (number, _) = held(&job).begin(None).unwrap();
        assert!(held(&job).begin(None).is_none());
        whole(&job, number, || panic!("a fault"));
        let state = held(&job).state();
        assert!(state.running.is_none());
        assert!(
            state
                .last
                .is_some_and(|last| last.number == 1 && last.error.is_some())
        );
        assert_eq!(held(&job).begin(None).unwrap().0, 2);
    }
}
