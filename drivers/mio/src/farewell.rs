//! The last words to peers, when the loop has ended.

use std::io::{self, Read};
use std::net::Shutdown;
use std::time::Instant;

use mio::{Events, Poll};
use rumormill_kit::links::FAREWELL;

use crate::peers::{Peer, Peers};

/// Waits a little, until `latest` at most, for peers to read what they were sent. All links end.
pub(crate) fn say(poll: &mut Poll, peers: &mut Peers, latest: Option<Instant>, buffer: &mut [u8]) {
    let until = Instant::now() + FAREWELL;
    let until = latest.map_or(until, |latest| latest.min(until));
    let mut tokens = peers.unfinished();
    let mut events = Events::with_capacity(1_024);
    loop {
        for token in tokens {
            peers.say_last(token, until, buffer);
        }
        let left = until.saturating_duration_since(Instant::now());
        if peers.peers.is_empty() || left.is_zero() {
            return peers.peers.clear();
        }
        match poll.poll(&mut events, Some(left)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return peers.peers.clear();
            }
            _ => tokens = events.iter().map(|event| event.token().0).collect(),
        }
    }
}

impl Peers {
    /// Closes what is not up, and gives the other links: of what they have written the system may hold the end.
    fn unfinished(&mut self) -> Vec<usize> {
        self.peers.retain(|_, peer| peer.channel.is_told());
        let mut tokens: Vec<usize> = self.peers.keys().copied().collect();
        // The order of a map must not show.
        tokens.sort_unstable();
        tokens
    }

    /// Goes on with a link, and closes it when its peer has. Closing a socket that holds unread bytes takes back what the peer has not
    /// received.
    fn say_last(&mut self, token: usize, until: Instant, buffer: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        // A node that has ended is told nothing.
        let said = peer.write(Instant::now(), &mut Vec::new());
        if said.is_ok() && !peer.channel.has_output() {
            // The peer closes once it has read to the end.
            let _ = peer.socket.shutdown(Shutdown::Write);
        }
        if said.is_err() || peer.hears_the_end(until, buffer) {
            self.peers.remove(&token);
        }
    }
}

impl Peer {
    /// Reads and drops what has come; returns whether it was the last. A peer that never pauses is heard until the time is over.
    fn hears_the_end(&mut self, until: Instant, buffer: &mut [u8]) -> bool {
        while Instant::now() < until {
            match self.socket.read(buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}
