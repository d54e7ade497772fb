//! The needs of the loop from an async runtime.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

/// A runtime: byte streams, a timer and a spawner. An adapter is about a hundred lines; clones share the runtime. Its streams are those
/// of `futures-io` (which `futures-lite` names), since the standard library has no such traits; the runtimes have them or an adapter to them.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A socket that listens.
    type Listener: Send + Sync + 'static;

    /// Listens on an address and says on which one it came to be: port 0 takes any free one.
    fn bind(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;

    /// The next connection, with small writes not delayed.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Connects, with small writes not delayed. Need not have a time limit.
    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Resolves `host:port` without blocking the runtime.
    fn resolve(&self, name: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Ends after so long.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Runs a task to its end. Every task of a driver ends soon after its [`Driver::run`](crate::Driver::run).
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}
