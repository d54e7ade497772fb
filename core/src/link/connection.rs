//! One byte stream to a peer: handshake, frames, messages.

use alloc::vec::Vec;

use bytes::Bytes;

use super::frame::{self, HEADER_BYTES, Header, Kind, MAX_MESSAGE_BYTES};
use super::{Hello, MAGIC, Nonce, Refusal};
use crate::io::{Lane, LinkError};
use crate::rules::Rules;
use crate::wire::{self, Message};

/// The caps on what a peer may claim before it has sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkLimits {
    /// Bytes of a handshake frame's payload; 8 KiB.
    pub hello_bytes: usize,
    /// Bytes of any other frame's payload; 64 KiB.
    pub frame_bytes: usize,
    /// Bytes of a message; [`MAX_MESSAGE_BYTES`].
    pub message_bytes: usize,
}

impl Default for LinkLimits {
    fn default() -> Self {
        LinkLimits {
            hello_bytes: 8 << 10,
            frame_bytes: 64 << 10,
            message_bytes: MAX_MESSAGE_BYTES,
        }
    }
}

/// An event of a stream. Exhaustive: a driver writes the first kind and hands the others on to its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Bytes to be written now, after the opening and before all else. First, and once.
    Write(Bytes),
    /// The handshake is done. Second, and once.
    Up(Hello),
    /// A message.
    Message(Message),
}

/// The reading side of one byte stream, and the bytes of its handshake. It holds no buffer between frames.
///
/// Both sides write [`Connection::opening`] at once, feed what they read to [`Connection::receive`], and write what
/// [`LinkEvent::Write`] brings; what follows on the writing side are the frames of [`encode`](super::encode), from
/// [`LinkEvent::Up`] on.
#[derive(Debug)]
pub struct Connection {
    ours: Hello,
    nonce: Nonce,
    limits: LinkLimits,
    pub(crate) rules: Rules,
    stage: Stage,
    /// The part of a magic or frame that has arrived.
    pub(super) partial: Vec<u8>,
    pub(super) lanes: [Option<Assembly>; Lane::ALL.len()],
}

#[derive(Clone, Debug)]
enum Stage {
    Magic,
    Hello,
    /// The peer has said this, and still has to prove that it says so now.
    Unproved(Hello),
    /// Up, and nothing came yet: the peer may still refuse us.
    Greeted,
    Up,
    Failed(LinkError),
}

/// A message of which some pieces arrived.
#[derive(Debug)]
pub(super) struct Assembly {
    total: usize,
    pub(super) bytes: Vec<u8>,
}

/// The nonce of a hello, whose other fields are a [`Hello`], and the whole of a proof.
#[derive(serde::Serialize, serde::Deserialize)]
struct Drawn {
    nonce: Nonce,
}

/// A hello as it is on the wire.
#[derive(serde::Serialize)]
struct Opening<'a> {
    #[serde(flatten)]
    hello: &'a Hello,
    nonce: &'a Nonce,
}

impl Connection {
    /// A new stream. `ours` has to fit the peer's [`LinkLimits::hello_bytes`] when encoded. A driver calls
    /// [`Node::connection`](crate::Node::connection), which draws the nonce.
    pub fn new(ours: Hello, nonce: Nonce, limits: LinkLimits) -> Self {
        Connection {
            ours,
            nonce,
            limits,
            rules: Rules::default(),
            stage: Stage::Magic,
            partial: Vec::new(),
            lanes: [const { None }; 3],
        }
    }

    /// Returns the bytes to write first, by either side and without waiting for the other.
    pub fn opening(&self) -> Bytes {
        let mut out = MAGIC.to_vec();
        let opening = Opening {
            hello: &self.ours,
            nonce: &self.nonce,
        };
        frame::put(&mut out, Kind::Hello, [&evolving(&opening), &[]]);
        out.into()
    }

    /// Returns the bytes to write last when this side refused the peer, so that the peer can say why.
    pub fn parting(&self) -> Option<Bytes> {
        let Stage::Failed(LinkError::Refused(refusal)) = &self.stage else {
            return None;
        };
        let mirrored = match refusal {
            // A peer that does not speak the protocol cannot read a refusal either.
            Refusal::Magic => return None,
            Refusal::Version { .. } => Refusal::Version {
                theirs: self.ours.versions,
            },
            Refusal::ClusterName { .. } => Refusal::ClusterName {
                theirs: self.ours.cluster_name.clone(),
            },
            Refusal::Proof => Refusal::Proof,
            Refusal::Other => Refusal::Other,
        };
        let mut out = Vec::new();
        frame::put(&mut out, Kind::Refusal, [&evolving(&mirrored), &[]]);
        Some(out.into())
    }

    /// Returns this side's own description.
    pub fn ours(&self) -> &Hello {
        &self.ours
    }

    /// Whether the handshake is done.
    pub fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Greeted | Stage::Up)
    }

    /// Returns the meaning of the stream's end here: [`LinkError::Closed`] between two messages, [`LinkError::Malformed`] within
    /// one, or the error it failed with.
    pub fn end(&self) -> LinkError {
        match &self.stage {
            Stage::Failed(why) => why.clone(),
            _ if self.partial.is_empty() && self.lanes.iter().all(Option::is_none) => {
                LinkError::Closed
            }
            _ => LinkError::Malformed,
        }
    }

    /// Takes the next bytes of the stream, cut anywhere, and appends what they complete to `events`.
    ///
    /// # Errors
    /// [`LinkError::Refused`] or [`LinkError::Malformed`]: the stream is of no more use and every later call says the same.
    /// Events that were completed before the fault are in `events`.
    pub fn receive(&mut self, bytes: &[u8], events: &mut Vec<LinkEvent>) -> Result<(), LinkError> {
        if let Stage::Failed(why) = &self.stage {
            return Err(why.clone());
        }
        let done = self.take(bytes, events);
        if let Err(why) = &done {
            self.stage = Stage::Failed(why.clone());
            self.partial = Vec::new();
            self.lanes = [const { None }; 3];
        }
        done
    }

    fn take(&mut self, mut bytes: &[u8], events: &mut Vec<LinkEvent>) -> Result<(), LinkError> {
        if matches!(self.stage, Stage::Magic) && !self.take_magic(&mut bytes)? {
            return Ok(());
        }
        while !bytes.is_empty() {
            // A frame that came in pieces is completed first; the others are read where they lie.
            if !self.partial.is_empty() {
                if !self.fill_partial(&mut bytes)? {
                    return Ok(());
                }
                let whole = core::mem::take(&mut self.partial);
                if let Some((header, end)) = self.header(&whole)? {
                    self.frame(header, &whole[HEADER_BYTES..end], events)?;
                }
                continue;
            }
            match self.header(bytes)? {
                Some((header, end)) if end <= bytes.len() => {
                    self.frame(header, &bytes[HEADER_BYTES..end], events)?;
                    bytes = &bytes[end..];
                }
                _ => {
                    self.partial.extend_from_slice(bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether the magic is complete; a wrong one is refused at its first wrong byte.
    fn take_magic(&mut self, bytes: &mut &[u8]) -> Result<bool, LinkError> {
        let wanted = &MAGIC[self.partial.len()..];
        let n = wanted.len().min(bytes.len());
        let (head, rest) = bytes.split_at(n);
        if head != &wanted[..n] {
            return Err(LinkError::Refused(Refusal::Magic));
        }
        *bytes = rest;
        self.partial.extend_from_slice(head);
        if self.partial.len() < MAGIC.len() {
            return Ok(false);
        }
        self.partial = Vec::new();
        self.stage = Stage::Hello;
        Ok(true)
    }

    /// Moves bytes to the frame that is under way; whether it is complete.
    fn fill_partial(&mut self, bytes: &mut &[u8]) -> Result<bool, LinkError> {
        loop {
            let wanted = match self.header(&self.partial)? {
                Some((_, end)) => end,
                None => HEADER_BYTES,
            };
            let n = (wanted - self.partial.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(n);
            self.partial.extend_from_slice(head);
            *bytes = rest;
            if self.partial.len() < wanted {
                return Ok(false);
            }
            if wanted > HEADER_BYTES
                || matches!(self.header(&self.partial)?, Some((_, HEADER_BYTES)))
            {
                return Ok(true);
            }
        }
    }

    /// The header at the front and where its frame ends, once there are enough bytes for it. No length passes that is
    /// above its cap.
    fn header(&self, bytes: &[u8]) -> Result<Option<(Header, usize)>, LinkError> {
        let Some(head) = bytes.first_chunk() else {
            return Ok(None);
        };
        let header = Header::read(head).ok_or(LinkError::Malformed)?;
        let cap = match header.kind {
            Kind::Hello | Kind::Refusal | Kind::Proof => self.limits.hello_bytes,
            _ => self.limits.frame_bytes,
        };
        if header.length > cap || !self.expects(header.kind) {
            return Err(LinkError::Malformed);
        }
        Ok(Some((header, HEADER_BYTES + header.length)))
    }

    fn expects(&self, kind: Kind) -> bool {
        match (&self.stage, kind) {
            (Stage::Hello, Kind::Hello | Kind::Refusal)
            | (Stage::Unproved(_), Kind::Proof | Kind::Refusal)
            | (Stage::Greeted, Kind::Refusal) => true,
            (Stage::Greeted | Stage::Up, Kind::Whole(lane) | Kind::First(lane)) => {
                self.lanes[lane as usize].is_none()
            }
            (Stage::Up, Kind::More(lane) | Kind::Last(lane)) => self.lanes[lane as usize].is_some(),
            _ => false,
        }
    }

    fn frame(
        &mut self,
        header: Header,
        payload: &[u8],
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), LinkError> {
        if !header.matches(payload) {
            return Err(LinkError::Malformed);
        }
        match header.kind {
            Kind::Hello => {
                events.push(LinkEvent::Write(self.hear(payload)?));
                return Ok(());
            }
            Kind::Proof => {
                events.push(LinkEvent::Up(self.prove(payload)?));
                return Ok(());
            }
            // A reason that a newer peer may have is no fault.
            Kind::Refusal => {
                return Err(LinkError::Refused(
                    wire::decode_all(payload).unwrap_or(Refusal::Other),
                ));
            }
            Kind::Whole(_) => events.push(message(payload)?),
            Kind::First(lane) => self.lanes[lane as usize] = Some(self.begin(payload)?),
            Kind::More(lane) | Kind::Last(lane) => {
                let last = matches!(header.kind, Kind::Last(_));
                if let Some(whole) = self.lanes[lane as usize]
                    .as_mut()
                    .and_then(|a| a.add(payload, last))
                {
                    events.push(message(&whole?)?);
                    self.lanes[lane as usize] = None;
                }
            }
        }
        self.stage = Stage::Up;
        Ok(())
    }

    /// Takes the peer's hello; returns the proof that answers it.
    fn hear(&mut self, payload: &[u8]) -> Result<Bytes, LinkError> {
        let hello = self.check(payload)?;
        let theirs: Drawn = wire::decode_all(payload).map_err(|_| LinkError::Malformed)?;
        // A peer with this nonce would prove it by sending our own bytes back.
        if theirs.nonce == self.nonce && self.rules.refuses_own_nonce() {
            return Err(LinkError::Refused(Refusal::Proof));
        }
        self.stage = Stage::Unproved(hello);
        let mut out = Vec::new();
        frame::put(&mut out, Kind::Proof, [&evolving(&theirs), &[]]);
        Ok(out.into())
    }

    /// Takes the peer's proof; returns the hello that it makes good.
    fn prove(&mut self, payload: &[u8]) -> Result<Hello, LinkError> {
        let shown: Drawn = wire::decode_all(payload).map_err(|_| LinkError::Malformed)?;
        if shown.nonce != self.nonce && self.rules.checks_proofs() {
            return Err(LinkError::Refused(Refusal::Proof));
        }
        match core::mem::replace(&mut self.stage, Stage::Greeted) {
            Stage::Unproved(hello) => Ok(hello),
            _ => Err(LinkError::Malformed),
        }
    }

    /// Decodes and judges the peer's hello.
    fn check(&self, payload: &[u8]) -> Result<Hello, LinkError> {
        let hello: Hello = wire::decode_all(payload).map_err(|_| LinkError::Malformed)?;
        let ((low, high), (our_low, our_high)) = (hello.versions, self.ours.versions);
        if low > high {
            return Err(LinkError::Malformed);
        }
        if low > our_high || our_low > high {
            return Err(LinkError::Refused(Refusal::Version {
                theirs: hello.versions,
            }));
        }
        if hello.cluster_name != self.ours.cluster_name {
            return Err(LinkError::Refused(Refusal::ClusterName {
                theirs: hello.cluster_name,
            }));
        }
        Ok(hello)
    }

    /// Begins a message; only what has arrived takes memory.
    fn begin(&self, payload: &[u8]) -> Result<Assembly, LinkError> {
        let (total, piece) = payload.split_first_chunk().ok_or(LinkError::Malformed)?;
        let total = u32::from_le_bytes(*total) as usize;
        if total > self.limits.message_bytes || piece.len() >= total {
            return Err(LinkError::Malformed);
        }
        Ok(Assembly {
            total,
            bytes: piece.to_vec(),
        })
    }
}

impl Assembly {
    /// Adds a piece; gives the whole message after the last one, and an error when the pieces do not add up.
    fn add(&mut self, piece: &[u8], last: bool) -> Option<Result<Vec<u8>, LinkError>> {
        let size = self.bytes.len() + piece.len();
        // An empty piece would be progress without end.
        let fits = if last {
            size == self.total
        } else {
            size < self.total && !piece.is_empty()
        };
        if !fits {
            return Some(Err(LinkError::Malformed));
        }
        self.bytes.extend_from_slice(piece);
        last.then(|| Ok(core::mem::take(&mut self.bytes)))
    }
}

fn message(bytes: &[u8]) -> Result<LinkEvent, LinkError> {
    wire::decode(bytes)
        .map(LinkEvent::Message)
        .map_err(|_| LinkError::Malformed)
}

/// Encodes by field name, because handshakes have to be read by every version.
fn evolving<T: serde::Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap_or_default()
}
