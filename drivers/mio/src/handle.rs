//! The way from other threads to the node on its loop.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::time::Duration;

use mio::Waker;
use rumormill_core::{Node, Now, Request, RequestError, Response};

/// Commands that may wait for the loop.
pub(crate) const QUEUED_COMMANDS: usize = 4_096;

type Job = Box<dyn FnOnce(&mut Node, Now) + Send>;
/// Who waits for the reply to a request.
pub(crate) enum Asker {
    /// Another thread.
    Thread(Done),
    /// A client that awaits a row.
    Client(usize),
}

pub(crate) type Done = Box<dyn FnOnce(Result<Response, RequestError>) + Send>;

pub(crate) enum Command {
    Run(Job),
    Request {
        request: Request,
        patience: Option<Duration>,
        done: Done,
    },
    Leave,
    Shutdown,
}

/// A handle to a running driver. Clones reach the same loop.
#[derive(Clone)]
pub struct Handle {
    pub(crate) commands: SyncSender<Command>,
    pub(crate) waker: Arc<Waker>,
}

/// Why a command was not taken; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Too many commands wait.
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// The loop has ended.
    Ended,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Busy { limit } => write!(f, "{limit} commands wait for the loop already"),
            Unavailable::Ended => f.write_str("the loop has ended"),
        }
    }
}

impl std::error::Error for Unavailable {}

impl Handle {
    /// Runs `job` on the loop, soon, and does not wait for it. It must be short: the whole node waits for it. Dropped
    /// without being run when the loop ends first.
    ///
    /// # Errors
    /// [`Unavailable`]; the job was dropped.
    pub fn call(
        &self,
        job: impl FnOnce(&mut Node, Now) + Send + 'static,
    ) -> Result<(), Unavailable> {
        self.send(Command::Run(Box::new(job)))
    }

    /// Runs `job` on the loop and waits for what it returns. Never call it on the loop's own thread.
    ///
    /// # Errors
    /// [`Unavailable`]; the job was dropped.
    pub fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.call(move |node, now| {
            // Nobody listens any more when the asker's thread was ended.
            let _ = sender.send(job(node, now));
        })?;
        receiver.recv().map_err(|_| Unavailable::Ended)
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
        self.send(Command::Request {
            request,
            patience,
            done: Box::new(done),
        })
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
        let (sender, receiver) = mpsc::sync_channel(1);
        let asked = self.ask(request, patience, move |result| {
            let _ = sender.send(result);
        });
        match asked {
            Ok(()) => receiver.recv().unwrap_or(Err(RequestError::Halted)),
            Err(Unavailable::Busy { limit }) => Err(RequestError::Busy { limit }),
            Err(Unavailable::Ended) => Err(RequestError::Halted),
        }
    }

    /// Leaves the cluster and ends the loop; a second call ends it at once.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn leave(&self) -> Result<(), Unavailable> {
        self.send(Command::Leave)
    }

    /// Ends the loop at once, without leaving: what was accepted is stored, and peers take this member for crashed.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn shutdown(&self) -> Result<(), Unavailable> {
        self.send(Command::Shutdown)
    }

    /// A function that wakes the loop to look at its store: for
    /// [`StoreWorker::spawn`](rumormill_kit::store::StoreWorker::spawn).
    pub fn notifier(&self) -> impl Fn() + Send + 'static {
        let waker = Arc::clone(&self.waker);
        move || wake(&waker)
    }

    fn send(&self, command: Command) -> Result<(), Unavailable> {
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                TrySendError::Full(_) => Unavailable::Busy {
                    limit: QUEUED_COMMANDS,
                },
                TrySendError::Disconnected(_) => Unavailable::Ended,
            })?;
        wake(&self.waker);
        Ok(())
    }
}

pub(crate) fn wake(waker: &Waker) {
    // It fails only when the event queue itself is gone, and then nobody sleeps there.
    let _ = waker.wake();
}
