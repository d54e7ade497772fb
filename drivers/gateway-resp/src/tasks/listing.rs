//! Replies that announce how many rows or names they have. They are built before they are sent, because rows come and go meanwhile.
//!
//! One that fits into the client's replies is built at once, and shows one moment. A larger one waits in line until there is memory
//! for it, is built in pieces, and shows each row that stays exactly once, as it was when its piece was built.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rumormill_core::{Seq, TableId, table::RowRef};
use rumormill_kit::client_session::{Flow, Place, Turn};

use super::{AHEAD, AHEAD_BYTES, in_place};
use crate::client::{Ctx, Job, Piece};
use crate::decoder::Args;
use crate::encoder;
use crate::glob::Pattern;
use crate::hold::hold_if_unsynced;
use crate::refusal::{Refusal, RowKey};
use crate::work::{self, WORK};

/// Rows looked at in the first piece, which is all of most replies, and in each of those that follow; and bytes built in one.
const ROWS: usize = 2_000;
const ROWS_LATER: usize = 1_000;
const BYTES: usize = 1 << 20;

/// Bytes built in a piece that follows, and said in one.
const BYTES_LATER: usize = 256 << 10;

/// Bytes of a chunk of the reply, and of the entry for which there is room in one.
const CHUNK: usize = 32 << 10;
const ENTRY: usize = 1 << 10;

/// Which half of a row a reply shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Both,
    Keys,
    Values,
}

/// A part of the reply.
#[derive(Debug)]
enum Chunk {
    /// As it is sent.
    Said(Vec<u8>),
    /// A row whose value is only in the store: it is read when its turn comes.
    Cold(Bytes),
}

/// The findings of a listing.
#[derive(Debug, Default)]
pub(crate) struct Found {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    count: usize,
    newest: Seq,
    /// Rows and names looked at in this piece, the steps that took, and the bytes before it.
    looked: usize,
    steps: usize,
    before: usize,
    /// Which keys are shown; all without one.
    pattern: Option<Arc<Pattern>>,
}

impl Found {
    /// Nothing yet, of the keys that match a pattern.
    pub(crate) fn of(pattern: Pattern) -> Found {
        Found {
            pattern: Some(Arc::new(pattern)),
            ..Found::default()
        }
    }

    /// A piece begins.
    pub(crate) fn begin_piece(&mut self) {
        (self.looked, self.steps, self.before) = (0, 0, self.bytes);
    }

    pub(crate) fn pattern(&self) -> Option<Arc<Pattern>> {
        self.pattern.clone()
    }

    /// Compares a key with the pattern.
    pub(crate) fn matches(&mut self, key: &[u8]) -> bool {
        let steps = &mut self.steps;
        let mut pattern = self.pattern.iter();
        pattern.all(|pattern| pattern.matches(key, steps))
    }

    /// Counts a row or name that was looked at; whether that is enough for one piece.
    pub(crate) fn looked_is_enough(&mut self) -> bool {
        self.looked += 1;
        self.steps += work::ROW;
        let (rows, bytes) = match self.before {
            0 => (ROWS, BYTES),
            _ => (ROWS_LATER, BYTES_LATER),
        };
        self.looked >= rows || self.steps >= WORK || self.bytes - self.before >= bytes
    }

    /// Appends what `write` writes, as one entry.
    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        if !matches!(self.chunks.back(), Some(Chunk::Said(chunk)) if chunk.len() + ENTRY <= CHUNK) {
            // A chunk that grows leaves holes behind. So one that follows a full one has its size from the start.
            let room = match self.chunks.back() {
                Some(Chunk::Said(_)) => CHUNK,
                _ => 0,
            };
            self.chunks.push_back(Chunk::Said(Vec::with_capacity(room)));
        }
        if let Some(Chunk::Said(chunk)) = self.chunks.back_mut() {
            let before = chunk.len();
            write(chunk);
            self.bytes += chunk.len() - before;
        }
    }

    /// Appends a name.
    pub(crate) fn name(&mut self, name: &[u8]) {
        self.say(|out| encoder::bulk(out, name));
    }

    /// Appends a row of which the value is known as far as it is shown.
    fn row(&mut self, part: Part, key: &[u8], value: &[u8]) {
        self.say(|out| {
            if part != Part::Values {
                encoder::bulk(out, key);
            }
            if part != Part::Keys {
                encoder::bulk(out, value);
            }
        });
    }

    /// Appends a row of `table`; its value is read later if it is only in the store.
    pub(crate) fn shown(
        &mut self,
        ctx: &Ctx<'_>,
        (table, part): (TableId, Part),
        row: &RowRef<'_>,
    ) {
        self.newest = self.newest.max(row.seq());
        match row.value() {
            _ if part == Part::Keys => self.row(part, row.key(), &[]),
            Some(value) => self.row(part, row.key(), value),
            None if ctx.client.is_whole => {
                let value = ctx.client.loaded.value_of(table, row);
                self.say(|out| {
                    if part == Part::Both {
                        encoder::bulk(out, row.key());
                    }
                    match value {
                        Ok(value) => encoder::bulk(out, value),
                        Err(refusal) => refusal.write_reply("", out),
                    }
                });
            }
            None => {
                self.count += 1;
                self.bytes += row.key().len() + 64;
                self.chunks.push_back(Chunk::Cold(row.key().clone()));
            }
        }
    }

    /// The last batch that stores a row that was found.
    pub(crate) fn newest(&self) -> Seq {
        self.newest
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// Looks at the next rows or names after the last one, until [`Found::looked_is_enough`], and appends those to be shown; where to go
/// on, `None` at the end.
pub(crate) type Look = fn(&Ctx<'_>, Args<'_>, Option<&Next>, &mut Found) -> Option<Next>;

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// After this row of the table that is listed.
    Row(Bytes),
    /// After this hash; the strings are listed.
    Hash(Bytes),
}

#[derive(Debug)]
enum Stage {
    /// It has a place in the line.
    Building(Place, Option<Next>),
    Sending,
}

/// A reply that announces how many entries it has.
#[derive(Debug)]
pub(crate) struct Listing {
    look: Look,
    /// The table whose rows are shown, if not names.
    rows: Option<(TableId, Part)>,
    found: Found,
    stage: Stage,
}

impl Listing {
    /// A reply that is built by `look` from `found`, which is empty: what there is to do later, `None` when it has been said.
    pub(crate) fn begin(
        ctx: &mut Ctx<'_>,
        args: Args<'_>,
        rows: Option<(TableId, Part)>,
        mut found: Found,
        look: Look,
    ) -> Option<Listing> {
        let pattern = found.pattern();
        let mut next = None;
        let most = if ctx.client.is_whole {
            usize::MAX
        } else {
            ctx.replies.mark()
        };
        loop {
            next = look(ctx, args, next.as_ref(), &mut found);
            ctx.client.work.spend(found.steps);
            if next.is_none() || !ctx.client.is_whole {
                break;
            }
        }
        if next.is_none() && found.bytes <= most {
            return Listing::send(ctx, rows, look, found);
        }
        let place = ctx.replies.budget().stand(ctx.client.id);
        Some(Listing {
            look,
            rows,
            // It begins anew when it is its turn, so that those in line hold no memory.
            found: Found {
                pattern,
                ..Found::default()
            },
            stage: Stage::Building(place, None),
        })
    }

    /// Says how many entries follow, and as many of them as there is room for.
    pub(crate) fn send(
        ctx: &mut Ctx<'_>,
        rows: Option<(TableId, Part)>,
        look: Look,
        found: Found,
    ) -> Option<Listing> {
        announce(ctx, rows, &found);
        let mut listing = Listing {
            look,
            rows,
            found,
            stage: Stage::Sending,
        };
        match listing.say(ctx) {
            Piece::Done => None,
            _ => Some(listing),
        }
    }

    /// Sends what was found, after a header that the caller wrote.
    pub(crate) fn rest(
        ctx: &mut Ctx<'_>,
        (table, part): (TableId, Part),
        found: Found,
    ) -> Option<Listing> {
        let mut listing = Listing {
            look: |_, _, _, _| None,
            rows: Some((table, part)),
            found,
            stage: Stage::Sending,
        };
        match listing.say(ctx) {
            Piece::Done => None,
            _ => Some(listing),
        }
    }

    /// Says what there is room for.
    fn say(&mut self, ctx: &mut Ctx<'_>) -> Piece {
        let mut said = 0;
        while let Some(chunk) = self.found.chunks.front() {
            if ctx.replies.is_full() && !ctx.client.is_whole {
                return Piece::Pause(Flow::Full);
            }
            if said >= BYTES_LATER && !ctx.client.is_whole {
                return Piece::Pause(Flow::Yield);
            }
            let bytes = match chunk {
                Chunk::Said(said) => {
                    ctx.replies.buf().extend_from_slice(said);
                    said.len()
                }
                Chunk::Cold(key) => {
                    let key = key.clone();
                    if self.say_cold(ctx, &key).is_err() {
                        return Piece::Needs(self.ahead(ctx));
                    }
                    key.len() + 64
                }
            };
            said += bytes;
            self.found.bytes = self.found.bytes.saturating_sub(bytes);
            self.found.chunks.pop_front();
        }
        Piece::Done
    }

    /// Appends a row that was cold when it was announced. One that has gone since leaves an error in the place of its value.
    fn say_cold(&self, ctx: &mut Ctx<'_>, key: &Bytes) -> Result<(), Vec<RowKey>> {
        let Some((table, part)) = self.rows else {
            return Ok(());
        };
        let row = ctx.node.view(ctx.now).get(table, key).row();
        let seq = row.map(|row| row.seq());
        let value = match &row {
            Some(row) => ctx.client.loaded.value_of(table, row),
            None => Err(Refusal::Text(
                "GONE the row was deleted while the reply was sent",
            )),
        };
        if let Err(Refusal::Cold(rows)) = value {
            return Err(rows);
        }
        if let Some(seq) = seq {
            hold_if_unsynced(ctx.node, ctx.now, table, seq, ctx.replies);
        }
        if part == Part::Both {
            encoder::bulk(ctx.replies.buf(), key);
        }
        let said = value.map(|value| encoder::bulk(ctx.replies.buf(), value));
        in_place(said, ctx.replies)
    }

    /// The next rows that have to be loaded.
    fn ahead(&self, ctx: &Ctx<'_>) -> Vec<RowKey> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let Some((table, _)) = self.rows else {
            return rows;
        };
        for chunk in self.found.chunks.iter().take(4 * AHEAD) {
            let Chunk::Cold(key) = chunk else {
                continue;
            };
            let Some(row) = ctx.row(table, key) else {
                continue;
            };
            if row.value().is_some() || row.sibling_count() > 1 {
                continue;
            }
            bytes += row.value_len();
            if !rows.is_empty() && (bytes > AHEAD_BYTES || rows.len() == AHEAD) {
                break;
            }
            rows.push((table, key.clone()));
        }
        rows
    }
}

impl Job for Listing {
    fn pump(&mut self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Piece, Refusal> {
        if let Stage::Building(place, next) = &mut self.stage {
            let most = ctx.replies.budget().limits().all / 2;
            if self.found.bytes > most {
                return Err(format!(
                    "TOOLARGE the reply has more than {most} bytes, half of what the replies of all clients may have (clients-output): use SCAN or HSCAN"
                )
                .into());
            }
            if place.turn(self.found.bytes) != Turn::Now {
                return Ok(Piece::Pause(Flow::Wait));
            }
            *next = (self.look)(ctx, args, next.as_ref(), &mut self.found);
            ctx.client.work.spend(self.found.steps);
            if next.is_some() {
                return Ok(Piece::Pause(Flow::Yield));
            }
            announce(ctx, self.rows, &self.found);
            // Its place in the line is the next one's.
            self.stage = Stage::Sending;
        }
        Ok(self.say(ctx))
    }

    fn footprint(&self) -> usize {
        let pattern = self.found.pattern.as_ref();
        self.found.bytes + pattern.map_or(0, |pattern| pattern.memory())
    }
}

/// Says how many entries follow. They are withheld until they are durable, where that is promised.
fn announce(ctx: &mut Ctx<'_>, rows: Option<(TableId, Part)>, found: &Found) {
    if let Some((table, _)) = rows {
        hold_if_unsynced(ctx.node, ctx.now, table, found.newest, ctx.replies);
    }
    let proto = ctx.client.proto;
    match rows {
        Some((_, Part::Both)) => encoder::map(ctx.replies.buf(), proto, found.count),
        _ => encoder::array(ctx.replies.buf(), found.count),
    }
}
