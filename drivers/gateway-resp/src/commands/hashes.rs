//! Hashes: user tables, whose rows are the fields.

use bytes::Bytes;
use rumormill_core::{RowRef, ScanRange, Seq, TableId, Write};

use super::keys::{check_pairs, scan_reply};
use super::{Command, Ctx, DELETE, Group, ONE, Outcome, READ, READ_SLOW, WRITE};
use crate::decoder::Args;
use crate::encoder;
use crate::refusal::Refusal;
use crate::shared::Place;
use crate::stream::{Part, Stream, write_row, write_value};
use crate::work;

const GROUP: Group = Group::new("hash", ONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command(
        "hset",
        -4,
        WRITE,
        "Set the string value of a hash field",
        |ctx, args| {
            let added = put(ctx, args)?;
            ctx.int(added)
        },
    ),
    GROUP.command(
        "hmset",
        -4,
        WRITE,
        "Set multiple hash fields to multiple values",
        |ctx, args| {
            put(ctx, args)?;
            ctx.ok()
        },
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
    match ctx.hash(name) {
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
    let table = ctx.node.table(text)?;
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

/// Writes the fields; how many of them are new.
fn put(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<i64, Refusal> {
    if !args.len().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    check_pairs(ctx, args, 2)?;
    let table = writable(ctx, args.get(1))?;
    let mut added = 0;
    for at in (2..args.len()).step_by(2) {
        let write = Write::Put {
            key: args.get(at),
            value: Bytes::copy_from_slice(args.get(at + 1)),
            expires: None,
        };
        let accepted = ctx.node.write(ctx.now, table, write)?;
        ctx.written(accepted);
        added += i64::from(!accepted.existed);
    }
    Ok(added)
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
    match readable(ctx, args.get(1))? {
        None => ctx.nil(),
        Some(table) => {
            let proto = ctx.client.proto;
            let loaded = &ctx.client.loaded;
            write_value(
                ctx.now,
                ctx.node,
                proto,
                table,
                args.get(2),
                loaded,
                ctx.replies,
            )
        }
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

/// Answers with the values of the keys from `first` on; what there is no room for is read later.
pub(super) fn values(ctx: &mut Ctx<'_>, table: TableId, args: Args<'_>, first: usize) -> Outcome {
    let keys = args.from(first);
    encoder::array(ctx.out(), keys.len());
    let proto = ctx.client.proto;
    let mut said = 0;
    for key in keys {
        if ctx.replies.is_full()
            || write_value(ctx.now, ctx.node, proto, table, key, &None, ctx.replies).is_err()
        {
            break;
        }
        said += 1;
    }
    let rest: Vec<Bytes> = args
        .from(first + said)
        .map(Bytes::copy_from_slice)
        .collect();
    if rest.is_empty() {
        return Ok(());
    }
    ctx.client.stream = Some(Stream::Values(table, rest.into_iter()));
    Ok(())
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let shown = readable(ctx, args.get(1))?;
    let Some(table) = shown.or_else(|| ctx.hidden_hash(args.get(1))) else {
        return ctx.int(0);
    };
    if ctx.keeps_siblings(table) {
        return Err(Refusal::NO_CONTEXT);
    }
    let mut deleted = 0;
    for key in args.from(2).filter(|key| !key.is_empty()) {
        let accepted = ctx.node.write(ctx.now, table, Write::Delete { key })?;
        ctx.written(accepted);
        deleted += i64::from(accepted.existed);
    }
    ctx.int(deleted)
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let length = match readable(ctx, args.get(1))? {
        Some(table) => ctx.node.view(ctx.now).len(table),
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
    let view = ctx.node.view(ctx.now);
    let scan = || view.scan(table, ScanRange::default());
    let (count, newest) = scan().fold((0, Seq(0)), |(count, newest), row| {
        (count + 1, newest.max(row.seq()))
    });
    super::hold_if_unsynced(ctx.node, ctx.now, table, newest, ctx.replies);
    match part {
        Part::Both => encoder::map(ctx.replies.buf(), proto, count),
        _ => encoder::array(ctx.replies.buf(), count),
    }
    let mut rows = scan().peekable();
    while let Some(row) = rows.peek()
        && !ctx.replies.is_full()
    {
        let Some(value) = shown_value(part, row) else {
            break;
        };
        write_row(ctx.replies.buf(), part, row.key(), &value);
        rows.next();
    }
    let rest: Vec<_> = rows
        .map(|row| (row.key().clone(), shown_value(part, &row)))
        .collect();
    if !rest.is_empty() {
        ctx.client.stream = Some(Stream::Rows(table, part, rest.into_iter()));
    }
    Ok(())
}

/// The value as far as the reply shows it; `None` when it has to be loaded.
fn shown_value(part: Part, row: &RowRef<'_>) -> Option<Bytes> {
    match part {
        Part::Keys => Some(Bytes::new()),
        Part::Both | Part::Values => row.value().cloned(),
    }
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
    let (mut found, mut newest, mut last) = (Vec::new(), Seq(0), None);
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
    let view = ctx.node.view(ctx.now);
    let mut rows = view.scan(table, range);
    let mut room = options.budget();
    for row in &mut rows {
        if options.look_at(row.key(), &mut room) {
            let value = shown_value(part, &row);
            let len = value.as_ref().map_or(row.value_len(), Bytes::len);
            room.take(row.key().len() + len);
            found.push((row.key().clone(), value));
            newest = newest.max(row.seq());
        }
        if room.is_spent() {
            last = Some(row.key().clone());
            break;
        }
    }
    let next = last.filter(|_| rows.next().is_some());
    ctx.client.work.spend(room.steps());
    ctx.shown(table, newest);
    let values = if options.values { 2 } else { 1 };
    scan_reply(
        ctx,
        next.map(|key| Place::Fields(table, key)),
        found.len() * values,
    )?;
    ctx.client.stream = Some(Stream::Rows(table, part, found.into_iter()));
    Ok(())
}
