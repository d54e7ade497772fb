//! Error replies.

use std::fmt::Write as _;

use bytes::Bytes;
use rumormill_core::{
    TableId,
    errors::{AnswersLater, ReadError, RequestError, TableError, WriteError},
    table::TableRequest,
};
use rumormill_kit::client_session::Replies;

use crate::encoder;

/// A row: its table and key.
pub(crate) type RowKey = (TableId, Bytes);

/// Why a command was answered with an error.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The reply, prefix included.
    Text(&'static str),
    /// The reply, prefix included.
    Bytes(Vec<u8>),
    /// `ERR wrong number of arguments`, for the command at hand.
    Arity,
    /// `ERR invalid expire time`, for the command at hand.
    ExpireTime,
    /// No answer yet: the values of these rows have to be loaded first. Nothing was done.
    Cold(Vec<RowKey>),
    /// No answer yet: this operation has to be answered first. Nothing was done.
    Ask(Box<TableRequest>),
    /// The table answers later, and the command cannot wait for it.
    AnswersLater(TableId),
}

impl Refusal {
    pub(crate) const SYNTAX: Refusal = Refusal::Text("ERR syntax error");
    pub(crate) const NOT_AN_INTEGER: Refusal =
        Refusal::Text("ERR value is not an integer or out of range");
    pub(crate) const WRONG_TYPE: Refusal =
        Refusal::Text("WRONGTYPE Operation against a key holding the wrong kind of value");

    /// The value of one row has to be loaded first.
    pub(crate) fn cold(table: TableId, key: &Bytes) -> Refusal {
        Refusal::Cold(vec![(table, key.clone())])
    }

    /// A key has more than one value, and Redis has room for one.
    pub(crate) const SIBLINGS: Refusal = Refusal::Text(
        "SIBLINGS the field has several siblings, and a reply has room for one value: read it over HTTP or with rumormill get",
    );

    /// A write that cannot say what its author has seen.
    pub(crate) const NO_CONTEXT: Refusal = Refusal::Text(
        "SIBLINGS the hash is a table that keeps siblings, and the Redis protocol has no place for the context of a write: write over HTTP or with rumormill put and del",
    );

    /// A string does not take the place of values that its author has not seen.
    pub(crate) const NOT_REPLACED: Refusal = Refusal::Text(
        "SIBLINGS the key is a hash, a table that keeps siblings, and a string does not replace it",
    );

    /// A command that was meant for a database that does not exist.
    pub(crate) const ASTRAY: Refusal = Refusal::Text(
        "ERR a database was selected that does not exist, and there is database 0 alone: nothing is read or written until SELECT 0",
    );
    /// Appends the error reply to a command.
    pub(crate) fn write_reply(&self, command: &str, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        self.write_to(command, &mut text);
        encoder::error(out, &text);
    }

    /// Appends the error reply to a command.
    pub(crate) fn reply(&self, command: &str, replies: &mut Replies) {
        self.write_reply(command, replies.buf());
    }

    /// Appends the reply's text.
    pub(crate) fn write_to(&self, command: &str, out: &mut Vec<u8>) {
        match self {
            Refusal::Text(text) => out.extend_from_slice(text.as_bytes()),
            Refusal::Bytes(bytes) => out.extend_from_slice(bytes),
            Refusal::Arity => {
                out.extend_from_slice(b"ERR wrong number of arguments for '");
                out.extend_from_slice(command.as_bytes());
                out.extend_from_slice(b"' command");
            }
            Refusal::Cold(..) => out.extend_from_slice(b"UNREADABLE the value is not loaded"),
            Refusal::Ask(..) => {
                out.extend_from_slice(
                    b"LATER the table answers later, and a transaction does not wait",
                );
            }
            Refusal::AnswersLater(..) => out.extend_from_slice(
                b"LATER the table answers later: HGET, HSET and HDEL of one field wait for that",
            ),
            Refusal::ExpireTime => {
                out.extend_from_slice(b"ERR invalid expire time in '");
                out.extend_from_slice(command.as_bytes());
                out.extend_from_slice(b"' command");
            }
        }
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Refusal::Bytes(text.into_bytes())
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        let prefix = match &error {
            WriteError::KeyTooLarge { .. } | WriteError::ValueTooLarge { .. } => "TOOLARGE",
            WriteError::ReadOnlyTable => "READONLY",
            WriteError::Busy { .. } => "BUSY",
            WriteError::StoreStalled => "OOM",
            WriteError::ClockAhead { .. } | WriteError::LastClock => "CLOCK",
            WriteError::Leaving => "LEAVING",
            WriteError::Stopping => "STOPPING",
            WriteError::AnsweredLater => "LATER",
            _ => "ERR",
        };
        let mut text = String::from(prefix);
        // Writing to a string cannot fail.
        let _ = write!(text, " {error}");
        text.into()
    }
}

impl From<AnswersLater> for Refusal {
    fn from(later: AnswersLater) -> Self {
        Refusal::AnswersLater(later.table)
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let prefix = match &error {
            RequestError::Busy { .. } | RequestError::Read(ReadError::Busy { .. }) => "BUSY",
            RequestError::Read(_) => "UNREADABLE",
            RequestError::Halted => "LEAVING",
            _ => "ERR",
        };
        format!("{prefix} {error}").into()
    }
}

impl From<TableError> for Refusal {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Write(error) => error.into(),
            TableError::BadName { size, .. } if size > 0 => format!("TOOLARGE {error}").into(),
            other => format!("ERR {other}").into(),
        }
    }
}
