//! The simulated disk passes what every store has to pass.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rumormill_core::{
    Seq,
    io::{Record, StoreOp},
};
use rumormill_kit::store::{LoadError, Store, StoreError, StoreReader, conformance};

use crate::Disk;

/// A disk behind the interface of a store: opened again, it is the same disk.
#[derive(Clone, Default)]
struct Opened(Arc<Mutex<(Disk, u64)>>);

impl Opened {
    fn with<T>(&self, act: impl FnOnce(&mut Disk, &mut u64) -> T) -> T {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (disk, seq) = &mut *inner;
        act(disk, seq)
    }
}

impl StoreReader for Opened {
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.with(|disk, _| disk.read(key)))
    }
}

impl Store for Opened {
    type Reader = Self;

    fn reader(&self) -> Self {
        self.clone()
    }

    fn load<E>(
        &mut self,
        each: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), LoadError<E>> {
        // Written rows are seen at once, synced or not.
        let mut disk = self.with(|disk, _| disk.clone());
        disk.crash(usize::MAX);
        disk.records()
            .try_for_each(each)
            .map_err(LoadError::Refused)
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError> {
        self.with(|disk, seq| {
            *seq += 1;
            disk.store(Seq(*seq), batch.to_vec(), false);
        });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.with(|disk, seq| {
            *seq += 1;
            let mut syncs = disk.store(Seq(*seq), Vec::new(), true);
            while syncs {
                (_, syncs) = disk.sync_done();
            }
        });
        Ok(())
    }
}

fn fresh() -> impl FnMut() -> Opened {
    let disk = Opened::default();
    move || disk.clone()
}

#[test]
fn the_disk_conforms() {
    conformance::all(fresh);
}

#[test]
fn a_crash_of_the_disk_keeps_a_prefix() {
    for keep in 0..6 {
        conformance::unsynced_is_a_prefix(fresh(), |store: Opened| {
            store.with(|disk, seq| {
                disk.crash(keep);
                *seq = 0;
            });
        });
    }
}
