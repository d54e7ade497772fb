//! The timer that ends the loop's sleep.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::runtime::Runtime;

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A timer that is set anew only when it would ring too late. One that rings early costs a turn; one for every turn would cost
/// more.
pub(crate) struct Alarm<R: Runtime> {
    runtime: R,
    set: Option<(Instant, Timer)>,
}

impl<R: Runtime> Alarm<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Alarm { runtime, set: None }
    }

    /// Ready at `deadline` or somewhat before; `None` is never.
    pub(crate) fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let now = Instant::now();
        if deadline <= now {
            return Poll::Ready(());
        }
        let runtime = &self.runtime;
        let set = self.set.take().filter(|(at, _)| *at <= deadline);
        let (at, mut timer) = set.unwrap_or_else(|| {
            let runtime = runtime.clone();
            let time = deadline - now;
            let timer: Timer = Box::pin(async move { runtime.sleep(time).await });
            (deadline, timer)
        });
        let polled = timer.as_mut().poll(cx);
        if polled.is_pending() {
            self.set = Some((at, timer));
        }
        polled
    }
}
