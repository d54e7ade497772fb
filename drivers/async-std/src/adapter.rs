//! The loop of `rumormill-async` on async-std.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
use async_std::task;
use rumormill_async::{BindError, Options};

/// A driver on async-std.
pub type Driver = rumormill_async::Driver<AsyncStd>;

/// Listens for peers. Tasks run on async-std's global executor.
///
/// # Errors
/// [`BindError`], which names the address.
pub async fn bind(options: Options) -> Result<Driver, BindError> {
    Driver::bind(AsyncStd, options).await
}

/// The runtime async-std, whose executor is global and has threads of its own.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl rumormill_async::Runtime for AsyncStd {
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
        Ok(name.to_socket_addrs().await?.collect())
    }

    async fn sleep(&self, time: Duration) {
        task::sleep(time).await;
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // A task whose handle is dropped runs on.
        drop(task::spawn(work));
    }
}
