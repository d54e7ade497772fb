//! `tables create`: over HTTP, since the answer may wait for the disk.

use serde_json::json;

use super::http::{self, Answer, Ask};
use crate::cli::{Conflict, Durability, ServerArgs, word};
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::Client;

pub(crate) fn create(
    name: &str,
    durability: Durability,
    conflict: Conflict,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let answer = ask(&server.addr, name, durability, conflict)?;
    match (answer.status, server.json) {
        (201, true) => print_line(&answer.json()?.to_string()),
        (201, false) => Ok(()),
        _ => Err(answer.refusal()),
    }
}

/// Asks the node with this Redis listener for a table.
pub(super) fn ask(
    addr: &str,
    name: &str,
    durability: Durability,
    conflict: Conflict,
) -> Result<Answer, Failure> {
    let endpoint = http::endpoint(&mut Client::connect(addr)?)?;
    let new = json!({ "name": name, "durability": word(durability), "conflict": word(conflict) });
    let new = new.to_string();
    let ask = Ask::new("POST", "/v1/tables").header("Content-Type", "application/json");
    http::ask(&endpoint, &ask.body(new.as_bytes()))
}
