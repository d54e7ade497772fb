//! The real bytes of messages: the handshake, frames and codec that a driver would use, between the nodes of a plan with
//! `codec on`.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::link::{Connection, Hello, LinkEvent, LinkLimits, Nonce, encode};
use rumormill_core::wire::Message;
use rumormill_core::{
    LinkId,
    io::{Lane, LinkError},
};

use crate::checkers::{Violation, replays};

/// So many bytes of each stream are recorded at least, if there are as many: its handshake, and the first messages.
const RECORDED: usize = 512;

/// The reading end of every link that is up, and recordings of links.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    ends: BTreeMap<LinkId, End>,
    /// How the latest stream to the first node from the second began.
    recordings: BTreeMap<(usize, usize), Vec<u8>>,
    events: Vec<LinkEvent>,
}

#[derive(Debug)]
struct End {
    conn: Connection,
    way: (usize, usize),
}

impl Wire {
    /// The end `link` comes up, at a node whose side of the stream is `conn` and whose peer says `theirs` of itself; returns what has
    /// arrived of that. `way` is the node and its peer.
    ///
    /// # Errors
    /// The errors of the handshake. The end does not come up.
    pub(crate) fn open(
        &mut self,
        link: LinkId,
        way: (usize, usize),
        mut conn: Connection,
        theirs: Hello,
    ) -> Result<Hello, LinkError> {
        // Each end of a link is opened by itself, and the other may be gone: this stands for it.
        let nonce = Nonce::new([link.0, !0]);
        let mut peer = Connection::new(theirs, nonce, LinkLimits::default());
        let mut sent = peer.opening().to_vec();
        conn.receive(&sent, &mut self.events)?;
        let answer = self.answer()?;
        peer.receive(&conn.opening(), &mut self.events)?;
        let proof = self.answer()?;
        peer.receive(&answer, &mut self.events)?;
        self.hello()?;
        conn.receive(&proof, &mut self.events)?;
        sent.extend_from_slice(&proof);
        self.recordings.insert(way, sent);
        self.ends.insert(link, End { conn, way });
        self.hello()
    }

    /// Returns one side's answer to the hello of the other.
    fn answer(&mut self) -> Result<Bytes, LinkError> {
        match self.events.pop() {
            Some(LinkEvent::Write(bytes)) => Ok(bytes),
            _ => Err(LinkError::Malformed),
        }
    }

    fn hello(&mut self) -> Result<Hello, LinkError> {
        match self.events.pop() {
            Some(LinkEvent::Up(hello)) => Ok(hello),
            _ => Err(LinkError::Malformed),
        }
    }

    /// Whether there is a recording of an earlier stream to the first node from the second.
    pub(crate) fn has_recorded(&self, way: (usize, usize)) -> bool {
        self.recordings.contains_key(&way)
    }

    /// Plays the recording back on a stream of which `conn` is the node's side, and judges what the node makes of it.
    pub(crate) fn replay(
        &mut self,
        at_us: u64,
        way: (usize, usize),
        mut conn: Connection,
    ) -> Option<Violation> {
        let recorded = self.recordings.get(&way)?;
        self.events.clear();
        let end = conn.receive(recorded, &mut self.events);
        let found = replays::believed((at_us, way.0, way.1), &self.events, &end);
        self.events.clear();
        found
    }

    /// The bytes of a message arrive at the end `link`; `harm` may change them on their way. `None` when they complete no
    /// message.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] when they cannot be read: the link is of no more use.
    pub(crate) fn carry(
        &mut self,
        link: LinkId,
        msg: &Message,
        lane: Lane,
        harm: impl FnOnce(&mut [u8]),
    ) -> Result<Option<Message>, LinkError> {
        let end = self.ends.get_mut(&link).ok_or(LinkError::Closed)?;
        let frames = encode(msg, lane).map_err(|_| LinkError::Malformed)?;
        let mut bytes = frames.as_bytes().to_vec();
        if let Some(recorded) = self.recordings.get_mut(&end.way)
            && recorded.len() < RECORDED
        {
            recorded.extend_from_slice(&bytes);
        }
        harm(&mut bytes);
        self.events.clear();
        end.conn.receive(&bytes, &mut self.events)?;
        match self.events.pop() {
            Some(LinkEvent::Message(msg)) => Ok(Some(msg)),
            Some(LinkEvent::Write(_) | LinkEvent::Up(_)) | None => Ok(None),
        }
    }

    /// The end is no more.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.ends.remove(&link);
    }
}
