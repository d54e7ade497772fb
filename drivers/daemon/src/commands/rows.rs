//! `get`, `put`, `del`, `scan`.

use std::io::{self, BufWriter, IsTerminal, Read, Write};

use crate::cli::ServerArgs;
use crate::failure::Failure;
use crate::formats;
use crate::resp::{Client, Reply};
use crate::table::{Table, unexpected};

/// Longest value read from standard input.
const MAX_VALUE: u64 = 64 << 20;

pub(crate) fn get(table: &str, key: &str, server: &ServerArgs) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let mut client = Client::connect(&server.addr)?;
    let value = match client.call(&table.get(key.as_bytes()))?.accepted()? {
        Reply::Bulk(Some(value)) => value,
        Reply::Bulk(None) => return Err(Failure::Not(format!("no row {key:?}"))),
        _ => return Err(unexpected()),
    };
    let mut out = io::stdout().lock();
    let written = if server.json {
        writeln!(out, "{}", formats::row_json(key.as_bytes(), &value))
    } else {
        // Redirected, the value comes byte for byte.
        let end: &[u8] = if out.is_terminal() || std::str::from_utf8(&value).is_ok() {
            b"\n"
        } else {
            b""
        };
        out.write_all(&value).and_then(|()| out.write_all(end))
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)
}

pub(crate) fn put(table: &str, key: &str, value: &str, server: &ServerArgs) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let value = match value {
        "-" => read_stdin()?,
        text => text.as_bytes().to_vec(),
    };
    let mut client = Client::connect(&server.addr)?;
    client
        .call(&table.put(key.as_bytes(), &value))?
        .accepted()?;
    if server.json {
        print_line(&formats::row_json(key.as_bytes(), &value).to_string())?;
    }
    Ok(())
}

pub(crate) fn del(table: &str, key: &str, server: &ServerArgs) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let mut client = Client::connect(&server.addr)?;
    match client.call(&table.del(key.as_bytes()))?.accepted()? {
        Reply::Int(0) => Err(Failure::Not(format!("no row {key:?}"))),
        Reply::Int(_) => Ok(()),
        _ => Err(unexpected()),
    }
}

pub(crate) fn scan(table: &str, prefix: &str, server: &ServerArgs) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let mut client = Client::connect(&server.addr)?;
    let mut out = BufWriter::new(io::stdout().lock());
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

/// One line on standard output.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(Failure::output)
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
