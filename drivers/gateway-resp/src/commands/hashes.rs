//! Hashes: a hash is a table, its fields are rows.

use bytes::Bytes;
use rumormill_core::{ScanRange, TableError, TableId, Write};

use super::refused;
use crate::session::Call;

impl Call<'_> {
    /// The table that a hash command means: `None` when there is no such hash.
    ///
    /// # Errors
    /// When the key is a string; the error is replied already.
    pub(crate) fn readable(&mut self) -> Result<Option<TableId>, ()> {
        let name = self.args.get(1);
        let table = self.hash(name);
        if table.is_none() && self.is_string(name) {
            self.wrong_type();
            return Err(());
        }
        Ok(table)
    }

    /// The table of a hash to be written, made if need be.
    fn writable(&mut self) -> Result<TableId, ()> {
        let key = self.args.get(1);
        if self.is_string(key) {
            self.wrong_type();
            return Err(());
        }
        let Ok(name) = std::str::from_utf8(key) else {
            self.error("ERR the name of a hash is UTF-8");
            return Err(());
        };
        match self.node.table(name) {
            Ok(TableId::DEFAULT) => {
                self.error("ERR 'default' is the table of the strings and cannot be a hash");
                Err(())
            }
            Ok(table) => Ok(table),
            Err(error) => {
                let code = if matches!(error, TableError::BadName { size, .. } if size > 0) {
                    "TOOLARGE"
                } else {
                    "ERR"
                };
                self.error(&format!("{code} {error}"));
                Err(())
            }
        }
    }

    /// Every row of the hash as bulks, `of` choosing what of it.
    fn rows(
        &mut self,
        of: fn(&Bytes, &Bytes, &mut Vec<Option<Bytes>>),
    ) -> Result<Vec<Option<Bytes>>, ()> {
        let Some(table) = self.readable()? else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        let mut newest = rumormill_core::Seq(0);
        for row in self.node.view(self.now).scan(table, ScanRange::default()) {
            newest = newest.max(row.seq());
            of(row.key(), row.value(), &mut out);
        }
        self.shows(table, newest);
        Ok(out)
    }
}

pub(crate) fn hset(call: &mut Call<'_>) {
    if !call.args.len().is_multiple_of(2) {
        return call.wrong_arity("hset");
    }
    let Ok(table) = call.writable() else { return };
    let args = call.args;
    let mut added = 0;
    for at in (2..args.len()).step_by(2) {
        let value = Bytes::copy_from_slice(args.get(at + 1));
        match call.node.write(
            call.now,
            table,
            Write::Put {
                key: args.get(at),
                value,
                expires: None,
            },
        ) {
            Ok(accepted) => {
                call.acknowledges(&accepted);
                added += i64::from(!accepted.existed);
            }
            Err(error) => return call.error(&refused(&error)),
        }
    }
    call.out().integer(added);
}

pub(crate) fn hdel(call: &mut Call<'_>) {
    let Ok(table) = call.readable() else { return };
    let mut removed = 0;
    for key in call.args.from(2) {
        let Some(table) = table else { break };
        match call.node.write(call.now, table, Write::Delete { key }) {
            Ok(accepted) => {
                call.acknowledges(&accepted);
                removed += i64::from(accepted.existed);
            }
            // A field that cannot be there is not there.
            Err(rumormill_core::WriteError::EmptyKey) => {}
            Err(error) => return call.error(&refused(&error)),
        }
    }
    call.out().integer(removed);
}

pub(crate) fn hget(call: &mut Call<'_>) {
    let Ok(table) = call.readable() else { return };
    let value = table.and_then(|table| call.value(table, call.args.get(2)));
    call.out().optional(value.as_deref());
}

pub(crate) fn hmget(call: &mut Call<'_>) {
    let Ok(table) = call.readable() else { return };
    let mut values = Vec::new();
    for key in call.args.from(2) {
        values.push(table.and_then(|table| call.value(table, key)));
    }
    call.out().array(values.len());
    call.stream(values);
}

pub(crate) fn hexists(call: &mut Call<'_>) {
    let Ok(table) = call.readable() else { return };
    let there = table.is_some_and(|table| call.value(table, call.args.get(2)).is_some());
    call.out().integer(i64::from(there));
}

pub(crate) fn hlen(call: &mut Call<'_>) {
    let Ok(table) = call.readable() else { return };
    let len = table.map_or(0, |table| call.node.view(call.now).len(table));
    call.out().integer(len as i64);
}

pub(crate) fn hkeys(call: &mut Call<'_>) {
    if let Ok(keys) = call.rows(|key, _, out| out.push(Some(key.clone()))) {
        call.out().array(keys.len());
        call.stream(keys);
    }
}

pub(crate) fn hvals(call: &mut Call<'_>) {
    if let Ok(values) = call.rows(|_, value, out| out.push(Some(value.clone()))) {
        call.out().array(values.len());
        call.stream(values);
    }
}

pub(crate) fn hgetall(call: &mut Call<'_>) {
    if let Ok(rows) =
        call.rows(|key, value, out| out.extend([Some(key.clone()), Some(value.clone())]))
    {
        call.out().map(rows.len() / 2);
        call.stream(rows);
    }
}
