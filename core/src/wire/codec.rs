//! Messages as msgpack.

use alloc::vec::Vec;
use core::fmt;

use super::Message;

/// Why bytes are no message.
#[derive(Debug)]
pub enum DecodeError {
    /// Not msgpack, or not of a message's shape.
    Malformed(rmp_serde::decode::Error),
    /// Bytes follow the message.
    Trailing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed(error) => write!(f, "malformed message: {error}"),
            DecodeError::Trailing => f.write_str("bytes follow the message"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a message has no bytes: never for messages that a node emits.
#[derive(Debug)]
pub struct EncodeError(rmp_serde::encode::Error);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message cannot be encoded: {}", self.0)
    }
}

impl core::error::Error for EncodeError {}

/// Appends the encoding of `msg` to `out`.
///
/// # Errors
/// Only if the serializer refuses the message; `out` may then hold a part of it.
pub fn encode(msg: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    rmp_serde::encode::write(out, msg).map_err(EncodeError)
}

/// Decodes one message that fills `bytes` exactly. The caller has capped the length.
///
/// # Errors
/// [`DecodeError`] when the bytes are anything else.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    let msg = serde::Deserialize::deserialize(&mut decoder).map_err(DecodeError::Malformed)?;
    if decoder.get_ref().is_empty() {
        Ok(msg)
    } else {
        Err(DecodeError::Trailing)
    }
}
