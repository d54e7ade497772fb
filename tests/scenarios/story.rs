//! The common part of stories of several rooms.

use std::cell::RefCell;
use std::rc::Rc;

use rumormill_core::members::MemberState;
use rumormill_core::wire::Message;
use rumormill_sim::plan::{Caps, Machine, Plan};
use rumormill_sim::{Sabotage, Scenario};

/// A cluster that meets these limits.
pub(crate) fn capped(nodes: u64, caps: Caps) -> Scenario {
    Scenario::of(Plan {
        caps,
        ..plan(nodes)
    })
}

/// A plan in which nothing happens but that nodes start.
pub(crate) fn plan(nodes: u64) -> Plan {
    Plan {
        seed: 1,
        codec: false,
        resident_value: None,
        caps: Caps::default(),
        machines: (0..nodes).map(|node| Machine::new(node * 20_000)).collect(),
        stop_us: 0,
        entries: Vec::new(),
    }
}

/// The same with messages that become bytes on their way.
pub(crate) fn in_bytes(nodes: u64) -> Plan {
    Plan {
        codec: true,
        ..plan(nodes)
    }
}

/// How many members a node takes for alive, itself included.
pub(crate) fn alive(story: &Scenario, node: usize) -> usize {
    let members = story.world().node(node).map(|node| node.members());
    let members = members.into_iter().flatten();
    members
        .filter(|member| member.state == MemberState::Alive)
        .count()
}

/// Returns a node's name for its own state.
pub(crate) fn phase(story: &Scenario, node: usize) -> &'static str {
    let (world, now) = (story.world(), story.world().clock(node));
    let status = world.node(node).zip(now);
    status.map_or("down", |(node, now)| node.status(now).phase.name())
}

/// Counts how often a node has said this in the story.
pub(crate) fn count(story: &Scenario, verb: &str) -> usize {
    let text = story.story();
    let told = |line: &&str| line.split(' ').nth(2) == Some(verb);
    text.lines().filter(told).count()
}

/// All messages that were sent: from, to, and what.
pub(crate) type Sent = Rc<RefCell<Vec<(usize, usize, Message)>>>;

/// Notes every message, and changes nothing.
pub(crate) struct Listener(Sent);

impl Sabotage for Listener {
    fn swallows(&mut self, from: usize, to: usize, message: &Message) -> bool {
        self.0.borrow_mut().push((from, to, message.clone()));
        false
    }
}

/// Listens to a story from now on.
pub(crate) fn listen(story: &mut Scenario) -> Sent {
    let sent = Sent::default();
    story.sabotage(Listener(Rc::clone(&sent)));
    sent
}

/// A planted bug on all nodes.
#[cfg(feature = "mutants")]
pub(crate) struct Awake(pub(crate) rumormill_core::mutants::Mutant);

#[cfg(feature = "mutants")]
impl Sabotage for Awake {
    fn configures(&mut self, _: usize, config: &mut rumormill_core::Config) {
        config.mutant = Some(self.0);
    }
}
