//! The last words to peers, when the loop has ended.

use std::io::{self, Read};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use rumormill_kit::links::FAREWELL;

use crate::peers::{Peer, Peers};

/// Waits a little, until `latest` at most, for peers to read what they were sent. All links end.
pub(crate) fn say(poll: &mut Poll, peers: &mut Peers, latest: Option<Instant>, buffer: &mut [u8]) {
    let until = Instant::now() + FAREWELL;
    let until = latest.map_or(until, |latest| latest.min(until));
    let mut ready = peers.unfinished();
    let mut events = Events::with_capacity(1_024);
    loop {
        // One that has more to say goes on behind all others.
        ready.retain(|token| peers.say_last(*token, buffer));
        let left = until.saturating_duration_since(Instant::now());
        if peers.peers.is_empty() || left.is_zero() {
            return peers.peers.clear();
        }
        let wait = match ready.is_empty() {
            true => left,
            false => Duration::ZERO,
        };
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return peers.peers.clear();
            }
            _ => {
                let tokens = events.iter().map(|event| event.token().0);
                let mut new: Vec<usize> = tokens.collect();
                new.retain(|token| !ready.contains(token));
                ready.extend(new);
            }
        }
    }
}

/// So many pieces of one link are read before others have their turn.
const PIECES: usize = 4;

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
    /// received. Returns whether there is more to read at once.
    fn say_last(&mut self, token: usize, buffer: &mut [u8]) -> bool {
        let Some(peer) = self.peers.get_mut(&token) else {
            return false;
        };
        // A node that has ended is told nothing.
        let said = peer.write(Instant::now(), &mut Vec::new());
        if said.is_ok() && !peer.channel.has_output() {
            // The peer closes once it has read to the end.
            let _ = peer.socket.shutdown(Shutdown::Write);
        }
        let heard = peer.hears_the_end(buffer);
        if said.is_err() || heard == Some(true) {
            self.peers.remove(&token);
            return false;
        }
        heard.is_none()
    }
}

impl Peer {
    /// Reads and drops some of what has come; returns whether it was the last, and nothing if there may be more.
    fn hears_the_end(&mut self, buffer: &mut [u8]) -> Option<bool> {
        for _ in 0..PIECES {
            match self.socket.read(buffer) {
                Ok(0) => return Some(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(error.kind() != io::ErrorKind::WouldBlock),
            }
        }
        None
    }
}
