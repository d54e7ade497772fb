//! Nodes with a store: what may be shown when.

use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use rumormill_async::{Exit, Options, Runtime};
use rumormill_core::{
    Config, Storage, TableId,
    io::{Record, StoreOp},
    members::{MemberState, NodePhase},
    table::{ChangeKind, Durability, Found, TableOptions},
};
use rumormill_kit::store::{LoadError, MemoryStore, Store, StoreError, StoreReader};

use super::lab::{any, on_every_runtime, start, start_stored, start_stored_with, value, wait};

on_every_runtime! {
    rows_of_a_synced_table_are_shown_when_they_are_durable
    values_that_are_only_in_the_store_are_loaded
    a_store_that_fails_ends_the_loop
    a_node_without_its_store_halts
    a_shutdown_waits_for_the_last_sync_and_says_goodbye
    a_stop_that_takes_too_long_is_cut_after_its_last_sync
}

/// A store whose syncs wait for a gate, or fail.
#[derive(Clone, Default)]
struct Gated {
    memory: MemoryStore,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Gate {
    #[default]
    Open,
    Closed,
    Broken,
}

impl Gated {
    fn set(&self, to: Gate) {
        *self.gate.0.lock().unwrap() = to;
        self.gate.1.notify_all();
    }
}

/// Opens the gate when a test ends, however: a loop that ends waits for its store.
struct OpensAtTheEnd(Gated);

impl Drop for OpensAtTheEnd {
    fn drop(&mut self) {
        self.0.set(Gate::Open);
    }
}

impl StoreReader for Gated {
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.memory.read(key)
    }
}

impl Store for Gated {
    type Reader = Gated;

    fn reader(&self) -> Gated {
        self.clone()
    }

    fn load<E>(
        &mut self,
        each: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), LoadError<E>> {
        self.memory.load(each)
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError> {
        self.memory.apply(batch)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let shut = |gate: &mut Gate| *gate == Gate::Closed;
        let gate = self.gate.1.wait_while(self.gate.0.lock().unwrap(), shut);
        match *gate.unwrap() {
            Gate::Broken => Err(StoreError::Failed("the disk is gone".to_owned())),
            _ => self.memory.sync(),
        }
    }
}

async fn rows_of_a_synced_table_are_shown_when_they_are_durable<R: Runtime>(runtime: R) {
    let store = Gated::default();
    let a = start_stored(&runtime, store.clone(), |_| {}).await;
    let options = TableOptions::default().durability(Durability::Sync);
    let safe = a.handle.create_table("safe", options).await.unwrap();
    let handle = a.handle.clone();
    let mut changes = handle.watch(safe).await.unwrap();
    let mut watching = pin!(changes.next());
    assert!(future::poll_once(watching.as_mut()).await.is_none());
    store.set(Gate::Closed);
    let mut put = pin!(handle.put(safe, "k", "v"));
    assert!(future::poll_once(put.as_mut()).await.is_none());
    let mut get = pin!(handle.get(safe, "k"));
    let mut scan = pin!(handle.scan(safe, "", None));
    assert!(future::poll_once(get.as_mut()).await.is_none());
    assert!(future::poll_once(scan.as_mut()).await.is_none());
    // The loop has taken all of them, and the row is there.
    for _ in 0..3 {
        let len = handle.with(move |node, now| node.view(now).len(safe));
        assert_eq!(len.await, Ok(Ok(1)));
        assert!(future::poll_once(put.as_mut()).await.is_none());
        assert!(future::poll_once(get.as_mut()).await.is_none());
        assert!(future::poll_once(scan.as_mut()).await.is_none());
        assert!(future::poll_once(watching.as_mut()).await.is_none());
    }
    store.set(Gate::Open);
    put.await.unwrap();
    assert!(get.await.unwrap().is_some());
    assert_eq!(scan.await.unwrap().rows.len(), 1);
    let change = watching.await.unwrap().unwrap();
    assert!(matches!(change.kind, ChangeKind::Put { key, .. } if key == "k"));
    a.end().await;
}

async fn values_that_are_only_in_the_store_are_loaded<R: Runtime>(runtime: R) {
    let a = start_stored(&runtime, MemoryStore::new(), |config| {
        config.resident_value = Some(4)
    })
    .await;
    let table = TableId::DEFAULT;
    a.handle.put(table, "large", "a large value").await.unwrap();
    a.handle.put(table, "small", "tiny").await.unwrap();
    a.handle.sync().await.unwrap();
    let cold = a.handle.with(move |node, now| {
        let found = node.view(now).get(table, b"large");
        matches!(found, Found::Cold(_))
    });
    assert_eq!(cold.await, Ok(true));
    let large = value(&a.handle, "large").await;
    assert_eq!(large, Ok(Some("a large value".into())));
    let rows = a.handle.scan(table, "", None).await.unwrap().rows;
    let shown: Vec<Bytes> = rows.into_iter().map(|(_, row)| row.value).collect();
    assert_eq!(shown, ["a large value", "tiny"]);
    a.end().await;
}

async fn a_store_that_fails_ends_the_loop<R: Runtime>(runtime: R) {
    let store = Gated::default();
    let a = start_stored(&runtime, store.clone(), |_| {}).await;
    a.handle.sync().await.unwrap();
    store.set(Gate::Broken);
    a.handle.put(TableId::DEFAULT, "k", "v").await.unwrap();
    assert!(a.handle.sync().await.is_err());
    let Some(Exit::StoreFailed(why)) = a.exit.await else {
        panic!("the loop ended otherwise");
    };
    assert_eq!(why, "the disk is gone");
}

async fn a_node_without_its_store_halts<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |config| {
        config.storage = Storage::Ordered
    })
    .await;
    let Some(Exit::StoreFailed(why)) = a.exit.await else {
        panic!("the loop ended otherwise");
    };
    assert_eq!(why, "there is no store");
}

async fn a_shutdown_waits_for_the_last_sync_and_says_goodbye<R: Runtime>(runtime: R) {
    // So seldom that only a goodbye tells in time that a peer has gone.
    let seldom = |config: &mut Config| {
        config.timing.probe_interval = Duration::from_secs(600);
        config.timing.probe_timeout = Duration::from_secs(300);
        config.timing.sync_interval = Duration::from_secs(600);
    };
    let a = start(&runtime, Options::new(any()), seldom).await;
    let (store, seed) = (Gated::default(), a.peers.to_string());
    let configure = |config: &mut Config| {
        seldom(config);
        config.seeds.push(seed.clone());
    };
    let b = start_stored(&runtime, store.clone(), configure).await;
    let sees = async |state: MemberState| {
        let members = a.handle.members().await.unwrap();
        let mut others = members.iter().filter(|member| !member.me);
        others.any(|member| member.state == state)
    };
    wait("each other", async || {
        sees(MemberState::Alive).await && b.handle.with(|node, _| node.is_full()).await.unwrap()
    })
    .await;
    b.handle.sync().await.unwrap();
    let _opens = OpensAtTheEnd(store.clone());
    store.set(Gate::Closed);
    b.handle.put(TableId::DEFAULT, "k", "v").await.unwrap();
    {
        let mut ending = pin!(b.handle.shutdown());
        assert!(future::poll_once(ending.as_mut()).await.is_none());
        wait("the stop", async || {
            let status = b.handle.status().await.unwrap();
            status.phase == NodePhase::Stopping
        })
        .await;
        let refused = b.handle.put(TableId::DEFAULT, "late", "v").await;
        assert!(
            matches!(&refused, Err(error) if error.to_string().contains("is stopping")),
            "{refused:?}"
        );
        assert!(future::poll_once(ending.as_mut()).await.is_none());
        assert!(sees(MemberState::Alive).await, "it says goodbye at last");
        store.set(Gate::Open);
        ending.await.unwrap();
    }
    assert!(matches!(b.exit.await, Some(Exit::Stopped(_))));
    wait("the goodbye", async || sees(MemberState::Down).await).await;
    store.memory.crash();
    let b = start_stored(&runtime, store, configure).await;
    assert_eq!(value(&b.handle, "k").await, Ok(Some("v".into())));
    wait("its return", async || sees(MemberState::Alive).await).await;
    b.end().await;
    a.end().await;
}

async fn a_stop_that_takes_too_long_is_cut_after_its_last_sync<R: Runtime>(runtime: R) {
    let store = MemoryStore::new();
    let mut options = Options::new(any());
    options.stop_timeout = Duration::ZERO;
    let seldom = |config: &mut Config| config.timing.sync_interval = Duration::from_secs(600);
    let a = start_stored_with(&runtime, options, store.clone(), seldom).await;
    a.handle.put(TableId::DEFAULT, "k", "v").await.unwrap();
    assert!(matches!(a.end().await, Exit::StopCut));
    store.crash();
    let a = start_stored(&runtime, store, seldom).await;
    assert_eq!(value(&a.handle, "k").await, Ok(Some("v".into())));
    a.end().await;
}
