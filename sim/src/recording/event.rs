//! A line of the trace as a value.

use std::fmt;

use bytes::Bytes;

use super::KeyIndex;
use crate::trace::{Field, WORLD};

/// The value of a field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A number.
    Num(u64),
    /// A node by its index; `None` for one that the world does not know.
    Node(Option<usize>),
    /// One of a fixed set of words.
    Word(&'static str),
    /// A key or value.
    Bytes(Bytes),
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Num(number) => write!(f, "{number}"),
            FieldValue::Node(Some(node)) => write!(f, "n{node}"),
            FieldValue::Node(None) => f.write_str("?"),
            FieldValue::Word(word) => f.write_str(word),
            FieldValue::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii()),
        }
    }
}

/// A line of the trace as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// Its number in the trace.
    pub seq: u64,
    /// The node, or `None` for the world.
    pub node: Option<usize>,
    /// The verb of the event.
    pub verb: &'static str,
    /// Whether it is only detail: probes without news, timers, syncs.
    pub detail: bool,
    /// The fields, in the order of the line.
    pub fields: Vec<(&'static str, FieldValue)>,
    /// The message that arrived or was lost here.
    pub message: Option<u64>,
    /// The users' keys that it is about, beside those of its message.
    pub keys: Vec<KeyIndex>,
    /// The users' keys whose records a `store` removes.
    pub removed: Vec<KeyIndex>,
}

impl Recorded {
    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&FieldValue> {
        let mut fields = self.fields.iter();
        fields.find(|(own, _)| *own == name).map(|(_, value)| value)
    }
}

/// The verb and the fields, as in the trace.
impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb)?;
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// A node as readers know it: the world is none.
pub(super) fn known(node: usize) -> Option<usize> {
    (node != WORLD).then_some(node)
}

/// A field for readers; what only the hash sees is none.
pub(super) fn value(field: &Field<'_>) -> Option<(&'static str, FieldValue)> {
    match *field {
        Field::Num(name, number) => Some((name, FieldValue::Num(number))),
        Field::Mute(_) => None,
        Field::Node(name, index) => Some((name, FieldValue::Node(known(index)))),
        Field::Word(name, word) => Some((name, FieldValue::Word(word))),
        Field::Bytes(name, bytes) => Some((name, FieldValue::Bytes(Bytes::copy_from_slice(bytes)))),
    }
}
