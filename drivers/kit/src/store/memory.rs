//! A store without a disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};

use super::{LoadError, Store, StoreError, StoreReader};

/// A store in memory, for tests of drivers. Clones share the data, so a clone taken before a
/// store is handed to a worker can be loaded afterwards, as if the process had been restarted.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    halves: Arc<Mutex<Halves>>,
}

#[derive(Debug, Default)]
struct Halves {
    volatile: BTreeMap<Bytes, Bytes>,
    unsynced: Vec<StoreOp>,
    durable: BTreeMap<Bytes, Bytes>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not synced, as a loss of power may.
    pub fn crash(&self) {
        let mut halves = self.lock();
        halves.unsynced.clear();
        halves.volatile = halves.durable.clone();
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreReader for MemoryStore {
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().volatile.get(key).cloned())
    }
}

impl Store for MemoryStore {
    type Reader = Self;

    fn reader(&self) -> Self {
        self.clone()
    }

    fn load<E>(
        &mut self,
        each: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), LoadError<E>> {
        for (key, value) in &self.lock().volatile {
            each(Record {
                key: key.clone(),
                value: value.clone(),
            })
            .map_err(LoadError::Refused)?;
        }
        Ok(())
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError> {
        let mut halves = self.lock();
        write(&mut halves.volatile, batch);
        halves.unsynced.extend_from_slice(batch);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut halves = self.lock();
        let unsynced = std::mem::take(&mut halves.unsynced);
        write(&mut halves.durable, &unsynced);
        Ok(())
    }
}

fn write(map: &mut BTreeMap<Bytes, Bytes>, batch: &[StoreOp]) {
    for op in batch {
        op.clone().apply(map);
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::store::conformance;

    #[test]
    fn conforms() {
        conformance::all(|| {
            let store = MemoryStore::new();
            move || store.clone()
        });
    }

    #[test]
    fn crashing_loses_what_was_not_synced() {
        let store = MemoryStore::new();
        conformance::unsynced_is_a_prefix(|| store.clone(), |store| store.crash());
    }
}
