//! One value from a loop to the caller that asked: a task, or a thread that waits.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Slot<T> {
    value: Option<T>,
    asker: Option<Waker>,
    over: bool,
}

/// Where the loop puts the value. Dropped without one, the asker gets nothing.
pub struct Reply<T>(Arc<Mutex<Slot<T>>>);

/// The value, or `None` when it will never come.
pub struct Answer<T>(Arc<Mutex<Slot<T>>>);

/// Both ends.
pub fn answer<T>() -> (Reply<T>, Answer<T>) {
    let slot = Arc::new(Mutex::new(Slot {
        value: None,
        asker: None,
        over: false,
    }));
    (Reply(Arc::clone(&slot)), Answer(slot))
}

impl<T> Reply<T> {
    /// Answers.
    pub fn send(self, value: T) {
        lock(&self.0).value = Some(value);
    }

    /// Returns whether the caller still waits.
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.over = true;
        let asker = slot.asker.take();
        drop(slot);
        if let Some(asker) = asker {
            asker.wake();
        }
    }
}

impl<T> Answer<T> {
    /// Waits for it. Never call it on the thread that has to answer.
    pub fn wait(self) -> Option<T> {
        block_on(self)
    }
}

/// Waits for a future on a thread that has nothing else to do.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::park();
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = lock(&self.0);
        if slot.over {
            return Poll::Ready(slot.value.take());
        }
        keep(&mut slot.asker, cx);
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Locks a mutex whose value is whole even if a thread panicked under the lock.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the waker of a task that goes to sleep.
pub fn keep(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_waits_for_its_answer_and_is_told_when_none_will_come() {
        let (reply, asked) = answer();
        let thread = thread::spawn(|| asked.wait());
        reply.send(7);
        assert_eq!(thread.join().unwrap(), Some(7));
        let (reply, asked) = answer::<u8>();
        let thread = thread::spawn(|| asked.wait());
        drop(reply);
        assert_eq!(thread.join().unwrap(), None);
    }

    #[test]
    fn a_reply_knows_whether_its_caller_waits() {
        let (reply, asked) = answer::<u8>();
        assert!(reply.is_awaited());
        drop(asked);
        assert!(!reply.is_awaited());
    }
}
