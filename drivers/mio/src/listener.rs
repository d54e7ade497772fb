//! A socket that listens.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll};
use rumormill_kit::links::rest_after;

use crate::options::BindError;

pub(crate) struct Listener {
    socket: TcpListener,
    pub(crate) addr: SocketAddr,
    /// Connections may wait; no event will tell again.
    pub(crate) ready: bool,
    rests_until: Option<Instant>,
}

impl Listener {
    pub(crate) fn bind(
        poll: &Poll,
        name: &'static str,
        addr: SocketAddr,
        token: usize,
    ) -> Result<Listener, BindError> {
        let bound = || {
            let mut socket = TcpListener::bind(addr)?;
            poll.registry()
                .register(&mut socket, mio::Token(token), Interest::READABLE)?;
            let addr = socket.local_addr()?;
            Ok(Listener {
                socket,
                addr,
                ready: false,
                rests_until: None,
            })
        };
        bound().map_err(|source| BindError::Listen {
            listener: name,
            addr,
            source,
        })
    }

    /// The next connection, if there is one.
    pub(crate) fn accept(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        if !self.ready || self.rests_until.is_some_and(|until| until > now) {
            return None;
        }
        self.rests_until = None;
        match self.socket.accept() {
            Ok(accepted) => return Some(accepted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
            Err(error) => {
                let rest = rest_after(&self.addr, &error);
                self.rests_until = rest.map(|rest| now + rest);
            }
        }
        None
    }

    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.ready.then(|| self.rests_until.unwrap_or(now))
    }
}
