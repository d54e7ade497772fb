//! The common part of commands that ask a node over HTTP.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::Failure;
use crate::resp::{Client, connect};
use crate::table::{document, unexpected};

/// How long each read and write may take: the node gives up earlier.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection that was not used for so long is not used again: the node closes one after ten seconds.
const IDLE: Duration = Duration::from_secs(5);

/// The longest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 << 10;

/// The longest answer that is read, in bytes: a row of the hard limit, each byte of which JSON writes as six.
const MAX_ANSWER: u64 = 400 << 20;

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
        head += &format!("Content-Length: {length}\r\n\r\n");
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
    /// Reads a whole answer.
    fn read(input: &mut impl BufRead) -> io::Result<Answer> {
        let strange = || io::Error::other("what answers there speaks no HTTP, or broke off");
        let mut head = String::new();
        let mut limited = input.take(MAX_HEAD);
        while !head.ends_with("\r\n\r\n") {
            let read = limited
                .read_line(&mut head)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidData => strange(),
                    _ => error,
                })?;
            if read == 0 || !head.starts_with("HTTP/1.1 ") {
                return Err(strange());
            }
        }
        let status = head.get(9..12).and_then(|text| text.parse().ok());
        let mut answer = Answer {
            status: status.ok_or_else(strange)?,
            head,
            body: Vec::new(),
        };
        let length = match (answer.header("content-length"), answer.status) {
            (Some(text), _) => text.parse().map_err(|_| strange())?,
            (None, 204 | 304) => 0,
            (None, _) => return Err(strange()),
        };
        if length > MAX_ANSWER {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        // Memory grows with what arrives, not with what was announced.
        let read = input.take(length).read_to_end(&mut answer.body)?;
        match read as u64 == length {
            true => Ok(answer),
            false => Err(strange()),
        }
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
    Connection::new(endpoint, PATIENCE).ask(ask)
}

/// A connection to a node that is kept from one request to the next.
pub(super) struct Connection {
    endpoint: String,
    patience: Duration,
    /// The socket, and when it was last used.
    open: Option<(BufReader<TcpStream>, Instant)>,
}

impl Connection {
    /// Gets ready for requests, of which each read and write may take so long. It connects with the first one.
    pub(super) fn new(endpoint: &str, patience: Duration) -> Connection {
        Connection {
            endpoint: endpoint.to_string(),
            patience,
            open: None,
        }
    }

    /// Sends a request and reads the whole answer.
    pub(super) fn ask(&mut self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        self.exchange(ask).map_err(|error| {
            Failure::Unreachable(format!("no answer from {}: {error}", self.endpoint))
        })
    }

    fn exchange(&mut self, ask: &Ask<'_>) -> io::Result<Answer> {
        let kept = self.open.take().filter(|(_, used)| used.elapsed() < IDLE);
        let mut stream = match kept {
            Some((stream, _)) => stream,
            None => self.connect()?,
        };
        // A server that refuses early may close before it has read a body: its answer says why.
        let sent = ask.write(&self.endpoint, stream.get_mut());
        let answer = match (Answer::read(&mut stream), sent) {
            (Ok(answer), _) => answer,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        let ends = answer.header("connection");
        if !ends.is_some_and(|word| word.eq_ignore_ascii_case("close")) {
            self.open = Some((stream, Instant::now()));
        }
        Ok(answer)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = connect(&self.endpoint)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        Ok(BufReader::with_capacity(64 << 10, stream))
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
        let read = |bytes: &[u8]| Answer::read(&mut &bytes[..]);
        let bytes = b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\nX-Name: a:b \r\n\r\n{}next";
        let answer = read(bytes).expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (409, &b"{}"[..]));
        assert_eq!(answer.header("x-name"), Some("a:b"));
        assert_eq!(answer.header("x-other"), None);
        let answer = read(b"HTTP/1.1 204 No Content\r\n\r\n").expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (204, &b""[..]));
        for bad in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"-ERR\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n",
            b"HTTP/1.1 2\xff0 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}",
        ] {
            assert!(read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let mut out = Vec::new();
        let ask = Ask::new("PUT", "/k").header("X-Name", "v").body(b"ab");
        ask.write("h:1", &mut out).expect("memory");
        let text = "PUT /k HTTP/1.1\r\nHost: h:1\r\nX-Name: v\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(out, text.as_bytes());
    }
}
