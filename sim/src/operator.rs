//! The operator: lets nodes go on by themselves when every node that could let them in is gone for good, and declares writers lost.

use rumormill_core::{
    Node, NodeId,
    io::Request,
    members::{HoldUp, HoldsUp},
};

use crate::event::Event;
use crate::hurt::Hurt;
use crate::trace::Weight;
use crate::world::World;

/// How long nodes that are rejoining may find each other before an operator looks, and how long until it looks again, in microseconds.
const PATIENCE_US: u64 = 10_000_000;

impl World {
    /// A node has to wait for others: the operator will see whether any of them can still come.
    pub(crate) fn call_operator(&mut self) {
        if !self.operator.called {
            self.operator.called = true;
            self.push(self.now_us + PATIENCE_US, Event::Operator);
        }
    }

    /// The operator looks, for as long as anybody is rejoining.
    pub(crate) fn operator_looks(&mut self) {
        self.operator.called = false;
        self.finish_turn();
        if !(0..self.hosts.len()).any(|node| self.is_rejoining(node)) {
            return;
        }
        self.call_operator();
        if !self.is_orphaned() {
            return;
        }
        // Every other cluster has an operator for each node, and none of them asks the others.
        let operators = match self.seed() % 2 {
            0 => self.hosts.len(),
            _ => 1,
        };
        let answers =
            |node: &usize| self.is_rejoining(*node) && !self.hosts[*node].hurts.has(Hurt::Paused);
        let asked: Vec<usize> = (0..self.hosts.len())
            .filter(answers)
            .take(operators)
            .collect();
        for node in asked {
            self.count("operator_resumes");
            self.trace
                .event(self.now_us, node, Weight::Story, "resume", &[]);
            self.request(node, None, Request::Resume);
        }
    }

    /// Declares lost what deletes wait for although it never comes: a leaver's last state, or writes that deletes of siblings have replaced, of a
    /// node that is gone, has lost unsynced writes in a crash, or has written its rows anew under other dots. The guarantees promise no more
    /// than that an operator ends such a wait. A delete that waits for any other member gets no help.
    pub(crate) fn operator_declares_lost(&mut self) {
        let waits = (0..self.hosts.len()).find_map(|node| Some((node, self.lost_writer(node)?)));
        let Some((node, lost)) = waits else {
            return;
        };
        self.finish_turn();
        self.count("operator_declares_lost");
        self.trace
            .event(self.now_us, node, Weight::Story, "declare_lost", &[]);
        let named = lost.to_string();
        self.request(node, None, Request::DeclareLost { node: named });
    }

    /// Finds a node whose missing rows never come, and for whose sake a running member keeps deletes.
    fn lost_writer(&self, node: usize) -> Option<NodeId> {
        let host = &self.hosts[node];
        let running = host.node.as_ref().filter(|node| Node::is_full(node))?;
        let waits = running.status(host.now(self.now_us)).waiting_for;
        Some(waits.iter().find(|wait| self.never_comes(wait))?.node)
    }

    /// Whether deletes wait for something that no machine has.
    pub(crate) fn never_comes(&self, wait: &HoldUp) -> bool {
        let never = self.operator.gone.contains(&wait.node)
            || self.operator.lost_writes.contains(&wait.node);
        never && matches!(wait.why, HoldsUp::Writes { .. } | HoldsUp::Left)
    }

    /// Returns whether no machine has a full member, nor the disk of one that may come back: not while it has to wait for newcomers, which
    /// wait for a full member.
    fn is_orphaned(&self) -> bool {
        let mut hosts = self.hosts.iter().enumerate();
        hosts.all(|(number, host)| match &host.node {
            Some(node) => !Node::is_full(node),
            None => host.disk.is_empty() || self.seeds(number).is_none(),
        })
    }
}
