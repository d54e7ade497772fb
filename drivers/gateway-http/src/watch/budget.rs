//! The bytes that all watchers together may keep in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::patience::Flow;

/// A client that takes nothing for so long may be cut when its bytes are needed elsewhere.
const STUCK: Duration = Duration::from_secs(1);

/// Counts the bytes of events from their encoding until the system or nothing refers to them any more. Clones count together.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Account>);

struct Account {
    limit: usize,
    used: AtomicUsize,
    /// The connections of watchers.
    flows: Mutex<Flows>,
}

#[derive(Default)]
struct Flows {
    last: u64,
    open: BTreeMap<u64, Weak<Flow>>,
}

/// Bytes that count until it is dropped.
pub(super) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A text that counts for as long as a slice of it lives.
struct Held {
    text: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// A connection that may be cut, until it is dropped.
pub(super) struct Enrolled {
    account: Arc<Account>,
    number: u64,
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.account.flows().open.remove(&self.number);
    }
}

impl Account {
    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Budget {
        Budget(Arc::new(Account {
            limit,
            used: AtomicUsize::new(0),
            flows: Mutex::default(),
        }))
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Whether there is room for one more event. The last one may exceed the limit, since its size is known when it is encoded.
    pub(super) fn has_room(&self) -> bool {
        self.used() < self.0.limit
    }

    /// Counts bytes.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            account: Arc::clone(&self.0),
            bytes,
        }
    }

    /// Makes a text that counts for as long as a slice of it lives.
    pub(super) fn hold(&self, text: Vec<u8>) -> Bytes {
        let charge = self.charge(text.capacity());
        Bytes::from_owner(Held {
            text,
            _charge: charge,
        })
    }

    /// Makes a connection known as one that may be cut.
    pub(super) fn enrol(&self, flow: &Arc<Flow>) -> Enrolled {
        let mut flows = self.0.flows();
        flows.last += 1;
        let number = flows.last;
        flows.open.insert(number, Arc::downgrade(flow));
        Enrolled {
            account: Arc::clone(&self.0),
            number,
        }
    }

    /// Cuts the client that owes most of those that have taken nothing for a second, if there is one. O(watchers).
    pub(super) fn cut_one(&self) {
        let open: Vec<Arc<Flow>> = {
            let flows = self.0.flows();
            flows.open.values().filter_map(Weak::upgrade).collect()
        };
        let stuck = open.iter().filter(|flow| {
            flow.end().is_none() && flow.stuck_for().is_some_and(|time| time >= STUCK)
        });
        if let Some(most) = stuck.max_by_key(|flow| flow.owed()) {
            most.cut();
        }
    }
}
