//! Writes with distinct keys through every node, also while it stops; and the search for those that were acknowledged.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

use super::nodes::Member;
use crate::failure::Failure;
use crate::resp::{Client, Reply};

/// Commands sent at once.
const AT_ONCE: u64 = 512;

/// The pause of a writer after each write, so that the search for all of them stays short.
const PAUSE: Duration = Duration::from_millis(1);

/// How long a writer waits before it looks again whether its node is back.
const AWAY: Duration = Duration::from_millis(5);

/// Rows of one writer: numbered keys, of which some were not acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    prefix: String,
    size: u32,
    upto: u64,
    /// Numbers below `upto` of writes that were refused, or broke off: they may be there or not.
    unknown: Vec<u64>,
}

impl Written {
    /// Returns so many rows, all of them to be acknowledged.
    pub(super) fn rows(count: u64, size: u32) -> Written {
        Written {
            prefix: "row".to_string(),
            size,
            upto: count,
            unknown: Vec::new(),
        }
    }

    /// Returns how many were acknowledged.
    pub(super) fn count(&self) -> u64 {
        self.upto - self.unknown.len() as u64
    }

    fn key(&self, number: u64) -> String {
        format!("{}:{number:012}", self.prefix)
    }

    /// Returns the value of a row, which no other row has.
    fn value(&self, number: u64) -> String {
        let size = self.size as usize;
        let own = self.key(number);
        own.chars().cycle().take(size.max(own.len())).collect()
    }

    /// Writes all rows through a node.
    ///
    /// # Errors
    /// The first write that was refused.
    pub(super) fn load(&self, member: &Member) -> Result<(), Failure> {
        let mut client = Client::connect(&member.redis)?;
        let mut at = 0;
        while at < self.upto {
            let until = self.upto.min(at + AT_ONCE);
            for number in at..until {
                let (key, value) = (self.key(number), self.value(number));
                client.send(&[b"SET", key.as_bytes(), value.as_bytes()])?;
            }
            client.flush()?;
            for _ in at..until {
                client.receive()?.accepted()?;
            }
            at = until;
        }
        Ok(())
    }

    /// Returns how many of the acknowledged rows a node lacks, or shows otherwise.
    ///
    /// # Errors
    /// The node does not answer.
    pub(super) fn missing(&self, member: &Member) -> Result<u64, Failure> {
        let mut client = Client::connect(&member.redis)?;
        let mut missing = 0;
        let mut at = 0;
        while at < self.upto {
            let until = self.upto.min(at + AT_ONCE);
            for number in at..until {
                client.send(&[b"GET", self.key(number).as_bytes()])?;
            }
            client.flush()?;
            for number in at..until {
                let expected = Reply::Bulk(Some(self.value(number).into_bytes()));
                let holds = client.receive()? == expected;
                let counts = self.unknown.binary_search(&number).is_err();
                missing += u64::from(counts && !holds);
            }
            at = until;
        }
        Ok(missing)
    }
}

/// One writer for each node.
pub(super) struct Load {
    ends: AtomicBool,
    /// The Redis listener of each node, and what was written through it.
    writers: Vec<(String, Mutex<Written>)>,
}

impl Load {
    pub(super) fn new(members: &[Member], size: u32) -> Load {
        let writer = |member: &Member| {
            let written = Written {
                prefix: format!("through-{}", member.name),
                size,
                ..Written::default()
            };
            (member.redis.clone(), Mutex::new(written))
        };
        Load {
            ends: AtomicBool::new(false),
            writers: members.iter().map(writer).collect(),
        }
    }

    /// Starts the writers.
    pub(super) fn begin<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        for (addr, written) in &self.writers {
            scope.spawn(move || self.write(addr, written));
        }
    }

    /// Has the writers end.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    /// Returns what was written through each node.
    pub(super) fn written(&self) -> Vec<Written> {
        let written = |(_, written): &(String, Mutex<Written>)| {
            written
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        self.writers.iter().map(written).collect()
    }

    /// Writes through a node for as long as the load lasts. A write that is not acknowledged is not tried again.
    fn write(&self, addr: &str, written: &Mutex<Written>) {
        let mut client = None;
        while !self.ends.load(Ordering::Relaxed) {
            let Some(connected) = &mut client else {
                match Client::connect(addr) {
                    Ok(connected) => client = Some(connected),
                    Err(_) => thread::sleep(AWAY),
                }
                continue;
            };
            let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
            let number = written.upto;
            let (key, value) = (written.key(number), written.value(number));
            let reply = connected.call(&[b"SET", key.as_bytes(), value.as_bytes()]);
            written.upto += 1;
            if !matches!(reply, Ok(Reply::Simple(_))) {
                written.unknown.push(number);
                client = None;
            }
            drop(written);
            thread::sleep(PAUSE);
        }
    }
}
