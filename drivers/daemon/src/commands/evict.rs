//! `members evict`: asks a node over HTTP, since the answer waits for other members.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::describe::document;
use super::rows::print_line;
use crate::cli::ServerArgs;
use crate::failure::Failure;
use crate::resp::Client;
use crate::table::unexpected;

/// How long the answer may take: the node gives up earlier.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

pub(crate) fn evict(member: &str, force: bool, server: &ServerArgs) -> Result<(), Failure> {
    let endpoint = http_endpoint(server)?;
    let mut path = String::from("/v1/members/");
    for byte in member.bytes() {
        // Writing to a string cannot fail.
        let _ = match byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            true => write!(path, "{}", char::from(byte)),
            false => write!(path, "%{byte:02X}"),
        };
    }
    let _ = write!(path, "/evict?force={force}");
    let (status, body) = post(&endpoint, &path)
        .map_err(|error| Failure::Unreachable(format!("no answer from {endpoint}: {error}")))?;
    let document: Value = serde_json::from_slice(&body).map_err(|_| unexpected())?;
    if status != 200 {
        let message = document["error"]["message"].as_str();
        return Err(Failure::Refused(message.unwrap_or("refused").to_string()));
    }
    if server.json {
        return print_line(&document.to_string());
    }
    let (acks, members) = (&document["acks"], &document["members"]);
    let id = document["evicted"].as_str().unwrap_or(member);
    print_line(&format!(
        "{id} is evicted: {acks} of {members} members agreed"
    ))
}

/// Where the node serves HTTP, as it can be reached from here.
fn http_endpoint(server: &ServerArgs) -> Result<String, Failure> {
    let document = document(&mut Client::connect(&server.addr)?, "MEMBERS")?;
    let members = document["members"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let me = members
        .iter()
        .find(|member| member["me"] == Value::Bool(true));
    let endpoint = me.and_then(|me| me["protocols"]["http"].as_str());
    let none = || Failure::Refused("the node serves no HTTP, through which it is asked".into());
    let (host, port) = endpoint
        .and_then(|text| text.rsplit_once(':'))
        .ok_or_else(none)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_any = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let here = server.addr.rsplit_once(':').map_or(host, |(here, _)| here);
    Ok(format!("{}:{port}", if is_any { here } else { host }))
}

fn post(endpoint: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(endpoint)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {endpoint}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other("what answers there speaks no HTTP"))
}

/// The status and the body of an answer that ends with its connection.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end + 4);
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let status = line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(answer), Some((409, b"{}".to_vec())));
        for bad in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"-ERR\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n",
        ] {
            assert_eq!(parse(bad), None);
        }
    }
}
