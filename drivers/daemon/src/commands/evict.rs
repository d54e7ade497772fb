//! `members evict` and `members resume`: ask a node over HTTP, since the answer waits for other members, or for the disk.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::http;
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
fn ask(path: &str, server: &ServerArgs) -> Result<Value, Failure> {
    let endpoint = http::endpoint(&mut Client::connect(&server.addr)?)?;
    let (status, body) = post(&endpoint, path)
        .map_err(|error| Failure::Unreachable(format!("no answer from {endpoint}: {error}")))?;
    let document: Value = serde_json::from_slice(&body).map_err(|_| unexpected())?;
    if status != 200 {
        let message = document["error"]["message"].as_str();
        let message = message.unwrap_or("refused").to_string();
        return Err(match status {
            404 => Failure::Not(message),
            _ => Failure::Refused(message),
        });
    }
    Ok(document)
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
