//! No node comes back from the dead by hearsay: a node that was taken for dead stays so until it is heard itself, has refuted it with a
//! larger incarnation, or has begun another generation.

use std::collections::{BTreeMap, BTreeSet};

use rumormill_core::wire::{ClusterMessage, DetectorMessage, Message, Rumor};
use rumormill_core::{LinkId, Node, NodeId, io::Event};

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "hearsay";

/// The news of other members that one boot of a node has heard. Times are turns of the node: events within one have no order.
#[derive(Debug, Default)]
struct Ears {
    known: BTreeMap<NodeId, Known>,
    /// The links over which the other side's greeting has come. Before that a node takes no other message of the link.
    greeted: BTreeSet<LinkId>,
}

#[derive(Debug, Default)]
struct Known {
    generation: u64,
    /// The largest incarnation that was told of this generation, and when.
    incarnation: u64,
    told: u64,
    /// The largest one told in turns before `told`.
    before: u64,
    /// When it was last heard itself.
    heard: Option<u64>,
    grave: Option<Grave>,
}

#[derive(Debug)]
struct Grave {
    incarnation: u64,
    turn: u64,
}

/// The rumors of a message.
fn rumors(message: &Message) -> &[Rumor] {
    match message {
        Message::Detector(
            DetectorMessage::Probe { rumors, .. }
            | DetectorMessage::Ack { rumors, .. }
            | DetectorMessage::IndirectProbe { rumors, .. }
            | DetectorMessage::IndirectAck { rumors, .. },
        ) => rumors,
        _ => &[],
    }
}

impl Ears {
    /// The member itself was heard.
    fn hears(&mut self, member: NodeId, turn: u64) {
        if let Some(known) = self.known.get_mut(&member) {
            known.heard = Some(turn);
        }
    }

    /// A message came over a link: it counts once the other side's greeting has come there.
    fn receives(&mut self, link: LinkId, message: &Message, turn: u64) {
        if matches!(message, Message::Cluster(ClusterMessage::Greeting(_))) {
            self.greeted.insert(link);
        } else if self.greeted.contains(&link) {
            self.told(rumors(message), turn);
        }
    }

    /// A link is down.
    fn link_down(&mut self, link: LinkId) {
        self.greeted.remove(&link);
    }

    /// Takes rumors about members. Rumors about strangers and other generations count for nothing.
    fn told(&mut self, rumors: &[Rumor], turn: u64) {
        for rumor in rumors {
            let Some(known) = self.known.get_mut(&rumor.node) else {
                continue;
            };
            if rumor.generation != known.generation {
                continue;
            }
            if known.told != turn {
                (known.told, known.before) = (turn, known.incarnation);
            }
            known.incarnation = known.incarnation.max(rumor.incarnation);
        }
    }

    /// The member was taken for dead.
    fn down(&mut self, member: NodeId, turn: u64) {
        let Some(known) = self.known.get_mut(&member) else {
            return;
        };
        let incarnation = match known.told == turn {
            true => known.before,
            false => known.incarnation,
        };
        known.grave = Some(Grave { incarnation, turn });
    }

    /// The member, in this generation of its, was taken for alive by a node of this number; whether only others can have said so.
    fn up(
        &mut self,
        (at_us, node): (u64, usize),
        member: NodeId,
        generation: u64,
    ) -> Option<Violation> {
        let known = self.known.entry(member).or_default();
        if known.generation != generation {
            *known = Known {
                generation,
                ..Known::default()
            };
            return None;
        }
        let grave = known.grave.take()?;
        let itself = known.heard >= Some(grave.turn) || known.incarnation > grave.incarnation;
        (!itself).then(|| Violation {
            checker: NAME,
            at_us,
            text: format!(
                "n{node} takes {member} for alive again, which it has not heard since it took it for dead"
            ),
        })
    }

    /// It has left, or was evicted.
    fn left(&mut self, member: NodeId) {
        self.known.remove(&member);
    }
}

/// Watches what each node is told of the other members, and what it makes of it.
pub(crate) struct Hearsay(Vec<Ears>);

impl Hearsay {
    pub(crate) fn new(nodes: usize) -> Self {
        Hearsay(for_each(nodes))
    }

    /// A generation of the node begins.
    pub(crate) fn on_start(&mut self, node: usize) {
        self.0[node] = Ears::default();
    }

    /// In this turn the node hears from the other end of a link, which is new or brings a message.
    pub(crate) fn on_receive(
        &mut self,
        (node, turn): (usize, u64),
        sender: Option<NodeId>,
        message: Option<(LinkId, &Message)>,
    ) {
        let ears = &mut self.0[node];
        if let Some(sender) = sender {
            ears.hears(sender, turn);
        }
        if let Some((link, message)) = message {
            ears.receives(link, message, turn);
        }
    }

    /// A link of the node is down.
    pub(crate) fn on_link_down(&mut self, node: usize, link: LinkId) {
        self.0[node].link_down(link);
    }

    /// In this turn the node takes a member for dead or for alive.
    pub(crate) fn on_event(
        &mut self,
        (at_us, node): (u64, usize),
        (running, turn): (Option<&Node>, u64),
        event: &Event,
    ) -> Option<Violation> {
        let ears = &mut self.0[node];
        match event {
            Event::MemberUp(member) => {
                let generation = generation_of(running, *member);
                return ears.up((at_us, node), *member, generation);
            }
            Event::MemberDown(member) => ears.down(*member, turn),
            Event::MemberLeft(member) => ears.left(*member),
            _ => {}
        }
        None
    }
}

fn generation_of(running: Option<&Node>, member: NodeId) -> u64 {
    let members = running.map_or_else(Vec::new, |node| node.members());
    let found = members.iter().find(|known| known.id == member);
    found.map_or(0, |member| member.generation)
}

#[cfg(test)]
mod tests {
    use rumormill_core::wire::RumorState;

    use super::*;

    const WHO: NodeId = NodeId(7);

    fn alive(incarnation: u64) -> Rumor {
        Rumor {
            node: WHO,
            generation: 1,
            incarnation,
            state: RumorState::Alive,
            from: WHO,
        }
    }

    /// One that took the member for dead in turn 5, having been told of incarnation 1.
    fn buried() -> Ears {
        let mut ears = Ears::default();
        assert_eq!(ears.up((0, 0), WHO, 1), None);
        ears.hears(WHO, 2);
        ears.told(&[alive(1)], 3);
        ears.down(WHO, 5);
        ears
    }

    #[test]
    fn what_others_say_of_the_past_revives_no_member() {
        let mut ears = buried();
        ears.told(&[alive(1)], 6);
        assert_eq!(
            ears.up((0, 0), WHO, 1).map(|found| found.checker),
            Some(NAME)
        );
    }

    /// A link's other side says that the member is alive in its second incarnation.
    fn question() -> Message {
        Message::Detector(DetectorMessage::IndirectProbe {
            nonce: 1,
            target: WHO,
            rumors: vec![alive(2)],
        })
    }

    #[test]
    fn what_came_before_the_greeting_was_not_taken() {
        let (link, mut ears) = (LinkId(3), buried());
        ears.receives(link, &question(), 6);
        assert!(ears.up((0, 0), WHO, 1).is_some());
        // It was told in vain, so that it may be told again.
        let mut ears = Ears::default();
        assert_eq!(ears.up((0, 0), WHO, 1), None);
        ears.receives(link, &question(), 3);
        ears.down(WHO, 5);
        ears.told(&[alive(2)], 6);
        assert_eq!(ears.up((0, 0), WHO, 1), None);
    }

    #[test]
    fn its_own_voice_a_refutation_and_another_generation_do() {
        let mut heard = buried();
        heard.hears(WHO, 5);
        let mut refuted = buried();
        refuted.told(&[alive(2)], 6);
        let mut at_once = buried();
        at_once.told(&[alive(2)], 9);
        at_once.down(WHO, 9);
        for mut ears in [heard, refuted, at_once] {
            assert_eq!(ears.up((0, 0), WHO, 1), None);
        }
        assert_eq!(buried().up((0, 0), WHO, 2), None);
    }
}
