//! Messages as msgpack.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;
use thiserror::Error;

use super::Message;

/// Nested arrays and maps of a message, with room for what newer versions may add.
const MAX_DEPTH: usize = 32;

/// Why bytes are no message.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not msgpack, or not of a message's shape.
    #[error("malformed message: {why}")]
    Malformed {
        /// Why, in the decoder's words.
        why: String,
    },
    /// Bytes follow the message.
    #[error("bytes follow the message")]
    Trailing,
    /// The message is for a machine that this version does not have.
    #[error("no machine of this version has messages with tag {tag}")]
    UnknownMachine {
        /// Its tag.
        tag: u8,
    },
}

/// Why a message has no bytes: never for messages that a node emits.
#[derive(Debug, Error)]
#[error("message cannot be encoded: {0}")]
pub struct EncodeError(rmp_serde::encode::Error);

/// Appends the encoding of `msg` to `out`.
///
/// # Errors
/// Only if the serializer refuses the message; `out` may then hold a part of it.
pub fn encode(msg: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    msg.write(out)
}

/// Appends a value in which each struct is a map.
pub(super) fn named(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    rmp_serde::encode::write_named(out, value).map_err(EncodeError)
}

/// Appends a value in which each struct is an array.
pub(super) fn positional(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    rmp_serde::encode::write(out, value).map_err(EncodeError)
}

/// Decodes one message that fills `bytes` exactly. The caller has capped the length.
///
/// # Errors
/// [`DecodeError`] when the bytes are anything else.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let Some((&tag, msg)) = bytes.split_first() else {
        let why = "no bytes".to_string();
        return Err(DecodeError::Malformed { why });
    };
    Message::read(tag, msg)
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
    use alloc::vec;

    use super::*;

    const CLUSTER: u8 = 0;
    const DETECTOR: u8 = 1;
    const GOSSIP: u8 = 2;
    use crate::id::ClusterId;
    use crate::wire::{
        ClaimNumber, ClusterMessage, GossipMessage, Greeting, Phase, RowBatch, Status,
    };

    fn greeting() -> Greeting {
        Greeting {
            cluster: ClusterId(7),
            has_fellows: true,
            founds: true,
            phase: Phase::Member,
            evictions: 9,
            whole: true,
            rows: RowBatch {
                actors: Vec::new(),
                tables: Vec::new(),
                rows: Vec::new(),
            },
            freed_on: vec![ClaimNumber {
                generation: 7,
                batch: 8,
            }],
            status: Status {
                sys: 1,
                usr: 2,
                rows: 3,
                claims: true,
                batch: 7,
                awaits_claims: false,
                clock: 4,
                wall_ms: 5,
                settled_ms: 6,
            },
        }
    }

    /// The bytes of a greeting with the fields that `change` leaves, among them ones that no version has.
    fn greeting_of(change: impl FnOnce(&mut Vec<(&str, Vec<u8>)>)) -> Vec<u8> {
        fn value(value: &impl Serialize) -> Vec<u8> {
            rmp_serde::to_vec_named(value).unwrap()
        }
        let whole = greeting();
        let mut fields = vec![
            ("cluster", value(&whole.cluster)),
            ("has_fellows", value(&whole.has_fellows)),
            ("founds", value(&whole.founds)),
            ("phase", value(&whole.phase)),
            ("evictions", value(&whole.evictions)),
            ("whole", value(&whole.whole)),
            ("rows", value(&whole.rows)),
            ("freed_on", value(&whole.freed_on)),
            ("status", value(&whole.status)),
        ];
        change(&mut fields);
        // A map of one entry, from the variant to a short map of its fields.
        let mut bytes = vec![CLUSTER, 0x81];
        bytes.extend(value(&"Greeting"));
        bytes.push(0x80 | fields.len() as u8);
        for (name, content) in fields {
            bytes.extend(value(&name));
            bytes.extend(content);
        }
        bytes
    }

    #[test]
    fn any_byte_after_a_message_is_refused() {
        let leave = Message::Cluster(ClusterMessage::Leave);
        let mut bytes = Vec::new();
        encode(&leave, &mut bytes).unwrap();
        assert_eq!(decode(&bytes).unwrap(), leave);
        for byte in 0..=u8::MAX {
            bytes.push(byte);
            assert!(
                matches!(decode(&bytes), Err(DecodeError::Trailing)),
                "byte {byte:#x}"
            );
            bytes.pop();
        }
    }

    #[test]
    fn a_message_of_a_machine_that_is_not_here_is_refused_by_its_tag() {
        let refused = Message::Gossip(GossipMessage::Refused { session: 1 });
        let mut bytes = Vec::new();
        encode(&refused, &mut bytes).unwrap();
        assert_eq!(decode(&bytes).unwrap(), refused);
        for unknown in GOSSIP + 1..=u8::MAX {
            bytes[0] = unknown;
            assert!(
                matches!(decode(&bytes), Err(DecodeError::UnknownMachine { tag }) if tag == unknown)
            );
        }
        for other in [CLUSTER, DETECTOR] {
            bytes[0] = other;
            assert!(matches!(decode(&bytes), Err(DecodeError::Malformed { .. })));
        }
        assert!(matches!(decode(&[]), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn a_greeting_may_have_fields_that_a_later_version_adds_and_lack_optional_ones() {
        let read = |bytes: &[u8]| match decode(bytes).unwrap() {
            Message::Cluster(ClusterMessage::Greeting(read)) => read,
            other => panic!("{other:?}"),
        };
        let as_it_is = greeting_of(|_| ());
        let mut sent = Vec::new();
        let msg = Message::Cluster(ClusterMessage::Greeting(greeting()));
        encode(&msg, &mut sent).unwrap();
        assert_eq!(as_it_is, sent);
        let more = rmp_serde::to_vec(&vec![(1, "two"), (3, "four")]).unwrap();
        let grown = greeting_of(|fields| fields.insert(1, ("term", more)));
        assert_eq!(read(&grown), greeting());
        let short = greeting_of(|fields| {
            fields.retain(|field| !["founds", "whole", "freed_on"].contains(&field.0))
        });
        let want = Greeting {
            founds: false,
            whole: false,
            freed_on: Vec::new(),
            ..greeting()
        };
        assert_eq!(read(&short), want);
    }

    #[test]
    fn a_greeting_that_lacks_a_mandatory_field_is_refused() {
        for gone in [
            "cluster",
            "has_fellows",
            "phase",
            "evictions",
            "rows",
            "status",
        ] {
            let bytes = greeting_of(|fields| fields.retain(|field| field.0 != gone));
            assert!(
                matches!(decode(&bytes), Err(DecodeError::Malformed { .. })),
                "{gone}"
            );
        }
    }
}
