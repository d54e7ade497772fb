//! The state shared by all clients of one listener: counters and the places that scans have reached.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use rumormill_core::{Instant, Node, Now, TableId};

/// Most places of scans that are remembered.
pub const CURSORS: usize = 16_384;
/// Most bytes of keys that the remembered places of scans hold.
pub const CURSOR_BYTES: usize = 4 << 20;

/// Counters that `INFO` shows. The gateway counts clients, connections and commands; the driver fills the rest.
#[derive(Debug, Default)]
pub struct Stats {
    /// When the server started, on the monotonic clock in microseconds.
    pub started_micros: AtomicU64,
    /// The port of the listener.
    pub tcp_port: AtomicU64,
    /// The process.
    pub process_id: AtomicU64,
    /// Asks the system for the memory of the process.
    pub used_memory: OnceLock<UsedMemory>,
    pub(crate) clients: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) commands: AtomicU64,
    /// Connections and commands at the last `CONFIG RESETSTAT`.
    reset: [AtomicU64; 2],
}

impl Stats {
    /// Clients that are connected.
    pub fn clients(&self) -> u64 {
        self.clients.load(Ordering::Relaxed)
    }

    /// Clients that ever connected.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Commands that were executed, the refused ones included.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Connections and commands since the last `CONFIG RESETSTAT`.
    pub(crate) fn since_reset(&self) -> [u64; 2] {
        let counted = [self.connections(), self.commands()];
        let [connections, commands] = &self.reset;
        [
            counted[0].saturating_sub(connections.load(Ordering::Relaxed)),
            counted[1].saturating_sub(commands.load(Ordering::Relaxed)),
        ]
    }

    /// Lets `INFO` count connections and commands from here on. Metrics go on growing.
    pub(crate) fn reset(&self) {
        let [connections, commands] = &self.reset;
        connections.store(self.connections(), Ordering::Relaxed);
        commands.store(self.commands(), Ordering::Relaxed);
    }

    pub(crate) fn uptime_secs(&self, now: Instant) -> u64 {
        let started = Instant::from_micros(self.started_micros.load(Ordering::Relaxed));
        now.since(started).as_secs()
    }
}

/// Answers the private command `RUMORMILL`: JSON for a topic in lower case and the name that came with it, `None` when there is no
/// such topic, or it takes no name, or needs one.
pub type Describe = fn(&Node, Now, &str, Option<&str>) -> Option<String>;

/// Returns how many bytes of memory the process has in memory; `None` where the system does not tell.
pub type UsedMemory = fn() -> Option<u64>;

/// The state shared by all clients of one listener.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stats: Stats,
    pub(crate) describe: Describe,
    cursors: Mutex<Cursors>,
    /// Bytes that the channels and patterns of all clients hold.
    subscriptions: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(describe: Describe) -> Self {
        Shared {
            stats: Stats::default(),
            describe,
            cursors: Mutex::default(),
            subscriptions: AtomicUsize::new(0),
        }
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    pub(crate) fn subscribed(&self, bytes: usize) {
        self.subscriptions.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unsubscribed(&self, bytes: usize) {
        self.subscriptions.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        // Nothing in the table can be left half changed, so a panic elsewhere does not spoil it.
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a scan has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the strings, after this key.
    Strings(Bytes),
    /// Among the hashes, after this name; all strings are done.
    Hashes(Bytes),
    /// In a hash, after this field.
    Fields(TableId, Bytes),
}

impl Place {
    fn bytes(&self) -> usize {
        match self {
            Place::Strings(key) | Place::Hashes(key) | Place::Fields(_, key) => key.len(),
        }
    }
}

/// The places of unfinished scans by cursor. The oldest is forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    places: VecDeque<Place>,
    first: u64,
    bytes: usize,
}

impl Cursors {
    /// Remembers a place. `salt` is of this boot of the node: it keeps a cursor of an earlier boot from being taken for
    /// one of this boot, and the result within what a double holds exactly.
    pub(crate) fn insert(&mut self, place: Place, salt: u64) -> u64 {
        if self.first == 0 {
            self.first = ((salt & 0xffff_ffff) << 20) | 1;
        }
        self.bytes += place.bytes();
        self.places.push_back(place);
        while self.places.len() > CURSORS || (self.bytes > CURSOR_BYTES && self.places.len() > 1) {
            if let Some(place) = self.places.pop_front() {
                self.bytes -= place.bytes();
                self.first += 1;
            }
        }
        self.first + self.places.len() as u64 - 1
    }

    pub(crate) fn get(&self, cursor: u64) -> Option<Place> {
        let index = cursor.checked_sub(self.first)?;
        self.places.get(usize::try_from(index).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_places_are_forgotten() {
        let mut cursors = Cursors::default();
        let place = |n: usize| Place::Strings(Bytes::from(n.to_string()));
        let ids: Vec<u64> = (0..CURSORS + 2)
            .map(|n| cursors.insert(place(n), 7))
            .collect();
        assert_eq!(cursors.get(ids[0]), None);
        assert_eq!(cursors.get(ids[1]), None);
        assert_eq!(cursors.get(ids[2]), Some(place(2)));
        assert_eq!(cursors.get(ids[CURSORS + 1]), Some(place(CURSORS + 1)));
        assert_eq!(cursors.get(ids[CURSORS + 1] + 1), None);
        let large = Place::Strings(Bytes::from(vec![0; CURSOR_BYTES]));
        let last = cursors.insert(large.clone(), 7);
        assert_eq!(
            (cursors.get(ids[CURSORS + 1]), cursors.get(last)),
            (None, Some(large))
        );
    }
}
