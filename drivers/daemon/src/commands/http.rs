//! The common part of commands that ask a node over HTTP.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::resp::{Client, connect};
use crate::table::{document, unexpected};

/// How long the answer may take: the node gives up earlier.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest answer that is read, in bytes: the siblings of a key at the hard limit, in base64.
const MAX_ANSWER: u64 = 192 << 20;

/// A request.
pub(super) struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

impl<'a> Ask<'a> {
    /// A request without a body for a path that is percent-encoded.
    pub(super) fn new(method: &'a str, path: &'a str) -> Self {
        Ask {
            method,
            path,
            headers: Vec::new(),
            body: b"",
        }
    }

    /// The same with a header, whose value has to be visible ASCII.
    pub(super) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same with a body.
    pub(super) fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    fn write(&self, endpoint: &str, out: &mut impl Write) -> io::Result<()> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {endpoint}\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let length = self.body.len();
        head += &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
        out.write_all(head.as_bytes())?;
        out.write_all(self.body)
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// An answer that ended with its connection, if it is whole.
    fn parse(answer: &[u8]) -> Option<Answer> {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) = answer.split_at(end + 4);
        let head = std::str::from_utf8(head).ok()?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let answer = Answer {
            status,
            head: head.to_string(),
            body: body.to_vec(),
        };
        let length = answer.header("content-length");
        let length = length.map_or(Some(body.len()), |text| text.parse().ok())?;
        (length == body.len()).then_some(answer)
    }

    /// A header by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| unexpected())
    }

    /// The server's words for why it refused.
    pub(super) fn refusal(&self) -> Failure {
        let document = self.json().unwrap_or_default();
        let message = document["error"]["message"].as_str().unwrap_or("refused");
        match self.status {
            404 => Failure::Not(message.to_string()),
            _ => Failure::Refused(message.to_string()),
        }
    }
}

/// Sends a request on a connection of its own, and reads the whole answer.
pub(super) fn ask(endpoint: &str, ask: &Ask<'_>) -> Result<Answer, Failure> {
    exchange(endpoint, ask)
        .map_err(|error| Failure::Unreachable(format!("no answer from {endpoint}: {error}")))
}

fn exchange(endpoint: &str, ask: &Ask<'_>) -> io::Result<Answer> {
    let mut stream = connect(endpoint)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A server that refuses early may close before it has read a body: its answer says why.
    let sent = ask.write(endpoint, &mut stream);
    let mut answer = Vec::new();
    let read = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    match Answer::parse(&answer) {
        Some(answer) => Ok(answer),
        None => {
            sent.and(read)?;
            Err(io::Error::other(
                "what answers there speaks no HTTP, or broke off",
            ))
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_headers_and_a_body() {
        let bytes = b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\nX-Name: a:b \r\n\r\n{}";
        let answer = Answer::parse(bytes).expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (409, &b"{}"[..]));
        assert_eq!(answer.header("x-name"), Some("a:b"));
        assert_eq!(answer.header("x-other"), None);
        for bad in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"-ERR\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}",
        ] {
            assert_eq!(Answer::parse(bad), None);
        }
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let mut out = Vec::new();
        let ask = Ask::new("PUT", "/k").header("X-Name", "v").body(b"ab");
        ask.write("h:1", &mut out).expect("memory");
        let text = "PUT /k HTTP/1.1\r\nHost: h:1\r\nX-Name: v\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab";
        assert_eq!(out, text.as_bytes());
    }
}
