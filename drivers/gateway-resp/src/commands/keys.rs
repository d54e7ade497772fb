//! Keys of either kind.

use bytes::Bytes;
use rumormill_core::{
    TableId,
    errors::WriteError,
    table::{ScanRange, TableInfo, Write},
};

use super::{
    ADMIN, Command, Ctx, DELETE, Group, MANY, NONE, ONE, Outcome, READ, READ_SLOW, integer, is,
};
use crate::decoder::Args;
use crate::encoder;
use crate::glob::Pattern;
use crate::refusal::Refusal;
use crate::shared::Place;
use crate::tasks::{Each, Found, Listing, Next};
use crate::work::{self, WORK};

const GROUP: Group = Group::new("generic", NONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP
        .command("del", -2, DELETE, "Delete a key", del)
        .keyed(MANY),
    GROUP
        .command("unlink", -2, DELETE, "Delete a key", del)
        .keyed(MANY),
    GROUP
        .command("exists", -2, READ, "Determine if a key exists", exists)
        .keyed(MANY),
    GROUP
        .command("type", 2, READ, "Determine the type stored at key", kind)
        .keyed(ONE),
    GROUP.command(
        "keys",
        2,
        READ_SLOW,
        "Find all keys matching the given pattern",
        keys,
    ),
    GROUP.command(
        "scan",
        -2,
        READ_SLOW,
        "Incrementally iterate the keys space",
        scan,
    ),
    GROUP.command(
        "randomkey",
        1,
        READ_SLOW,
        "Return a random key from the keyspace",
        randomkey,
    ),
    GROUP.command(
        "dbsize",
        1,
        READ,
        "Return the number of keys in the selected database",
        dbsize,
    ),
    GROUP.command(
        "flushdb",
        -1,
        ADMIN,
        "Remove all keys from the current database",
        flush,
    ),
    GROUP.command(
        "flushall",
        -1,
        ADMIN,
        "Remove all keys from all databases",
        flush,
    ),
];

/// Most rows that one `SCAN` or `HSCAN` looks at, and most bytes that it answers with before it stops.
pub(super) const SCAN_ROWS: usize = 2_000;
const SCAN_BYTES: usize = 1 << 20;

pub(super) const FOREIGN_CURSOR: Refusal =
    Refusal::Text("ERR invalid cursor: it belongs to another scan");

/// Refuses a command of pairs before any of them is written, if one of them would be refused for its size.
pub(super) fn check_pairs(ctx: &Ctx<'_>, args: Args<'_>, first: usize) -> Outcome {
    let limits = &ctx.node.config().limits;
    for at in (first..args.len()).step_by(2) {
        let (key, value) = (args.get(at).len(), args.get(at + 1).len());
        if key == 0 {
            return Err(WriteError::EmptyKey.into());
        }
        if key > limits.key_bytes {
            let (size, limit) = (key, limits.key_bytes);
            return Err(WriteError::KeyTooLarge { size, limit }.into());
        }
        if value > limits.value_bytes {
            let (size, limit) = (value, limits.value_bytes);
            return Err(WriteError::ValueTooLarge { size, limit }.into());
        }
    }
    Ok(())
}

/// Deletes the row of a string, and leaves a hash of that name alone; whether it was there.
pub(super) fn del_row(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<bool, Refusal> {
    // An empty key and one that is too long to be written cannot be there.
    let delete = Write::Delete { key };
    match ctx.node.write(ctx.now, TableId::DEFAULT, delete) {
        Ok(accepted) => {
            ctx.written(accepted);
            Ok(accepted.existed)
        }
        Err(WriteError::KeyTooLarge { .. } | WriteError::EmptyKey) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let step = |ctx: &mut Ctx<'_>, args: Args<'_>, at| {
        let key = args.get(at);
        let shown = ctx.hash(key)?;
        let mut existed = del_row(ctx, key)?;
        if let Some(table) = shown.or_else(|| ctx.hidden_hash(key)) {
            ctx.flush(Some(table))?;
            existed |= shown.is_some();
        }
        Ok(i64::from(existed))
    };
    ctx.each(args, Each::new(1, 1, step, |ctx, deleted| ctx.int(deleted)))
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let step = |ctx: &mut Ctx<'_>, args: Args<'_>, at| {
        let key = args.get(at);
        Ok(i64::from(ctx.is_string(key) || ctx.hash(key)?.is_some()))
    };
    ctx.each(args, Each::new(1, 1, step, |ctx, found| ctx.int(found)))
}

fn kind(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.get(1);
    let kind = if ctx.is_string(key) {
        "string"
    } else if ctx.hash(key)?.is_some() {
        "hash"
    } else {
        "none"
    };
    encoder::simple(ctx.out(), kind);
    Ok(())
}

/// The tables that clients see, by name, from the first whose name is larger than `after`. O(log tables) to begin.
fn tables<'a>(ctx: &'a Ctx<'_>, after: Option<&[u8]>) -> impl Iterator<Item = TableInfo<'a>> + 'a {
    // Only the name of a table is ever given, which is text.
    let after = after.and_then(|after| std::str::from_utf8(after).ok());
    ctx.node.view(ctx.now).user_tables(after)
}

/// Whether a table is listed as a hash: it is known to have rows, and its name is not that of a string as well.
fn is_hash(ctx: &Ctx<'_>, table: &TableInfo<'_>) -> bool {
    table.id != TableId::DEFAULT && table.rows > Some(0) && !ctx.is_string(table.name.as_bytes())
}

fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let pattern = ctx.pattern(args.get(1))?;
    match Listing::begin(ctx, args, None, Found::of(pattern), look) {
        Some(listing) => ctx.leave(listing),
        None => Ok(()),
    }
}

/// Looks at the next strings, and at the next hashes behind all strings.
fn look(ctx: &Ctx<'_>, _args: Args<'_>, next: Option<&Next>, found: &mut Found) -> Option<Next> {
    found.begin_piece();
    let pattern = found.pattern();
    let names_after = match next {
        Some(Next::Hash(after)) => Some(&after[..]),
        Some(Next::Row(_)) | None => {
            let after = match next {
                Some(Next::Row(after)) => Some(&after[..]),
                _ => None,
            };
            let range = ScanRange {
                prefix: pattern.as_ref().map_or(&[], |pattern| pattern.prefix()),
                after,
                ..ScanRange::default()
            };
            for row in ctx.scan(TableId::DEFAULT, range) {
                if found.matches(row.key()) {
                    found.name(row.key());
                }
                if found.looked_is_enough() {
                    return Some(Next::Row(row.key().clone()));
                }
            }
            None
        }
    };
    for table in tables(ctx, names_after) {
        let name = table.name.as_bytes();
        if found.matches(name) && is_hash(ctx, &table) {
            found.name(name);
        }
        if found.looked_is_enough() {
            return Some(Next::Hash(Bytes::copy_from_slice(name)));
        }
    }
    None
}

/// The options of `SCAN` and `HSCAN`.
pub(super) struct ScanOptions<'a> {
    cursor: u64,
    pattern: Option<Pattern>,
    count: usize,
    kind: Option<&'a [u8]>,
    pub(super) values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads the cursor at `at` and what follows it.
    pub(super) fn parse(
        ctx: &mut Ctx<'_>,
        args: Args<'a>,
        at: usize,
        of_hash: bool,
    ) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(args.get(at)).ok();
        let cursor = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(cursor) = cursor.and_then(|text| text.parse().ok()) else {
            return Err(Refusal::Text("ERR invalid cursor"));
        };
        let mut options = ScanOptions {
            cursor,
            pattern: None,
            count: 10,
            kind: None,
            values: true,
        };
        let mut at = at + 1;
        while at < args.len() {
            let (word, last) = (args.get(at), at + 1 == args.len());
            let value = args.get(at + 1);
            if is(word, "match") && !last {
                options.pattern = Some(ctx.pattern(value)?);
            } else if is(word, "count") && !last {
                let count = integer(value)?;
                if count < 1 {
                    return Err(Refusal::SYNTAX);
                }
                options.count = usize::try_from(count).unwrap_or(SCAN_ROWS).min(SCAN_ROWS);
            } else if is(word, "type") && !last && !of_hash {
                options.kind = Some(value);
            } else if is(word, "novalues") && of_hash {
                options.values = false;
                at += 1;
                continue;
            } else {
                return Err(Refusal::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    /// Where to go on; `None` at the beginning.
    pub(super) fn place(&self, ctx: &Ctx<'_>) -> Result<Option<Place>, Refusal> {
        if self.cursor == 0 {
            return Ok(None);
        }
        match ctx.client.shared.cursors().get(self.cursor) {
            Some(place) => Ok(Some(place)),
            None => Err(Refusal::Text(
                "ERR invalid cursor: it is not of this server or too old, begin again from 0",
            )),
        }
    }

    pub(super) fn prefix(&self) -> &[u8] {
        self.pattern.as_ref().map_or(&[], Pattern::prefix)
    }

    /// Looks at a key: whether it is to be shown. What that costs is counted.
    pub(super) fn look_at(&self, key: &[u8], budget: &mut Budget) -> bool {
        let mut steps = work::ROW;
        let matches = self
            .pattern
            .as_ref()
            .is_none_or(|pattern| pattern.matches(key, &mut steps));
        budget.rows = budget.rows.saturating_sub(1);
        budget.steps = budget.steps.saturating_sub(steps);
        matches
    }

    pub(super) fn budget(&self) -> Budget {
        Budget {
            rows: self.count,
            bytes: SCAN_BYTES,
            steps: WORK,
        }
    }

    fn wants(&self, kind: &str) -> bool {
        self.kind.is_none_or(|wanted| is(wanted, kind))
    }
}

/// The budget of one call of a scan: the rows to look at and the bytes to answer with.
pub(super) struct Budget {
    rows: usize,
    bytes: usize,
    steps: usize,
}

impl Budget {
    pub(super) fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0 || self.steps == 0
    }

    /// The steps that were taken.
    pub(super) fn steps(&self) -> usize {
        WORK - self.steps
    }
}

/// Begins the reply of a scan: the cursor of `next`, and the array of `len` values.
pub(super) fn scan_reply(ctx: &mut Ctx<'_>, next: Option<Place>, len: usize) -> Outcome {
    let salt = ctx.node.actor().boot;
    let cursor = next.map_or(0, |place| ctx.client.shared.cursors().insert(place, salt));
    encoder::array(ctx.out(), 2);
    encoder::bulk(ctx.out(), cursor.to_string().as_bytes());
    encoder::array(ctx.out(), len);
    Ok(())
}

fn scan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let options = ScanOptions::parse(ctx, args, 1, false)?;
    let place = options.place(ctx)?;
    let mut budget = options.budget();
    let (mut found, mut next) = (Vec::new(), None);
    let (strings, names) = match &place {
        None => (Some(None), None),
        Some(Place::Strings(after)) => (Some(Some(&after[..])), None),
        Some(Place::Hashes(after)) => (None, Some(&after[..])),
        Some(Place::Fields(..)) => return Err(FOREIGN_CURSOR),
    };
    if let Some(after) = strings.filter(|_| options.wants("string")) {
        let range = ScanRange {
            prefix: options.prefix(),
            after,
            ..ScanRange::default()
        };
        for row in ctx.scan(TableId::DEFAULT, range) {
            if options.look_at(row.key(), &mut budget) {
                budget.take(row.key().len());
                found.push(row.key().clone());
            }
            if budget.is_spent() {
                next = Some(Place::Strings(row.key().clone()));
                break;
            }
        }
    }
    if next.is_none() && options.wants("hash") {
        let mut tables = tables(ctx, names).peekable();
        while let Some(table) = tables.next() {
            let name = table.name.as_bytes();
            if options.look_at(name, &mut budget) && is_hash(ctx, &table) {
                budget.take(name.len());
                found.push(Bytes::copy_from_slice(name));
            }
            if budget.is_spent() && tables.peek().is_some() {
                next = Some(Place::Hashes(Bytes::copy_from_slice(name)));
                break;
            }
        }
    }
    ctx.client.work.spend(budget.steps());
    scan_reply(ctx, next, found.len())?;
    found.iter().try_for_each(|key| ctx.bulk(key))
}

fn randomkey(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Outcome {
    let (draw, which) = (ctx.draw(), ctx.draw());
    let view = ctx.node.view(ctx.now);
    let strings = view.len(TableId::DEFAULT).unwrap_or(0);
    let string = || {
        let row = view.sample(TableId::DEFAULT, which).ok().flatten();
        row.map(|row| row.key().clone())
    };
    let hash = || {
        let table = view.sample_table(which, Some(TableId::DEFAULT));
        table.map(|table| Bytes::copy_from_slice(table.name.as_bytes()))
    };
    let chosen = match draw % count(ctx).max(1) < strings {
        true => string().or_else(hash),
        false => hash().or_else(string),
    };
    match chosen {
        Some(key) => ctx.bulk(&key),
        None => ctx.nil(),
    }
}

/// Strings and hashes. A name that is both counts twice. O(1).
pub(super) fn count(ctx: &Ctx<'_>) -> u64 {
    let view = ctx.node.view(ctx.now);
    let strings = view.len(TableId::DEFAULT).unwrap_or(0);
    let tables = view.populated_tables() as u64;
    strings + tables - u64::from(strings > 0)
}

fn dbsize(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Outcome {
    let count = count(ctx);
    ctx.int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let option = args.get(1);
    if args.len() > 2 || (args.len() == 2 && !is(option, "async") && !is(option, "sync")) {
        return Err(Refusal::SYNTAX);
    }
    ctx.flush(None)?;
    if is(option, "async") {
        // The node's turns go on with it.
        ctx.client.flushing = None;
    }
    let none = |_: &mut Ctx<'_>, _: Args<'_>, _| Ok(0);
    ctx.each(args, Each::new(args.len(), 1, none, |ctx, _| ctx.ok()))
}
