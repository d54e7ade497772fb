//! The way from other threads to the node on its loop, without waiting for room.

use std::time::Duration;

use mio::Waker;
use rumormill_core::{
    Node, Now,
    errors::RequestError,
    io::{Request, Response},
};
use rumormill_kit::answer::answer;
use rumormill_kit::handle::{self, Blocking, Error};

/// A handle to a running driver, for threads that would rather be refused than wait for room. Clones reach the same loop.
/// [`Handle::calls`] and [`Handle::blocking`] give the calls of an embedder.
#[derive(Clone)]
pub struct Handle(pub(crate) handle::Handle);

/// Why a command was not taken; nothing was done. Exhaustive: a caller tries again later, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too many commands wait.
    #[error("{limit} commands wait for the loop already")]
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// The loop has ended.
    #[error("the loop has ended")]
    Ended,
}

impl From<Error> for Unavailable {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy { limit } => Unavailable::Busy { limit },
            _ => Unavailable::Ended,
        }
    }
}

impl Handle {
    /// The calls of an embedder, for async tasks on any runtime.
    pub fn calls(&self) -> handle::Handle {
        self.0.clone()
    }

    /// The calls of an embedder, for plain threads.
    pub fn blocking(&self) -> Blocking {
        self.0.blocking()
    }

    /// Runs `job` on the loop, soon, and does not wait for it. It must be short: the whole node waits for it. Dropped
    /// without being run when the loop ends first.
    ///
    /// # Errors
    /// [`Unavailable`]; the job was dropped.
    pub fn call(
        &self,
        job: impl FnOnce(&mut Node, Now) + Send + 'static,
    ) -> Result<(), Unavailable> {
        Ok(self.0.call(job)?)
    }

    /// Runs `job` on the loop and waits for what it returns. Never call it on the loop's own thread.
    ///
    /// # Errors
    /// [`Unavailable`]; the job was dropped.
    pub fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, done) = answer();
        self.call(move |node, now| reply.send(job(node, now)))?;
        done.wait().ok_or(Unavailable::Ended)
    }

    /// Hands a request to the node; `done` is called on the loop with the reply, and must be short. `patience` is how long
    /// the request may wait. When the loop ends first, `done` is called with [`RequestError::Halted`] or dropped.
    ///
    /// # Errors
    /// [`Unavailable`]; `done` was dropped.
    pub fn ask(
        &self,
        request: Request,
        patience: Option<Duration>,
        done: impl FnOnce(Result<Response, RequestError>) + Send + 'static,
    ) -> Result<(), Unavailable> {
        Ok(self.0.ask(request, patience, done)?)
    }

    /// Hands a request to the node and waits for the reply. Never call it on the loop's own thread.
    ///
    /// # Errors
    /// The node's; [`RequestError::Busy`] or [`RequestError::Halted`] when the loop takes nothing.
    pub fn request(
        &self,
        request: Request,
        patience: Option<Duration>,
    ) -> Result<Response, RequestError> {
        let (reply, done) = answer();
        match self.ask(request, patience, move |result| reply.send(result)) {
            Ok(()) => done.wait().unwrap_or(Err(RequestError::Halted)),
            Err(Unavailable::Busy { limit }) => Err(RequestError::Busy { limit }),
            Err(Unavailable::Ended) => Err(RequestError::Halted),
        }
    }

    /// Leaves the cluster and ends the loop; a second call ends it at once.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn leave(&self) -> Result<(), Unavailable> {
        Ok(self.0.begin_leave()?)
    }

    /// Stops the node as a member that comes back, and ends the loop; see [`handle::Handle::shutdown`]. A second call ends it at once, after its
    /// last sync.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn shutdown(&self) -> Result<(), Unavailable> {
        Ok(self.0.begin_shutdown()?)
    }

    /// A function that wakes the loop to look at its store: for
    /// [`StoreWorker::spawn`](rumormill_kit::store::StoreWorker::spawn).
    pub fn notifier(&self) -> impl Fn() + Send + Sync + 'static + use<> {
        self.0.notifier()
    }
}

pub(crate) fn wake(waker: &Waker) {
    // It fails only when the event queue itself is gone, and then no loop sleeps there.
    let _ = waker.wake();
}
