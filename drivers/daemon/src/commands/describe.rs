//! `members`, `tables`, `status`: the node's own documents, as tables for people.

use std::io::{self, IsTerminal};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::cli::ServerArgs;
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::Client;
use crate::table::{document, filtered};

pub(crate) fn members(server: &ServerArgs, live: bool) -> Result<(), Failure> {
    let mut client = Client::connect(&server.addr)?;
    let filter: &[&[u8]] = if live { &[b"LIVE"] } else { &[] };
    let document = filtered(&mut client, "MEMBERS", filter)?;
    if server.json {
        return print_line(&document.to_string());
    }
    let rows = list(&document, "members").iter().map(|member| {
        let protocol = |name: &str| text(&member["protocols"][name]);
        let me = if member["me"] == Value::Bool(true) {
            "*"
        } else {
            ""
        };
        let columns = [
            text(&member["name"]),
            text(&member["id"]),
            text(&member["state"]),
        ];
        let [name, id, state] = columns;
        vec![
            me.into(),
            name,
            id,
            state,
            protocol("gossip"),
            protocol("redis"),
            protocol("http"),
            text(&member["zone"]),
            text(&member["holds_up"]),
        ]
    });
    show(
        &[
            "",
            "name",
            "id",
            "state",
            "peers",
            "redis",
            "http",
            "zone",
            "deletes wait",
        ],
        rows,
    )
}

pub(crate) fn tables(server: &ServerArgs) -> Result<(), Failure> {
    let document = document(&mut Client::connect(&server.addr)?, "TABLES")?;
    if server.json {
        return print_line(&document.to_string());
    }
    let names = ["namespace", "name", "rows", "durability", "conflict"];
    let rows = list(&document, "tables")
        .iter()
        .map(|table| names.iter().map(|name| text(&table[*name])).collect());
    show(&names, rows)
}

pub(crate) fn status(server: &ServerArgs) -> Result<(), Failure> {
    let document = document(&mut Client::connect(&server.addr)?, "STATUS")?;
    if server.json {
        return print_line(&document.to_string());
    }
    let empty = serde_json::Map::new();
    let fields = document.as_object().unwrap_or(&empty);
    show(
        &["", ""],
        fields
            .iter()
            .map(|(name, value)| vec![name.replace('_', " "), text(value)]),
    )
}

/// A table for people; without lines when it is not for a terminal, so that it can be cut.
pub(crate) fn show(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<(), Failure> {
    let mut table = Table::new();
    match io::stdout().is_terminal() {
        true => table
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic),
        false => table.load_style(presets::NOTHING),
    };
    if header.iter().any(|title| !title.is_empty()) {
        table.set_header(header.iter().copied());
    }
    table.add_rows(rows);
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_string())
        .collect();
    print_line(&lines.join("\n"))
}

pub(super) fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document[name].as_array().map_or(&[], Vec::as_slice)
}

/// A value without quotes.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".into(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}
