//! News of members that nodes are told, and the verdicts that follow.

use rumormill_core::wire::Message;
use rumormill_core::{Event, LinkId, NodeId};

use crate::network::Network;
use crate::world::World;

impl World {
    /// A node hears from the other end of a link, which is new or brings a message, and what that says of the members.
    pub(crate) fn listens(&mut self, node: usize, link: LinkId, msg: Option<&Message>) {
        // Where a cluster is measured no checker judges.
        if self.meter.is_some() {
            return;
        }
        let other = self.net.end(Network::other(link));
        let sender = other.and_then(|end| {
            let names = &self.hosts.get(end.node)?.names;
            names.get(end.life.checked_sub(1)? as usize).copied()
        });
        let host = &mut self.hosts[node];
        if let Some(sender) = sender {
            host.ears.hears(sender, host.turns);
        }
        if let Some(msg) = msg {
            host.ears.receives(link, msg, host.turns);
        }
    }

    /// A node takes a member for dead or for alive.
    pub(crate) fn believes(&mut self, node: usize, event: &Event) {
        if self.meter.is_some() {
            return;
        }
        let host = &mut self.hosts[node];
        match event {
            Event::MemberUp(member) => {
                let epoch = self.epoch_of(node, *member);
                let found = self.hosts[node]
                    .ears
                    .up((self.now_us, node), *member, epoch);
                self.found_once(found);
            }
            Event::MemberDown(member) => host.ears.down(*member, host.turns),
            Event::MemberLeft(member) => host.ears.left(*member),
            _ => {}
        }
    }

    fn epoch_of(&self, node: usize, member: NodeId) -> u64 {
        let running = self.hosts[node].node.as_ref();
        let members = running.map_or_else(Vec::new, |node| node.members());
        let found = members.iter().find(|known| known.id == member);
        found.map_or(0, |member| member.epoch)
    }
}
