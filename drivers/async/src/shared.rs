//! The shared part of a driver's tasks: the way to the loop, and the sign that it has ended.

use std::convert::Infallible;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use rumormill_core::{LinkId, io::Input};
use rumormill_kit::channel::{Patience, Terms};
use rumormill_kit::counters::Counters;
use rumormill_kit::handle::Error;
use rumormill_kit::links::rest_after;

use crate::bell::Bell;
use crate::buffers::Buffers;
use crate::options::Options;
use crate::runtime::Runtime;

/// Reports that may wait for the loop. Each holds what one read brought.
const QUEUED_ARRIVALS: usize = 256;

/// News of a task for the loop.
pub(crate) enum Arrival<S> {
    /// A peer connected.
    Accepted(S),
    /// Something happened on a link.
    Inputs(LinkId, Vec<Input>),
    /// A link or a dial is over; its task's last word.
    Ended(Box<Ended>),
}

/// A link that is over.
pub(crate) struct Ended {
    pub(crate) link: LinkId,
    pub(crate) is_dialled: bool,
    /// For the node.
    pub(crate) told: Option<Input>,
}

/// Every task shares it.
pub(crate) struct Shared<R: Runtime> {
    pub(crate) runtime: R,
    pub(crate) options: Options,
    pub(crate) terms: Terms,
    pub(crate) counters: Arc<Counters>,
    pub(crate) buffers: Buffers,
    arrivals: Sender<Arrival<R::Stream>>,
    pub(crate) bell: Arc<Bell>,
    /// Carries nothing, and closes when the loop ends.
    stop: Receiver<Infallible>,
}

/// The loop's end.
pub(crate) struct Reports<R: Runtime> {
    pub(crate) arrivals: Receiver<Arrival<R::Stream>>,
    /// Dropped with the loop.
    pub(crate) stop: Sender<Infallible>,
}

impl<R: Runtime> Shared<R> {
    pub(crate) fn open(
        runtime: R,
        options: Options,
        bell: Arc<Bell>,
    ) -> (Arc<Shared<R>>, Reports<R>) {
        let (sender, arrivals) = async_channel::bounded(QUEUED_ARRIVALS);
        let (stop, stopped) = async_channel::bounded(1);
        let counters = Arc::<Counters>::default();
        let patience = Patience {
            handshake: options.handshake_timeout,
            stall: options.stall_timeout,
        };
        let terms = Terms {
            patience,
            queue: options.queue,
            counters: Arc::clone(&counters),
        };
        let shared = Shared {
            runtime,
            options,
            terms,
            counters,
            buffers: Buffers::default(),
            arrivals: sender,
            bell,
            stop: stopped,
        };
        (Arc::new(shared), Reports { arrivals, stop })
    }

    /// Waits for room; an error when the loop has ended.
    pub(crate) async fn report(&self, arrival: Arrival<R::Stream>) -> Result<(), Error> {
        let sent = self.arrivals.send(arrival).await;
        sent.map_err(|_| Error::Closed)?;
        self.bell.ring();
        Ok(())
    }

    /// Ends when the loop has ended.
    pub(crate) async fn stopped(&self) {
        // Nothing is ever sent.
        let _ = self.stop.recv().await;
    }

    /// Accepts peers until the loop ends.
    pub(crate) async fn accept(self: Arc<Self>, listener: R::Listener) {
        let accepting = async {
            loop {
                match self.runtime.accept(&listener).await {
                    Ok(stream) => {
                        if self.report(Arrival::Accepted(stream)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        if let Some(rest) = rest_after(&self.options.peers, &error) {
                            self.runtime.sleep(rest).await;
                        }
                    }
                }
            }
        };
        future::or(accepting, self.stopped()).await;
    }
}
