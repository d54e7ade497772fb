//! A byte stream that gives up on a client that stops reading, and tells how far its client has read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

/// How far the client of one connection has read, shared by the connection and by what streams to it.
#[derive(Default)]
pub(crate) struct Flow(Mutex<State>);

#[derive(Default)]
struct State {
    /// Bytes that were handed to the connection and that the system has not taken all of yet.
    owed: usize,
    /// Since when the system has taken nothing of them.
    stuck: Option<Instant>,
    /// Why the connection gave up, if it did.
    end: Option<FlowEnd>,
    /// Wakes the stream when nothing is owed any more.
    streamer: Option<Waker>,
    /// Wakes the connection when it is to be cut.
    connection: Option<Waker>,
}

/// Why a connection gave up on its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowEnd {
    /// The client took no byte for too long.
    SlowReader,
    /// The bytes that wait for it are needed elsewhere.
    Cut,
}

impl Flow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that are handed to the connection.
    pub(crate) fn owe(&self, bytes: usize) {
        self.state().owed += bytes;
    }

    /// Bytes that were handed to the connection since the system had last taken all.
    pub(crate) fn owed(&self) -> usize {
        self.state().owed
    }

    /// Waits until the system has taken all bytes that were handed to the connection.
    pub(crate) async fn drained(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state();
            if state.owed == 0 {
                return Poll::Ready(());
            }
            state.streamer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// How long the client has taken nothing of the bytes that wait for it.
    pub(crate) fn stuck_for(&self) -> Option<Duration> {
        self.state().stuck.map(|since| since.elapsed())
    }

    /// Ends the connection.
    pub(crate) fn cut(&self) {
        let mut state = self.state();
        state.end = Some(FlowEnd::Cut);
        if let Some(waker) = state.connection.take() {
            waker.wake();
        }
    }

    /// Why the connection gave up on its client, if it did.
    pub(crate) fn end(&self) -> Option<FlowEnd> {
        self.state().end
    }

    /// Notes that the system has taken some bytes, or all of them.
    fn progress(&self, all: bool) {
        let mut state = self.state();
        state.stuck = None;
        if all {
            state.owed = 0;
            if let Some(waker) = state.streamer.take() {
                waker.wake();
            }
        }
    }

    /// Notes that the system takes nothing; whether the connection is to be cut.
    fn blocked(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        state.stuck.get_or_insert_with(Instant::now);
        state.connection = Some(waker.clone());
        state.end.is_some()
    }

    fn give_up(&self) {
        self.state().end = Some(FlowEnd::SlowReader);
    }
}

/// Fails a write that makes no progress for so long. Reads wait as long as they like: hyper times those itself.
pub(crate) struct Patient<T> {
    inner: FuturesIo<T>,
    flow: Arc<Flow>,
    patience: Duration,
    waiting: Option<Timer>,
}

impl<T> Patient<T> {
    pub(crate) fn new(inner: T, flow: Arc<Flow>, patience: Duration) -> Self {
        Patient {
            inner: FuturesIo::new(inner),
            flow,
            patience,
            waiting: None,
        }
    }

    fn timed<R>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.waiting = None;
            self.flow.progress(false);
            return poll;
        }
        if self.flow.blocked(cx.waker()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let patience = self.patience;
        let timer = self.waiting.get_or_insert_with(|| Timer::after(patience));
        match Pin::new(timer).poll(cx) {
            Poll::Ready(_) => {
                self.flow.give_up();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> Read for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> Write for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.timed(cx, poll)
    }

    /// True, so that hyper writes values from where they are and copies none of them for each client.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.timed(cx, poll)
    }

    /// Is called by hyper when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(cx);
        if poll.is_ready() {
            self.flow.progress(true);
        }
        self.timed(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
