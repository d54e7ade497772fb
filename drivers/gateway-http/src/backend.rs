//! The way from the gateway's thread to the node's loop.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rumormill_core::{
    Node, Now, TableId,
    errors::RequestError,
    io::{Request, Response},
};

use crate::error::{ApiError, UNAVAILABLE};
use crate::phase::LastPhase;

/// Called on the loop once in every turn in which tables changed, with those tables. It is short. It is dropped once it returns `false`.
pub type Listener = Box<dyn FnMut(&Node, Now, &[TableId]) -> bool + Send>;

/// A handle to a node on its driver's loop. Clones reach the same node.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Runs `f` on the loop and returns what it returned. `f` must be short: the whole node waits for it.
    ///
    /// # Errors
    /// [`Unavailable`] when the loop has ended or its queue stays full.
    fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Unavailable>> + Send;

    /// Hands a request to the node and waits for its reply.
    ///
    /// # Errors
    /// The node's, or [`RequestError::Halted`] when the loop has ended.
    fn request(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response, RequestError>> + Send;

    /// Has `listener` called on the loop at the end of every turn in which tables changed, from the next turn on.
    ///
    /// # Errors
    /// [`Unavailable`]; the listener was dropped.
    fn listen(&self, listener: Listener) -> Result<(), Unavailable>;

    /// Counters of the driver that `/metrics` shows: name without prefix and suffix, and value.
    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    /// Returns the present gauges of the driver, likewise. No name may be one of the node's own or of a counter.
    fn gauges(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// The loop has ended or takes no more work; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node takes no more work")]
pub struct Unavailable;

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        ApiError::new(UNAVAILABLE, "unavailable", error.to_string())
    }
}

/// How long anything may wait for the node.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// How long a probe tries, and how long it waits before it asks again.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_millis(50);

type Job = Box<dyn FnOnce(&mut Node, Now) + Send>;
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A backend without its type, so that the handlers are compiled once.
trait Erased: Send + Sync {
    fn run(&self, job: Job) -> Boxed<'_, Result<(), Unavailable>>;
    fn ask(&self, request: Request) -> Boxed<'_, Result<Response, RequestError>>;
    fn listen(&self, listener: Listener) -> Result<(), Unavailable>;
    fn counters(&self) -> Vec<(String, u64)>;
    fn gauges(&self) -> Vec<(String, u64)>;
}

impl<B: Backend> Erased for B {
    fn run(&self, job: Job) -> Boxed<'_, Result<(), Unavailable>> {
        Box::pin(self.with(job))
    }

    fn ask(&self, request: Request) -> Boxed<'_, Result<Response, RequestError>> {
        Box::pin(self.request(request))
    }

    fn listen(&self, listener: Listener) -> Result<(), Unavailable> {
        Backend::listen(self, listener)
    }

    fn counters(&self) -> Vec<(String, u64)> {
        Backend::counters(self)
    }

    fn gauges(&self) -> Vec<(String, u64)> {
        Backend::gauges(self)
    }
}

/// The calls of the handlers.
#[derive(Clone)]
pub(crate) struct Calls {
    backend: Arc<dyn Erased>,
    phase: LastPhase,
}

impl Calls {
    pub(crate) fn new<B: Backend>(backend: B) -> Self {
        Calls {
            backend: Arc::new(backend),
            phase: LastPhase::default(),
        }
    }

    /// The phase of the node at the last call.
    pub(crate) fn phase(&self) -> &LastPhase {
        &self.phase
    }

    pub(crate) async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let slot = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&slot);
        let phase = self.phase.clone();
        let job: Job = Box::new(move |node, now| {
            let value = f(node, now);
            phase.note(node);
            *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        });
        let run = async { self.backend.run(job).await.map_err(ApiError::from) };
        smol::future::or(run, late()).await?;
        let value = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| Unavailable.into())
    }

    /// As [`Calls::with`], for probes: a queue that is full at the moment is no sign of illness, so it is tried for a second.
    pub(crate) async fn with_patience<T: Send + 'static>(
        &self,
        f: impl Fn(&mut Node, Now) -> T + Clone + Send + 'static,
    ) -> Result<T, ApiError> {
        let begin = Instant::now();
        loop {
            match self.with(f.clone()).await {
                Err(_) if begin.elapsed() < PROBE_PATIENCE => {
                    smol::Timer::after(PROBE_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) async fn request(&self, request: Request) -> Result<Response, ApiError> {
        let reply = async { self.backend.ask(request).await.map_err(ApiError::from) };
        smol::future::or(reply, late()).await
    }

    /// Waits until everything accepted so far is durable.
    pub(crate) async fn sync(&self) -> Result<(), ApiError> {
        self.request(Request::Sync).await.map(|_| ())
    }

    pub(crate) fn listen(&self, listener: Listener) -> Result<(), ApiError> {
        Ok(self.backend.listen(listener)?)
    }

    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        self.backend.counters()
    }

    pub(crate) fn gauges(&self) -> Vec<(String, u64)> {
        self.backend.gauges()
    }
}

/// Fails once the patience is over, so that no client waits for a loop that is stuck.
async fn late<T>() -> Result<T, ApiError> {
    smol::Timer::after(REQUEST_PATIENCE).await;
    Err(RequestError::DeadlineExceeded.into())
}
