//! Where a listing goes on: a short text that any member understands, also after a restart.
//!
//! A key may be as long as a URL, so the place does not repeat it. A key of up to [`WHOLE`] bytes is in it; of a longer one its first bytes,
//! its length and a hash. A member then looks for the key among those that share these first bytes, so going on costs O(keys that do), in
//! turns of the loop that are bounded. A key that has gone meanwhile is not found: the listing goes on from the first key that shares these
//! bytes, so that rows may come twice and none is left out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use rumormill_core::{
    Node, Now,
    table::{Cursor, ScanRange, TableName},
};

use crate::backend::Calls;
use crate::error::ApiError;
use crate::watch::EventId;

/// Bytes of a key that a place holds. A place has 740 characters at most.
const WHOLE: usize = 512;

const HASH: usize = 16;
const CHECK: usize = 4;
const FORM: u8 = 2;

/// Keys passed over, and keys hashed, in one turn of the loop.
const KEYS_PER_TURN: usize = 1_024;
const HASHES_PER_TURN: usize = 8;

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The end of the log when the listing began.
    pub(crate) begun: EventId,
    after: After,
}

/// The last key that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum After {
    Key(Vec<u8>),
    Long {
        first: Vec<u8>,
        length: u32,
        hash: [u8; HASH],
    },
}

/// The keys that are left to list.
pub(crate) enum Rest {
    After(Bytes),
    /// This key and those after it.
    From(Bytes),
}

impl Place {
    /// The place after a key.
    pub(crate) fn new(begun: EventId, key: &[u8]) -> Place {
        let after = match key.get(..WHOLE) {
            Some(first) if key.len() > WHOLE => After::Long {
                first: first.to_vec(),
                length: u32::try_from(key.len()).unwrap_or(u32::MAX),
                hash: hash(key),
            },
            _ => After::Key(key.to_vec()),
        };
        Place { begun, after }
    }

    /// Its form in a URL.
    pub(crate) fn encode(&self) -> String {
        let mut out = vec![FORM];
        out.extend_from_slice(&self.begun.boot.to_be_bytes());
        out.extend_from_slice(&self.begun.cursor.to_bytes());
        match &self.after {
            After::Key(key) => {
                out.push(0);
                out.extend_from_slice(key);
            }
            After::Long {
                first,
                length,
                hash,
            } => {
                out.push(1);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(hash);
                out.extend_from_slice(first);
            }
        }
        let check = blake3::hash(&out);
        out.extend_from_slice(&check.as_bytes()[..CHECK]);
        URL_SAFE_NO_PAD.encode(out)
    }

    /// Reads what [`Place::encode`] wrote.
    ///
    /// # Errors
    /// `bad_parameter`: it is no place.
    pub(crate) fn parse(text: &[u8]) -> Result<Place, ApiError> {
        decode(text).ok_or_else(|| {
            ApiError::bad_parameter("page is taken from the next of an earlier page, as it is")
        })
    }

    /// Looks up what is left to list.
    ///
    /// # Errors
    /// The node does not answer.
    pub(crate) async fn rest(&self, calls: &Calls, table: &TableName) -> Result<Rest, ApiError> {
        let (first, length, hash) = match &self.after {
            After::Key(key) => return Ok(Rest::After(Bytes::copy_from_slice(key))),
            After::Long {
                first,
                length,
                hash,
            } => (first, *length as usize, *hash),
        };
        let mut passed: Option<Bytes> = None;
        loop {
            let (name, first) = (table.clone(), first.clone());
            let search = move |node: &mut Node, now: Now| {
                search(
                    node,
                    now,
                    &name,
                    (&first, passed.as_deref()),
                    (length, hash),
                )
            };
            match calls.with(search).await? {
                Search::Found(key) => return Ok(Rest::After(key)),
                Search::Passed(key) => passed = Some(key),
                Search::Gone => break,
            }
        }
        Ok(Rest::From(Bytes::copy_from_slice(first)))
    }
}

/// How far a search has come in one turn.
enum Search {
    Found(Bytes),
    /// Not among the keys up to this one.
    Passed(Bytes),
    Gone,
}

/// Searches the keys with these first bytes, after the one that was passed last, for one of this length and hash.
fn search(
    node: &Node,
    now: Now,
    table: &TableName,
    (first, passed): (&[u8], Option<&[u8]>),
    (length, wanted): (usize, [u8; HASH]),
) -> Search {
    let Some(table) = node.find_table(table) else {
        return Search::Gone;
    };
    let range = ScanRange {
        prefix: first,
        after: passed,
        ..ScanRange::default()
    };
    let mut hashes = 0;
    // A table that answers later is refused when its page is read.
    let rows = node.view(now).scan(table, range).into_iter().flatten();
    for (keys, row) in rows.enumerate() {
        let key = row.key();
        if key.len() == length {
            if hash(key) == wanted {
                return Search::Found(key.clone());
            }
            hashes += 1;
        }
        if hashes == HASHES_PER_TURN || keys == KEYS_PER_TURN {
            return Search::Passed(key.clone());
        }
    }
    Search::Gone
}

fn hash(key: &[u8]) -> [u8; HASH] {
    let mut short = [0; HASH];
    short.copy_from_slice(&blake3::hash(key).as_bytes()[..HASH]);
    short
}

fn decode(text: &[u8]) -> Option<Place> {
    let all = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (body, check) = all.split_at_checked(all.len().checked_sub(CHECK)?)?;
    if blake3::hash(body).as_bytes()[..CHECK] != *check {
        return None;
    }
    let (form, body) = body.split_first()?;
    let (boot, body) = body.split_first_chunk()?;
    let (cursor, body) = body.split_first_chunk()?;
    let begun = EventId {
        boot: u64::from_be_bytes(*boot),
        cursor: Cursor::from_bytes(*cursor).ok()?,
    };
    let (kind, body) = body.split_first()?;
    let after = match (form, kind) {
        (&FORM, 0) => After::Key(body.to_vec()),
        (&FORM, 1) => {
            let (length, body) = body.split_first_chunk()?;
            let (hash, first) = body.split_first_chunk()?;
            After::Long {
                first: first.to_vec(),
                length: u32::from_be_bytes(*length),
                hash: *hash,
            }
        }
        _ => return None,
    };
    Some(Place { begun, after })
}
