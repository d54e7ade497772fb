//! Strings: rows of the table `default`.

use bytes::Bytes;
use rumormill_core::{Accepted, TableId, Wall, Write, WriteError};

use super::{is, refused};
use crate::decoder::parse_int;
use crate::session::Call;

impl Call<'_> {
    /// Sets a string; a hash of that name goes, as in Redis.
    pub(crate) fn put_string(
        &mut self,
        key: &[u8],
        value: Bytes,
        expires: Option<Wall>,
    ) -> Result<Accepted, WriteError> {
        if let Some(table) = self.hash(key) {
            self.node.flush_table(self.now, table)?;
        }
        self.node.write(
            self.now,
            TableId::DEFAULT,
            Write::Put {
                key,
                value,
                expires,
            },
        )
    }

    /// Replies with what came of a write, `OK` when it was accepted.
    pub(crate) fn reply_written(&mut self, result: Result<Accepted, WriteError>) {
        match result {
            Ok(accepted) => {
                self.acknowledges(&accepted);
                self.ok();
            }
            Err(error) => self.error(&refused(&error)),
        }
    }

    /// The string of a key; replies with an error when it is a hash.
    fn string(&mut self, key: &[u8]) -> Result<Option<Bytes>, ()> {
        let value = self.value(TableId::DEFAULT, key);
        if value.is_none() && self.hash(key).is_some() {
            self.wrong_type();
            return Err(());
        }
        Ok(value)
    }
}

pub(crate) fn get(call: &mut Call<'_>) {
    let key = call.args.get(1);
    // The row is borrowed straight into the client's buffer.
    if let Some(row) = call.node.view(call.now).get(TableId::DEFAULT, key).row() {
        crate::encoder::Encoder::new(call.replies.buf(), call.state.version).bulk(row.value());
    } else if call.hash(key).is_some() {
        call.wrong_type();
    } else {
        call.out().null();
    }
}

pub(crate) fn strlen(call: &mut Call<'_>) {
    if let Ok(value) = call.string(call.args.get(1)) {
        call.out()
            .integer(value.map_or(0, |value| value.len() as i64));
    }
}

pub(crate) fn getdel(call: &mut Call<'_>) {
    let key = call.args.get(1);
    let Ok(Some(value)) = call.string(key) else {
        if call.hash(key).is_none() {
            call.out().null();
        }
        return;
    };
    match call
        .node
        .write(call.now, TableId::DEFAULT, Write::Delete { key })
    {
        Ok(accepted) => {
            call.acknowledges(&accepted);
            call.out().bulk(&value);
        }
        Err(error) => call.error(&refused(&error)),
    }
}

pub(crate) fn mget(call: &mut Call<'_>) {
    let values: Vec<Option<Bytes>> = call
        .args
        .from(1)
        .map(|key| call.value(TableId::DEFAULT, key))
        .collect();
    call.out().array(values.len());
    call.stream(values);
}

pub(crate) fn mset(call: &mut Call<'_>) {
    if call.args.len().is_multiple_of(2) {
        return call.wrong_arity("mset");
    }
    let args = call.args;
    let mut last = None;
    for at in (1..args.len()).step_by(2) {
        match call.put_string(args.get(at), Bytes::copy_from_slice(args.get(at + 1)), None) {
            Ok(accepted) => last = Some(accepted),
            Err(error) => return call.error(&refused(&error)),
        }
    }
    if let Some(accepted) = last {
        call.reply_written(Ok(accepted));
    }
}

pub(crate) fn setnx(call: &mut Call<'_>) {
    let key = call.args.get(1);
    if call.is_string(key) || call.hash(key).is_some() {
        return call.out().integer(0);
    }
    let value = Bytes::copy_from_slice(call.args.get(2));
    match call.put_string(key, value, None) {
        Ok(accepted) => {
            call.acknowledges(&accepted);
            call.out().integer(1);
        }
        Err(error) => call.error(&refused(&error)),
    }
}

pub(crate) fn setex(call: &mut Call<'_>) {
    let Some(seconds) = parse_int(call.args.get(2)) else {
        return call.error("ERR value is not an integer or out of range");
    };
    let Some(expires) = deadline(call.now.wall, seconds, 1_000, true) else {
        return call.error("ERR invalid expire time in 'setex' command");
    };
    let value = Bytes::copy_from_slice(call.args.get(3));
    let result = call.put_string(call.args.get(1), value, Some(expires));
    call.reply_written(result);
}

/// A positive span or moment in units of `unit` milliseconds, as a wall time.
fn deadline(now: Wall, number: i64, unit: i64, relative: bool) -> Option<Wall> {
    let millis = number.checked_mul(unit).filter(|_| number > 0)?;
    let at = if relative {
        millis.checked_add(i64::try_from(now.as_millis()).ok()?)?
    } else {
        millis
    };
    Some(Wall::from_millis(at as u64))
}

/// The options of `SET`.
#[derive(Default)]
struct SetOptions {
    expires: Option<Wall>,
    keep_ttl: bool,
    only_new: bool,
    only_old: bool,
    get: bool,
}

impl SetOptions {
    fn parse(call: &Call<'_>) -> Result<SetOptions, &'static str> {
        const SYNTAX: &str = "ERR syntax error";
        let mut options = SetOptions::default();
        let mut timed = false;
        let mut at = 3;
        while at < call.args.len() {
            let option = call.args.get(at);
            if is(option, "nx") {
                options.only_new = true;
            } else if is(option, "xx") {
                options.only_old = true;
            } else if is(option, "get") {
                options.get = true;
            } else if is(option, "keepttl") && !timed {
                options.keep_ttl = true;
                timed = true;
            } else {
                let (unit, relative) = match option {
                    _ if timed || at + 1 >= call.args.len() => return Err(SYNTAX),
                    _ if is(option, "ex") => (1_000, true),
                    _ if is(option, "px") => (1, true),
                    _ if is(option, "exat") => (1_000, false),
                    _ if is(option, "pxat") => (1, false),
                    _ => return Err(SYNTAX),
                };
                at += 1;
                timed = true;
                let number = parse_int(call.args.get(at))
                    .ok_or("ERR value is not an integer or out of range")?;
                let expires = deadline(call.now.wall, number, unit, relative);
                options.expires = Some(expires.ok_or("ERR invalid expire time in 'set' command")?);
            }
            at += 1;
        }
        if options.only_new && options.only_old {
            Err(SYNTAX)
        } else {
            Ok(options)
        }
    }
}

pub(crate) fn set(call: &mut Call<'_>) {
    let key = call.args.get(1);
    let value = Bytes::copy_from_slice(call.args.get(2));
    if call.args.len() == 3 {
        let result = call.put_string(key, value, None);
        return call.reply_written(result);
    }
    let options = match SetOptions::parse(call) {
        Ok(options) => options,
        Err(error) => return call.error(error),
    };
    let is_hash = call.hash(key).is_some();
    if options.get && is_hash {
        return call.wrong_type();
    }
    let (old, old_expires) = match call.node.view(call.now).get(TableId::DEFAULT, key).row() {
        Some(row) => (Some(row.value().clone()), row.expires()),
        None => (None, None),
    };
    let exists = old.is_some() || is_hash;
    if (options.only_new && exists) || (options.only_old && !exists) {
        let shown = old.filter(|_| options.get);
        return call.out().optional(shown.as_deref());
    }
    let expires = if options.keep_ttl {
        old_expires
    } else {
        options.expires
    };
    match call.put_string(key, value, expires) {
        Ok(accepted) if options.get => {
            call.acknowledges(&accepted);
            call.out().optional(old.as_deref());
        }
        result => call.reply_written(result),
    }
}
