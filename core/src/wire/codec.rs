//! Messages as msgpack.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::Message;

/// Nested arrays and maps of a message, with room for what newer versions may add.
const MAX_DEPTH: usize = 32;

/// Why bytes are no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not msgpack, or not of a message's shape.
    Malformed {
        /// Why, in the decoder's words.
        why: String,
    },
    /// Bytes follow the message.
    Trailing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed { why } => write!(f, "malformed message: {why}"),
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
    decode_all(bytes)
}

/// Decodes a value that fills `bytes` exactly.
pub(crate) fn decode_all<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    // The default depth, taken up by a hostile value that is merely skipped, overflows a thread's stack.
    decoder.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut decoder).map_err(|error| DecodeError::Malformed {
        why: error.to_string(),
    })?;
    // The decoder does not tell its position; only at the end of the bytes is there no marker to read. A number is asked
    // for because no other kind of value makes it read further.
    match <u8 as serde::Deserialize>::deserialize(&mut decoder) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(DecodeError::Trailing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_after_a_message_is_refused() {
        let mut bytes = Vec::new();
        encode(&Message::Goodbye, &mut bytes).unwrap();
        assert_eq!(decode(&bytes).unwrap(), Message::Goodbye);
        for byte in 0..=u8::MAX {
            bytes.push(byte);
            assert!(
                matches!(decode(&bytes), Err(DecodeError::Trailing)),
                "byte {byte:#x}"
            );
            bytes.pop();
        }
    }
}
