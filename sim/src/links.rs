//! Links: nodes dial each other, links come up and go down.

use rumormill_core::link::{Hello, LinkLimits};
use rumormill_core::{
    DialId, LinkId, NodeId,
    io::{Input, LinkError},
};

use crate::checkers::replays;
use crate::event::{Call, Event, Why};
use crate::hurt::Hurt;
use crate::network::{DIAL_TIMEOUT_US, Network};
use crate::story;
use crate::trace::{Field, WORLD, Weight};
use crate::world::World;

impl World {
    /// Dials for a node that wants a link to the listener at `addr`.
    pub(crate) fn dial(&mut self, from: usize, dial: DialId, addr: &str) {
        self.count("dials");
        let boot = self.hosts[from].boot;
        let to = addr
            .strip_prefix('n')
            .and_then(|index| index.parse().ok())
            .filter(|to| *to < self.hosts.len());
        let to_field = Field::Node("to", to.unwrap_or(WORLD));
        self.trace.event(
            self.now_us,
            from,
            Weight::Detail,
            "dial",
            &[to_field, Field::Mute(dial.0)],
        );
        let fails = |why| Event::DialFails {
            node: from,
            boot,
            dial,
            why,
        };
        let Some(to) = to else {
            return self.push(self.now_us, fails(Why::Unreachable));
        };
        if !self.net.reaches(from, to) {
            return self.push(self.now_us + DIAL_TIMEOUT_US, fails(Why::TimedOut));
        }
        let Some(hello) = self.hosts[from].node.as_ref().map(|node| node.hello()) else {
            return;
        };
        let at_us = self.now_us + self.net.latency(from, to);
        let call = Box::new(Call {
            from,
            boot,
            to,
            dial,
            hello,
        });
        self.push(at_us, Event::DialArrives { call });
    }

    /// A dial reaches its machine, if it can still be answered.
    pub(crate) fn dial_arrives(&mut self, call: Call) {
        let Call {
            from,
            boot,
            to,
            dial,
            hello,
        } = call;
        if !self.still_runs(from, boot) {
            return;
        }
        let fails = |why| Event::DialFails {
            node: from,
            boot,
            dial,
            why,
        };
        let back = self.net.reaches(to, from);
        let Some(ours) = self.hosts[to]
            .node
            .as_ref()
            .map(|node| node.hello())
            .filter(|_| back && !self.hosts[to].hurts.has(Hurt::Paused))
        else {
            let refuses = self.hosts[to].node.is_none() && self.hosts[to].process.answers;
            if back && refuses {
                let at_us = self.now_us + self.net.latency(to, from);
                return self.push(at_us, fails(Why::Unreachable));
            }
            return self.push(self.now_us + DIAL_TIMEOUT_US, fails(Why::TimedOut));
        };
        let to_boot = self.hosts[to].boot;
        let (link, back_us) = self
            .net
            .accept(self.now_us, (from, boot), (to, to_boot), dial);
        let (other, hello) = (Network::other(link), Box::new(hello));
        self.push(self.now_us, Event::Up { link: other, hello });
        let hello = Box::new(ours);
        self.push(back_us, Event::Up { link, hello });
    }

    pub(crate) fn dial_failed(&mut self, node: usize, dial: DialId, why: Why) {
        let why = why.error();
        self.count("dials_failed");
        let fields = [
            Field::Word("why", story::link_error(&why)),
            Field::Mute(dial.0),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "dial_failed", &fields);
        self.input(node, Input::DialFailed { dial, why });
    }

    /// An end of a link comes up, and its peer has said `hello`.
    pub(crate) fn up(&mut self, link: LinkId, hello: Hello) {
        let Some((ours, side)) = self.net.link(link) else {
            return;
        };
        let dial = (side == 0).then_some(ours.dial);
        let (node, boot) = (ours.ends[side].node, ours.ends[side].boot);
        if !self.still_runs(node, boot) {
            return self.net.set_closing(link);
        }
        let peer = self
            .net
            .end(Network::other(link))
            .map_or(WORLD, |end| end.node);
        self.replay(node, peer);
        let mine = self.hosts[node].node.as_mut();
        let hello = match (&mut self.wire, mine) {
            (Some(wire), Some(mine)) => {
                let conn = mine.connection(LinkLimits::default());
                match wire.open(link, (node, peer), conn, hello) {
                    Ok(hello) => hello,
                    // All nodes speak one version in one cluster.
                    Err(why) => panic!("the handshake of link {} fails: {why:?}", link.0),
                }
            }
            _ => hello,
        };
        self.net.set_up(link, true);
        self.link_line(node, "up", link, None);
        let peer = self.node_beyond(link);
        let sight = self.hosts[node].sight((self.now_us, node));
        self.observers.on_link_up(&sight, peer);
        self.input(node, Input::LinkUp { link, dial, hello });
        if self.hosts[node].hurts.has(Hurt::Congested) {
            self.congest(node, link);
        }
    }

    /// Plays back to `node` a recording of what `peer` sent it on their last link, before there is a new one.
    fn replay(&mut self, node: usize, peer: usize) {
        let way = (node, peer);
        let (Some(wire), Some(mine)) = (&mut self.wire, &mut self.hosts[node].node) else {
            return;
        };
        if wire.has_recorded(way) {
            let conn = mine.connection(LinkLimits::default());
            let found = wire.replay(self.now_us, way, conn);
            self.count(replays::NAME);
            self.observers.on_replay(found);
        }
    }

    /// An end of a link goes down, unless it is down or its node has died.
    pub(crate) fn down(&mut self, link: LinkId, why: Why) {
        let Some(end) = self.net.end(link) else {
            return;
        };
        let (node, boot, up) = (end.node, end.boot, end.up);
        if !up || !self.still_runs(node, boot) {
            return;
        }
        self.net.set_up(link, false);
        if let Some(wire) = &mut self.wire {
            wire.close(link);
        }
        let why = why.error();
        self.link_line(node, "down", link, Some(&why));
        self.observers.on_link_down(node, link);
        self.input(node, Input::LinkDown { link, why });
    }

    /// Returns the node that the machine beyond a link had when the link came up.
    pub(crate) fn node_beyond(&self, link: LinkId) -> Option<NodeId> {
        let end = self.net.end(Network::other(link))?;
        let names = &self.hosts.get(end.node)?.names;
        names.get(end.boot.checked_sub(1)? as usize).copied()
    }

    /// A node closes its end of a link.
    pub(crate) fn hang_up(&mut self, node: usize, link: LinkId) {
        let Some(end) = self.net.end(link) else {
            return;
        };
        if !end.up || end.closing {
            return;
        }
        let (other, why) = (Network::other(link), Why::Closed);
        let peer = self.net.end(other).map_or(node, |end| end.node);
        if self.net.reaches(node, peer) {
            let at_us = self.net.close_arrival(self.now_us, link);
            self.push(at_us, Event::Down { link: other, why });
        }
        self.net.set_closing(link);
        self.push(self.now_us, Event::Down { link, why });
    }

    fn link_line(
        &mut self,
        node: usize,
        verb: &'static str,
        link: LinkId,
        why: Option<&LinkError>,
    ) {
        let peer = self
            .net
            .end(Network::other(link))
            .map_or(WORLD, |end| end.node);
        let why = why.map_or("", story::link_error);
        let fields = [
            Field::Node("peer", peer),
            Field::Num("link", link.0),
            Field::Word("why", why),
        ];
        let len = if why.is_empty() { 2 } else { 3 };
        self.trace
            .event(self.now_us, node, Weight::Story, verb, &fields[..len]);
    }
}
