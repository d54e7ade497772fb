//! Nodes on a runtime, and a test once for each runtime.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future;
use rumormill_async::{Counters, Driver, Error, Exit, Handle, Options, Runtime};
use rumormill_core::{Config, Recovery, Seed, Storage, TableId};
use rumormill_kit::answer::{Answer, Reply, answer};
use rumormill_kit::store::{Store, StoreHandle, StoreWorker};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A node on its loop.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) counters: Arc<Counters>,
    pub(crate) peers: SocketAddr,
    pub(crate) exit: Answer<Exit>,
    vanish: Reply<()>,
}

impl Running {
    pub(crate) async fn end(self) -> Exit {
        // A driver that has ended already takes no command.
        let _ = self.handle.shutdown().await;
        self.exit.await.expect("the loop runs to its end")
    }

    /// Ends it as a crash does: its peers hear nothing of it.
    pub(crate) async fn vanish(self) {
        self.vanish.send(());
        assert!(self.exit.await.is_none(), "the loop has ended by itself");
    }
}

pub(crate) async fn start<R: Runtime>(
    runtime: &R,
    options: Options,
    configure: impl FnOnce(&mut Config),
) -> Running {
    let driver = Driver::bind(runtime.clone(), options).await.unwrap();
    let recovery = recovery(&driver, configure);
    serve(runtime, driver, None, recovery)
}

/// With what a store holds from an earlier boot.
pub(crate) async fn start_stored<R: Runtime>(
    runtime: &R,
    store: impl Store,
    configure: impl FnOnce(&mut Config),
) -> Running {
    start_stored_with(runtime, Options::new(any()), store, configure).await
}

/// The same with options.
pub(crate) async fn start_stored_with<R: Runtime>(
    runtime: &R,
    options: Options,
    mut store: impl Store,
    configure: impl FnOnce(&mut Config),
) -> Running {
    let driver = Driver::bind(runtime.clone(), options).await.unwrap();
    let mut recovery = recovery(&driver, |config| {
        config.storage = Storage::Ordered;
        configure(config);
    });
    store.load(&mut |record| recovery.record(record)).unwrap();
    let store = StoreWorker::spawn(store, 10_000, driver.handle().notifier()).unwrap();
    serve(runtime, driver, Some(store), recovery)
}

fn recovery<R: Runtime>(driver: &Driver<R>, configure: impl FnOnce(&mut Config)) -> Recovery {
    let addr = driver.peers_addr();
    let mut config = crate::config(&addr.to_string(), &addr.to_string());
    configure(&mut config);
    Recovery::new(config, Seed::from_u64(u64::from(addr.port())))
}

fn serve<R: Runtime>(
    runtime: &R,
    driver: Driver<R>,
    store: Option<StoreHandle>,
    recovery: Recovery,
) -> Running {
    let peers = driver.peers_addr();
    let node = recovery.finish(driver.now()).unwrap();
    let (handle, counters) = (driver.handle(), driver.counters());
    let (done, exit) = answer();
    let (vanish, vanishes) = answer::<()>();
    runtime.spawn(async move {
        let run = async { done.send(driver.run(node, store).await) };
        let vanished = async {
            // A test that drops its node lets it run.
            if vanishes.await.is_none() {
                future::pending::<()>().await;
            }
        };
        future::or(run, vanished).await;
    });
    Running {
        handle,
        counters,
        peers,
        exit,
        vanish,
    }
}

/// Asks again and again until the answer is yes.
pub(crate) async fn wait(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < until, "waited in vain: {what}");
        future::yield_now().await;
    }
}

pub(crate) async fn value(handle: &Handle, key: &'static str) -> Result<Option<Bytes>, Error> {
    let row = handle.get(TableId::DEFAULT, key).await?;
    Ok(row.map(|row| row.value))
}

pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(crate) fn on_smol(test: impl Future<Output = ()>) {
    smol::block_on(test);
}

pub(crate) fn on_tokio(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

/// Tests that are generic over the runtime, on every one.
macro_rules! on_every_runtime {
    ($($test:ident)*) => {
        mod on_smol {
            $(#[test]
            fn $test() {
                crate::runtimes::lab::on_smol(super::$test(rumormill_smol::Smol::global()));
            })*
        }
        mod on_tokio {
            $(#[test]
            fn $test() {
                crate::runtimes::lab::on_tokio(async {
                    super::$test(rumormill_tokio::Tokio::on(tokio::runtime::Handle::current())).await;
                });
            })*
        }
        #[cfg(feature = "async-std")]
        mod on_async_std {
            $(#[test]
            fn $test() {
                futures_lite::future::block_on(super::$test(rumormill_async_std::AsyncStd));
            })*
        }
    };
}
pub(crate) use on_every_runtime;
