//! A cluster over the loopback, on any driver.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(feature = "async-std")]
use futures_lite::future;
#[cfg(feature = "async-std")]
use rumormill_async::Runtime;
use rumormill_core::{
    Config, Node, Now, Recovery, Seed, Storage, TableId,
    members::MemberState,
    table::{Change, ChangeKind, ScanRange},
};
use rumormill_kit::handle::{Blocking, Handle};
use rumormill_kit::store::{MemoryStore, Store, StoreHandle, StoreWorker};
use rumormill_mio::{NoClients, Options};

use super::ways::Ways;
use super::{Cluster, Rows};

const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// A way to run a node.
pub(crate) trait Runner {
    /// Binds a driver, and runs the node that `make` makes of its handle, address and time.
    fn run(&self, make: impl FnOnce(Handle, String, Now) -> (Node, StoreHandle)) -> Blocking;
}

pub(crate) struct Mio;

impl Runner for Mio {
    fn run(&self, make: impl FnOnce(Handle, String, Now) -> (Node, StoreHandle)) -> Blocking {
        let driver = rumormill_mio::Driver::bind(Options::new(ANY.into())).unwrap();
        let handle = driver.handle();
        let addr = driver.peers_addr().to_string();
        let (node, store) = make(handle.calls(), addr, driver.now());
        thread::spawn(move || driver.run(node, Some(store), NoClients));
        handle.blocking()
    }
}

pub(crate) struct Smol;

impl Runner for Smol {
    fn run(&self, make: impl FnOnce(Handle, String, Now) -> (Node, StoreHandle)) -> Blocking {
        let options = rumormill_smol::Options::new(ANY.into());
        let driver = smol::block_on(rumormill_smol::bind(options)).unwrap();
        let handle = driver.handle();
        let addr = driver.peers_addr().to_string();
        let (node, store) = make(handle.clone(), addr, driver.now());
        smol::spawn(driver.run(node, Some(store))).detach();
        handle.blocking()
    }
}

pub(crate) struct Tokio(tokio::runtime::Runtime);

impl Tokio {
    pub(crate) fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        Tokio(runtime.worker_threads(1).enable_all().build().unwrap())
    }
}

impl Runner for Tokio {
    fn run(&self, make: impl FnOnce(Handle, String, Now) -> (Node, StoreHandle)) -> Blocking {
        let options = rumormill_tokio::Options::new(ANY.into());
        let driver = self.0.block_on(rumormill_tokio::bind(options)).unwrap();
        let handle = driver.handle();
        let addr = driver.peers_addr().to_string();
        let (node, store) = make(handle.clone(), addr, driver.now());
        self.0.spawn(driver.run(node, Some(store)));
        handle.blocking()
    }
}

/// A driver on async-std, or one on smol, as a task of async-std.
#[cfg(feature = "async-std")]
pub(super) struct AsyncStd<R>(pub(super) R);

#[cfg(feature = "async-std")]
impl<R: Runtime> Runner for AsyncStd<R> {
    fn run(&self, make: impl FnOnce(Handle, String, Now) -> (Node, StoreHandle)) -> Blocking {
        let options = rumormill_async_std::Options::new(ANY.into());
        let driver = rumormill_async::Driver::bind(self.0.clone(), options);
        let driver = future::block_on(driver).unwrap();
        let handle = driver.handle();
        let addr = driver.peers_addr().to_string();
        let (node, store) = make(handle.clone(), addr, driver.now());
        rumormill_async_std::AsyncStd.spawn(async move {
            driver.run(node, Some(store)).await;
        });
        handle.blocking()
    }
}

pub(super) struct Real<R> {
    runner: R,
    disks: [MemoryStore; 3],
    nodes: [Option<Blocking>; 3],
    ways: Ways,
    seed: Option<String>,
    starts: u64,
    told: Vec<String>,
    telling: Option<Receiver<Change>>,
}

impl<R: Runner> Real<R> {
    pub(super) fn new(runner: R) -> Self {
        Real {
            runner,
            disks: std::array::from_fn(|_| MemoryStore::new()),
            nodes: [None, None, None],
            ways: Ways::default(),
            seed: None,
            starts: 0,
            told: Vec::new(),
            telling: None,
        }
    }

    fn node(&self, node: usize) -> &Blocking {
        self.nodes[node].as_ref().expect("the node runs")
    }
}

impl<R> Drop for Real<R> {
    fn drop(&mut self) {
        for node in self.nodes.iter().flatten() {
            let _ = node.shutdown();
        }
        self.ways.end();
    }
}

impl<R: Runner> Cluster for Real<R> {
    fn start(&mut self, node: usize) {
        self.starts += 1;
        let (disk, ways, seed) = (&self.disks[node], &self.ways, &mut self.seed);
        let seeds = seed.clone().into_iter().collect();
        let random = Seed::from_u64(self.starts);
        let cluster = crate::cluster_name();
        let running = self.runner.run(|handle, addr, now| {
            let addr = ways.front(addr.parse().unwrap()).to_string();
            seed.get_or_insert_with(|| addr.clone());
            let mut config = Config::new(&format!("n{node}"), &addr);
            config.cluster_name = cluster;
            config.seeds = seeds;
            config.storage = Storage::Ordered;
            let mut recovery = Recovery::new(config, random);
            let record = &mut |record| recovery.record(record);
            disk.clone().load(record).unwrap();
            let store = StoreWorker::spawn(disk.clone(), 10_000, handle.notifier());
            (recovery.finish(now).unwrap(), store.unwrap())
        });
        self.nodes[node] = Some(running);
    }

    fn stop(&mut self, node: usize) {
        let running = self.nodes[node].take().expect("the node runs");
        running.sync().unwrap();
        running.shutdown().unwrap();
        self.disks[node].crash();
    }

    fn leave(&mut self, node: usize) {
        let leaving = self.nodes[node].take().expect("the node runs");
        let left = leaving.leave().unwrap();
        assert!(left.is_complete() && left.holders == 2, "{left}");
    }

    fn cut(&mut self) {
        self.ways.cut();
        self.wait("no links", &|cluster| {
            let nodes = cluster.nodes.iter().flatten();
            let mut links = nodes.map(|node| node.with(|node, now| links(node, now)));
            links.all(|links| links.unwrap() == 0)
        });
    }

    fn mend(&mut self) {
        self.ways.mend();
    }

    fn put(&mut self, node: usize, key: &str, value: &str) {
        let (key, value) = (key.to_owned(), value.to_owned());
        let put = self.node(node).put(TableId::DEFAULT, key, value);
        put.unwrap();
    }

    fn delete(&mut self, node: usize, key: &str) {
        let delete = self.node(node).delete(TableId::DEFAULT, key.to_owned());
        delete.unwrap();
    }

    fn rows(&mut self, node: usize) -> Rows {
        self.node(node).with(|node, now| rows(node, now)).unwrap()
    }

    fn members(&mut self, node: usize) -> usize {
        let members = self.node(node).with(|node, now| members(node, now));
        members.unwrap()
    }

    fn watch(&mut self, node: usize) {
        let changes = self.node(node).watch(TableId::DEFAULT).unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for change in changes {
                // The script is over when the receiver is gone.
                let _ = tell.send(change.unwrap());
            }
        });
        self.telling = Some(told);
    }

    fn told(&mut self) -> Vec<String> {
        let fresh = self.telling.iter().flat_map(Receiver::try_iter);
        self.told.extend(fresh.map(change));
        self.told.clone()
    }

    fn wait(&mut self, what: &str, is_so: &dyn Fn(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "waited in vain: {what}");
            thread::yield_now();
        }
    }
}

pub(super) fn rows(node: &Node, now: Now) -> Rows {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let rows = node.view(now).scan(TableId::DEFAULT, ScanRange::default());
    let rows = rows.unwrap();
    rows.filter_map(|row| Some((text(row.key()), text(row.value()?))))
        .collect()
}

pub(super) fn members(node: &Node, _: Now) -> usize {
    let members = node.members();
    let stays = |state| !matches!(state, MemberState::Left | MemberState::Down);
    members.iter().filter(|member| stays(member.state)).count()
}

pub(super) fn links(node: &Node, now: Now) -> usize {
    node.status(now).links
}

pub(super) fn change(change: Change) -> String {
    match change.kind {
        ChangeKind::Put { key, value, .. } => format!("put {key:?} {value:?}"),
        ChangeKind::Deleted { key } => format!("deleted {key:?}"),
        other => format!("{other:?}"),
    }
}
