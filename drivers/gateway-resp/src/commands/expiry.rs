//! When keys expire.

use rumormill_core::{Now, TableId, Wall, table::Write};

use super::{Command, Ctx, DELETE, Group, ONE, Outcome, READ, integer, is};
use crate::decoder::Args;
use crate::refusal::Refusal;

const GROUP: Group = Group::new("generic", ONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command(
        "expire",
        -3,
        DELETE,
        "Set a key's time to live in seconds",
        |ctx, args| expire(ctx, args, Unit::Seconds),
    ),
    GROUP.command(
        "pexpire",
        -3,
        DELETE,
        "Set a key's time to live in milliseconds",
        |ctx, args| expire(ctx, args, Unit::Millis),
    ),
    GROUP.command(
        "expireat",
        -3,
        DELETE,
        "Set the expiration for a key as a UNIX timestamp",
        |ctx, args| expire(ctx, args, Unit::AtSeconds),
    ),
    GROUP.command(
        "pexpireat",
        -3,
        DELETE,
        "Set the expiration for a key as a UNIX timestamp in milliseconds",
        |ctx, args| expire(ctx, args, Unit::AtMillis),
    ),
    GROUP.command(
        "ttl",
        2,
        READ,
        "Get the time to live for a key in seconds",
        |ctx, args| remaining(ctx, args, |left, _| seconds(left)),
    ),
    GROUP.command(
        "pttl",
        2,
        READ,
        "Get the time to live for a key in milliseconds",
        |ctx, args| remaining(ctx, args, |left, _| left),
    ),
    GROUP.command(
        "expiretime",
        2,
        READ,
        "Get the expiration UNIX timestamp for a key",
        |ctx, args| remaining(ctx, args, |_, at| seconds(at)),
    ),
    GROUP.command(
        "pexpiretime",
        2,
        READ,
        "Get the expiration UNIX timestamp for a key in milliseconds",
        |ctx, args| remaining(ctx, args, |_, at| at),
    ),
    GROUP.command(
        "persist",
        2,
        DELETE,
        "Remove the expiration from a key",
        persist,
    ),
];

/// How an argument names a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    AtSeconds,
    AtMillis,
}

impl Unit {
    /// The option of `SET` that means this.
    pub(super) fn of_option(word: &[u8]) -> Option<Unit> {
        let units = [
            ("ex", Unit::Seconds),
            ("px", Unit::Millis),
            ("exat", Unit::AtSeconds),
            ("pxat", Unit::AtMillis),
        ];
        let found = units.into_iter().find(|(name, _)| is(word, name));
        found.map(|(_, unit)| unit)
    }

    /// Milliseconds since the epoch; `None` when that overflows.
    fn moment(self, now: Now, value: i64) -> Option<i64> {
        let millis = match self {
            Unit::Seconds | Unit::AtSeconds => value.checked_mul(1000)?,
            Unit::Millis | Unit::AtMillis => value,
        };
        match self {
            Unit::Seconds | Unit::Millis => millis.checked_add(millis_of(now.wall)),
            Unit::AtSeconds | Unit::AtMillis => Some(millis),
        }
    }
}

/// The nearest second, as Redis rounds.
fn seconds(millis: i64) -> i64 {
    millis / 1000 + i64::from(millis % 1000 >= 500)
}

fn millis_of(wall: Wall) -> i64 {
    i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
}

fn wall_of(millis: i64) -> Wall {
    Wall::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The moment that an option of a write names; it must be positive.
pub(super) fn deadline(now: Now, unit: Unit, text: &[u8]) -> Result<Wall, Refusal> {
    let value = integer(text)?;
    let moment = unit.moment(now, value).filter(|_| value > 0);
    moment.map(wall_of).ok_or(Refusal::ExpireTime)
}

#[derive(Default)]
struct Conditions {
    none: bool,
    some: bool,
    later: bool,
    earlier: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self, Refusal> {
        let mut conditions = Conditions::default();
        for word in args.from(3) {
            if is(word, "nx") {
                conditions.none = true;
            } else if is(word, "xx") {
                conditions.some = true;
            } else if is(word, "gt") {
                conditions.later = true;
            } else if is(word, "lt") {
                conditions.earlier = true;
            } else {
                return Err(Refusal::Bytes([b"ERR Unsupported option ", word].concat()));
            }
        }
        if conditions.none && (conditions.some || conditions.later || conditions.earlier) {
            return Err(Refusal::Text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.later && conditions.earlier {
            return Err(Refusal::Text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// Whether an expiry may become `at`.
    fn allow(&self, current: Option<Wall>, at: Wall) -> bool {
        // A key that never expires counts as expiring infinitely late.
        !(self.none && current.is_some()
            || self.some && current.is_none()
            || self.later && current.is_none_or(|current| at <= current)
            || self.earlier && current.is_some_and(|current| at >= current))
    }
}

fn expire(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit) -> Outcome {
    let key = args.get(1);
    let conditions = Conditions::parse(args)?;
    let moment = unit.moment(ctx.now, integer(args.get(2))?);
    let at = moment.map(wall_of).ok_or(Refusal::ExpireTime)?;
    let Some(row) = ctx.node.view(ctx.now).get(TableId::DEFAULT, key).row() else {
        if ctx.hash(key)?.is_some() {
            let name = ctx.command.name.to_ascii_uppercase();
            return Err(format!(
                "ERR {name} is not supported on a hash: a hash is a table, and tables do not expire"
            )
            .into());
        }
        return ctx.int(0);
    };
    if !conditions.allow(row.expires(), at) {
        return ctx.int(0);
    }
    let write = if at <= ctx.now.wall {
        Write::Delete { key }
    } else {
        Write::Put {
            key,
            value: ctx.client.loaded.value_of(TableId::DEFAULT, &row)?.clone(),
            expires: Some(at),
        }
    };
    let accepted = ctx.node.write(ctx.now, TableId::DEFAULT, write)?;
    ctx.written(accepted);
    ctx.int(1)
}

fn persist(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.get(1);
    let value = match ctx.node.view(ctx.now).get(TableId::DEFAULT, key).row() {
        Some(row) if row.expires().is_some() => {
            ctx.client.loaded.value_of(TableId::DEFAULT, &row)?.clone()
        }
        _ => return ctx.int(0),
    };
    let write = Write::Put {
        key,
        value,
        expires: None,
    };
    let accepted = ctx.node.write(ctx.now, TableId::DEFAULT, write)?;
    ctx.written(accepted);
    ctx.int(1)
}

/// Answers with what `show` makes of the milliseconds left and of the moment.
fn remaining(ctx: &mut Ctx<'_>, args: Args<'_>, show: fn(i64, i64) -> i64) -> Outcome {
    let key = args.get(1);
    let now = millis_of(ctx.now.wall);
    let answer = match ctx.node.view(ctx.now).get(TableId::DEFAULT, key).row() {
        Some(row) => row.expires().map_or(-1, |at| {
            let at = millis_of(at);
            show(at.saturating_sub(now).max(0), at)
        }),
        None if ctx.hash(key)?.is_some() => -1,
        None => -2,
    };
    ctx.int(answer)
}
