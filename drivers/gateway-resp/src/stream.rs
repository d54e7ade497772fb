//! The rest of a reply that is larger than a client's buffer should be.

use std::vec::IntoIter;

use bytes::Bytes;
use rumormill_core::{Node, Now, TableId};
use rumormill_kit::session::Replies;

use crate::commands::hold_if_unsynced;
use crate::encoder::{self, Proto};

/// Which half of a row a reply shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Both,
    Keys,
    Values,
}

/// What is still to be said. The number of values was announced, so the rows are those of the moment of the command: they
/// are held by reference, about 64 bytes each, and a later write does not show.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Names.
    Names(IntoIter<Bytes>),
    /// Rows.
    Rows(Part, IntoIter<(Bytes, Bytes)>),
    /// The values of these keys, read when their turn comes.
    Values(TableId, IntoIter<Bytes>),
}

impl Stream {
    /// Appends what there is room for; whether all is said.
    pub(crate) fn pump(
        &mut self,
        now: Now,
        node: &Node,
        proto: Proto,
        replies: &mut Replies,
    ) -> bool {
        while !replies.is_full() {
            let more = match self {
                Stream::Names(names) => names.next().map(|name| {
                    encoder::bulk(replies.buf(), &name);
                }),
                Stream::Rows(part, rows) => rows.next().map(|(key, value)| {
                    write_row(replies.buf(), *part, &key, &value);
                }),
                Stream::Values(table, keys) => keys.next().map(|key| {
                    write_value(now, node, proto, *table, &key, replies);
                }),
            };
            if more.is_none() {
                return true;
            }
        }
        false
    }
}

pub(crate) fn write_row(out: &mut Vec<u8>, part: Part, key: &[u8], value: &[u8]) {
    if part != Part::Values {
        encoder::bulk(out, key);
    }
    if part != Part::Keys {
        encoder::bulk(out, value);
    }
}

pub(crate) fn write_value(
    now: Now,
    node: &Node,
    proto: Proto,
    table: TableId,
    key: &[u8],
    replies: &mut Replies,
) {
    match node.view(now).get(table, key).row() {
        Some(row) => {
            hold_if_unsynced(node, now, table, row.seq(), replies);
            encoder::bulk(replies.buf(), row.value());
        }
        None => encoder::nil(replies.buf(), proto),
    }
}
