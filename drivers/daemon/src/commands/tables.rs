//! `tables create`: over HTTP, since the answer may wait for the disk.

use clap::ValueEnum;
use serde_json::json;

use super::http::{self, Ask};
use crate::cli::{Conflict, Durability, ServerArgs};
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::Client;

pub(crate) fn create(
    name: &str,
    durability: Durability,
    conflict: Conflict,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let endpoint = http::endpoint(&mut Client::connect(&server.addr)?)?;
    let new = json!({ "name": name, "durability": word(durability), "conflict": word(conflict) });
    let new = new.to_string();
    let ask = Ask::new("POST", "/v1/tables").header("Content-Type", "application/json");
    let answer = http::ask(&endpoint, &ask.body(new.as_bytes()))?;
    match (answer.status, server.json) {
        (201, true) => print_line(&answer.json()?.to_string()),
        (201, false) => Ok(()),
        _ => Err(answer.refusal()),
    }
}

/// A value of a flag as the server writes it.
fn word(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().replace('-', "_"))
}
