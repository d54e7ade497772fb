//! Rows of tables that keep siblings, over HTTP: the Redis protocol has no place for a context.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::http::{self, Answer, Ask};
use super::listing::Pages;
use crate::failure::Failure;
use crate::formats;
use crate::output::{print_line, write_value};
use crate::resp::Client;
use crate::table::{Table, unexpected};

/// The header that carries a context out and back.
const CONTEXT: &str = "x-rumormill-context";

/// Prints the values of a key, and their context to standard error so that redirected values are nothing else.
pub(super) fn get(
    client: &mut Client,
    table: &Table,
    key: &str,
    json: bool,
) -> Result<(), Failure> {
    let answer = ask(client, &Ask::new("GET", &path(table, key)))?;
    let row = row_of(&answer)?;
    if json {
        let mut printed = json!({ "key": key });
        printed["siblings"] = row["siblings"].clone();
        printed["context"] = row["context"].clone();
        return print_line(&printed.to_string());
    }
    let values = values(&row)?;
    let mut out = io::stdout().lock();
    match values.as_slice() {
        [value] => write_value(&mut out, value),
        several => several
            .iter()
            .try_for_each(|value| out.write_all(value).and_then(|()| out.write_all(b"\n"))),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    let context = row["context"].as_str().ok_or_else(unexpected)?;
    writeln!(io::stderr(), "context: {context}").map_err(Failure::output)
}

/// The siblings of a key and their context, in the form of a listing.
fn row_of(answer: &Answer) -> Result<Value, Failure> {
    match answer.status {
        200 => {
            let context = answer.header(CONTEXT).ok_or_else(unexpected)?;
            let version = answer.header("etag").unwrap_or("").trim_matches('"');
            let value = formats::to_json(&answer.body);
            let only = json!({ "value": value, "version": version });
            Ok(json!({ "siblings": [only], "context": context }))
        }
        300 => answer.json(),
        _ => Err(answer.refusal()),
    }
}

/// Writes a value in the place of what the context has seen, or beside all others without one.
pub(super) fn put(
    client: &mut Client,
    (table, key): (&Table, &str),
    value: &[u8],
    context: Option<&str>,
) -> Result<(), Failure> {
    let path = path(table, key);
    let ask = Ask::new("PUT", &path).body(value);
    change(client, ask, context)
}

/// Deletes what the context has seen.
pub(super) fn del(
    client: &mut Client,
    (table, key): (&Table, &str),
    context: &str,
) -> Result<(), Failure> {
    change(client, Ask::new("DELETE", &path(table, key)), Some(context))
}

fn change<'a>(
    client: &mut Client,
    mut request: Ask<'a>,
    context: Option<&'a str>,
) -> Result<(), Failure> {
    if let Some(context) = context {
        if context.is_empty() || !context.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = "this is no context: give one that `rumormill get` printed";
            return Err(Failure::Usage(why.into()));
        }
        request = request.header(CONTEXT, context);
    }
    let answer = ask(client, &request)?;
    match answer.status {
        200..300 => Ok(()),
        _ => Err(answer.refusal()),
    }
}

/// Prints all rows whose keys begin with `prefix`: a line for each sibling, or for each key in JSON.
pub(super) fn scan(
    client: &mut Client,
    table: &Table,
    prefix: &str,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let endpoint = http::endpoint(client)?;
    let mut pages = Pages::new(&endpoint, table, prefix);
    while let Some(rows) = pages.next_page::<Value>()? {
        for row in rows {
            let written = match json {
                true => writeln!(out, "{row}"),
                false => out.write_all(&lines(&row)?),
            };
            written.map_err(Failure::output)?;
        }
    }
    Ok(())
}

/// A line for each sibling of a listed row.
pub(super) fn lines(row: &Value) -> Result<Vec<u8>, Failure> {
    let key = formats::from_json(&row["key"]).ok_or_else(unexpected)?;
    let mut lines = Vec::new();
    for value in values(row)? {
        let row = (key.clone(), value);
        lines.extend(formats::write(crate::cli::ExportFormat::Tsv, &row));
    }
    Ok(lines)
}

fn values(row: &Value) -> Result<Vec<Vec<u8>>, Failure> {
    let siblings = row["siblings"].as_array().ok_or_else(unexpected)?;
    let values = siblings
        .iter()
        .map(|sibling| formats::from_json(&sibling["value"]));
    values.collect::<Option<_>>().ok_or_else(unexpected)
}

fn path(table: &Table, key: &str) -> String {
    let table = http::percent(table.name());
    format!("/v1/usr/{table}/{}", http::percent(key))
}

fn ask(client: &mut Client, ask: &Ask<'_>) -> Result<Answer, Failure> {
    http::ask(&http::endpoint(client)?, ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sibling_of_a_row_is_a_line() {
        let row = json!({ "key": "k", "siblings": [{ "value": "a\tb" }, { "value": { "base64": "/w==" } }] });
        assert_eq!(lines(&row).expect("a row"), b"k\ta\\tb\nk\t\xff\n");
        assert!(lines(&json!({ "key": "k", "value": "v" })).is_err());
    }
}
