//! A node on [smol]: everything of [`rumormill_async`], on this runtime.
//!
//! ```
//! use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};
//! use rumormill_smol::{Options, bind, random_seed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
//!     let config = Config::new("alpha", &driver.peers_addr().to_string());
//!     let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
//!     let alpha = driver.handle(); // cloneable, for any task or thread
//!     let running = smol::spawn(driver.run(node, None));
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
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};

#[cfg(feature = "typed")]
pub use rumormill_async::typed;
pub use rumormill_async::{
    BindError, Blocking, Counters, Error, Exit, Handle, MemberWatch, Options, Rows, Watch,
    random_seed, store,
};

/// A driver on smol.
pub type Driver = rumormill_async::Driver<Smol>;

/// Listens for peers. Tasks run on smol's global executor; [`Driver::bind`] takes another one.
///
/// # Errors
/// [`BindError`], which names the address.
pub async fn bind(options: Options) -> Result<Driver, BindError> {
    Driver::bind(Smol::global(), options).await
}

/// Smol, with the executor on which tasks run.
#[derive(Clone, Debug)]
pub struct Smol(Option<Arc<Executor<'static>>>);

impl Smol {
    /// Tasks run on the global executor, which has threads of its own.
    pub fn global() -> Self {
        Smol(None)
    }

    /// Tasks run on this executor, wherever it is run.
    pub fn on(executor: Arc<Executor<'static>>) -> Self {
        Smol(Some(executor))
    }
}

impl rumormill_async::Runtime for Smol {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn bind(&self, addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        // A peer that is gone already is noticed by the reader of the stream: the listener has not failed.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve(name).await
    }

    async fn sleep(&self, time: Duration) {
        Timer::after(time).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.0 {
            Some(executor) => executor.spawn(task).detach(),
            None => smol::spawn(task).detach(),
        }
    }
}
