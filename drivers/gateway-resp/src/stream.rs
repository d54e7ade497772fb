//! The rest of a reply that is larger than a client's buffer should be.

use std::vec::IntoIter;

use bytes::Bytes;
use rumormill_core::{Node, Now, RowRef, TableId};
use rumormill_kit::session::{Flow, Replies};

use crate::commands::hold_if_unsynced;
use crate::encoder::{self, Proto};
use crate::refusal::Refusal;
use crate::session::Loaded;

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
    /// Rows of a table; those without a value are only in the store, and are read when their turn comes.
    Rows(TableId, Part, IntoIter<(Bytes, Option<Bytes>)>),
    /// The values of these keys, read when their turn comes.
    Values(TableId, IntoIter<Bytes>),
}

impl Stream {
    /// Appends what there is room for; `None` when all is said. `loaded` is what was read for the item at hand.
    pub(crate) fn pump(
        &mut self,
        now: Now,
        node: &Node,
        proto: Proto,
        loaded: &mut Option<Loaded>,
        replies: &mut Replies,
    ) -> Option<Flow> {
        while !replies.is_full() {
            let said = match self {
                Stream::Names(names) => {
                    encoder::bulk(replies.buf(), names.as_slice().first()?);
                    names.next();
                    Ok(())
                }
                Stream::Rows(table, part, rows) => {
                    let (key, value) = rows.as_slice().first()?;
                    let said = match value {
                        Some(value) => {
                            write_row(replies.buf(), *part, key, value);
                            Ok(())
                        }
                        None => write_cold(now, node, (*table, *part), key, loaded, replies),
                    };
                    if said.is_ok() {
                        rows.next();
                    }
                    said
                }
                Stream::Values(table, keys) => {
                    let key = keys.as_slice().first()?;
                    let said = write_value(now, node, proto, *table, key, loaded, replies);
                    let said = or_in_place(said, replies);
                    if said.is_ok() {
                        keys.next();
                    }
                    said
                }
            };
            match said {
                Ok(()) => *loaded = None,
                Err((table, key)) => return Some(Flow::Await(table, key)),
            }
        }
        Some(Flow::Full)
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

/// Appends a value, or nil where there is none.
///
/// # Errors
/// [`Refusal::Cold`], or why the value cannot be read; nothing was appended.
pub(crate) fn write_value(
    now: Now,
    node: &Node,
    proto: Proto,
    table: TableId,
    key: &[u8],
    loaded: &Option<Loaded>,
    replies: &mut Replies,
) -> Result<(), Refusal> {
    match node.view(now).get(table, key).row() {
        Some(row) => {
            let value = value_of(loaded, table, &row)?;
            hold_if_unsynced(node, now, table, row.seq(), replies);
            encoder::bulk(replies.buf(), value);
        }
        None => encoder::nil(replies.buf(), proto),
    }
    Ok(())
}

/// The value of a row: the one in memory, or what was read for it.
pub(crate) fn value_of<'v>(
    loaded: &'v Option<Loaded>,
    table: TableId,
    row: &RowRef<'v>,
) -> Result<&'v Bytes, Refusal> {
    if let Some(value) = row.value() {
        return Ok(value);
    }
    if row.sibling_count() > 1 {
        return Err(Refusal::SIBLINGS);
    }
    match loaded {
        Some((place, result)) if *place == (table, row.key().clone()) => match result {
            Ok(Some(read)) if read.version == row.version() => Ok(&read.value),
            // It has been replaced since.
            Ok(_) => Err(Refusal::Cold(table, row.key().clone())),
            Err(error) => Err(error.clone().into()),
        },
        _ => Err(Refusal::Cold(table, row.key().clone())),
    }
}

/// Appends a row that was cold when it was announced. One that has gone since leaves an error in the place of its value.
fn write_cold(
    now: Now,
    node: &Node,
    (table, part): (TableId, Part),
    key: &Bytes,
    loaded: &Option<Loaded>,
    replies: &mut Replies,
) -> Result<(), (TableId, Bytes)> {
    let found = node.view(now).get(table, key).row();
    let value = match &found {
        Some(row) => value_of(loaded, table, row),
        None => Err(Refusal::Text(
            "GONE the row was deleted while the reply was sent",
        )),
    };
    if let Err(Refusal::Cold(table, key)) = value {
        return Err((table, key));
    }
    if let Some(row) = found {
        hold_if_unsynced(node, now, table, row.seq(), replies);
    }
    if part == Part::Both {
        encoder::bulk(replies.buf(), key);
    }
    let said = value.map(|value| encoder::bulk(replies.buf(), value));
    or_in_place(said, replies)
}

/// An error that stands in the place of one value among others; only a value that is not loaded yet is none.
fn or_in_place(said: Result<(), Refusal>, replies: &mut Replies) -> Result<(), (TableId, Bytes)> {
    match said {
        Ok(()) => Ok(()),
        Err(Refusal::Cold(table, key)) => Err((table, key)),
        Err(refusal) => {
            let mut text = Vec::new();
            refusal.write_to("", &mut text);
            encoder::error(replies.buf(), &text);
            Ok(())
        }
    }
}
