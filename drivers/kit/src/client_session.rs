//! A client protocol as a driver sees it: bytes in, replies out, no socket.

mod budget;
mod replies;

use std::net::SocketAddr;

use rumormill_core::{Node, Now, errors::RequestError, io::Response};

pub use budget::{Budget, ClientOutput, Place, Turn};
pub use replies::{Ask, Replies, Slot, Ticket};

/// Bytes of replies beyond which a client session stops producing and a driver stops reading its client, while there is room for all.
pub const REPLIES_MARK: usize = 1 << 20;

/// One client of a node, as a state machine over bytes. Drivers own the socket and the write buffer.
///
/// A client session never waits for durability itself: it executes the whole pipeline at once and calls [`Replies::hold`]
/// before it appends a reply that must not be seen earlier than its batch is durable. The driver writes up to there, so
/// that one sync covers all commands of all clients of a turn, and the order of replies is kept.
///
/// A command that has to wait, for a value from the store or for a table whose mode answers later, takes a [slot](Replies::slot),
/// [asks](Replies::ask) for the operation, and lets the commands behind it go on where it may. A waiting command costs nothing until its
/// answer comes.
///
/// One call takes a few milliseconds at most, whatever the client sent: a client session that has more to do returns [`Flow::Yield`].
pub trait ClientSession {
    /// Takes all of `input`, a piece of the client's stream cut anywhere, executes the commands it completes and appends
    /// their replies. What is left over, an unfinished command or commands after another flow than [`Flow::Continue`], is kept by the
    /// client session; it gets no more input until one of its calls returns [`Flow::Continue`]. One call gets at most 64 KiB.
    fn receive(&mut self, now: Now, node: &mut Node, input: &[u8], replies: &mut Replies) -> Flow;

    /// Goes on after [`Flow::Full`], when the client has taken most of its replies; after [`Flow::Yield`], in the next turn; after
    /// [`Flow::Wait`], when the budget says that it is [due](Budget::due); and after [`Flow::Store`], when the store has caught up.
    fn resume(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow;

    /// Brings the answer to an operation that the client session asked for. A row may have changed since: the value is that of the row if the versions
    /// are the same. Called in any state but after [`Flow::Close`].
    fn answered(
        &mut self,
        now: Now,
        node: &mut Node,
        ticket: Ticket,
        answer: Result<Response, RequestError>,
        replies: &mut Replies,
    ) -> Flow {
        let _ = (ticket, answer);
        self.resume(now, node, replies)
    }

    /// Whether [`ClientSession::changed`] is to be called. Asked after each of the other calls.
    fn watches(&self) -> bool {
        false
    }

    /// Tables have changes that the node's view shows; at most once per turn. When [`Replies::is_full`], a client session
    /// leaves them for its next call, and closes when it finds that it has lagged behind the log. Not called while the client session takes no
    /// input: [`ClientSession::resume`] and [`ClientSession::answered`] look for changes once they have nothing else to say.
    fn changed(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        let _ = (now, node, replies);
        Flow::Continue
    }

    /// Bytes that the client session holds for replies to come and for commands that were not carried out yet, those in [`Replies`] not
    /// counted. O(1).
    fn footprint(&self) -> usize {
        0
    }
}

/// The next wish of a client session. Exhaustive: a driver has to obey each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More input.
    Continue,
    /// No input: [`Replies::is_full`] and more is to be said. [`ClientSession::resume`] is called once the client has read.
    Full,
    /// No input: more is to be done than one turn has time for. [`ClientSession::resume`] is called in the next turn.
    Yield,
    /// No input: what comes next waits for an answer, or for room. [`ClientSession::answered`] or [`ClientSession::resume`] is called.
    Wait,
    /// No input: the next command writes, and the store lags behind ([`Node::pressure`]). [`ClientSession::resume`] is called once it has caught up.
    /// A client session that goes on writing instead is refused as busy by the node in the end.
    Store,
    /// Nothing: the connection is closed when all replies are written; no slot is open. The client session is not called again.
    Close,
}

/// Makes the client sessions of one listener.
pub trait Clients {
    /// The protocol.
    type ClientSession: ClientSession;

    /// A client connected. `id` grows and is never used twice; `clients` counts the connected ones, this one included.
    fn accept(&mut self, id: u64, peer: SocketAddr, clients: usize) -> Self::ClientSession;

    /// Returns the bytes to tell a client that is one too many before it is closed.
    fn too_many(&self) -> &'static [u8] {
        b"-ERR max number of clients reached\r\n"
    }
}
