//! Events of a watch: their ids, and their form as bytes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rumormill_core::{
    Wall,
    table::{ChangeKind, Cursor},
};
use serde_json::json;

use super::budget::Budget;
use crate::siblings::SiblingList;

/// A place in the changes of one node. A cursor is valid for one boot of one node only, so an id names both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) boot: u64,
    pub(crate) cursor: Cursor,
}

impl EventId {
    pub(crate) fn parse(text: &str) -> Option<EventId> {
        let (boot, cursor) = text.split_once('-')?;
        let boot = u64::from_str_radix(boot, 16).ok()?;
        Some(EventId {
            boot,
            cursor: cursor.parse().ok()?,
        })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.boot, self.cursor)
    }
}

/// One change as its watchers get it. Clones share the text.
#[derive(Clone)]
pub(super) struct Event {
    /// The place after the change: a watch that begins there does not see it again.
    pub(super) after: Cursor,
    /// The key; `None` for a change that concerns every key.
    pub(super) key: Option<Bytes>,
    /// The event as it is sent.
    pub(super) text: Bytes,
}

impl Event {
    /// Encodes a change. A value that is only in the store was loaded before, or is told as unreadable.
    pub(super) fn of(id: EventId, kind: &ChangeKind, budget: &Budget) -> Event {
        Event {
            after: id.cursor,
            key: key(kind).cloned(),
            text: budget.hold(encode(id, kind)),
        }
    }

    /// Whether a watch of keys with this prefix tells of it.
    pub(super) fn concerns(&self, prefix: &[u8]) -> bool {
        self.key.as_ref().is_none_or(|key| key.starts_with(prefix))
    }
}

/// The key of a change; `None` for one that concerns every key.
pub(super) fn key(kind: &ChangeKind) -> Option<&Bytes> {
    match kind {
        ChangeKind::Put { key, .. }
        | ChangeKind::Siblings { key, .. }
        | ChangeKind::Deleted { key }
        | ChangeKind::Expired { key } => Some(key),
        ChangeKind::Flushed { .. } => None,
    }
}

/// The event of a change as it is sent.
fn encode(id: EventId, kind: &ChangeKind) -> Vec<u8> {
    match kind {
        ChangeKind::Put {
            key,
            value: Some(value),
            expires,
        } => {
            let mut out = begin(id, "put", key, value.len());
            out.extend_from_slice(b",\"value\":");
            push_text(&mut out, value);
            if let Some(expires) = expires {
                let expires = Wall::as_millis(*expires);
                out.extend_from_slice(format!(",\"expires_ms\":{expires}").as_bytes());
            }
            end(out)
        }
        ChangeKind::Put { key, .. } => {
            let mut out = begin(id, "put", key, 0);
            out.extend_from_slice(b",\"error\":\"unreadable\"");
            end(out)
        }
        ChangeKind::Siblings { key, siblings } => {
            let mut data = json!(SiblingList::from(siblings));
            data["key"] = crate::text::to_json(key);
            bare(id, "put", &data.to_string())
        }
        ChangeKind::Deleted { key } => end(begin(id, "deleted", key, 0)),
        ChangeKind::Expired { key } => end(begin(id, "expired", key, 0)),
        ChangeKind::Flushed { .. } => bare(id, "flushed", "{}"),
    }
}

/// An event with other data than a row. JSON never contains a line break, so the data is one line.
pub(super) fn bare(id: EventId, name: &str, data: &str) -> Vec<u8> {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into_bytes()
}

/// Begins an event of a key, with room for a value of so many bytes.
fn begin(id: EventId, name: &str, key: &[u8], value: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + key.len() + value + value / 2);
    out.extend_from_slice(format!("id: {id}\nevent: {name}\ndata: {{\"key\":").as_bytes());
    push_text(&mut out, key);
    out
}

fn end(mut out: Vec<u8>) -> Vec<u8> {
    out.extend_from_slice(b"}\n\n");
    out.shrink_to_fit();
    out
}

/// Appends bytes as JSON: text if they are UTF-8, else `{"base64":"..."}`.
fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        // A write to memory does not fail.
        Ok(text) => drop(serde_json::to_writer(out, text)),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":\"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}
