//! A row as one line of JSON: `{"key":...,"value":...}`, each text or `{"base64":"..."}`. Anything more is refused, since it would
//! be lost.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::Reason;
use crate::table::Row;

/// So much of an unknown field's name is shown, in characters.
const SHOWN: usize = 40;
const BYTES: &str = "text or {\"base64\":\"...\"}";

/// Reads a row.
///
/// # Errors
/// Why the line is refused.
pub(super) fn row(line: &[u8]) -> Result<Row, Reason> {
    let document: Document = serde_json::from_slice(line).map_err(|error| {
        if !error.is_data() {
            return Reason::from("not JSON");
        }
        let text = error.to_string();
        match text.rsplit_once(" at line ") {
            // The place is within the line, and the same fault is one reason wherever it stands.
            Some((why, _)) if !why.starts_with("invalid ") => why.to_string().into(),
            _ => format!("a row is an object of key and value, each {BYTES}").into(),
        }
    })?;
    Ok((document.key, document.value))
}

struct Document {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let (mut key, mut value) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            let slot = match name.as_str() {
                "key" => &mut key,
                "value" => &mut value,
                _ => {
                    let shown: String = name.chars().take(SHOWN).collect();
                    let why = format!("an unknown field {shown:?}: a row has key and value");
                    return Err(A::Error::custom(why));
                }
            };
            let Text(bytes) = map.next_value()?;
            if slot.replace(bytes).is_some() {
                return Err(A::Error::custom(format!("the field {name:?} twice")));
            }
        }
        let lacks = |name| A::Error::custom(format!("no field {name:?}"));
        Ok(Document {
            key: key.ok_or_else(|| lacks("key"))?,
            value: value.ok_or_else(|| lacks("value"))?,
        })
    }
}

/// Bytes, as text or in base64.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TextOrBase64)
    }
}

struct TextOrBase64;

impl<'de> Visitor<'de> for TextOrBase64 {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BYTES)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.as_bytes().to_vec()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name != "base64" || found.is_some() {
                return Err(A::Error::custom(format!("an object that is not {BYTES}")));
            }
            found = Some(map.next_value::<String>()?);
        }
        let text =
            found.ok_or_else(|| A::Error::custom(format!("an object that is not {BYTES}")))?;
        let bytes = STANDARD.decode(text);
        bytes.map(Text).map_err(|_| A::Error::custom("bad base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_lost_is_refused() {
        let refused = |line: &str| row(line.as_bytes()).expect_err(line).into_owned();
        assert_eq!(refused("{"), "not JSON");
        assert_eq!(refused("{\"key\":\"a\",\"value\":\"b\"} x"), "not JSON");
        assert_eq!(refused("{\"key\":\"a\"}"), "no field \"value\"");
        let more = "{\"key\":\"a\",\"value\":\"b\",\"ttl\":3}";
        assert_eq!(
            refused(more),
            "an unknown field \"ttl\": a row has key and value"
        );
        let twice = "{\"key\":\"a\",\"key\":\"b\",\"value\":\"c\"}";
        assert_eq!(refused(twice), "the field \"key\" twice");
        let twice = "{\"key\":\"a\",\"value\":{\"base64\":\"YQ==\",\"base64\":\"Yg==\"}}";
        assert!(refused(twice).starts_with("an object that is not text"));
        let bad = "{\"key\":\"a\",\"value\":{\"base64\":\"%\"}}";
        assert_eq!(refused(bad), "bad base64");
        for other in ["3", "null", "[]", "true"] {
            let line = format!("{{\"key\":\"a\",\"value\":{other}}}");
            assert!(refused(&line).starts_with("a row is an object"), "{line}");
        }
        assert!(refused("[1]").starts_with("a row is an object"));
    }

    #[test]
    fn text_and_base64_are_bytes() {
        let found = row(b"{\"value\":{\"base64\":\"/wA=\"},\"key\":\"a\\tb\"}");
        assert_eq!(found, Ok((b"a\tb".to_vec(), vec![0xff, 0])));
    }
}
