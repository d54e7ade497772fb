//! A node that hears its clock to be far ahead of all others gives out no clocks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rumormill_core::wire::{DetectorMessage, Message};
use rumormill_core::{LinkId, Now, io::Links};

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "ahead";

/// A peer heard this lately counts, in microseconds of the node's own clock: less than the core promises.
const LATELY_US: u64 = 25_000_000;
/// A peer heard this long ago no longer counts: more than the core promises.
const LONG_AGO_US: u64 = 61_000_000;

/// A message waits for its turn, while clocks go on.
const SLACK: Duration = Duration::from_secs(1);

/// When a peer said something last.
#[derive(Debug)]
struct Heard {
    peer: usize,
    /// When, by the node's monotonic clock, in microseconds.
    at_us: u64,
    /// The node has answered, and so has taken the peer for one that counts.
    counts: bool,
}

/// The wall clocks that one boot of a node has heard.
#[derive(Debug, Default)]
struct Clocks {
    /// The last clock of each peer, by the link it came over.
    last: BTreeMap<LinkId, Heard>,
    /// When a clock was heard and how far ahead it was: each is larger than all that were heard after it. A node refuses writes that are
    /// ahead of *every* clock it heard lately (the guarantees: "in the last half minute, or minute"), also of one that was right again soon.
    largest: VecDeque<(u64, i128)>,
}

impl Clocks {
    /// A peer's probe arrived with its wall clock: how far that was ahead of the node's monotonic one counts for half a minute at least.
    fn hears(&mut self, now: Now, (peer, link): (usize, LinkId), wall_ms: u64) {
        let at_us = now.mono.as_micros();
        let offset_ms = i128::from(wall_ms) - i128::from(at_us / 1_000);
        let counted = self.last.get(&link).is_some_and(|before| before.counts);
        self.last
            .retain(|_, heard| at_us - heard.at_us < LONG_AGO_US);
        self.largest
            .retain(|(heard_us, offset)| at_us - heard_us < LONG_AGO_US && *offset > offset_ms);
        self.largest.push_back((at_us, offset_ms));
        let heard = Heard {
            peer,
            at_us,
            counts: counted,
        };
        self.last.insert(link, heard);
    }

    /// The node answers a probe.
    fn answers(&mut self, link: LinkId) {
        if let Some(heard) = self.last.get_mut(&link) {
            heard.counts = true;
        }
    }

    /// The node accepts a client's write, and refuses those that it would give a clock further ahead than `limit`.
    fn check(&self, (at_us, node): (u64, usize), now: Now, limit: Duration) -> Option<Violation> {
        let mono_us = now.mono.as_micros();
        let age = |heard: &&Heard| mono_us - heard.at_us;
        let lately = self
            .last
            .values()
            .filter(|heard| heard.counts && age(heard) < LATELY_US);
        let mut peers: Vec<usize> = lately.map(|heard| heard.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        let is_recent = |heard_us: u64| mono_us - heard_us < LONG_AGO_US;
        let mut heard = self.largest.iter();
        let (_, largest) = heard.find(|(heard_us, _)| is_recent(*heard_us))?;
        let ours = i128::from(now.wall.as_millis()) - i128::from(mono_us / 1_000);
        let ahead_ms = ours - largest;
        let most_ms = (limit + SLACK).as_millis() as i128;
        (peers.len() > 1 && ahead_ms > most_ms).then(|| Violation {
            checker: NAME,
            at_us,
            text: format!(
                "n{node} accepts a write, and its clock is {ahead_ms} ms ahead of all {} it hears",
                peers.len()
            ),
        })
    }
}

/// Watches the clocks that each node hears.
pub(crate) struct Ahead(Vec<Clocks>);

impl Ahead {
    pub(crate) fn new(nodes: usize) -> Self {
        Ahead(for_each(nodes))
    }

    /// A boot of the node begins.
    pub(crate) fn on_start(&mut self, node: usize) {
        self.0[node] = Clocks::default();
    }

    /// The node sends a message over some links.
    pub(crate) fn on_send(&mut self, node: usize, to: &Links, msg: &Message) {
        if let Message::Detector(DetectorMessage::Ack { .. }) = msg {
            for link in to.as_slice() {
                self.0[node].answers(*link);
            }
        }
    }

    /// A message of the machine `from` reaches the node, whose clocks show `now`.
    pub(crate) fn on_receive(
        &mut self,
        (from, node): (usize, usize),
        now: Now,
        link: LinkId,
        msg: &Message,
    ) {
        if let Message::Detector(
            DetectorMessage::Probe { status, .. } | DetectorMessage::Ack { status, .. },
        ) = msg
        {
            self.0[node].hears(now, (from, link), status.wall_ms);
        }
    }

    /// The node has accepted a client's write, and refuses those that it would give a clock further ahead than `limit`.
    pub(crate) fn on_accept(
        &self,
        (at_us, node): (u64, usize),
        now: Now,
        limit: Duration,
    ) -> Option<Violation> {
        self.0[node].check((at_us, node), now, limit)
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::{Instant, Wall};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);
    const FAR_MS: u64 = 301_001;

    fn now(seconds: u64, ahead_ms: u64) -> Now {
        let wall = Wall::from_millis(1_000_000 + seconds * 1_000 + ahead_ms);
        Now::new(Instant::from_micros(seconds * 1_000_000), wall)
    }

    /// Whether a write is found after so many peers, whose clocks are right, were heard and answered at these seconds.
    fn is_found(heard: &[(u64, bool)], at: u64, ahead_ms: u64) -> bool {
        let mut clocks = Clocks::default();
        for (peer, (seconds, answered)) in heard.iter().enumerate() {
            let link = LinkId(peer as u64);
            let said = now(*seconds, 0).wall.as_millis();
            clocks.hears(now(*seconds, ahead_ms), (peer, link), said);
            if *answered {
                clocks.answers(link);
            }
        }
        clocks.check((0, 0), now(at, ahead_ms), LIMIT).is_some()
    }

    #[test]
    fn a_clock_ahead_of_two_others_is_found() {
        assert!(is_found(&[(1, true), (2, true)], 3, FAR_MS));
        assert!(!is_found(&[(1, true), (2, true)], 3, FAR_MS - 1));
        assert!(
            !is_found(&[(1, true), (2, false)], 3, FAR_MS),
            "of two none is known to be wrong"
        );
        assert!(!is_found(&[(1, true), (2, true)], 27, FAR_MS), "long ago");
    }

    #[test]
    fn one_that_is_not_behind_excuses() {
        let mut clocks = Clocks::default();
        for (peer, said) in [(1, 0), (2, 0), (3, FAR_MS)] {
            let said = now(5, said).wall.as_millis();
            clocks.hears(now(5, FAR_MS), (peer, LinkId(peer as u64)), said);
            clocks.answers(LinkId(peer as u64));
        }
        assert_eq!(clocks.check((0, 0), now(6, FAR_MS), LIMIT), None);
    }

    #[test]
    fn one_that_was_ahead_itself_a_moment_ago_excuses() {
        let mut clocks = Clocks::default();
        for (seconds, said) in [(1, FAR_MS), (2, 0)] {
            for peer in 0..2 {
                let (heard, link) = (now(seconds, FAR_MS), LinkId(peer as u64));
                let said = now(seconds, said).wall.as_millis();
                clocks.hears(heard, (peer, link), said);
                clocks.answers(link);
            }
        }
        assert_eq!(clocks.check((0, 0), now(3, FAR_MS), LIMIT), None);
        for peer in 0..2 {
            let (heard, link) = (now(70, FAR_MS), LinkId(peer as u64));
            clocks.hears(heard, (peer, link), now(70, 0).wall.as_millis());
            clocks.answers(link);
        }
        assert!(clocks.check((0, 0), now(71, FAR_MS), LIMIT).is_some());
    }
}
