//! What waits to be written to one link, between the loop that queues it and the task that writes it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_lite::AsyncWrite;
use rumormill_core::Lane;
use rumormill_core::link::Frames;
use rumormill_kit::counters::{Counters, add};
use rumormill_kit::{Edge, QueueLimits, WriteQueue};

use rumormill_kit::answer::{keep, lock};
use rumormill_kit::links::SLICES;

/// A link's write queue. Only the link's own task waits for it.
pub(crate) struct Outgoing(Mutex<State>);

struct State {
    queue: WriteQueue,
    closing: bool,
    writer: Option<Waker>,
}

impl Outgoing {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Outgoing(Mutex::new(State {
            queue: WriteQueue::new(limits),
            closing: false,
            writer: None,
        }))
    }

    /// Queues bytes of the handshake, before all else, and wakes the writer.
    pub(crate) fn push_handshake(&self, bytes: Bytes) {
        lock(&self.0).queue.push_handshake(bytes);
        self.flush();
    }

    /// Queues a message for the next [`Outgoing::flush`]; `false` when it was dropped because too much waits.
    pub(crate) fn push(&self, lane: Lane, frames: Frames) -> bool {
        lock(&self.0).queue.push(lane, frames)
    }

    /// The link is to be closed once what it has is written.
    pub(crate) fn close(&self) {
        lock(&self.0).closing = true;
    }

    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.0).closing
    }

    /// Wakes the writer. Once a turn, so that a turn's messages share a write.
    pub(crate) fn flush(&self) {
        let writer = lock(&self.0).writer.take();
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Ends when there is something to write: `true`, or when the link is closing and all is written: `false`.
    pub(crate) async fn wanted(&self) -> bool {
        self.when(|state| match (state.queue.is_empty(), state.closing) {
            (false, _) => Some(true),
            (true, true) => Some(false),
            (true, false) => None,
        })
        .await
    }

    /// Ends when the link is to be closed.
    pub(crate) async fn closing(&self) {
        self.when(|state| state.closing.then_some(())).await
    }

    async fn when<T>(&self, ask: impl Fn(&State) -> Option<T>) -> T {
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            match ask(&state) {
                Some(answer) => Poll::Ready(answer),
                None => {
                    keep(&mut state.writer, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Writes what the stream takes, at least a byte, and says which mark of the queue that or a push has crossed.
    pub(crate) async fn write<S: AsyncWrite + Unpin>(
        &self,
        stream: &Mutex<S>,
        counters: &Counters,
    ) -> io::Result<Option<Edge>> {
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            let before = state.queue.len();
            let written = state.write(&mut *lock(stream), cx);
            let progress = before - state.queue.len();
            add(&counters.peer_bytes_out, progress as u64);
            match (written, state.queue.edge()) {
                (Err(error), _) => Poll::Ready(Err(error)),
                (Ok(()), None) if progress == 0 => {
                    keep(&mut state.writer, cx);
                    Poll::Pending
                }
                (Ok(()), edge) => Poll::Ready(Ok(edge)),
            }
        })
        .await
    }
}

impl State {
    /// Writes until the stream takes no more.
    fn write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.queue.fill(&mut slices);
            match Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..used]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.queue.advance(n),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }
}
