//! The counters of a driver.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    (count { $($(#[$doc:meta])* $name:ident,)* } show { $($(#[$now:meta])* $gauge:ident,)* }) => {
        /// Counters and gauges of one driver, readable from any thread.
        #[derive(Debug, Default)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            $($(#[$now])* pub $gauge: AtomicU64,)*
        }

        impl Counters {
            /// Names and values of what only grows, for a metrics page.
            pub fn counted(&self) -> Vec<(String, u64)> {
                vec![$((stringify!($name).to_owned(), self.$name.load(Ordering::Relaxed)),)*]
            }

            /// Names and values of what is so at present, for a metrics page.
            pub fn gauges(&self) -> Vec<(String, u64)> {
                vec![$((stringify!($gauge).to_owned(), self.$gauge.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! { count {
    /// Links closed because of bytes that are no valid frame or message.
    malformed_frames,
    /// Handshakes refused by either side.
    refused_links,
    /// Connections of peers closed because there were too many.
    rejected_links,
    /// Messages dropped because a link's write queue was full.
    dropped_messages,
    /// Bytes read from peers.
    peer_bytes_in,
    /// Bytes written to peers.
    peer_bytes_out,
    /// Clients accepted so far.
    clients_accepted,
    /// Clients closed because there were too many.
    clients_rejected,
    /// Clients closed because they took nothing for too long.
    clients_stalled,
    /// Clients closed because they took nothing, or ended no command, while the memory for the replies of all was used up.
    clients_closed_for_memory,
    /// Commands of clients.
    commands,
    /// Bytes read from clients.
    client_bytes_in,
    /// Bytes written to clients.
    client_bytes_out,
    /// Turns of the loop that took longer than [`SLOW_TURN`]: everything else waits meanwhile.
    slow_turns,
} show {
    /// Connections to peers at present, those in their handshake included.
    peer_connections,
    /// Clients connected at present.
    clients,
    /// The longest turn of the loop so far, in microseconds.
    longest_turn_micros,
    /// Bytes that replies, and commands that wait, take for all clients.
    client_output_bytes,
} }

/// A turn of the loop that takes longer is counted as slow.
pub const SLOW_TURN: Duration = Duration::from_millis(5);

impl Counters {
    /// Books how long a turn of the loop took, from what woke it to its end; whether it was slow.
    pub fn turned(&self, took: Duration) -> bool {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_turn_micros
            .fetch_max(micros, Ordering::Relaxed);
        let slow = took > SLOW_TURN;
        if slow {
            add(&self.slow_turns, 1);
        }
        slow
    }
}

/// Counts `n` more.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Sets a gauge.
pub fn set(gauge: &AtomicU64, n: usize) {
    gauge.store(n as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_turns_are_counted_and_the_longest_is_kept() {
        let counters = Counters::default();
        assert!(!counters.turned(SLOW_TURN));
        assert!(counters.turned(SLOW_TURN * 2));
        assert!(!counters.turned(Duration::from_micros(3)));
        assert_eq!(counters.slow_turns.load(Ordering::Relaxed), 1);
        let longest = counters.longest_turn_micros.load(Ordering::Relaxed);
        assert_eq!(longest, 10_000);
    }
}
