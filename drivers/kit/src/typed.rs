//! Tables whose keys and values have types of yours, over the handle of any driver. Behind the feature `typed`.
//!
//! A [`Table<K, V>`](Table) writes values as msgpack with the names of their fields ([serde]), so that a later version of your program may
//! add fields, and others can read them. Keys are written by [`EncodeKey`] in an encoding that keeps their order: integers, text, bytes
//! and pairs are there, and a newtype of yours takes two lines for each direction. So a scan goes in the order of `K`.
//!
//! ```
//! use rumormill_kit::typed::{Change, Error, Table};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Score {
//!     player: String,
//!     points: i64,
//! }
//!
//! # use rumormill_kit::handle::{CommandLimits, Commands, Handle};
//! async fn play(handle: &Handle) -> Result<(), Error> {
//!     let scores: Table<i32, Score> = Table::open(handle, "scores").await?; // by level; there are levels below the ground
//!     let mut changes = scores.watch().await?; // also a `Stream`
//!     for (level, player, points) in [(7, "ada", 40), (-2, "ben", 15), (3, "cleo", 60)] {
//!         let player = player.to_string();
//!         scores.put(&level, &Score { player, points }).await?;
//!     }
//!     let best = scores.get(&3).await?.map(|row| row.value);
//!     assert_eq!(best, Some(Score { player: "cleo".into(), points: 60 }));
//!
//!     // A page; what does not decode is an error of its own, with its key, and hides no other row.
//!     let page = scores.scan(..=3, None).await?;
//!     let rows = page.rows.into_iter().collect::<Result<Vec<_>, _>>()?;
//!     let levels: Vec<i32> = rows.iter().map(|(level, _)| *level).collect();
//!     assert_eq!((levels, page.next), (vec![-2, 3], None));
//!
//!     while let Some(change) = changes.next().await {
//!         match change? {
//!             Change::Put { key: 3, .. } => break,
//!             other => println!("{other:?}"),
//!         }
//!     }
//!     Ok(())
//! }
//! # use rumormill_core::{Config, Instant, Now, Recovery, Seed, Wall, io::{Input, Output}};
//! # let limits = CommandLimits::default();
//! # let turning = std::thread::current();
//! # let (handle, mut commands) = Commands::new(limits, std::sync::Arc::new(move || turning.unpark()));
//! # let now = Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000));
//! # let mut node = Recovery::new(Config::new("a", "a"), Seed::from_u64(1)).finish(now).unwrap();
//! # let playing = std::thread::spawn(move || {
//! #     let played = rumormill_kit::answer::block_on(play(&handle));
//! #     handle.begin_shutdown().unwrap();
//! #     played
//! # });
//! # let mut changed = Vec::new();
//! # 'turns: while commands.obey(&mut node, now).is_none() {
//! #     node.handle(now, Input::Tick);
//! #     while let Some(output) = node.poll_output() {
//! #         match output {
//! #             Output::Reply { token, result } => drop(commands.reply(token, result)),
//! #             Output::Changed { table } => changed.push(table),
//! #             Output::Halt(_) => break 'turns,
//! #             _ => {}
//! #         }
//! #     }
//! #     commands.changed(&mut node, now, &changed);
//! #     changed.clear();
//! #     std::thread::park();
//! # }
//! # playing.join().unwrap()?;
//! # Ok::<(), Error>(())
//! ```
//!
//! Plain threads take [`Table::blocking`]. [`Table::handle`] and [`Table::id`] lead back to everything untyped, which reads the same rows.
//! A table has no types of its own: the program that opens it names them, and what others have written there may not decode. Nor does a
//! value whose lists and maps are nested more than 128 deep.

mod blocking;
mod error;
mod key;
mod rows;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod watch;

pub use blocking::{BlockingTable, BlockingWatch};
pub use error::{Error, Part, Undecodable};
pub use key::{EncodeKey, Key};
pub use rows::{Row, Rows, Siblings};
pub use table::Table;
pub use watch::{Change, Watch};
