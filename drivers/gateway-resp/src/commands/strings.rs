//! Strings: rows of the default table.

use bytes::Bytes;
use rumormill_core::{TableId, Wall, table::Write};

use super::expiry::{Unit, deadline};
use super::hashes::values;
use super::{Command, Ctx, DELETE, Group, MANY, ONE, Outcome, READ, WRITE, is};
use crate::decoder::Args;
use crate::refusal::Refusal;
use crate::tasks::Each;

const GROUP: Group = Group::new("string", ONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command("get", 2, READ, "Get the value of a key", get),
    GROUP.command("set", -3, WRITE, "Set the string value of a key", set),
    GROUP.command(
        "setnx",
        3,
        WRITE,
        "Set the value of a key, only if the key does not exist",
        setnx,
    ),
    GROUP.command(
        "setex",
        4,
        WRITE,
        "Set the value and expiration of a key",
        setex,
    ),
    GROUP.command(
        "psetex",
        4,
        WRITE,
        "Set the value and expiration in milliseconds of a key",
        psetex,
    ),
    GROUP.command(
        "getdel",
        2,
        DELETE,
        "Get the value of a key and delete the key",
        getdel,
    ),
    GROUP
        .command(
            "mget",
            -2,
            READ,
            "Get the values of all the given keys",
            mget,
        )
        .keyed(MANY),
    GROUP
        .command(
            "mset",
            -3,
            WRITE,
            "Set multiple keys to multiple values",
            mset,
        )
        .keyed((1, -1, 2)),
    GROUP.command(
        "strlen",
        2,
        READ,
        "Get the length of the value stored in a key",
        strlen,
    ),
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.get(1);
    match ctx.node.view(ctx.now).get(TableId::DEFAULT, key).row() {
        Some(row) => {
            let value = ctx.client.loaded.value_of(TableId::DEFAULT, &row)?;
            crate::encoder::bulk(ctx.replies.buf(), value);
            Ok(())
        }
        None if ctx.hash(key)?.is_some() => Err(Refusal::WRONG_TYPE),
        None => ctx.nil(),
    }
}

fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.get(1);
    match ctx.node.view(ctx.now).get(TableId::DEFAULT, key).row() {
        Some(row) => {
            let length = row.value_len();
            ctx.int(length as i64)
        }
        None if ctx.hash(key)?.is_some() => Err(Refusal::WRONG_TYPE),
        None => ctx.int(0),
    }
}

/// Refuses to replace a hash whose values a client has to have seen to replace them.
fn check_replaceable(ctx: &Ctx<'_>, key: &[u8]) -> Outcome {
    match ctx.hash(key)? {
        Some(table) if ctx.keeps_siblings(table) => Err(Refusal::NOT_REPLACED),
        _ => Ok(()),
    }
}

/// Writes a string in the place of whatever the key holds.
fn put(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], expires: Option<Wall>) -> Outcome {
    check_replaceable(ctx, key)?;
    put_row(ctx, key, value, expires)?;
    if let Some(table) = ctx.hash(key)? {
        ctx.flush(Some(table))?;
    }
    Ok(())
}

/// The same for a command that is answered at once: the node's turns delete what is left of a hash.
fn put_at_once(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], expires: Option<Wall>) -> Outcome {
    put(ctx, key, value, expires)?;
    ctx.client.flushing = None;
    Ok(())
}

/// Writes the row of a string, and leaves a hash of that name alone.
pub(super) fn put_row(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    value: &[u8],
    expires: Option<Wall>,
) -> Outcome {
    let write = match expires {
        Some(at) if at <= ctx.now.wall => Write::Delete { key },
        _ => Write::Put {
            key,
            value: Bytes::copy_from_slice(value),
            expires,
        },
    };
    let accepted = ctx.node.write(ctx.now, TableId::DEFAULT, write)?;
    ctx.written(accepted);
    Ok(())
}

#[derive(Default)]
struct SetOptions<'a> {
    only_new: bool,
    only_old: bool,
    get: bool,
    keep: bool,
    expire: Option<(Unit, &'a [u8])>,
}

fn set_options<'a>(args: Args<'a>) -> Result<SetOptions<'a>, Refusal> {
    let mut options = SetOptions::default();
    let mut at = 3;
    while at < args.len() {
        let word = args.get(at);
        let unit = Unit::of_option(word);
        if is(word, "nx") && !options.only_old {
            options.only_new = true;
        } else if is(word, "xx") && !options.only_new {
            options.only_old = true;
        } else if is(word, "get") {
            options.get = true;
        } else if is(word, "keepttl") && options.expire.is_none() {
            options.keep = true;
        } else if let Some(unit) = unit
            && options.expire.is_none()
            && !options.keep
            && at + 1 < args.len()
        {
            at += 1;
            options.expire = Some((unit, args.get(at)));
        } else {
            return Err(Refusal::SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return set_with(ctx, args, &set_options(args)?);
    }
    put_at_once(ctx, args.get(1), args.get(2), None)?;
    ctx.ok()
}

fn set_with(ctx: &mut Ctx<'_>, args: Args<'_>, options: &SetOptions<'_>) -> Outcome {
    let key = args.get(1);
    let mut expires = match options.expire {
        Some((unit, text)) => Some(deadline(ctx.now, unit, text)?),
        None => None,
    };
    let current = ctx.node.view(ctx.now).get(TableId::DEFAULT, key).row();
    let is_string = current.is_some();
    let old = match current {
        Some(_) if options.get => ctx.string(key)?.cloned(),
        _ => None,
    };
    if options.keep {
        expires = current.and_then(|row| row.expires());
    }
    let is_hash = !is_string && ctx.hash(key)?.is_some();
    if options.get && is_hash {
        return Err(Refusal::WRONG_TYPE);
    }
    let exists = is_string || is_hash;
    let refused = (options.only_new && exists) || (options.only_old && !exists);
    if !refused {
        put_at_once(ctx, key, args.get(2), expires)?;
    }
    match old {
        Some(old) => ctx.bulk(&old),
        None if options.get || refused => ctx.nil(),
        None => ctx.ok(),
    }
}

fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.get(1);
    if ctx.is_string(key) || ctx.hash(key)?.is_some() {
        return ctx.int(0);
    }
    put_at_once(ctx, key, args.get(2), None)?;
    ctx.int(1)
}

fn setex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let expires = deadline(ctx.now, Unit::Seconds, args.get(2))?;
    put_at_once(ctx, args.get(1), args.get(3), Some(expires))?;
    ctx.ok()
}

fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let expires = deadline(ctx.now, Unit::Millis, args.get(2))?;
    put_at_once(ctx, args.get(1), args.get(3), Some(expires))?;
    ctx.ok()
}

fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.get(1);
    let old = match ctx.string(key)? {
        Some(value) => value.clone(),
        None if ctx.hash(key)?.is_some() => return Err(Refusal::WRONG_TYPE),
        None => {
            // A row that is hidden here may show elsewhere.
            super::keys::del_row(ctx, key)?;
            return ctx.nil();
        }
    };
    let delete = Write::Delete { key };
    let accepted = ctx.node.write(ctx.now, TableId::DEFAULT, delete)?;
    ctx.written(accepted);
    ctx.bulk(&old)
}

fn mget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    values(ctx, TableId::DEFAULT, args, 1)
}

fn mset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    super::keys::check_pairs(ctx, args, 1)?;
    // All keys are looked at before the first is written.
    let mut each = Each::new(
        1,
        2,
        |ctx, args, at| check_replaceable(ctx, args.get(at)).map(|()| 0),
        |ctx, _| ctx.ok(),
    );
    each.then = Some(|ctx, args, at| put(ctx, args.get(at), args.get(at + 1), None).map(|()| 0));
    ctx.each(args, each)
}
