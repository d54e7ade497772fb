//! A link's channel between the loop that queues messages and the task that reads and writes.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncWrite};
use rumormill_core::io::{Input, LinkError};
use rumormill_kit::answer::{keep, lock};
use rumormill_kit::channel::Channel;

use crate::alarm::Alarm;
use crate::buffers::Buffers;
use crate::runtime::Runtime;

/// A link's channel, and its task where it waits. Only the link's own task waits for it. A lock of the channel is never held while
/// another is taken, but for that of the stream, which no other task has.
pub(crate) struct SharedChannel {
    channel: Mutex<Channel>,
    task: Mutex<Option<Waker>>,
}

/// The inputs that one read brought, and why they are the last.
pub(crate) struct Arrived {
    pub(crate) bytes: usize,
    pub(crate) inputs: Vec<Input>,
    pub(crate) end: Option<LinkError>,
}

impl SharedChannel {
    pub(crate) fn new(channel: Channel) -> Self {
        SharedChannel {
            channel: Mutex::new(channel),
            task: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Channel> {
        lock(&self.channel)
    }

    /// Wakes the task, which writes. Once a turn, so that a turn's messages share a write.
    pub(crate) fn flush(&self) {
        let task = lock(&self.task).take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Reads once.
    pub(crate) async fn read<S: AsyncRead + Unpin>(
        &self,
        stream: &Mutex<S>,
        buffers: &Buffers,
    ) -> Arrived {
        poll_fn(|cx| {
            let mut buffer = buffers.lend();
            let polled = poll_read(&mut *lock(stream), cx, &mut buffer);
            let arrived = polled.map(|read| {
                let (mut channel, mut inputs) = (self.lock(), Vec::new());
                let (bytes, end) = match read {
                    Ok(0) => (0, Some(channel.ended())),
                    Ok(n) => (n, channel.receive(&buffer[..n], &mut inputs).err()),
                    Err(_) => (0, Some(LinkError::Broken)),
                };
                Arrived { bytes, inputs, end }
            });
            buffers.take_back(buffer);
            arrived
        })
        .await
    }

    /// Writes as long as there is something to write, and ends with what the node has to be told of that.
    ///
    /// # Errors
    ///
    /// Why the link is over: its stream broke, or it was hung up and all is written.
    pub(crate) async fn write<S: AsyncWrite + Unpin>(
        &self,
        stream: &Mutex<S>,
    ) -> Result<Vec<Input>, LinkError> {
        poll_fn(|cx| {
            keep(&mut lock(&self.task), cx);
            let (mut channel, mut inputs) = (self.lock(), Vec::new());
            self.poll_write(&mut channel, stream, cx, &mut inputs)?;
            match (inputs.is_empty(), channel.is_done()) {
                (false, _) => Poll::Ready(Ok(inputs)),
                (true, true) => Poll::Ready(Err(LinkError::Closed)),
                (true, false) => Poll::Pending,
            }
        })
        .await
    }

    /// Writes all that is left, or what there is until the stream breaks.
    pub(crate) async fn write_last<S: AsyncWrite + Unpin>(&self, stream: &Mutex<S>) {
        poll_fn(|cx| {
            let mut channel = self.lock();
            let written = self.poll_write(&mut channel, stream, cx, &mut Vec::new());
            match written.is_err() || !channel.has_output() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        channel: &mut Channel,
        stream: &Mutex<S>,
        cx: &mut Context<'_>,
        inputs: &mut Vec<Input>,
    ) -> Result<(), LinkError> {
        if !channel.has_output() {
            return Ok(());
        }
        let stream = &mut *lock(stream);
        let mut socket = Socket { stream, cx };
        channel.write_to(Instant::now(), &mut socket, inputs)
    }

    /// Ends with the reason when the peer has taken too long.
    pub(crate) async fn late<R: Runtime>(&self, runtime: &R) -> LinkError {
        let mut alarm = Alarm::new(runtime.clone());
        poll_fn(|cx| {
            loop {
                // Whatever moves the deadline wakes the task.
                let deadline = self.lock().next_deadline();
                if alarm.poll(deadline, cx).is_pending() {
                    return Poll::Pending;
                }
                if let Err(why) = self.lock().expire(Instant::now()) {
                    return Poll::Ready(why);
                }
            }
        })
        .await
    }
}

/// A stream within one poll: it would block where the poll is pending.
struct Socket<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: AsyncWrite + Unpin> Write for Socket<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write_vectored(self.cx, slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        match Pin::new(&mut *stream).poll_read(cx, buffer) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            polled => return polled,
        }
    }
}
