//! The simulated disk passes what every store has to pass.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rumormill_core::{
    Seq,
    io::{Record, StoreOp},
};
use rumormill_kit::store::{LoadError, Store, StoreError, StoreReader, conformance};

use crate::disk::{Disk, Policy};
use crate::rng::{Rng, Stream};

/// A disk behind the interface of a store: opened again, it is the same disk.
#[derive(Clone)]
struct Opened(Arc<Mutex<(Disk, u64)>>);

/// Time passes from batch to batch, so that files are merged meanwhile.
const STEP_US: u64 = 50_000;

impl Opened {
    fn with<T>(&self, act: impl FnOnce(&mut Disk, &mut u64) -> T) -> T {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (disk, seq) = &mut *inner;
        act(disk, seq)
    }
}

impl StoreReader for Opened {
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.with(|disk, _| disk.read(key))
            .map_err(StoreError::Failed)
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
        let (mut disk, now_us) = self.with(|disk, seq| (disk.clone(), *seq * STEP_US));
        disk.crash(now_us, usize::MAX, true);
        let mut records = disk.records().into_iter();
        records
            .try_for_each(|(key, value)| each(Record { key, value }))
            .map_err(LoadError::Refused)
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError> {
        self.with(|disk, seq| {
            *seq += 1;
            disk.store(*seq * STEP_US, Seq(*seq), batch.to_vec(), false);
        });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.with(|disk, seq| {
            *seq += 1;
            let mut syncs = disk.store(*seq * STEP_US, Seq(*seq), Vec::new(), true);
            while syncs {
                (_, syncs) = disk.sync_done(*seq * STEP_US);
            }
        });
        Ok(())
    }
}

fn fresh() -> impl FnMut() -> Opened {
    let disk = Disk::new(Rng::new(7, Stream::Log, 0));
    let disk = Opened(Arc::new(Mutex::new((disk, 0))));
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
                disk.crash(*seq * STEP_US, keep, false);
                disk.open(*seq * STEP_US, Policy::Damage).unwrap();
                *seq = 0;
            });
        });
    }
}
