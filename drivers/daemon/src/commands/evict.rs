//! `members evict`, `members lost` and `members resume`: ask a node over HTTP, since the answer waits for other members, or for the disk.

use serde_json::Value;

use super::http::{self, Ask};
use crate::cli::ServerArgs;
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::Client;

pub(crate) fn evict(member: &str, force: bool, server: &ServerArgs) -> Result<(), Failure> {
    let path = format!("/v1/members/{}/evict?force={force}", http::percent(member));
    let document = ask(&path, server)?;
    if server.json {
        return print_line(&document.to_string());
    }
    let (acks, members) = (&document["acks"], &document["members"]);
    let id = document["evicted"].as_str().unwrap_or(member);
    print_line(&format!(
        "{id} is evicted: {acks} of {members} members agreed"
    ))
}

pub(crate) fn lost(node: &str, server: &ServerArgs) -> Result<(), Failure> {
    let document = ask(&format!("/v1/members/{}/lost", http::percent(node)), server)?;
    if server.json {
        return print_line(&document.to_string());
    }
    let id = document["lost"].as_str().unwrap_or(node);
    print_line(&format!(
        "{id} is declared lost: deletes made until now no longer wait for writes of it"
    ))
}

pub(crate) fn resume(server: &ServerArgs) -> Result<(), Failure> {
    let document = ask("/v1/members/self/resume", server)?;
    if server.json {
        return print_line(&document.to_string());
    }
    let without = document["without"].as_array().map_or(0, Vec::len);
    print_line(&format!(
        "the node goes on without {without} members that it waited for: what they had deleted may be back"
    ))
}

/// Posts to the node, and gives its answer.
pub(super) fn ask(path: &str, server: &ServerArgs) -> Result<Value, Failure> {
    let endpoint = http::endpoint(&mut Client::connect(&server.addr)?)?;
    let answer = http::ask(&endpoint, &Ask::new("POST", path))?;
    match answer.status {
        200 | 202 => answer.json(),
        _ => Err(answer.refusal()),
    }
}
