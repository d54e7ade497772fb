//! Work on many seeds side by side, which stops in good order when it is interrupted.

use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// Set by the first SIGINT or SIGTERM; the second one ends the process.
pub(super) fn interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let failed = |error: std::io::Error| Failure::Not(format!("cannot wait for signals: {error}"));
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
            .map_err(failed)?;
        flag::register(signal, Arc::clone(&interrupted)).map_err(failed)?;
    }
    Ok(interrupted)
}

/// A node's failed assertion is a broken promise that the report tells; the text of its panic would drown the rest.
pub(super) fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// A bar on the terminal; nothing elsewhere.
pub(super) fn bar(len: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(len);
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {unit}  {{eta}} left  {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// The outcome of a spread piece of work.
pub(super) struct Spread<T> {
    /// One result per thread.
    pub(super) parts: Vec<T>,
    /// The time that all threads together were at work.
    pub(super) busy: Duration,
    /// The part that was not begun because of an interrupt.
    pub(super) rest: Range<u64>,
}

/// Hands the numbers of `range` in order to `jobs` threads, each of which collects into a `T` of its own.
pub(super) fn spread<T: Default + Send>(
    jobs: NonZeroU16,
    range: Range<u64>,
    interrupted: &AtomicBool,
    step: impl Fn(&mut T, u64) + Sync,
) -> Spread<T> {
    let next = AtomicU64::new(range.start);
    let work = || {
        let (mut part, begun) = (T::default(), Instant::now());
        while !interrupted.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= range.end {
                break;
            }
            step(&mut part, number);
        }
        (part, begun.elapsed())
    };
    let finished: Vec<(T, Duration)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            // A thread that panics has no result; a run's own panics are caught within it.
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let begun = next.into_inner().min(range.end);
    Spread {
        busy: finished.iter().map(|(_, time)| *time).sum(),
        parts: finished.into_iter().map(|(part, _)| part).collect(),
        rest: begun..range.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_handed_out_once() {
        let jobs = NonZeroU16::new(3).unwrap();
        let never = AtomicBool::new(false);
        let spread = spread(jobs, 5..105, &never, |part: &mut Vec<u64>, number| {
            part.push(number)
        });
        let mut all = spread.parts.concat();
        all.sort_unstable();
        assert_eq!(all, (5..105).collect::<Vec<u64>>());
        assert!(spread.rest.is_empty());
    }

    #[test]
    fn an_interrupt_leaves_a_rest() {
        let interrupted = AtomicBool::new(false);
        let one = NonZeroU16::MIN;
        let spread = spread(one, 0..10, &interrupted, |sum: &mut u64, number| {
            *sum += 1;
            interrupted.store(number == 3, Ordering::Relaxed);
        });
        assert_eq!((spread.parts, spread.rest), (vec![4], 4..10));
    }
}
