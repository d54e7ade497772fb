//! Values as msgpack with the names of their fields.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Part, Undecodable};

/// How deep what is read may be nested: what others have written must not exhaust a stack.
const MAX_DEPTH: usize = 128;

pub(super) fn encode<V: Serialize>(value: &V) -> Result<Bytes, Error> {
    match rmp_serde::to_vec_named(value) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Error::Encode {
            why: error.to_string(),
        }),
    }
}

/// The value, if it is all of `bytes`.
pub(super) fn decode<V: DeserializeOwned>(key: &Bytes, bytes: &[u8]) -> Result<V, Undecodable> {
    let failed = |why| Undecodable {
        key: key.clone(),
        part: Part::Value,
        why,
    };
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    decoder.set_max_depth(MAX_DEPTH);
    let value = V::deserialize(&mut decoder).map_err(|error| failed(error.to_string()))?;
    // Text that others have written may begin like a small integer.
    match rest.len() {
        0 => Ok(value),
        more => Err(failed(format!("{more} bytes follow the value"))),
    }
}
