//! Bytes in JSON and in URLs. The store never interprets a key or a value; JSON knows only text.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The characters that stand for themselves in a path segment or query value.
const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const KEY_MARK: &str = "base64:";

/// A key or value as JSON: text if it is UTF-8, else `{"base64":"..."}`.
pub(crate) fn to_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_string()),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A key as the name of a JSON member: itself if it is UTF-8 and does not begin with `base64:`, else `base64:` and its
/// base64, so that no two keys share a name.
pub(crate) fn to_member_name(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) if !text.starts_with(KEY_MARK) => Cow::Borrowed(text),
        _ => Cow::Owned(format!("{KEY_MARK}{}", STANDARD.encode(key))),
    }
}

/// Bytes as they are, as a body.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes bodies")]
pub(crate) struct Raw(String);

/// Bytes in JSON: a string if they are UTF-8, else `{"base64":"..."}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Text {
    /// UTF-8.
    Text(String),
    /// Any other bytes.
    Bytes(Base64),
}

/// Bytes that are no UTF-8.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Base64 {
    /// The bytes in base64, with padding.
    #[schema(format = Byte)]
    base64: String,
}

impl<B: AsRef<[u8]>> From<B> for Text {
    fn from(bytes: B) -> Self {
        let bytes = bytes.as_ref();
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Text(text.to_string()),
            Err(_) => Text::Bytes(Base64 {
                base64: STANDARD.encode(bytes),
            }),
        }
    }
}

impl Text {
    /// The bytes.
    ///
    /// # Errors
    /// It is no base64, as a sentence.
    pub(crate) fn to_bytes(&self) -> Result<Bytes, String> {
        match self {
            Text::Text(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            Text::Bytes(Base64 { base64 }) => STANDARD
                .decode(base64)
                .map(Bytes::from)
                .map_err(|error| error.to_string()),
        }
    }
}

/// A part of a path or query as bytes.
pub(crate) fn decode_percent(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

/// Bytes as a part of a path or query.
pub(crate) fn encode_percent(bytes: &[u8]) -> String {
    percent_encode(bytes, &PLAIN).to_string()
}
