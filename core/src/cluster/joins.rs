//! Requests to join: from the link that is up to the answer.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{NodeId, Token};
use crate::time::Instant;

/// Joins on their way.
#[derive(Default)]
pub(crate) struct Joins {
    /// Joins whose link is up and whose greetings are under way.
    greeting: BTreeMap<NodeId, Vec<(Token, String)>>,
    /// Joins that are greeted, and wait until this node has caught up and is linked with every member that answers.
    held: Vec<(Token, NodeId, Instant)>,
}

impl Joins {
    /// Returns when the first join is answered whatever is missing.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.held.iter().map(|(_, _, until)| *until).min()
    }

    /// The link that these requests wait for is up.
    pub(crate) fn join_waits(&mut self, node: NodeId, addr: &str, tokens: Vec<Token>) {
        if !tokens.is_empty() {
            let waits = tokens.into_iter().map(|token| (token, String::from(addr)));
            self.greeting.entry(node).or_default().extend(waits);
        }
    }

    /// The greetings with a node are through, or came to nothing.
    pub(crate) fn joined(&mut self, node: NodeId) -> Vec<(Token, String)> {
        self.greeting.remove(&node).unwrap_or_default()
    }

    /// The greetings with a node are through: the answer waits a little for the rest of the cluster.
    pub(crate) fn hold(&mut self, token: Token, node: NodeId, until: Instant) {
        self.held.push((token, node, until));
    }

    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// The joins to answer: all, or those that waited long enough.
    pub(crate) fn take_due(&mut self, now: Instant, all: bool) -> Vec<(Token, NodeId)> {
        let due = |(_, _, until): &(Token, NodeId, Instant)| all || *until <= now;
        let done = self.held.iter().filter(|join| due(join));
        let done = done.map(|(token, node, _)| (*token, *node)).collect();
        self.held.retain(|join| !due(join));
        done
    }
}
