//! What a driver asks of a client protocol: bytes in, replies out, no socket.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use rumormill_core::{Node, Now, RequestError, Row, Seq, TableId};

/// Bytes of replies beyond which a session stops producing and a driver stops reading its client.
pub const REPLIES_MARK: usize = 1 << 20;

/// One client of a node, as a state machine over bytes. Drivers own the socket and the write buffer.
///
/// A session never waits for durability itself: it executes the whole pipeline at once and calls [`Replies::hold`]
/// before it appends a reply that must not be seen earlier than its batch is durable. The driver writes up to there, so
/// that one sync covers all commands of all clients of a turn, and the order of replies is kept.
pub trait Session {
    /// Takes all of `input`, a piece of the client's stream cut anywhere, executes the commands it completes and appends
    /// their replies. What is left over, an unfinished command or commands after [`Flow::Full`], is kept by the session;
    /// it gets no more input until [`Session::resume`] returns [`Flow::Continue`]. One call gets at most 64 KiB.
    fn receive(&mut self, now: Now, node: &mut Node, input: &[u8], replies: &mut Replies) -> Flow;

    /// Goes on after [`Flow::Full`], when the client has taken most of its replies, and after [`Flow::Store`], when the store has caught up.
    fn resume(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow;

    /// Goes on after [`Flow::Await`], with the row as the node read it, `None` if it is gone. The row may have changed since:
    /// the value is that of the row if the versions are the same.
    fn loaded(
        &mut self,
        now: Now,
        node: &mut Node,
        row: Result<Option<Row>, RequestError>,
        replies: &mut Replies,
    ) -> Flow {
        let _ = row;
        self.resume(now, node, replies)
    }

    /// Whether [`Session::changed`] is to be called. Asked after each of the other calls.
    fn watches(&self) -> bool {
        false
    }

    /// A table has changes that the node's view shows; at most once per table and turn. When [`Replies::is_full`], a session
    /// leaves them for its next call, and closes when it finds that it has lagged behind the log. Not called while the session takes no
    /// input: [`Session::resume`] and [`Session::loaded`] look for changes once they have nothing else to say.
    fn changed(
        &mut self,
        now: Now,
        node: &mut Node,
        table: TableId,
        replies: &mut Replies,
    ) -> Flow {
        let _ = (now, node, table, replies);
        Flow::Continue
    }
}

/// What a session wants next. Exhaustive: a driver has to obey each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More input.
    Continue,
    /// No input: [`Replies::is_full`] and more is to be said. [`Session::resume`] is called once the client has read.
    Full,
    /// No input: this row is to be read, because its value is only in the store. [`Session::loaded`] is called with it.
    Await(TableId, Bytes),
    /// No input: the next command writes, and the store lags behind ([`Node::pressure`]). [`Session::resume`] is called once it has caught up.
    /// A session that goes on writing instead is refused as busy by the node in the end.
    Store,
    /// Nothing: the connection is closed when all replies are written. The session is not called again.
    Close,
}

/// Makes the sessions of one listener.
pub trait Clients {
    /// The protocol.
    type Session: Session;

    /// A client connected. `id` grows and is never used twice; `clients` counts the connected ones, this one included.
    fn accept(&mut self, id: u64, peer: SocketAddr, clients: usize) -> Self::Session;

    /// What to tell a client that is one too many before it is closed.
    fn too_many(&self) -> &'static [u8] {
        b"-ERR max number of clients reached\r\n"
    }
}

/// The replies of one client that are not written yet, and which of them wait for the store.
#[derive(Debug, Default)]
pub struct Replies {
    buf: Vec<u8>,
    /// Bytes of `buf` that are written already.
    written: usize,
    /// From which place in `buf` on replies wait for which batch. Both ascend.
    held: VecDeque<(usize, Seq)>,
    commands: u64,
}

impl Replies {
    /// No replies; owns no memory.
    pub const fn new() -> Self {
        Replies {
            buf: Vec::new(),
            written: 0,
            held: VecDeque::new(),
            commands: 0,
        }
    }

    /// Where replies are appended. Nothing that is in it may be changed.
    pub fn buf(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// Withholds all that is appended from now on until `seq` is durable. Call it only for what is not durable yet.
    pub fn hold(&mut self, seq: Seq) {
        if self.held.back().is_none_or(|&(_, last)| last < seq) {
            self.held.push_back((self.buf.len(), seq));
        }
    }

    /// Bytes not written yet, the withheld ones included.
    pub fn len(&self) -> usize {
        self.buf.len() - self.written
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`REPLIES_MARK`] is reached: a session finishes the reply at hand, or pauses within it, and returns
    /// [`Flow::Full`].
    pub fn is_full(&self) -> bool {
        self.len() >= REPLIES_MARK
    }

    /// Counts executed commands, for the driver's metrics.
    pub fn count_commands(&mut self, commands: u64) {
        self.commands += commands;
    }

    /// For drivers: commands counted since the last call.
    pub fn take_commands(&mut self) -> u64 {
        std::mem::take(&mut self.commands)
    }

    /// For drivers: releases what waited for `durable` or less, and says what the rest waits for.
    pub fn release(&mut self, durable: Seq) -> Option<Seq> {
        while self.held.front().is_some_and(|&(_, seq)| seq <= durable) {
            self.held.pop_front();
        }
        self.held.front().map(|&(_, seq)| seq)
    }

    /// For drivers: the bytes that may be written now.
    pub fn ready(&self) -> &[u8] {
        let end = self.held.front().map_or(self.buf.len(), |&(from, _)| from);
        &self.buf[self.written..end]
    }

    /// For drivers: the first `n` ready bytes are written.
    pub fn advance(&mut self, n: usize) {
        self.written += n.min(self.ready().len());
        // Moving what is left down costs at most as much as writing what went before it.
        if self.written > 0 && self.written >= self.buf.len() / 2 {
            self.buf.drain(..self.written);
            for (from, _) in &mut self.held {
                *from -= self.written;
            }
            self.written = 0;
        }
    }

    /// For drivers: lends a buffer to replies that own none, so that idle clients hold no memory.
    pub fn lend(&mut self, spare: Vec<u8>) {
        if self.buf.capacity() == 0 {
            self.buf = spare;
        }
    }

    /// For drivers: whether there is a buffer.
    pub fn has_buffer(&self) -> bool {
        self.buf.capacity() > 0
    }

    /// For drivers: takes the buffer back once everything is written.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        (self.buf.is_empty() && self.held.is_empty() && self.has_buffer())
            .then(|| std::mem::take(&mut self.buf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_replies_keep_their_order_behind_the_store() {
        let mut replies = Replies::new();
        replies.buf().extend_from_slice(b"a");
        replies.hold(Seq(2));
        replies.buf().extend_from_slice(b"b");
        replies.hold(Seq(1));
        replies.buf().extend_from_slice(b"c");
        replies.hold(Seq(3));
        replies.buf().extend_from_slice(b"d");
        assert_eq!(replies.ready(), b"a");
        replies.advance(1);
        assert_eq!(replies.release(Seq(1)), Some(Seq(2)));
        assert_eq!(replies.ready(), b"");
        assert_eq!(replies.release(Seq(2)), Some(Seq(3)));
        assert_eq!(replies.ready(), b"bc");
        replies.advance(2);
        assert_eq!((replies.ready(), replies.len()), (&b""[..], 1));
        assert_eq!(replies.reclaim(), None);
        assert_eq!(replies.release(Seq(3)), None);
        assert_eq!(replies.ready(), b"d");
        replies.advance(1);
        assert!(replies.is_empty() && replies.reclaim().is_some());
    }
}
