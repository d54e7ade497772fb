//! A small blocking client of the Redis protocol (RESP2): commands out, replies in, pipelined.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::failure::Failure;

/// How long connecting and each read or write may take.
const CONNECT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// The bounds of a server's reply: a bulk, an array's length, a line, and nesting.
const MAX_BULK: i64 = 512 << 20;
const MAX_ARRAY: i64 = 1 << 20;
const MAX_LINE: usize = 64 << 10;
const MAX_DEPTH: usize = 8;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A status such as `OK`.
    Simple(String),
    /// An error, with its prefix.
    Error(String),
    /// A number.
    Int(i64),
    /// Bytes, `None` for null.
    Bulk(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Reply>),
}

impl Reply {
    /// The reply, unless it is an error: that becomes a refusal.
    pub(crate) fn accepted(self) -> Result<Reply, Failure> {
        match self {
            Reply::Error(text) => Err(Failure::Refused(text)),
            reply => Ok(reply),
        }
    }
}

/// A connection to a Redis listener.
pub(crate) struct Client {
    addr: String,
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
}

impl Client {
    /// Connects to `HOST:PORT`.
    pub(crate) fn connect(addr: &str) -> Result<Client, Failure> {
        let unreachable = |error: io::Error| {
            Failure::Unreachable(format!("no server at {addr}: {}", plain(&error)))
        };
        let usage = || Failure::Usage(format!("{addr:?} is no HOST:PORT"));
        if addr
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.parse::<u16>().is_err())
        {
            return Err(usage());
        }
        connect(addr)
            .and_then(|stream| Client::over(addr, stream))
            .map_err(unreachable)
    }

    fn over(addr: &str, stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let reader = BufReader::with_capacity(64 << 10, stream.try_clone()?);
        let writer = BufWriter::with_capacity(64 << 10, stream);
        Ok(Client {
            addr: addr.to_string(),
            reader,
            writer,
        })
    }

    /// One command and its reply.
    pub(crate) fn call(&mut self, command: &[&[u8]]) -> Result<Reply, Failure> {
        self.send(command)?;
        self.flush()?;
        self.receive()
    }

    /// Queues a command; [`Client::flush`] sends it.
    pub(crate) fn send(&mut self, command: &[&[u8]]) -> Result<(), Failure> {
        write_command(&mut self.writer, command).map_err(|error| lost(&self.addr, &error))
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer
            .flush()
            .map_err(|error| lost(&self.addr, &error))
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> Result<Reply, Failure> {
        read_reply(&mut self.reader, 0).map_err(|error| lost(&self.addr, &error))
    }

    /// Passes over the next reply, however large, and keeps nothing of it but its error, if it is one.
    pub(crate) fn skip(&mut self) -> Result<(), Failure> {
        match skip_reply(&mut self.reader) {
            Ok(None) => Ok(()),
            Ok(Some(text)) => Err(Failure::Refused(text)),
            Err(error) => Err(lost(&self.addr, &error)),
        }
    }

    /// Sets how long each read and write may take.
    pub(crate) fn set_patience(&mut self, patience: Duration) -> Result<(), Failure> {
        let socket = self.writer.get_ref();
        socket
            .set_read_timeout(Some(patience))
            .and_then(|()| socket.set_write_timeout(Some(patience)))
            .map_err(|error| lost(&self.addr, &error))
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.reader
            .get_ref()
            .peer_addr()
            .is_ok_and(|addr| addr.ip().is_loopback())
    }

    /// The host part of the address.
    pub(crate) fn host(&self) -> &str {
        self.addr
            .rsplit_once(':')
            .map_or(self.addr.as_str(), |(host, _)| host)
    }
}

/// Connects to the first address of `HOST:PORT` that answers. Each may take so long.
pub(crate) fn connect(addr: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for candidate in addr.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn lost(addr: &str, error: &io::Error) -> Failure {
    Failure::Unreachable(format!("lost the server at {addr}: {}", plain(error)))
}

/// The system's words, without "os error" numbers.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it did not answer in time".into(),
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

/// Writes a command as an array of bulks.
pub(crate) fn write_command(out: &mut impl Write, command: &[&[u8]]) -> io::Result<()> {
    write!(out, "*{}\r\n", command.len())?;
    for part in command {
        write!(out, "${}\r\n", part.len())?;
        out.write_all(part)?;
        out.write_all(b"\r\n")?;
    }
    Ok(())
}

/// Reads one reply, within limits.
pub(crate) fn read_reply(input: &mut impl io::BufRead, depth: usize) -> io::Result<Reply> {
    let line = read_line(input)?;
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or_else(|| invalid("an empty reply"))?;
    let number = || {
        rest.parse::<i64>()
            .map_err(|_| invalid("a number that is none"))
    };
    match kind {
        "+" => Ok(Reply::Simple(rest.to_string())),
        "-" => Ok(Reply::Error(rest.to_string())),
        ":" => Ok(Reply::Int(number()?)),
        "$" => match number()? {
            -1 => Ok(Reply::Bulk(None)),
            length @ 0..=MAX_BULK => read_bulk(input, length as u64).map(|b| Reply::Bulk(Some(b))),
            _ => Err(invalid("a bulk of an impossible length")),
        },
        "*" => match number()? {
            -1 => Ok(Reply::Bulk(None)),
            length @ 0..=MAX_ARRAY if depth < MAX_DEPTH => (0..length)
                .map(|_| read_reply(input, depth + 1))
                .collect::<Result<_, _>>()
                .map(Reply::Array),
            _ => Err(invalid("an array of an impossible length or depth")),
        },
        _ => Err(invalid("a reply of an unknown kind")),
    }
}

/// Reads a reply of any size and keeps nothing of it; the text of one that is an error as a whole.
fn skip_reply(input: &mut impl io::BufRead) -> io::Result<Option<String>> {
    let mut left = 1_u64;
    let mut error = None;
    let mut is_first = true;
    while left > 0 {
        left -= 1;
        let line = read_line(input)?;
        let (kind, rest) = line
            .split_at_checked(1)
            .ok_or_else(|| invalid("an empty reply"))?;
        let number = || {
            rest.parse::<i64>()
                .map_err(|_| invalid("a number that is none"))
        };
        match kind {
            "+" | ":" => {}
            "-" if is_first => error = Some(rest.to_string()),
            "-" => {}
            "$" => match u64::try_from(number()?) {
                Ok(length) => {
                    let skipped = io::copy(&mut input.take(length + 2), &mut io::sink())?;
                    if skipped != length + 2 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(_) => continue,
            },
            "*" => left += u64::try_from(number()?).unwrap_or(0),
            _ => return Err(invalid("a reply of an unknown kind")),
        }
        is_first = false;
    }
    Ok(error)
}

fn read_line(input: &mut impl io::BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    let mut limited = input.take(MAX_LINE as u64);
    io::BufRead::read_until(&mut limited, b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        None => Err(invalid("a line without an end")),
    }
}

fn read_bulk(input: &mut impl io::BufRead, length: u64) -> io::Result<Vec<u8>> {
    // Memory grows with what arrives, not with what was announced.
    let mut bytes = Vec::new();
    input.take(length + 2).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match bytes.ends_with(b"\r\n") {
        true => bytes.truncate(length as usize),
        false => return Err(invalid("a bulk without an end")),
    }
    Ok(bytes)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it sent {what}; is it a Redis listener?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Reply, io::ErrorKind> {
        read_reply(&mut &bytes[..], 0).map_err(|error| error.kind())
    }

    #[test]
    fn replies_of_every_kind_are_read() {
        assert_eq!(read(b"+OK\r\n"), Ok(Reply::Simple("OK".into())));
        assert_eq!(read(b"-ERR no\r\n"), Ok(Reply::Error("ERR no".into())));
        assert_eq!(read(b":-3\r\n"), Ok(Reply::Int(-3)));
        assert_eq!(read(b"$-1\r\n"), Ok(Reply::Bulk(None)));
        assert_eq!(
            read(b"$4\r\na\r\nb\r\n"),
            Ok(Reply::Bulk(Some(b"a\r\nb".to_vec())))
        );
        let nested = Reply::Array(vec![Reply::Int(1), Reply::Array(vec![])]);
        assert_eq!(read(b"*2\r\n:1\r\n*0\r\n"), Ok(nested));
    }

    #[test]
    fn broken_replies_are_refused() {
        let eof = Err(io::ErrorKind::UnexpectedEof);
        assert_eq!(read(b""), eof);
        assert_eq!(read(b"$5\r\nab"), eof);
        let invalid = Err(io::ErrorKind::InvalidData);
        for bytes in [
            &b"HTTP/1.1 400 Bad\r\n"[..],
            b"$-2\r\n",
            b"$1\r\nabc",
            b"*9999999\r\n",
            b":x\r\n",
        ] {
            assert_eq!(read(bytes), invalid, "{}", bytes.escape_ascii());
        }
        assert_eq!(read(&b"*1\r\n".repeat(100)), invalid);
    }

    #[test]
    fn a_reply_is_passed_over_whole() {
        let mut input =
            &b"*3\r\n$2\r\n\r\n\r\n*1\r\n:1\r\n$-1\r\n-ERR no\r\n*2\r\n-in place\r\n+x\r\n"[..];
        assert_eq!(skip_reply(&mut input).expect("whole"), None);
        let error = skip_reply(&mut input).expect("whole");
        assert_eq!(error.as_deref(), Some("ERR no"));
        assert_eq!(skip_reply(&mut input).expect("whole"), None);
        assert!(input.is_empty());
        assert!(skip_reply(&mut &b"$5\r\nab"[..]).is_err());
    }

    #[test]
    fn a_command_is_an_array_of_bulks() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"SET", b"\0", b""]).expect("memory");
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\n\0\r\n$0\r\n\r\n");
    }
}
