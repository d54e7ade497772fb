//! Hashes: user tables, whose rows are the fields.

use bytes::Bytes;
use rumormill_core::{
    TableId,
    table::{Mode, RowRef, ScanRange, TableOp, Write},
};

use super::keys::{check_pairs, scan_reply};
use super::later;
use super::{Command, Ctx, DELETE, Group, ONE, Outcome, READ, READ_SLOW, WRITE};
use crate::decoder::Args;
use crate::encoder;
use crate::refusal::Refusal;
use crate::shared::Place;
use crate::tasks::{Each, Found, Listing, Look, Next, Part, Values};
use crate::work;

const GROUP: Group = Group::new("hash", ONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command(
        "hset",
        -4,
        WRITE,
        "Set the string value of a hash field",
        |ctx, args| put(ctx, args, |ctx, added| ctx.int(added)),
    ),
    GROUP.command(
        "hmset",
        -4,
        WRITE,
        "Set multiple hash fields to multiple values",
        |ctx, args| put(ctx, args, |ctx, _| ctx.ok()),
    ),
    GROUP.command(
        "hsetnx",
        4,
        WRITE,
        "Set the value of a hash field, only if the field does not exist",
        hsetnx,
    ),
    GROUP.command("hget", 3, READ, "Get the value of a hash field", hget),
    GROUP.command(
        "hmget",
        -3,
        READ,
        "Get the values of all the given hash fields",
        hmget,
    ),
    GROUP.command("hdel", -3, DELETE, "Delete one or more hash fields", hdel),
    GROUP.command("hlen", 2, READ, "Get the number of fields in a hash", hlen),
    GROUP.command(
        "hexists",
        3,
        READ,
        "Determine if a hash field exists",
        hexists,
    ),
    GROUP.command(
        "hstrlen",
        3,
        READ,
        "Get the length of the value of a hash field",
        hstrlen,
    ),
    GROUP.command(
        "hkeys",
        2,
        READ_SLOW,
        "Get all the fields in a hash",
        |ctx, args| rows(ctx, args, Part::Keys),
    ),
    GROUP.command(
        "hvals",
        2,
        READ_SLOW,
        "Get all the values in a hash",
        |ctx, args| rows(ctx, args, Part::Values),
    ),
    GROUP.command(
        "hgetall",
        2,
        READ_SLOW,
        "Get all the fields and values in a hash",
        |ctx, args| rows(ctx, args, Part::Both),
    ),
    GROUP.command(
        "hscan",
        -3,
        READ_SLOW,
        "Incrementally iterate hash fields and associated values",
        hscan,
    ),
];

/// The hash that a command reads: `None` when there is nothing of that name.
fn readable(ctx: &Ctx<'_>, name: &[u8]) -> Result<Option<TableId>, Refusal> {
    // A table of another mode is not the same as one that is not there.
    let text = std::str::from_utf8(name);
    text.map_or(Ok(Mode::Gossip), Mode::built)?;
    match ctx.hash(name)? {
        None if ctx.is_string(name) => Err(Refusal::WRONG_TYPE),
        found => Ok(found),
    }
}

/// The hash that a command writes to, new or not.
fn writable(ctx: &mut Ctx<'_>, name: &[u8]) -> Result<TableId, Refusal> {
    if let Some(table) = readable(ctx, name)? {
        return match ctx.keeps_siblings(table) {
            true => Err(Refusal::NO_CONTEXT),
            false => Ok(table),
        };
    }
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(Refusal::Text(
            "ERR the name of a hash is the name of a table and has to be UTF-8",
        ));
    };
    ctx.client.work.spend(work::TABLE);
    let table = ctx.node.table_to_write(text)?;
    if table == TableId::DEFAULT {
        return Err(Refusal::Text(
            "ERR the hash 'default' is the table of the strings: use the commands for strings",
        ));
    }
    if ctx.keeps_siblings(table) {
        return Err(Refusal::NO_CONTEXT);
    }
    Ok(table)
}

/// Writes the fields; `finish` is told how many of them are new.
fn put(ctx: &mut Ctx<'_>, args: Args<'_>, finish: fn(&mut Ctx<'_>, i64) -> Outcome) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    check_pairs(ctx, args, 2)?;
    match writable(ctx, args.get(1)) {
        Err(Refusal::AnswersLater(table)) if args.len() == 4 => {
            let op = TableOp::Put {
                key: Bytes::copy_from_slice(args.get(2)),
                value: Bytes::copy_from_slice(args.get(3)),
                expires: None,
            };
            let accepted = later::write(ctx, table, op)?;
            return finish(ctx, i64::from(!accepted.existed));
        }
        writable => writable?,
    };
    let step = |ctx: &mut Ctx<'_>, args: Args<'_>, at| {
        // A long command may have lost what it looked at, while it waited.
        let table = match table_of(ctx, args.get(1)) {
            Some(table) => table,
            None => writable(ctx, args.get(1))?,
        };
        let write = Write::Put {
            key: args.get(at),
            value: Bytes::copy_from_slice(args.get(at + 1)),
            expires: None,
        };
        let accepted = ctx.node.write(ctx.now, table, write)?;
        ctx.written(accepted);
        Ok(i64::from(!accepted.existed))
    };
    ctx.each(args, Each::new(2, 2, step, finish))
}

/// The rows of a hash, in order.
pub(super) fn all_rows<'a>(ctx: &'a Ctx<'_>, table: TableId) -> impl Iterator<Item = RowRef<'a>> {
    ctx.scan(table, ScanRange::default())
}

/// The table of a hash that was looked at before, unless it has gone since.
fn table_of(ctx: &Ctx<'_>, name: &[u8]) -> Option<TableId> {
    ctx.node.user_table(std::str::from_utf8(name).ok()?)
}

fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let table = writable(ctx, args.get(1))?;
    let key = args.get(2);
    if let Some(row) = ctx.node.view(ctx.now).get(table, key).row() {
        let seq = row.seq();
        ctx.shown(table, seq);
        return ctx.int(0);
    }
    let write = Write::Put {
        key,
        value: Bytes::copy_from_slice(args.get(3)),
        expires: None,
    };
    let accepted = ctx.node.write(ctx.now, table, write)?;
    ctx.written(accepted);
    ctx.int(1)
}

fn hget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match readable(ctx, args.get(1)) {
        Ok(None) => ctx.nil(),
        Ok(Some(table)) => ctx.value(table, args.get(2)),
        Err(Refusal::AnswersLater(table)) => later::get(ctx, table, args.get(2)),
        Err(refusal) => Err(refusal),
    }
}

fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match readable(ctx, args.get(1))? {
        Some(table) => values(ctx, table, args, 2),
        None => {
            encoder::array(ctx.out(), args.len() - 2);
            (2..args.len()).try_for_each(|_| ctx.nil())
        }
    }
}

/// Most keys whose values are answered at once, and the bytes of those: a command with fewer does not stop those behind it.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 256 << 10;

/// Answers with the values of the keys from `first` on, as the client reads them if there are many.
pub(super) fn values(ctx: &mut Ctx<'_>, table: TableId, args: Args<'_>, first: usize) -> Outcome {
    let keys = args.from(first);
    let (mut bytes, mut cold) = (0, Vec::new());
    let is_whole = ctx.client.is_whole;
    for key in args
        .from(first)
        .take(if is_whole { usize::MAX } else { AT_ONCE })
    {
        if let Some(row) = ctx.row(table, key) {
            bytes += row.value_len();
            if let Err(Refusal::Cold(rows)) = ctx.client.loaded.value_of(table, &row) {
                cold.extend(rows);
            }
        }
    }
    if !is_whole && (keys.len() > AT_ONCE || bytes > BYTES_AT_ONCE) {
        encoder::array(ctx.out(), keys.len());
        return ctx.leave(Values { table, at: first });
    }
    cold.sort();
    cold.dedup();
    if !cold.is_empty() {
        return Err(Refusal::Cold(cold));
    }
    encoder::array(ctx.out(), keys.len());
    for key in keys {
        if let Err(refusal) = ctx.value(table, key) {
            refusal.reply("", ctx.replies);
        }
    }
    Ok(())
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let shown = match readable(ctx, args.get(1)) {
        Err(Refusal::AnswersLater(table)) if args.len() == 3 => {
            let key = Bytes::copy_from_slice(args.get(2));
            let accepted = later::write(ctx, table, TableOp::Delete { key })?;
            return ctx.int(i64::from(accepted.existed));
        }
        readable => readable?,
    };
    let Some(table) = shown.or_else(|| ctx.hidden_hash(args.get(1))) else {
        return ctx.int(0);
    };
    if ctx.keeps_siblings(table) {
        return Err(Refusal::NO_CONTEXT);
    }
    let step = |ctx: &mut Ctx<'_>, args: Args<'_>, at| {
        let key = args.get(at);
        let Some(table) = table_of(ctx, args.get(1)).filter(|_| !key.is_empty()) else {
            return Ok(0);
        };
        let accepted = ctx.node.write(ctx.now, table, Write::Delete { key })?;
        ctx.written(accepted);
        Ok(i64::from(accepted.existed))
    };
    ctx.each(args, Each::new(2, 1, step, |ctx, deleted| ctx.int(deleted)))
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let length = match readable(ctx, args.get(1))? {
        Some(table) => ctx.node.view(ctx.now).len(table)?,
        None => 0,
    };
    ctx.int(i64::try_from(length).unwrap_or(i64::MAX))
}

/// The length of a field and how many values it has, `None` when there is no such field.
fn measure(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Option<(usize, usize)>, Refusal> {
    let Some(table) = readable(ctx, args.get(1))? else {
        return Ok(None);
    };
    let row = ctx.node.view(ctx.now).get(table, args.get(2)).row();
    let found = row.map(|row| ((row.value_len(), row.sibling_count()), row.seq()));
    if let Some((_, seq)) = found {
        ctx.shown(table, seq);
    }
    Ok(found.map(|(measured, _)| measured))
}

fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let found = measure(ctx, args)?.is_some();
    ctx.int(i64::from(found))
}

fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match measure(ctx, args)? {
        Some((_, several)) if several > 1 => Err(Refusal::SIBLINGS),
        found => ctx.int(found.map_or(0, |(length, _)| length) as i64),
    }
}

fn rows(ctx: &mut Ctx<'_>, args: Args<'_>, part: Part) -> Outcome {
    let proto = ctx.client.proto;
    let Some(table) = readable(ctx, args.get(1))? else {
        match part {
            Part::Both => encoder::map(ctx.out(), proto, 0),
            _ => encoder::array(ctx.out(), 0),
        }
        return Ok(());
    };
    let look: Look = match part {
        Part::Both => |ctx, args, next, found| look(ctx, args, next, (Part::Both, found)),
        Part::Keys => |ctx, args, next, found| look(ctx, args, next, (Part::Keys, found)),
        Part::Values => |ctx, args, next, found| look(ctx, args, next, (Part::Values, found)),
    };
    match Listing::begin(ctx, args, Some((table, part)), Found::default(), look) {
        Some(listing) => ctx.leave(listing),
        None => Ok(()),
    }
}

/// Looks at the next rows of a hash.
fn look(
    ctx: &Ctx<'_>,
    args: Args<'_>,
    next: Option<&Next>,
    (part, found): (Part, &mut Found),
) -> Option<Next> {
    let table = table_of(ctx, args.get(1))?;
    let after = match next {
        Some(Next::Row(key)) => Some(&key[..]),
        _ => None,
    };
    let range = ScanRange {
        after,
        ..ScanRange::default()
    };
    found.begin_piece();
    for row in ctx.scan(table, range) {
        found.shown(ctx, (table, part), &row);
        if found.looked_is_enough() {
            return Some(Next::Row(row.key().clone()));
        }
    }
    None
}

fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let options = super::keys::ScanOptions::parse(ctx, args, 2, true)?;
    let place = options.place(ctx)?;
    let Some(table) = readable(ctx, args.get(1))? else {
        return scan_reply(ctx, None, 0);
    };
    let after = match place {
        None => None,
        Some(Place::Fields(of, after)) if of == table => Some(after),
        Some(_) => return Err(super::keys::FOREIGN_CURSOR),
    };
    let part = if options.values {
        Part::Both
    } else {
        Part::Keys
    };
    let range = ScanRange {
        prefix: options.prefix(),
        after: after.as_deref(),
        ..ScanRange::default()
    };
    let (mut found, mut last) = (Found::default(), None);
    let mut rows = ctx.node.view(ctx.now).scan(table, range)?;
    let mut room = options.budget();
    for row in &mut rows {
        if options.look_at(row.key(), &mut room) {
            let len = if options.values { row.value_len() } else { 0 };
            room.take(row.key().len() + len);
            found.shown(ctx, (table, part), &row);
        }
        if room.is_spent() {
            last = Some(row.key().clone());
            break;
        }
    }
    let next = last.filter(|_| rows.next().is_some());
    ctx.client.work.spend(room.steps());
    let values = if options.values { 2 } else { 1 };
    let next = next.map(|key| Place::Fields(table, key));
    ctx.shown(table, found.newest());
    scan_reply(ctx, next, found.count() * values)?;
    match Listing::rest(ctx, (table, part), found) {
        Some(listing) => ctx.leave(listing),
        None => Ok(()),
    }
}
