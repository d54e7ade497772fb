//! What commands need that ask a node over HTTP.

use std::net::IpAddr;

use super::describe::document;
use crate::failure::Failure;
use crate::resp::Client;

/// The node's own HTTP endpoint; an unspecified host is the one it was reached by.
pub(super) fn endpoint(client: &mut Client) -> Result<String, Failure> {
    let document = document(client, "MEMBERS")?;
    let members = document["members"].as_array().cloned().unwrap_or_default();
    let me = members
        .into_iter()
        .find(|member| member["me"] == true)
        .unwrap_or_default();
    let endpoint = me["protocols"]["http"].as_str().unwrap_or("").to_string();
    let Some((host, port)) = endpoint.rsplit_once(':') else {
        return Err(Failure::Refused(
            "the node serves no HTTP, which this command needs".into(),
        ));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_any = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    match is_any || host.is_empty() {
        true => Ok(format!("{}:{port}", client.host())),
        false => Ok(endpoint),
    }
}

/// A text as part of a path.
pub(super) fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
