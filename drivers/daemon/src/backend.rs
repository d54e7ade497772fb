//! The HTTP gateway's way to the node on the mio loop.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use rumormill_core::{
    Node, Now,
    errors::RequestError,
    io::{Request, Response},
};
use rumormill_gateway_http::{Backend, Listener, Unavailable};
use rumormill_kit::handle::Error;
use rumormill_mio::{Counters, Handle};
use smol::{channel, future};

use crate::events::Event;
use crate::keeper::Keeper;

/// How long a request of an HTTP client may wait in the node.
const PATIENCE: Duration = Duration::from_secs(10);

/// The node on the loop, for the gateway's thread.
#[derive(Clone)]
pub(crate) struct OnLoop {
    pub(crate) handle: Handle,
    pub(crate) counters: Arc<Counters>,
    /// Hears of a leave that a client asks for: the process ends with it.
    pub(crate) events: Sender<Event>,
    /// Whether a client has asked for it.
    pub(crate) leaves: Arc<AtomicBool>,
    /// The care of its store, where it has one.
    pub(crate) keeper: Option<Arc<Keeper>>,
}

impl OnLoop {
    /// Leaves as the loop does by itself, which ends it in time. It is asked for once: a second order would cut the leave.
    async fn leave(&self) -> Result<Response, RequestError> {
        let calls = self.handle.calls();
        let mut left = pin!(calls.leave());
        // The order is given at the first poll.
        let outcome = match future::poll_once(left.as_mut()).await {
            Some(outcome) => outcome,
            None => {
                // No receiver is left when the process is about to end.
                let _ = self.events.send(Event::Leaves);
                left.await
            }
        };
        match outcome {
            Ok(handover) => Ok(Response::Left(handover)),
            Err(Error::Busy { limit }) => {
                self.leaves.store(false, Ordering::Relaxed);
                Err(RequestError::Busy { limit })
            }
            Err(_) => Err(RequestError::Halted),
        }
    }
}

impl Backend for OnLoop {
    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = channel::bounded(1);
        let job = move |node: &mut Node, now: Now| drop(reply.try_send(f(node, now)));
        self.handle.call(job).map_err(|_| Unavailable)?;
        answer.recv().await.map_err(|_| Unavailable)
    }

    async fn request(&self, request: Request) -> Result<Response, RequestError> {
        if matches!(request, Request::Leave) && !self.leaves.swap(true, Ordering::Relaxed) {
            return self.leave().await;
        }
        let (reply, answer) = channel::bounded(1);
        let done = move |result| drop(reply.try_send(result));
        match self.handle.ask(request, Some(PATIENCE), done) {
            Ok(()) => answer.recv().await.unwrap_or(Err(RequestError::Halted)),
            Err(rumormill_mio::Unavailable::Busy { limit }) => Err(RequestError::Busy { limit }),
            Err(rumormill_mio::Unavailable::Ended) => Err(RequestError::Halted),
        }
    }

    fn listen(&self, listener: Listener) -> Result<(), Unavailable> {
        self.handle
            .calls()
            .listen(listener)
            .map_err(|_| Unavailable)
    }

    fn counters(&self) -> Vec<(String, u64)> {
        self.counters.counted()
    }

    fn gauges(&self) -> Vec<(String, u64)> {
        let mut gauges = self.counters.gauges();
        gauges.extend(self.keeper.iter().flat_map(|keeper| keeper.gauges()));
        gauges
    }
}
