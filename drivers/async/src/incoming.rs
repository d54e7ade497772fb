//! Bytes of one link, as events. Buffers are lent for a read each, so that an idle link owns none.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures_lite::AsyncRead;
use rumormill_core::LinkError;
use rumormill_core::link::{Connection, LinkEvent};
use rumormill_kit::counters::{Counters, add};

use rumormill_kit::answer::lock;
use rumormill_kit::links::READ_BYTES;

/// Buffers that are kept.
const BUFFERS: usize = 8;

/// Buffers for all links of a driver.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn lend(&self) -> Vec<u8> {
        let kept = lock(&self.0).pop();
        kept.unwrap_or_else(|| vec![0; READ_BYTES])
    }

    fn take_back(&self, buffer: Vec<u8>) {
        let mut kept = lock(&self.0);
        if kept.len() < BUFFERS {
            kept.push(buffer);
        }
    }
}

/// What one read brought: events, and why they are the last.
pub(crate) struct Arrived {
    pub(crate) bytes: usize,
    pub(crate) events: Vec<LinkEvent>,
    pub(crate) end: Option<LinkError>,
}

/// Reads once.
pub(crate) async fn read<S: AsyncRead + Unpin>(
    stream: &Mutex<S>,
    conn: &mut Connection,
    buffers: &Buffers,
    counters: &Counters,
) -> Arrived {
    poll_fn(|cx| {
        let mut buffer = buffers.lend();
        let polled = poll_read(&mut *lock(stream), cx, &mut buffer);
        let arrived = polled.map(|read| {
            let mut events = Vec::new();
            let (bytes, end) = match read {
                Ok(0) => (0, Some(conn.end())),
                Ok(n) => (n, conn.receive(&buffer[..n], &mut events).err()),
                Err(_) => (0, Some(LinkError::Broken)),
            };
            add(&counters.peer_bytes_in, bytes as u64);
            Arrived { bytes, events, end }
        });
        buffers.take_back(buffer);
        arrived
    })
    .await
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
