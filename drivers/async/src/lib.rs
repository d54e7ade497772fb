//! A node on any async runtime: the loop, the links and cloneable handles.
//!
//! Take the crate of your runtime (`rumormill-smol`, `rumormill-tokio`), or give [`Driver::bind`] a [`Runtime`] of your own: byte
//! streams, a timer and a spawner, about a hundred lines. Everything else is the same on all of them:
//!
//! ```
//! use rumormill_async::{Driver, Error, Options, Runtime, random_seed};
//! use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};
//!
//! async fn greet<R: Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
//!     let driver = Driver::bind(runtime.clone(), Options::new("127.0.0.1:0".parse()?)).await?;
//!     let mut config = Config::new("beta", &driver.peers_addr().to_string());
//!     config.seeds.push("10.0.0.1:7400".into()); // any member of the cluster
//!     let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
//!     let beta = driver.handle(); // cloneable, for any task or thread
//!     runtime.spawn(async move { println!("{:?}", driver.run(node, None).await) });
//!
//!     let words = beta.table("words").await?;
//!     let mut changes = beta.watch(words).await?; // also a `Stream`
//!     beta.put(words, "hello", "a greeting").await?;
//!     while let Some(change) = changes.next().await {
//!         match change {
//!             Ok(change) => match change.kind {
//!                 ChangeKind::Put { key, .. } => println!("{key:?} is {:?}", beta.get(words, key.clone()).await?),
//!                 other => println!("{other:?}"),
//!             },
//!             Err(Error::Lagged { .. }) => println!("now: {:?}", beta.scan(words, "", None).await?.rows),
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//!     Ok(()) // the loop has ended: a caller used `leave` or `shutdown`
//! }
//! ```
//!
//! Calls queue for the loop, at most [`Options::commands`] of them; beyond that they wait for room. Each turn takes what is ready,
//! ends with a tick, and wakes the callers it answers, so a watch is told of a write in the same turn. When the loop ends, by
//! [`Handle::leave`], [`Handle::shutdown`], a failed store or because its future was dropped, every call that waits and every
//! later one gets [`Error::Closed`], and every watch ends.
//!
//! A node with storage begins with what its store holds, and hands the store to threads of its own:
//!
//! ```
//! # use rumormill_async::{Driver, Runtime};
//! # use rumormill_core::{Config, Recovery, Seed, Storage};
//! use rumormill_async::store::{MemoryStore, Store, StoreWorker};
//!
//! # async fn stored<R: Runtime>(driver: Driver<R>, mut config: Config, seed: Seed) -> Result<(), Box<dyn std::error::Error>> {
//! config.storage = Storage::Ordered;
//! let backlog = config.limits.store_backlog + config.limits.loads;
//! let mut recovery = Recovery::new(config, seed);
//! let mut disk = MemoryStore::new(); // or that of `rumormill-store`
//! disk.load(&mut |record| recovery.record(record))?;
//! let node = recovery.finish(driver.now())?;
//! let store = StoreWorker::spawn(disk, backlog, driver.handle().notifier())?;
//! println!("{:?}", driver.run(node, Some(store)).await);
//! # Ok(())
//! # }
//! ```

mod alarm;
mod bell;
mod buffers;
mod driver;
mod link;
mod links;
mod options;
mod outputs;
mod runtime;
mod shared;
mod shared_channel;
mod turns;

pub use driver::Driver;
pub use options::{BindError, Options};
pub use rumormill_kit::counters::Counters;
pub use rumormill_kit::handle::{
    Blocking, BlockingMemberWatch, BlockingWatch, Error, Handle, MemberWatch, Rows, Watch,
};
pub use rumormill_kit::store;
#[cfg(feature = "typed")]
pub use rumormill_kit::typed;
pub use rumormill_kit::{Exit, random_seed};
pub use runtime::Runtime;
