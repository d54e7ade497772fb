//! A node on async-std, for programs that are still there: the same handles, loop and links as on smol and tokio.
//!
//! # Ended upstream
//! The makers of async-std have ended it and send its users to [smol]: since August 2025 it stands in the list of advisories as
//! unmaintained, [RUSTSEC-2025-0052]. What is found in it is not mended. So this crate is empty unless its feature `async-std` is
//! on, and nothing else in the workspace depends on async-std.
//!
//! # Moving to smol
//! `rumormill-smol` is what to use instead. It has the same items as this crate, its streams are those of `futures-io` too, and
//! its tasks, timers and sockets come from the crates that async-std is built on (`async-executor`, `async-io`), which are maintained. The
//! node's part of the change is one import:
//! ```diff
//! -use rumormill_async_std::{Options, bind, random_seed};
//! +use rumormill_smol::{Options, bind};
//! ```
//! It may be made first: a driver of `rumormill-smol` runs as a task of async-std as it is. Later, when `async_std::task::spawn` becomes
//! `smol::spawn`, mind that smol cancels a task whose `Task` is dropped, unless it was `detach`ed, where async-std lets it run.
//!
//! # With the feature
//! ```sh
//! cargo run -p rumormill-async-std --features async-std --example cluster_async_std    # three nodes in one process
//! ```
//! ```
//! # #[cfg(feature = "async-std")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rumormill_async_std::{Options, bind, random_seed};
//! use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};
//!
//! async_std::task::block_on(async {
//!     let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
//!     let config = Config::new("alpha", &driver.peers_addr().to_string());
//!     let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
//!     let alpha = driver.handle(); // cloneable, for any task or thread
//!     let running = async_std::task::spawn(driver.run(node, None));
//!
//!     let mut changes = alpha.watch(TableId::DEFAULT).await?;
//!     alpha.put(TableId::DEFAULT, "greeting", "hello").await?;
//!     let row = alpha.get(TableId::DEFAULT, "greeting").await?;
//!     assert_eq!(row.map(|row| row.value), Some("hello".into()));
//!     let change = changes.next().await.expect("the loop runs")?;
//!     assert!(matches!(change.kind, ChangeKind::Put { key, .. } if key == "greeting"));
//!
//!     println!("{}", alpha.leave().await?);
//!     println!("{:?}", running.await);
//!     Ok(())
//! })
//! # }
//! # #[cfg(not(feature = "async-std"))]
//! # fn main() {}
//! ```
//!
//! [smol]: https://docs.rs/smol
//! [RUSTSEC-2025-0052]: https://rustsec.org/advisories/RUSTSEC-2025-0052

#[cfg(feature = "async-std")]
mod adapter;

#[cfg(feature = "async-std")]
pub use adapter::{AsyncStd, Driver, bind};
#[cfg(all(feature = "async-std", feature = "typed"))]
pub use rumormill_async::typed;
#[cfg(feature = "async-std")]
pub use rumormill_async::{
    BindError, Blocking, Counters, Error, Exit, Handle, MemberWatch, Options, Rows, Watch,
    random_seed, store,
};
