//! One link to a peer without its socket: bytes in, inputs for the node out, bytes to be written, and one deadline.
//!
//! A loop makes a [`Channel`] for each socket and calls [`Channel::open`] once the socket is connected. It hands in what it reads
//! ([`Channel::receive`]), lets the channel write once per turn and when the socket takes more ([`Channel::write_to`]), and calls
//! [`Channel::expire`] at [`Channel::next_deadline`]. An error of any of these says that the link is over. So do the end of the
//! stream, for a reason that [`Channel::ended`] knows, and [`Channel::is_done`]. The loop then drops the socket and gives the
//! channel to [`Channel::end`]. Sockets, readiness and the clock stay with the loop.
//!
//! TLS has its place here, between the socket's bytes and those of the [`Connection`]: [`Channel::receive`] would decrypt before
//! the connection sees anything, [`Channel::write_to`] would encrypt what the queue gives, and the handshake of TLS would come
//! before the opening, under the same deadline. No loop would change for it.

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumormill_core::link::{Connection, Frames, LinkEvent};
use rumormill_core::{
    DialId, LinkId,
    io::{Input, Lane, LinkError},
};

use crate::counters::{Counters, add};
use crate::links::{PARTING, count_failure};
use crate::queue::{Edge, QueueLimits, WriteQueue};

/// How long a peer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the opening to the end of the handshake.
    pub handshake: Duration,
    /// Without taking a byte of what waits for it.
    pub stall: Duration,
}

/// The terms that all channels of one driver have in common.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long a peer may take.
    pub patience: Patience,
    /// How much may wait for one peer.
    pub queue: QueueLimits,
    /// Where bytes, drops and failures are counted.
    pub counters: Arc<Counters>,
}

/// One link: its handshake, its messages in both directions, what waits to be written, and how long all that may take.
#[derive(Debug)]
pub struct Channel {
    link: LinkId,
    dial: Option<DialId>,
    conn: Connection,
    queue: WriteQueue,
    stage: Stage,
    /// Whether the node has been told of the link.
    is_told: bool,
    deadline: Option<Instant>,
    patience: Patience,
    counters: Arc<Counters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The socket is not connected yet.
    Idle,
    Handshake,
    Up,
    /// Hung up by this side: writes what it has, reads nothing.
    Closing,
    /// Ended by what came: the last words may still be written.
    Failed,
}

impl Channel {
    /// Makes the channel of a socket that may still have to connect. `dial` is that of the node, if this side connects.
    pub fn new(link: LinkId, dial: Option<DialId>, conn: Connection, terms: &Terms) -> Self {
        Channel {
            link,
            dial,
            conn,
            queue: WriteQueue::new(terms.queue),
            stage: Stage::Idle,
            is_told: false,
            deadline: None,
            patience: terms.patience,
            counters: Arc::clone(&terms.counters),
        }
    }

    /// Starts the handshake: the socket is connected. Nothing starts on a link that was hung up before.
    pub fn open(&mut self, now: Instant) {
        if self.stage != Stage::Idle {
            return;
        }
        self.stage = Stage::Handshake;
        self.queue.push_handshake(self.conn.opening());
        self.deadline = Some(now + self.patience.handshake);
    }

    /// Takes bytes that were read, cut anywhere, and adds what they complete to the inputs of the node. Bytes that come after
    /// [`Channel::close`] are passed over.
    ///
    /// # Errors
    ///
    /// The bytes are no use, or one of the two sides refuses the other. Inputs that were completed before are in `inputs`. The reason for the
    /// peer, if it gets one, waits in the queue: the loop writes once more.
    pub fn receive(&mut self, bytes: &[u8], inputs: &mut Vec<Input>) -> Result<(), LinkError> {
        add(&self.counters.peer_bytes_in, bytes.len() as u64);
        if !self.reads() {
            return Ok(());
        }
        let mut events = Vec::new();
        let received = self.conn.receive(bytes, &mut events);
        for event in events {
            self.take(event, inputs);
        }
        received.inspect_err(|_| self.fail())
    }

    fn take(&mut self, event: LinkEvent, inputs: &mut Vec<Input>) {
        let (link, dial) = (self.link, self.dial);
        inputs.push(match event {
            LinkEvent::Write(bytes) => return self.queue.push_handshake(bytes),
            LinkEvent::Up(hello) => {
                self.stage = Stage::Up;
                self.is_told = true;
                self.deadline = None;
                Input::LinkUp { link, dial, hello }
            }
            LinkEvent::Message(msg) => Input::Message { link, msg },
        });
    }

    /// Notes that the link is over. Nothing that waits is of use any more, but a refused peer is told the reason at the end of the handshake.
    fn fail(&mut self) {
        self.stage = Stage::Failed;
        self.deadline = None;
        match self.conn.parting() {
            // No frame waits before the link is up. A link that was up is refused by the peer alone.
            Some(words) if !self.is_told => self.queue.push_handshake(words),
            _ => self.queue.clear(),
        }
    }

    /// Says why the link is over when its stream has ended.
    pub fn ended(&self) -> LinkError {
        match self.stage {
            // It was cut where this side stopped reading.
            Stage::Closing => LinkError::Closed,
            _ => self.conn.end(),
        }
    }

    /// Queues a message, unless the link is not up. One that does not fit is dropped and counted; the protocol repairs that.
    pub fn push(&mut self, lane: Lane, frames: &Frames) {
        if self.stage == Stage::Up && !self.queue.push(lane, frames.clone()) {
            add(&self.counters.dropped_messages, 1);
        }
    }

    /// Hangs up: what waits is still written, for a while.
    pub fn close(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Closing | Stage::Failed) {
            self.stage = Stage::Closing;
            self.deadline = Some(now + PARTING);
        }
    }

    /// Writes until all is written or `out` takes no more; `out` is the socket, and says that it would block where it does. Tells the
    /// node when the queue has crossed one of its marks.
    ///
    /// # Errors
    ///
    /// [`LinkError::Broken`], when `out` fails.
    pub fn write_to(
        &mut self,
        now: Instant,
        out: &mut impl Write,
        inputs: &mut Vec<Input>,
    ) -> Result<(), LinkError> {
        if self.stage == Stage::Idle {
            return Ok(());
        }
        let before = self.queue.len();
        let written = self.queue.write_to(out);
        let left = self.queue.len();
        add(&self.counters.peer_bytes_out, (before - left) as u64);
        written.map_err(|_| LinkError::Broken)?;
        if self.stage == Stage::Failed {
            return Ok(());
        }
        let link = self.link;
        match self.queue.edge() {
            Some(Edge::Congested) => inputs.push(Input::Congested { link }),
            Some(Edge::Drained) => inputs.push(Input::Drained { link }),
            None => {}
        }
        if self.stage == Stage::Up {
            if left == 0 {
                self.deadline = None;
            } else if left < before || self.deadline.is_none() {
                self.deadline = Some(now + self.patience.stall);
            }
        }
        Ok(())
    }

    /// Whether anything waits to be written.
    pub fn has_output(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether what is read is of use: not before the socket is connected, and not after the link was hung up or has failed.
    pub fn reads(&self) -> bool {
        matches!(self.stage, Stage::Handshake | Stage::Up)
    }

    /// Whether this side has hung up.
    pub fn is_closing(&self) -> bool {
        self.stage == Stage::Closing
    }

    /// Whether this side has hung up and all is written: the link is over, as [`LinkError::Closed`].
    pub fn is_done(&self) -> bool {
        self.is_closing() && self.queue.is_empty()
    }

    /// Whether the node has been told of the link.
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    /// Notes that the inputs which began with [`Input::LinkUp`] were lost on their way to the node.
    pub fn untell(&mut self) {
        self.is_told = false;
    }

    /// Gives the connection back, for another socket: nothing was written with its handshake.
    pub fn into_connection(self) -> Connection {
        debug_assert_eq!(self.stage, Stage::Idle);
        self.conn
    }

    /// The dial that the link came from.
    pub fn dial(&self) -> Option<DialId> {
        self.dial
    }

    /// When the peer will have taken too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives up a peer that has taken too long.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`] of a handshake or of a peer that reads nothing, [`LinkError::Closed`] of a link that was hung up.
    pub fn expire(&self, now: Instant) -> Result<(), LinkError> {
        match self.deadline {
            Some(at) if at <= now => Err(match self.stage {
                Stage::Closing => LinkError::Closed,
                _ => LinkError::TimedOut,
            }),
            _ => Ok(()),
        }
    }

    /// Ends the link: counts the reason, and returns what the node has to be told. It hears once of every link that it knows and of
    /// every dial. `peer` is the other side's address, for the log.
    pub fn end(&self, why: LinkError, peer: &dyn Display) -> Option<Input> {
        count_failure(&self.counters, &why, self.dial.is_some(), peer);
        let link = self.link;
        match (self.is_told, self.dial) {
            (true, _) => Some(Input::LinkDown { link, why }),
            (false, Some(dial)) => Some(Input::DialFailed { dial, why }),
            (false, None) => {
                tracing::debug!(?why, "a handshake failed");
                None
            }
        }
    }
}
