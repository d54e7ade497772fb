//! The program's own clients: lines in, lines out.

use std::io::{self, Read, Write as _};

use bytes::Bytes;
use mio::net::TcpStream;
use rumormill_core::{
    Node, Now, TableId, Token,
    io::{Input, Request},
    table::Write,
};

pub(crate) const BOARD: TableId = TableId::DEFAULT;

const MAX_LINE: usize = 4 << 10;

/// Most bytes of replies that a client leaves unread; beyond it the program hangs up.
const MAX_UNREAD: usize = 1 << 20;

/// A client of the board.
pub(crate) struct User {
    socket: TcpStream,
    unread: Vec<u8>,
    pub(crate) replies: Vec<u8>,
    pub(crate) follows: bool,
}

impl User {
    pub(crate) fn new(socket: TcpStream) -> Self {
        User {
            socket,
            unread: Vec::new(),
            replies: Vec::new(),
            follows: false,
        }
    }

    /// Reads once and answers the lines that are complete; whether there may be more, and an error when the client is to be hung up on.
    pub(crate) fn serve(
        &mut self,
        now: Now,
        node: &mut Node,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        match self.socket.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => self.unread.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let reply = answer(node, now, String::from_utf8_lossy(&line).trim());
            self.follows |= reply.is_none();
            let reply = reply.unwrap_or_else(|| "ok".to_owned());
            self.replies.extend_from_slice(reply.as_bytes());
            self.replies.push(b'\n');
        }
        if self.unread.len() > MAX_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(true)
    }

    /// Writes what the client takes; an error when it is to be hung up on.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        while !self.replies.is_empty() {
            match self.socket.write(&self.replies) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => drop(self.replies.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.replies.len() > MAX_UNREAD => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Answers one line of a client; `None` for a client that wants to follow. Reads and writes go straight to the node, between two turns.
fn answer(node: &mut Node, now: Now, line: &str) -> Option<String> {
    let mut words = line.splitn(3, ' ');
    Some(match (words.next(), words.next(), words.next()) {
        (Some("put"), Some(key), Some(text)) => {
            let (key, value, expires) = (key.as_bytes(), Bytes::from(text.to_owned()), None);
            match node.write(
                now,
                BOARD,
                Write::Put {
                    key,
                    value,
                    expires,
                },
            ) {
                Ok(_) => "ok".to_owned(),
                Err(error) => format!("no: {error}"),
            }
        }
        (Some("get"), Some(key), None) => {
            let found = node.view(now).get(BOARD, key.as_bytes()).row();
            let text = found.and_then(|row| row.value());
            text.map_or("none".to_owned(), |text| {
                String::from_utf8_lossy(text).into_owned()
            })
        }
        (Some("follow"), None, None) => return None,
        (Some("leave"), None, None) => {
            let (token, deadline) = (Token(1), None);
            let request = Request::Leave;
            node.handle(
                now,
                Input::Request {
                    token,
                    deadline,
                    request,
                },
            );
            "bye".to_owned()
        }
        _ => "no: put KEY TEXT, get KEY, follow or leave".to_owned(),
    })
}
