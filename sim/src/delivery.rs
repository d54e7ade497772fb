//! Messages between nodes: sent, lost on their way, delivered.

use std::sync::Arc;

use rumormill_core::wire::Message;
use rumormill_core::{
    LinkId,
    io::{Input, Lane, Links},
};

use crate::event::{Event, Why};
use crate::hurt::Hurt;
use crate::network::{Fate, Network};
use crate::recording::Outcome;
use crate::scale::Parcel;
use crate::story;
use crate::trace::{Field, WORLD};
use crate::world::World;

/// A frame begins with its length in so many bytes.
const LENGTH_BYTES: usize = 4;

impl World {
    pub(crate) fn send(&mut self, node: usize, to: &Links, lane: Lane, msg: &Arc<Message>) {
        if lane != Lane::Control && self.hosts[node].hurts.has(Hurt::Congested) {
            // The pages of sessions, each asked for when the last one has come, and what had waited for the disk.
            self.count("sent_while_congested");
        }
        let rewritten = self.sabotage.rewrites(node, msg).map(Arc::new);
        let msg = rewritten.as_ref().unwrap_or(msg);
        let sight = self.hosts[node].sight((self.now_us, node));
        self.observers.on_send(&sight, to, msg);
        let parcel = self.meter.as_ref().map(|_| Parcel::of(msg, lane));
        for &link in to.as_slice() {
            let is_sent = self.send_on(node, link, lane, msg);
            if let Some((meter, parcel)) = self.meter.as_mut().zip(parcel.filter(|_| is_sent)) {
                meter.sent(parcel);
            }
        }
    }

    /// Whether the message was handed to the network.
    fn send_on(&mut self, node: usize, link: LinkId, lane: Lane, msg: &Arc<Message>) -> bool {
        let other = Network::other(link);
        let Some(peer) = self.net.end(other).map(|end| end.node) else {
            return false;
        };
        self.tally.messages += 1;
        let number = self.tally.messages;
        if self.sabotage.swallows(node, peer, msg) {
            self.trace
                .sent(self.now_us, number, link.0, (node, peer), msg);
            self.trace.vanished(number, Outcome::Stolen);
            return true;
        }
        let powered = self.hosts[peer].node.is_some();
        let fate = self.net.send(self.now_us, link, powered);
        if fate != Fate::Closed {
            self.trace
                .sent(self.now_us, number, link.0, (node, peer), msg);
        }
        let way = (number, lane, other);
        match fate {
            Fate::Arrives(at_us) => self.dispatch(at_us, (node, peer), way, msg),
            Fate::Twice(at_us, again_us) => {
                self.dispatch(at_us, (node, peer), way, msg);
                self.dispatch(again_us, (node, peer), way, msg);
            }
            Fate::Lost => {
                self.gone(node, peer, "lost", msg);
                self.trace.ended(number, Outcome::Lost);
            }
            Fate::Swallowed { breaks } => {
                self.gone(node, peer, "swallowed", msg);
                self.trace.ended(number, Outcome::Swallowed);
                if breaks {
                    self.breaks(self.now_us, link, Why::TimedOut);
                }
            }
            Fate::Forgotten(at_us) => {
                self.trace.vanished(number, Outcome::Reset);
                self.breaks(at_us, link, Why::Broken);
            }
            Fate::Closed => {}
        }
        fate != Fate::Closed
    }

    /// Nothing more gets through this end of a link; its node is told so at that time.
    fn breaks(&mut self, at_us: u64, link: LinkId, why: Why) {
        self.net.set_closing(link);
        self.push(at_us, Event::Down { link, why });
    }

    /// A message is on its way to the end `link`.
    fn dispatch(
        &mut self,
        at_us: u64,
        (from, to): (usize, usize),
        (number, lane, link): (u64, Lane, LinkId),
        msg: &Arc<Message>,
    ) {
        self.observers.on_dispatch(from);
        self.push(
            at_us,
            Event::Deliver {
                node: to as u32,
                lane,
                link,
                number,
                msg: msg.clone(),
            },
        );
    }

    fn gone(&mut self, from: usize, to: usize, verb: &'static str, msg: &Message) {
        self.count(verb);
        let fields = [Field::Node("to", to), Field::Word("what", msg.kind())];
        self.trace
            .event(self.now_us, from, story::weight(msg), verb, &fields);
    }

    /// A message arrives at an end of a link, which may be closed by now.
    pub(crate) fn deliver(
        &mut self,
        (node, link): (usize, LinkId),
        lane: Lane,
        number: u64,
        msg: Arc<Message>,
    ) {
        let from = self
            .net
            .end(Network::other(link))
            .map_or(WORLD, |end| end.node);
        self.observers.on_arrival(from);
        let open = self
            .net
            .end(link)
            .is_some_and(|end| end.up && !end.closing && self.still_runs(node, end.boot));
        if !open {
            return self.trace.vanished(number, Outcome::Missed);
        }
        let flip = match self.wire {
            Some(_) => self.net.corrupts(from),
            None => None,
        };
        let harm = |bytes: &mut [u8]| {
            // A length that grew is noticed only when so many bytes have come, and an idle link may take hours for that.
            if let (Some(flip), Some(bytes)) = (flip, bytes.get_mut(LENGTH_BYTES..)) {
                let bit = flip % (bytes.len() as u64 * 8);
                bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        };
        let msg = match &mut self.wire {
            None => Arc::unwrap_or_clone(msg),
            Some(wire) => match wire.carry(link, &msg, lane, harm) {
                Ok(Some(msg)) => msg,
                Ok(None) => return self.trace.vanished(number, Outcome::Missed),
                Err(_) => {
                    self.trace.vanished(number, Outcome::Missed);
                    return self.down(link, Why::Malformed);
                }
            },
        };
        story::received(&mut self.trace, &self.ids, self.now_us, from, node, &msg);
        self.trace.ended(number, Outcome::Arrived);
        let sender = (from, self.node_beyond(link));
        let sight = self.hosts[node].sight((self.now_us, node));
        self.observers.on_receive(&sight, sender, link, &msg);
        self.input(node, Input::Message { link, msg });
    }
}
