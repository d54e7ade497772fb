//! Lines that any stranger at a port can cause, bounded: a few a minute of each kind, and then how many were left out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many lines of a kind are logged in each [`WINDOW`].
const LINES: u64 = 10;
/// For so long the lines of a kind are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines that share a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This node refused a peer.
    Refused,
    /// A peer refuses this node.
    Denied,
    /// A peer broke the protocol.
    Protocol,
    /// A clock came that is not followed.
    ClockDrift,
    /// A value cannot be read.
    Unreadable,
    /// A handshake was refused: another version or cluster name, or no node at all.
    Handshake,
    /// Bytes came that are no frame.
    Malformed,
    /// A connection could not be accepted.
    Accept,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Refused,
        Kind::Denied,
        Kind::Protocol,
        Kind::ClockDrift,
        Kind::Unreadable,
        Kind::Handshake,
        Kind::Malformed,
        Kind::Accept,
    ];

    /// Returns the subject of a line of this kind.
    const fn name(self) -> &'static str {
        match self {
            Kind::Refused => "peers that were refused",
            Kind::Denied => "peers that refuse this node",
            Kind::Protocol => "peers that broke the protocol",
            Kind::ClockDrift => "clocks that are ahead",
            Kind::Unreadable => "values that cannot be read",
            Kind::Handshake => "handshakes that were refused",
            Kind::Malformed => "bytes that are no frame",
            Kind::Accept => "connections that could not be accepted",
        }
    }
}

/// The lines of one kind since its window began.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Option<Instant>,
    lines: u64,
    left_out: u64,
}

/// The windows of all kinds.
#[derive(Debug)]
struct Bounds([Window; Kind::ALL.len()]);

impl Bounds {
    const fn new() -> Self {
        let window = Window {
            since: None,
            lines: 0,
            left_out: 0,
        };
        Bounds([window; Kind::ALL.len()])
    }

    /// Counts a line; whether it may be logged.
    fn admit(&mut self, kind: Kind, now: Instant) -> bool {
        let window = &mut self.0[kind as usize];
        window.since.get_or_insert(now);
        let fits = window.lines < LINES;
        match fits {
            true => window.lines += 1,
            false => window.left_out += 1,
        }
        fits
    }

    /// Ends the windows that are over. Returns the kinds of which lines were left out, and how many.
    fn end(&mut self, now: Instant) -> Vec<(Kind, u64)> {
        let mut told = Vec::new();
        for kind in Kind::ALL {
            let window = &mut self.0[kind as usize];
            let is_over = window.since.is_some_and(|since| now >= since + WINDOW);
            if is_over && window.left_out > 0 {
                told.push((kind, window.left_out));
            }
            if is_over {
                *window = Bounds::new().0[0];
            }
        }
        told
    }

    fn is_idle(&self) -> bool {
        self.0.iter().all(|window| window.left_out == 0)
    }
}

/// The log is the process's, and so is the bound.
static BOUNDS: Mutex<Bounds> = Mutex::new(Bounds::new());
/// Whether any line was left out and not told yet: a loop asks in every turn.
static LEFT_OUT: AtomicBool = AtomicBool::new(false);

/// Whether a line of this kind may be logged now: at most 10 a minute in this process. How many were left out is logged when the minute is
/// over. Takes a lock for a moment.
pub(crate) fn may_log(kind: Kind) -> bool {
    let now = Instant::now();
    tell(now);
    let mut bounds = BOUNDS.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = bounds.admit(kind, now);
    if !fits {
        LEFT_OUT.store(true, Ordering::Relaxed);
    }
    fits
}

/// Logs how many lines were left out, of the kinds whose minute is over. Cheap while none was.
pub(crate) fn tell_left_out() {
    if LEFT_OUT.load(Ordering::Relaxed) {
        tell(Instant::now());
    }
}

fn tell(now: Instant) {
    let told = {
        let mut bounds = BOUNDS.lock().unwrap_or_else(PoisonError::into_inner);
        let told = bounds.end(now);
        LEFT_OUT.store(!bounds.is_idle(), Ordering::Relaxed);
        told
    };
    for (kind, count) in told {
        tracing::warn!(
            event = "LeftOut",
            "{count} more lines about {} were left out in the last minute",
            kind.name()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_ten_lines_and_a_count() {
        let begin = Instant::now();
        let mut bounds = Bounds::new();
        let admitted = (0..1_000).filter(|_| bounds.admit(Kind::Handshake, begin));
        assert_eq!(admitted.count(), 10);
        assert!(bounds.admit(Kind::Refused, begin), "another kind");
        assert!(bounds.end(begin + WINDOW / 2).is_empty());
        assert!(!bounds.is_idle());
        assert_eq!(bounds.end(begin + WINDOW), [(Kind::Handshake, 990)]);
        assert!(bounds.is_idle());
        assert!(bounds.admit(Kind::Handshake, begin + WINDOW));
        assert!(bounds.end(begin + WINDOW * 3).is_empty());
    }
}
