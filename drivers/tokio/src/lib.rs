//! A node on [tokio]: everything of [`rumormill_async`], on this runtime.
//!
//! ```
//! use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};
//! use rumormill_tokio::{Options, bind, random_seed};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
//! let config = Config::new("alpha", &driver.peers_addr().to_string());
//! let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
//! let alpha = driver.handle(); // cloneable, for any task or thread
//! let running = tokio::spawn(driver.run(node, None));
//!
//! let mut changes = alpha.watch(TableId::DEFAULT).await?;
//! alpha.put(TableId::DEFAULT, "greeting", "hello").await?;
//! let row = alpha.get(TableId::DEFAULT, "greeting").await?;
//! assert_eq!(row.map(|row| row.value), Some("hello".into()));
//! let change = changes.next().await.expect("the loop runs")?;
//! assert!(matches!(change.kind, ChangeKind::Put { key, .. } if key == "greeting"));
//!
//! println!("{}", alpha.leave().await?);
//! println!("{:?}", running.await?);
//! # Ok(())
//! # }
//! ```

mod stream;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};

#[cfg(feature = "typed")]
pub use rumormill_async::typed;
pub use rumormill_async::{
    BindError, Blocking, Counters, Error, Exit, Handle, MemberWatch, Options, Rows, Watch,
    random_seed, store,
};
pub use stream::Stream;

/// A driver on tokio. Its [`run`](rumormill_async::Driver::run) wants to be polled by the runtime on which it was bound.
pub type Driver = rumormill_async::Driver<Tokio>;

/// Listens for peers on the present runtime, which needs its I/O and time drivers.
///
/// # Errors
/// [`BindError`], which names the address.
///
/// # Panics
/// Outside of a runtime.
pub async fn bind(options: Options) -> Result<Driver, BindError> {
    Driver::bind(Tokio::on(tokio::runtime::Handle::current()), options).await
}

/// A tokio runtime.
#[derive(Clone, Debug)]
pub struct Tokio(tokio::runtime::Handle);

impl Tokio {
    /// Tasks run on this runtime, which needs its I/O and time drivers.
    pub fn on(runtime: tokio::runtime::Handle) -> Self {
        Tokio(runtime)
    }
}

impl rumormill_async::Runtime for Tokio {
    type Stream = Stream;
    type Listener = TcpListener;

    async fn bind(&self, addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<Stream> {
        let (stream, _) = listener.accept().await?;
        Ok(Stream::new(stream))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        Ok(Stream::new(TcpStream::connect(addr).await?))
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host(name).await?.collect())
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
}
