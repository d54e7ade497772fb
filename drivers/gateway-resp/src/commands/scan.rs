//! `SCAN` and `HSCAN`: a page at a time, from remembered places in the key order.

use bytes::Bytes;
use rumormill_core::{ScanRange, TableId};

use super::is;
use crate::decoder::parse_int;
use crate::glob;
use crate::session::{Call, Position};

/// Most keys visited by one call.
const COUNT_MAX: i64 = 100_000;

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    kind: Option<&'a [u8]>,
    values: bool,
}

fn options<'a>(call: &Call<'a>, from: usize, hash: bool) -> Result<Options<'a>, &'static str> {
    let mut out = Options {
        pattern: None,
        count: 10,
        kind: None,
        values: true,
    };
    let mut at = from;
    while at < call.args.len() {
        let option = call.args.get(at);
        if hash && is(option, "novalues") {
            out.values = false;
            at += 1;
            continue;
        }
        if at + 1 >= call.args.len() {
            return Err("ERR syntax error");
        }
        let value = call.args.get(at + 1);
        if is(option, "match") {
            out.pattern = Some(value);
        } else if is(option, "count") {
            let count = parse_int(value).ok_or("ERR value is not an integer or out of range")?;
            if count < 1 {
                return Err("ERR syntax error");
            }
            out.count = count.min(COUNT_MAX) as usize;
        } else if !hash && is(option, "type") {
            out.kind = Some(value);
        } else {
            return Err("ERR syntax error");
        }
        at += 2;
    }
    Ok(out)
}

/// The place that a cursor stands for; `None` at the beginning.
fn place(call: &Call<'_>, argument: usize) -> Result<Option<Position>, &'static str> {
    let cursor = parse_int(call.args.get(argument)).and_then(|cursor| u64::try_from(cursor).ok());
    match cursor.ok_or("ERR invalid cursor")? {
        0 => Ok(None),
        cursor => match call.state.cursors.borrow().find(cursor) {
            Some(position) => Ok(Some(position)),
            None => Err("ERR cursor is unknown or too old, begin again with 0"),
        },
    }
}

fn reply(call: &mut Call<'_>, next: Option<Position>, found: Vec<Option<Bytes>>) {
    let cursor = next.map_or(0, |position| {
        call.state.cursors.borrow_mut().remember(position)
    });
    let mut out = call.out();
    out.array(2);
    out.bulk(cursor.to_string().as_bytes());
    out.array(found.len());
    call.stream(found);
}

pub(crate) fn scan(call: &mut Call<'_>) {
    let (options, from) =
        match options(call, 2, false).and_then(|options| Ok((options, place(call, 1)?))) {
            Ok(parsed) => parsed,
            Err(error) => return call.error(error),
        };
    let wants = |kind: &str| options.kind.is_none_or(|wanted| is(wanted, kind));
    let fits = |key: &[u8]| {
        options
            .pattern
            .is_none_or(|pattern| glob::matches(pattern, key))
    };
    let mut found = Vec::new();
    let mut visited = 0;
    let mut tables_after = match from {
        Some(Position::Tables(name)) => Some(name),
        from if wants("string") => {
            let after = match &from {
                Some(Position::Strings(key)) => Some(key.as_ref()),
                _ => None,
            };
            let range = ScanRange { prefix: &[], after };
            let mut last = None;
            for row in call.node.view(call.now).scan(TableId::DEFAULT, range) {
                if visited == options.count {
                    return reply(call, last, found);
                }
                visited += 1;
                if fits(row.key()) {
                    found.push(Some(row.key().clone()));
                }
                last = Some(Position::Strings(row.key().clone()));
            }
            None
        }
        _ => None,
    };
    if wants("hash") {
        for name in call.hash_names() {
            if tables_after.as_ref().is_some_and(|after| name <= *after) {
                continue;
            }
            if visited >= options.count {
                return reply(
                    call,
                    Some(Position::Tables(tables_after.unwrap_or_default())),
                    found,
                );
            }
            visited += 1;
            if fits(name.as_bytes()) {
                found.push(Some(Bytes::from(name.clone())));
            }
            tables_after = Some(name);
        }
    }
    reply(call, None, found);
}

pub(crate) fn hscan(call: &mut Call<'_>) {
    let (options, from) =
        match options(call, 3, true).and_then(|options| Ok((options, place(call, 2)?))) {
            Ok(parsed) => parsed,
            Err(error) => return call.error(error),
        };
    let Ok(table) = call.readable() else { return };
    let mut found = Vec::new();
    let mut next = None;
    if let Some(table) = table {
        let after = match &from {
            Some(Position::Rows(key)) => Some(key.as_ref()),
            _ => None,
        };
        let mut last = None;
        let mut newest = rumormill_core::Seq(0);
        let range = ScanRange { prefix: &[], after };
        for (visited, row) in call.node.view(call.now).scan(table, range).enumerate() {
            if visited == options.count {
                next = last;
                break;
            }
            if options
                .pattern
                .is_none_or(|pattern| glob::matches(pattern, row.key()))
            {
                newest = newest.max(row.seq());
                found.push(Some(row.key().clone()));
                if options.values {
                    found.push(Some(row.value().clone()));
                }
            }
            last = Some(Position::Rows(row.key().clone()));
        }
        call.shows(table, newest);
    }
    reply(call, next, found);
}
