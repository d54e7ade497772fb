//! The common part of the links of every driver, whatever polls their sockets.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::io::LinkError;

use crate::counters::{Counters, add, set};
use crate::events::{Kind, may_log};

/// Bytes read at once.
pub const READ_BYTES: usize = 64 << 10;

/// Bytes read from one link before the others have their turn.
pub const READ_BUDGET: usize = 64 << 10;

/// Slices handed to one vectored write.
pub const SLICES: usize = 64;

/// Most addresses of one name that are tried.
pub const ADDRESSES: usize = 8;

/// How long a listener rests that could not accept, for want of file descriptors as a rule.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long a link that is to be closed may take to write what it has.
pub const PARTING: Duration = Duration::from_secs(5);

/// How long the last words of a loop that has ended may take.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// Counts why a link ended or was never made. What an operator can mend, two sides that do not fit each other, is logged, and so are
/// bytes that are no frame; both within bounds, since any stranger at the port can cause them. `peer` is the other side's address.
pub fn count_failure(counters: &Counters, why: &LinkError, dialled: bool, peer: &dyn Display) {
    let way = match dialled {
        true => "to",
        false => "from",
    };
    match why {
        LinkError::Malformed => {
            add(&counters.malformed_frames, 1);
            if may_log(Kind::Malformed) {
                tracing::info!("a link {way} {peer} was closed: bytes came that are no frame");
            }
        }
        LinkError::Refused(reason) => {
            add(&counters.refused_links, 1);
            if may_log(Kind::Handshake) {
                tracing::info!("a handshake was refused, {way} {peer}: {reason}");
            }
        }
        _ => {}
    }
}

/// Says why an address cannot be listened on, for the text of an error.
pub fn why_not_listening(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is taken".into(),
        _ => error.to_string(),
    }
}

/// Returns for how long a listener on `addr` rests after it could not accept, and logs that, within bounds. `None`: the peer was gone before it was
/// accepted, and the next one may wait already.
pub fn rest_after(addr: &dyn Display, error: &io::Error) -> Option<Duration> {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return None;
    }
    if may_log(Kind::Accept) {
        tracing::warn!("cannot accept on {addr}: {error}");
    }
    Some(ACCEPT_REST)
}

/// The links of one loop that peers have made, against the most that it takes; and the gauge of all its links.
#[derive(Debug)]
pub struct Accepted {
    most: usize,
    now: usize,
    counters: Arc<Counters>,
}

impl Accepted {
    /// Makes a count of no links, of at most `most` at once.
    pub fn new(most: usize, counters: Arc<Counters>) -> Self {
        Accepted {
            most,
            now: 0,
            counters,
        }
    }

    /// Takes one link more, and returns whether there is room for it. One that has none is counted as rejected: the loop closes it at once.
    pub fn take(&mut self) -> bool {
        let has_room = self.now < self.most;
        match has_room {
            true => self.now += 1,
            false => add(&self.counters.rejected_links, 1),
        }
        has_room
    }

    /// Notes that a link has ended, which was taken unless this side dialled, and that so many are left, dialled ones too.
    pub fn ended(&mut self, is_dialled: bool, left: usize) {
        self.now -= usize::from(!is_dialled);
        self.are(left);
    }

    /// Notes that the loop has so many links now, dialled ones too.
    pub fn are(&self, links: usize) {
        set(&self.counters.peer_connections, links);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn links_that_peers_make_are_taken_up_to_the_most_and_dialled_ones_always() {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = Arc::<Counters>::default();
        let mut accepted = Accepted::new(2, Arc::clone(&counters));
        assert_eq!([(); 3].map(|()| accepted.take()), [true, true, false]);
        accepted.are(3);
        assert_eq!(read(&counters.rejected_links), 1);
        accepted.ended(true, 2);
        assert!(!accepted.take(), "one that was dialled has ended");
        accepted.ended(false, 1);
        assert!(accepted.take(), "one that was taken has ended");
        assert_eq!(read(&counters.rejected_links), 2);
        assert_eq!(read(&counters.peer_connections), 1);
    }

    #[test]
    fn a_listener_rests_after_all_errors_but_that_of_a_peer_that_was_gone() {
        let rest = |kind: io::ErrorKind| rest_after(&"a test", &kind.into());
        assert_eq!(rest(io::ErrorKind::ConnectionAborted), None);
        assert_eq!(rest(io::ErrorKind::OutOfMemory), Some(ACCEPT_REST));
    }
}
