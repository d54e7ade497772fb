//! Names to addresses, on threads of their own because the system's resolver blocks: for loops that must not, and have no runtime.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::links::ADDRESSES;
use rumormill_core::DialId;

/// Names that may wait, and answers that may.
const QUEUED_NAMES: usize = 1_024;

/// Names that are looked up at once: one that takes long does not keep the others waiting.
const THREADS: usize = 3;

/// Gives the addresses of `HOST:PORT`. Blocks.
pub type LookUp = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// Asks the system.
pub fn system(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(name.to_socket_addrs()?.take(ADDRESSES).collect())
}

struct Asked {
    dial: DialId,
    name: String,
    until: Instant,
}

/// Looks names up beside a loop: it is asked, and polled when it has called the loop or when [`Resolver::next_deadline`] has come. At most
/// 1,024 names wait.
pub struct Resolver {
    names: SyncSender<Asked>,
    answers: Receiver<(DialId, Vec<SocketAddr>)>,
    patience: Duration,
    /// The dials that were not answered yet.
    open: BTreeSet<DialId>,
    /// Until when a dial waits, in order; some may have been answered.
    waiting: VecDeque<(Instant, DialId)>,
}

impl Resolver {
    /// Starts the threads, which end with the resolver. `wake` is called after each answer, and a name that takes longer than
    /// `patience` has no address.
    ///
    /// # Errors
    /// The system's error when it has no thread to give.
    pub fn spawn(
        wake: impl Fn() + Clone + Send + 'static,
        patience: Duration,
        look_up: LookUp,
    ) -> io::Result<Resolver> {
        let (names, asked) = mpsc::sync_channel::<Asked>(QUEUED_NAMES);
        let (sender, answers) = mpsc::sync_channel(QUEUED_NAMES);
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..THREADS {
            let (asked, sender, wake) = (Arc::clone(&asked), sender.clone(), wake.clone());
            let next = move || asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let run = move || {
                while let Ok(Asked { dial, name, until }) = next() {
                    // The dial of a name that stood behind slow ones for too long has been given up.
                    if Instant::now() >= until {
                        continue;
                    }
                    let found = look_up(&name).unwrap_or_default();
                    if sender.send((dial, found)).is_err() {
                        return;
                    }
                    wake();
                }
            };
            thread::Builder::new().name("resolver".into()).spawn(run)?;
        }
        Ok(Resolver {
            names,
            answers,
            patience,
            open: BTreeSet::new(),
            waiting: VecDeque::new(),
        })
    }

    /// Whether the name was taken; the answer comes from [`Resolver::poll`].
    pub fn ask(&mut self, now: Instant, dial: DialId, name: String) -> bool {
        let until = now + self.patience;
        let has_room = self.waiting.len() < QUEUED_NAMES;
        if !has_room || self.names.try_send(Asked { dial, name, until }).is_err() {
            return false;
        }
        self.open.insert(dial);
        self.waiting.push_back((until, dial));
        true
    }

    /// A resolved name; no address when there is none, or none in time.
    pub fn poll(&mut self, now: Instant) -> Option<(DialId, Vec<SocketAddr>)> {
        while let Ok((dial, addrs)) = self.answers.try_recv() {
            // One that comes late was answered already.
            if self.open.remove(&dial) {
                return Some((dial, addrs));
            }
        }
        while let Some(&(until, dial)) = self.waiting.front() {
            let is_open = self.open.contains(&dial);
            if is_open && until > now {
                return None;
            }
            self.waiting.pop_front();
            if is_open {
                self.open.remove(&dial);
                return Some((dial, Vec::new()));
            }
        }
        None
    }

    /// When [`Resolver::poll`] is to be called though no answer has come.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|&(until, _)| until)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Look-ups of the name `stuck` wait while a test holds this.
    static STUCK: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

    fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
        if name == "stuck" {
            drop(STUCK.lock());
        }
        Ok(vec![([127, 0, 0, 1], 1).into()])
    }

    #[test]
    fn names_that_take_too_long_have_no_address_and_hinder_no_other() {
        let (sender, woken) = mpsc::channel();
        let wake = move || sender.send(()).expect("the test waits");
        let wait = || woken.recv_timeout(PATIENCE).expect("an answer");
        let mut resolver = Resolver::spawn(wake, PATIENCE, look_up).expect("threads");
        let begin = Instant::now();
        let held = STUCK.lock();
        assert!(resolver.ask(begin, DialId(1), "stuck".into()));
        assert!(resolver.ask(begin, DialId(2), "stuck".into()));
        assert!(resolver.ask(begin, DialId(3), "quick".into()));
        wait();
        let (dial, addrs) = resolver.poll(begin).expect("an answer");
        assert_eq!((dial, addrs.len()), (DialId(3), 1));
        assert_eq!(resolver.poll(begin), None);
        assert_eq!(resolver.next_deadline(), Some(begin + PATIENCE));
        let late = begin + PATIENCE;
        assert_eq!(resolver.poll(late), Some((DialId(1), vec![])));
        assert_eq!(resolver.poll(late), Some((DialId(2), vec![])));
        assert_eq!(resolver.poll(late), None);
        assert_eq!(resolver.next_deadline(), None);
        drop(held);
        wait();
        wait();
        assert_eq!(resolver.poll(late), None);
        // All threads serve again.
        assert!(resolver.ask(Instant::now(), DialId(4), "stuck".into()));
        wait();
        assert!(matches!(resolver.poll(late), Some((DialId(4), _))));
    }
}
