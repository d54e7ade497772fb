//! `watch`: changes as they happen, over the node's HTTP stream, since Redis notifications tell neither the row of a
//! table nor its value.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::{http, siblings};
use crate::cli::ServerArgs;
use crate::failure::Failure;
use crate::formats;
use crate::resp::{Client, connect};

/// The server sends something at least every 15 s.
const SILENCE: Duration = Duration::from_secs(40);

/// Longest line of a stream: a row of the hard limit in base64.
const MAX_LINE: u64 = 192 << 20;

pub(crate) fn watch(
    table: &str,
    prefix: &str,
    count: Option<u64>,
    cursor: Option<&str>,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let mut client = Client::connect(&server.addr)?;
    let endpoint = http::endpoint(&mut client)?;
    let lost = |error: io::Error| Failure::Unreachable(format!("lost {endpoint}: {error}"));
    let mut stream = connect(&endpoint).map_err(lost)?;
    stream.set_read_timeout(Some(SILENCE)).map_err(lost)?;
    // A 1.0 request, so that the stream comes as it is and not in chunks.
    let (table, prefix) = (http::percent(table), http::percent(prefix));
    let mut path = format!("/v1/usr/{table}?watch&prefix={prefix}");
    if let Some(cursor) = cursor {
        path += &format!("&cursor={}", http::percent(cursor));
    }
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {endpoint}\r\n\r\n").map_err(lost)?;
    let mut input = BufReader::new(stream);
    read_head(&mut input).map_err(lost)??;
    let mut left = count;
    let (mut id, mut name, mut data) = (String::new(), String::new(), String::new());
    while left != Some(0) {
        let mut line = String::new();
        if input
            .by_ref()
            .take(MAX_LINE)
            .read_line(&mut line)
            .map_err(lost)?
            == 0
        {
            return Err(Failure::Unreachable(format!("{endpoint} ended the stream")));
        }
        let line = line.trim_end();
        if let Some(text) = line.strip_prefix("id: ") {
            id = text.to_string();
        } else if let Some(text) = line.strip_prefix("event: ") {
            name = text.to_string();
        } else if let Some(text) = line.strip_prefix("data: ") {
            data = text.to_string();
        } else if line.is_empty() && !name.is_empty() {
            show((&id, &name), &data, server.json)?;
            if !matches!(name.as_str(), "ready" | "lagged" | "end") {
                left = left.map(|left| left - 1);
            }
            name.clear();
        }
    }
    Ok(())
}

fn show((id, name): (&str, &str), data: &str, json: bool) -> Result<(), Failure> {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let mut out = io::stdout().lock();
    let written = if json {
        let mut event = json!({ "event": name, "id": id });
        for part in [
            "key",
            "value",
            "expires_ms",
            "siblings",
            "context",
            "reason",
        ] {
            if !data[part].is_null() {
                event[part] = data[part].clone();
            }
        }
        writeln!(out, "{event}")
    } else if data["siblings"].is_array() {
        let lines = siblings::lines(&data)?;
        let mut lines = lines.split_inclusive(|byte| *byte == b'\n');
        lines.try_for_each(|line| write!(out, "{name}\t").and_then(|()| out.write_all(line)))
    } else {
        let part = |part: &str| formats::from_json(&data[part]);
        match (part("key"), part("value")) {
            (Some(key), value) => {
                let row = (key, value.unwrap_or_default());
                let line = formats::write(crate::cli::ExportFormat::Tsv, &row);
                write!(out, "{name}\t").and_then(|()| out.write_all(&line))
            }
            (None, _) => writeln!(out, "{name}"),
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)
}

/// Reads the head of the answer; the inner error is the server's refusal.
fn read_head(input: &mut impl BufRead) -> io::Result<Result<(), Failure>> {
    let mut status = String::new();
    input.take(8 << 10).read_line(&mut status)?;
    let served = status.split_whitespace().nth(1) == Some("200");
    for _ in 0..64 {
        let mut line = String::new();
        input.take(8 << 10).read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
    }
    if served {
        return Ok(Ok(()));
    }
    let mut body = String::new();
    input.take(64 << 10).read_to_string(&mut body)?;
    let document: Value = serde_json::from_str(&body).unwrap_or_default();
    let message = document["error"]["message"]
        .as_str()
        .unwrap_or(status.trim_end());
    Ok(Err(Failure::Refused(message.to_string())))
}
