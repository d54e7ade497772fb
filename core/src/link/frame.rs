//! Frames: what a byte stream between two nodes is cut into.
//!
//! ```text
//! 0        4      5          9
//! | length | kind | checksum | payload |
//! ```
//! `length` counts the payload's bytes, little-endian. `kind` has what the frame is in its low half and the lane in its high
//! half. `checksum` is the CRC-32C of the first five bytes and the payload, little-endian. The payload of a `first`
//! frame begins with the length of the whole message, four bytes little-endian; its last piece comes in a `last` frame.
//! Each lane carries one message at a time, so a more urgent lane's frames may go between the pieces of a message.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crc::checksum;
use crate::io::Lane;
use crate::wire::{self, Message};

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 9;

/// The most payload that [`encode`] puts into one frame: this much, a frame of a more urgent lane may have to wait for.
pub const CHUNK_BYTES: usize = 16 << 10;

/// The longest message, in bytes: one row of the largest size with its surroundings.
pub const MAX_MESSAGE_BYTES: usize = crate::config::MAX_ROW_BYTES + (1 << 20);

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Refusal,
    /// A message in one piece.
    Whole(Lane),
    /// The first piece, after the length of all.
    First(Lane),
    More(Lane),
    Last(Lane),
    /// The nonce of the hello that it answers.
    Proof,
}

impl Kind {
    fn to_byte(self) -> u8 {
        let (low, lane) = match self {
            Kind::Hello => (0, Lane::Control),
            Kind::Refusal => (1, Lane::Control),
            Kind::Whole(lane) => (2, lane),
            Kind::First(lane) => (3, lane),
            Kind::More(lane) => (4, lane),
            Kind::Last(lane) => (5, lane),
            Kind::Proof => (6, Lane::Control),
        };
        low | (lane as u8) << 4
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        let lane = *Lane::ALL.get(usize::from(byte >> 4))?;
        match byte & 0xf {
            0 if lane == Lane::Control => Some(Kind::Hello),
            1 if lane == Lane::Control => Some(Kind::Refusal),
            2 => Some(Kind::Whole(lane)),
            3 => Some(Kind::First(lane)),
            4 => Some(Kind::More(lane)),
            5 => Some(Kind::Last(lane)),
            6 if lane == Lane::Control => Some(Kind::Proof),
            _ => None,
        }
    }
}

/// A header as read; the length is the sender's claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) length: usize,
    pub(super) kind: Kind,
    lead: [u8; 5],
    checksum: u32,
}

impl Header {
    /// Reads a header; `None` for a kind that does not exist.
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let [a, b, c, d, kind, rest @ ..] = *bytes;
        Some(Header {
            length: u32::from_le_bytes([a, b, c, d]) as usize,
            kind: Kind::from_byte(kind)?,
            lead: [a, b, c, d, kind],
            checksum: u32::from_le_bytes(rest),
        })
    }

    pub(super) fn matches(&self, payload: &[u8]) -> bool {
        checksum([&self.lead, payload]) == self.checksum
    }
}

/// Appends a frame whose payload is `parts`; together they have at most [`CHUNK_BYTES`] and four bytes.
pub(super) fn put(out: &mut Vec<u8>, kind: Kind, parts: [&[u8]; 2]) {
    let at = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    out.extend_from_slice(parts[0]);
    out.extend_from_slice(parts[1]);
    seal(&mut out[at..], kind);
}

/// Fills in the header in front of a payload.
fn seal(frame: &mut [u8], kind: Kind) {
    let length = (frame.len() - HEADER_BYTES) as u32;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4] = kind.to_byte();
    let sum = checksum([&frame[..5], &frame[HEADER_BYTES..]]);
    frame[5..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// A message as frames, ready for any number of links. An iterator over them, in order; clones share the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    bytes: Bytes,
}

impl Frames {
    /// Bytes of all frames that are left.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no frame is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next frame.
    pub fn peek(&self) -> Option<&[u8]> {
        Some(&self.bytes[..self.first_len()?])
    }

    /// All that is left as one piece.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn first_len(&self) -> Option<usize> {
        let length: [u8; 4] = *self.bytes.first_chunk()?;
        Some(HEADER_BYTES + u32::from_le_bytes(length) as usize)
    }
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let length = self.first_len()?;
        Some(self.bytes.split_to(length))
    }
}

/// Why a message has no frames. A node emits no such message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The serializer refused it.
    #[error(transparent)]
    Codec(wire::EncodeError),
    /// It is longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message has {size} bytes, the limit is {MAX_MESSAGE_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
}

/// Encodes a message for `lane`. On one link, the frames of a lane go out in order and unmixed.
///
/// # Errors
/// [`EncodeError`]; never for a message that a node emits.
pub fn encode(msg: &Message, lane: Lane) -> Result<Frames, EncodeError> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&[0; HEADER_BYTES]);
    wire::encode(msg, &mut out).map_err(EncodeError::Codec)?;
    let size = out.len() - HEADER_BYTES;
    if size <= CHUNK_BYTES {
        seal(&mut out, Kind::Whole(lane));
        return Ok(Frames { bytes: out.into() });
    }
    if size > MAX_MESSAGE_BYTES {
        return Err(EncodeError::TooLarge { size });
    }
    let message = &out[HEADER_BYTES..];
    let mut pieces = message.chunks(CHUNK_BYTES);
    let mut frames =
        Vec::with_capacity(message.len() + 4 + message.len().div_ceil(CHUNK_BYTES) * HEADER_BYTES);
    let first = pieces.next().unwrap_or_default();
    put(
        &mut frames,
        Kind::First(lane),
        [&(size as u32).to_le_bytes(), first],
    );
    let last = pieces.next_back().unwrap_or_default();
    for piece in pieces {
        put(&mut frames, Kind::More(lane), [piece, &[]]);
    }
    put(&mut frames, Kind::Last(lane), [last, &[]]);
    Ok(Frames {
        bytes: frames.into(),
    })
}
