//! One bell for all that may have something for the loop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use rumormill_kit::answer::{keep, lock};

/// Rung by a caller that has put something where the loop will find it.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    sleeper: Mutex<Option<Waker>>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(sleeper) = lock(&self.sleeper).take()
        {
            sleeper.wake();
        }
    }

    /// Ready once after any number of rings.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        keep(&mut lock(&self.sleeper), cx);
        // It may have been rung before the waker was there.
        if self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
