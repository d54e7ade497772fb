//! The mio event loop around a node: peers over TCP and the Redis protocol.
//!
//! ```no_run
//! use rumormill_core::{Config, Recovery};
//! use rumormill_mio::{Driver, NoClients, Options, random_seed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let driver = Driver::bind(Options::new("127.0.0.1:0".parse()?))?;
//! let handle = driver.handle(); // for other threads
//! let config = Config::new("alpha", &driver.peers_addr().to_string());
//! let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
//! std::thread::spawn(move || handle.leave());
//! println!("{:?}", driver.run(node, None, NoClients));
//! # Ok(())
//! # }
//! ```
//!
//! [`Handle::blocking`] gives other threads the calls of an embedder (`put`, `get`, `watch` and so on), [`Handle::calls`] the same for
//! async tasks.

mod client_session;
mod clients;
mod driver;
mod farewell;
mod handle;
mod listener;
mod options;
mod outputs;
mod peers;
mod turns;

pub use client_session::{
    Ask, Budget, ClientOutput, ClientSession, Clients, Flow, NoClients, REPLIES_MARK, Replies,
    Slot, Ticket,
};
pub use driver::Driver;
pub use handle::{Handle, Unavailable};
pub use options::{BindError, Options};
pub use rumormill_kit::counters::Counters;
pub use rumormill_kit::handle::{Blocking, BlockingMemberWatch, BlockingWatch, Error, Rows};
#[cfg(feature = "typed")]
pub use rumormill_kit::typed;
pub use rumormill_kit::{Exit, random_seed};
