//! `get`, `put`, `del`, `scan`.

use std::io::{self, BufWriter, Read, Write};

use super::siblings;
use crate::cli::ServerArgs;
use crate::failure::Failure;
use crate::formats;
use crate::output::{print_line, write_value};
use crate::resp::{Client, Reply};
use crate::table::{Table, unexpected};

/// Longest value read from standard input.
const MAX_VALUE: u64 = 64 << 20;

pub(crate) fn get(table: &str, key: &str, server: &ServerArgs) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let mut client = Client::connect(&server.addr)?;
    if table.keeps_siblings(&mut client)? {
        return siblings::get(&mut client, &table, key, server.json);
    }
    let value = match client.call(&table.get(key.as_bytes()))? {
        Reply::Error(text) if !is_about_another_table(&text) => return Err(Failure::Refused(text)),
        Reply::Bulk(Some(value)) => value,
        Reply::Bulk(None) | Reply::Error(_) => return Err(Failure::Not(format!("no row {key:?}"))),
        _ => return Err(unexpected()),
    };
    let mut out = io::stdout().lock();
    let written = if server.json {
        writeln!(out, "{}", formats::row_json(key.as_bytes(), &value))
    } else {
        write_value(&mut out, &value)
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)
}

pub(crate) fn put(
    table: &str,
    key: &str,
    value: &str,
    context: Option<&str>,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let value = match value {
        "-" => read_stdin()?,
        text => text.as_bytes().to_vec(),
    };
    let mut client = Client::connect(&server.addr)?;
    let place = (&table, key);
    match context {
        Some(_) => siblings::put(&mut client, place, &value, context)?,
        None => match client.call(&table.put(key.as_bytes(), &value))? {
            Reply::Error(text) if is_about_siblings(&text) => {
                siblings::put(&mut client, place, &value, None)?;
            }
            reply => drop(reply.accepted()?),
        },
    }
    if server.json {
        print_line(&formats::row_json(key.as_bytes(), &value).to_string())?;
    }
    Ok(())
}

pub(crate) fn del(
    table: &str,
    key: &str,
    context: Option<&str>,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let mut client = Client::connect(&server.addr)?;
    if let Some(context) = context {
        return siblings::del(&mut client, (&table, key), context);
    }
    let reply = match client.call(&table.del(key.as_bytes()))? {
        Reply::Error(text) if is_about_siblings(&text) => {
            let why = "the table keeps siblings: read the key with `rumormill get`, and give the context that it prints with --context";
            return Err(Failure::Refused(why.into()));
        }
        reply => reply.accepted()?,
    };
    match reply {
        Reply::Int(0) => Err(Failure::Not(format!("no row {key:?}"))),
        Reply::Int(_) => Ok(()),
        _ => Err(unexpected()),
    }
}

/// Whether there is a table whose name is the key, and no row of the table `default`.
fn is_about_another_table(error: &str) -> bool {
    error.starts_with("WRONGTYPE ")
}

/// Whether a table that keeps siblings refused a command; nothing was done.
fn is_about_siblings(error: &str) -> bool {
    error.starts_with("SIBLINGS ")
}

pub(crate) fn scan(table: &str, prefix: &str, server: &ServerArgs) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let mut client = Client::connect(&server.addr)?;
    table.must_exist(&mut client)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if table.keeps_siblings(&mut client)? {
        siblings::scan(&mut client, &table, prefix, server.json, &mut out)?;
        return out.flush().map_err(Failure::output);
    }
    let form = match server.json {
        true => crate::cli::ExportFormat::Jsonl,
        false => crate::cli::ExportFormat::Tsv,
    };
    table.scan(&mut client, prefix, |row| {
        out.write_all(&formats::write(form, &row))
            .map_err(Failure::output)
    })?;
    out.flush().map_err(Failure::output)
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_VALUE + 1)
        .read_to_end(&mut value)
        .map_err(|error| Failure::Usage(format!("cannot read standard input: {error}")))?;
    match value.len() as u64 > MAX_VALUE {
        true => Err(Failure::Usage(format!(
            "standard input has more than {MAX_VALUE} bytes"
        ))),
        false => Ok(value),
    }
}
