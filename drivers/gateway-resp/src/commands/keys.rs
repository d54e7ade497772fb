//! Keys of either kind: strings, and hashes by their names.

use bytes::Bytes;
use rumormill_core::{Namespace, ScanRange, TableId, Wall, Write};

use super::{is, refused};
use crate::decoder::parse_int;
use crate::glob;
use crate::session::Call;

impl Call<'_> {
    /// Names of the hashes that have rows, in order.
    pub(crate) fn hash_names(&self) -> Vec<String> {
        let view = self.node.view(self.now);
        let hash = |info: &rumormill_core::TableInfo<'_>| {
            info.namespace == Namespace::Usr && info.id != TableId::DEFAULT && info.rows > 0
        };
        view.tables()
            .iter()
            .filter(|info| hash(info))
            .map(|info| info.name.to_string())
            .collect()
    }
}

pub(crate) fn del(call: &mut Call<'_>) {
    let mut count = 0;
    for key in call.args.from(1) {
        let string = call
            .node
            .write(call.now, TableId::DEFAULT, Write::Delete { key });
        let deleted = match (string, call.hash(key)) {
            (Ok(accepted), _) if accepted.existed => Ok(Some(accepted)),
            (_, Some(table)) => call.node.flush_table(call.now, table).map(Some),
            (Ok(_), None) => Ok(None),
            (Err(error), None) => Err(error),
        };
        match deleted {
            Ok(Some(accepted)) => {
                call.acknowledges(&accepted);
                count += 1;
            }
            Ok(None) => {}
            Err(error) => return call.error(&refused(&error)),
        }
    }
    call.out().integer(count);
}

pub(crate) fn exists(call: &mut Call<'_>) {
    let there = call
        .args
        .from(1)
        .filter(|key| call.is_string(key) || call.hash(key).is_some())
        .count();
    call.out().integer(there as i64);
}

pub(crate) fn key_type(call: &mut Call<'_>) {
    let key = call.args.get(1);
    let kind = if call.is_string(key) {
        "string"
    } else if call.hash(key).is_some() {
        "hash"
    } else {
        "none"
    };
    call.out().simple(kind);
}

pub(crate) fn expire(call: &mut Call<'_>) {
    set_expiry(call, "expire", 1_000, true);
}

pub(crate) fn pexpire(call: &mut Call<'_>) {
    set_expiry(call, "pexpire", 1, true);
}

pub(crate) fn expireat(call: &mut Call<'_>) {
    set_expiry(call, "expireat", 1_000, false);
}

/// When an expiry may be set, by what is there.
#[derive(Default)]
struct Conditions {
    none: bool,
    some: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn parse(call: &Call<'_>) -> Result<Conditions, String> {
        let mut out = Conditions::default();
        for option in call.args.from(3) {
            match option {
                _ if is(option, "nx") => out.none = true,
                _ if is(option, "xx") => out.some = true,
                _ if is(option, "gt") => out.greater = true,
                _ if is(option, "lt") => out.less = true,
                _ => {
                    return Err(format!(
                        "ERR Unsupported option {}",
                        String::from_utf8_lossy(option)
                    ));
                }
            }
        }
        if out.none && (out.some || out.greater || out.less) {
            return Err(
                "ERR NX and XX, GT or LT options at the same time are not compatible".to_string(),
            );
        }
        if out.greater && out.less {
            return Err("ERR GT and LT options at the same time are not compatible".to_string());
        }
        Ok(out)
    }

    /// A key without expiry counts as one that lives for ever.
    fn allow(&self, old: Option<Wall>, new: i128) -> bool {
        let old_ms = old.map_or(i128::MAX, |at| i128::from(at.as_millis()));
        !(self.none && old.is_some()
            || self.some && old.is_none()
            || self.greater && new <= old_ms
            || self.less && new >= old_ms)
    }
}

fn set_expiry(call: &mut Call<'_>, name: &str, unit: i64, relative: bool) {
    let key = call.args.get(1);
    let Some(number) = parse_int(call.args.get(2)) else {
        return call.error("ERR value is not an integer or out of range");
    };
    let conditions = match Conditions::parse(call) {
        Ok(conditions) => conditions,
        Err(error) => return call.error(&error),
    };
    let now = if relative {
        i128::from(call.now.wall.as_millis())
    } else {
        0
    };
    let at = i128::from(number) * i128::from(unit) + now;
    if at > i128::from(i64::MAX) || at < i128::from(i64::MIN) {
        return call.error(&format!("ERR invalid expire time in '{name}' command"));
    }
    let Some(row) = call.node.view(call.now).get(TableId::DEFAULT, key).row() else {
        if call.hash(key).is_some() {
            return call.error(
                "NOTSUPPORTED a hash is a table, and tables do not expire; let its rows do so",
            );
        }
        return call.out().integer(0);
    };
    if !conditions.allow(row.expires(), at) {
        return call.out().integer(0);
    }
    let write = if at <= i128::from(call.now.wall.as_millis()) {
        Write::Delete { key }
    } else {
        Write::Put {
            key,
            value: row.value().clone(),
            expires: Some(Wall::from_millis(at as u64)),
        }
    };
    write_and_count(call, write);
}

fn write_and_count(call: &mut Call<'_>, write: Write<'_>) {
    match call.node.write(call.now, TableId::DEFAULT, write) {
        Ok(accepted) => {
            call.acknowledges(&accepted);
            call.out().integer(1);
        }
        Err(error) => call.error(&refused(&error)),
    }
}

pub(crate) fn persist(call: &mut Call<'_>) {
    let key = call.args.get(1);
    let row = call.node.view(call.now).get(TableId::DEFAULT, key).row();
    match row
        .filter(|row| row.expires().is_some())
        .map(|row| row.value().clone())
    {
        Some(value) => write_and_count(
            call,
            Write::Put {
                key,
                value,
                expires: None,
            },
        ),
        None => call.out().integer(0),
    }
}

pub(crate) fn ttl(call: &mut Call<'_>) {
    // Redis rounds to the nearest second.
    remaining(call, |millis| (millis + 500) / 1_000);
}

pub(crate) fn pttl(call: &mut Call<'_>) {
    remaining(call, |millis| millis);
}

fn remaining(call: &mut Call<'_>, unit: fn(u64) -> u64) {
    let key = call.args.get(1);
    let left = match call.node.view(call.now).get(TableId::DEFAULT, key).row() {
        Some(row) => match row.expires() {
            Some(at) => unit(at.as_millis().saturating_sub(call.now.wall.as_millis())) as i64,
            None => -1,
        },
        None if call.hash(key).is_some() => -1,
        None => -2,
    };
    call.out().integer(left);
}

pub(crate) fn keys(call: &mut Call<'_>) {
    let pattern = call.args.get(1);
    let strings = call
        .node
        .view(call.now)
        .scan(TableId::DEFAULT, ScanRange::default());
    let mut found: Vec<Option<Bytes>> = strings
        .filter(|row| glob::matches(pattern, row.key()))
        .map(|row| Some(row.key().clone()))
        .collect();
    let names = call.hash_names();
    found.extend(
        names
            .into_iter()
            .filter(|name| glob::matches(pattern, name.as_bytes()))
            .map(|name| Some(Bytes::from(name))),
    );
    call.out().array(found.len());
    call.stream(found);
}

pub(crate) fn randomkey(call: &mut Call<'_>) {
    // Any spread will do here; it decides nothing.
    call.state.draws = call
        .state
        .draws
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let draw = call.state.draws >> 16;
    let names = call.hash_names();
    let strings = call.node.view(call.now).len(TableId::DEFAULT);
    let all = strings + names.len() as u64;
    let place = if all == 0 { 0 } else { draw % all };
    let key = if place < strings {
        call.node
            .view(call.now)
            .sample(TableId::DEFAULT, draw)
            .map(|row| row.key().clone())
    } else {
        None
    };
    let name = names
        .get(place.saturating_sub(strings) as usize)
        .map(|name| Bytes::from(name.clone()));
    let shown = key.or(name);
    call.out().optional(shown.as_deref());
}
