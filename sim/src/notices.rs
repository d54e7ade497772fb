//! Notices to nodes of dots that others have, and the nodes' questions for them.

use std::time::Duration;

use rumormill_core::wire::{ClusterMessage, DomainContext, GossipMessage, Message, RowBatch};
use rumormill_core::{LinkId, Links, RowClass, Seq, Version};

use crate::checkers::grafts::Dot;
use crate::plan::Table;
use crate::world::World;

/// The time that a node takes to ask beside the time that it waits, in microseconds.
const SPARE_US: u64 = 20_000;

/// The row class of a table whose rows are judged. A row with siblings stands for several dots.
const fn class_of(table: Table) -> Option<RowClass> {
    match table {
        Table::Periodic | Table::Sync => Some(RowClass::UsrDurable),
        Table::Memory => Some(RowClass::UsrMemory),
        Table::Siblings => None,
    }
}

fn dots_of(batch: &RowBatch) -> impl Iterator<Item = Dot> {
    batch.rows.iter().filter_map(|row| {
        let table = batch.tables.get(row.table as usize)?;
        let actor = batch.actors.get(row.actor as usize)?;
        Some((table.domain, *actor, row.counter))
    })
}

impl World {
    /// A node has accepted a write.
    pub(crate) fn is_born(&mut self, node: usize, table: Table, version: Version) {
        if let Some(class) = class_of(table) {
            let dot = (class as u8, version.actor, version.counter);
            self.born.insert(dot, self.now_us);
            self.hosts[node].notices.came(dot);
        }
    }

    /// Returns the dots in these contexts that clients have written, and when.
    fn born_in(&self, contexts: &[DomainContext]) -> Vec<(Dot, u64)> {
        let mut out = Vec::new();
        for context in contexts {
            for (actor, runs) in &context.actors {
                for (low, high) in runs.iter().filter(|(low, high)| low <= high) {
                    let dot = |counter| (context.domain, *actor, counter);
                    let born = self.born.range(dot(*low)..=dot(*high));
                    out.extend(born.map(|(dot, at_us)| (*dot, *at_us)));
                }
            }
        }
        out
    }

    /// A node sends a message, which may ask for rows.
    pub(crate) fn asks(&mut self, node: usize, to: &Links, msg: &Message) {
        let asked = match msg {
            Message::Gossip(GossipMessage::Graft(dots)) => self.born_in(dots),
            Message::Gossip(
                GossipMessage::Push(_)
                | GossipMessage::Forward { .. }
                | GossipMessage::IHave(_)
                | GossipMessage::Pull(_),
            ) => Vec::new(),
            _ => return,
        };
        let host = &mut self.hosts[node];
        for (dot, _) in &asked {
            host.notices.asked(dot);
        }
        if host.was_full {
            let links = to.as_slice().iter();
            links.for_each(|link| host.notices.trusts(*link));
        }
    }

    /// A message reaches a node.
    pub(crate) fn takes_notice(&mut self, node: usize, link: LinkId, msg: &Message) {
        let came = match msg {
            // Where a cluster is measured no checker judges.
            _ if self.meter.is_some() => return,
            Message::Gossip(GossipMessage::IHave(dots)) => return self.is_told(node, link, dots),
            Message::Cluster(
                ClusterMessage::Greeting(_) | ClusterMessage::Leave | ClusterMessage::Denial(_),
            ) => {
                return self.hosts[node].notices.turns(link);
            }
            Message::Gossip(GossipMessage::Page(page)) => {
                let adopted = page.last.as_ref();
                adopted.map_or_else(Vec::new, |last| self.born_in(&last.contexts))
            }
            _ => Vec::new(),
        };
        let notices = &mut self.hosts[node].notices;
        let rows = msg.rows().into_iter().flat_map(dots_of);
        let came = came.into_iter().map(|(dot, _)| dot);
        rows.chain(came).for_each(|dot| notices.came(dot));
    }

    fn is_told(&mut self, node: usize, link: LinkId, dots: &[DomainContext]) {
        let born = self.born_in(dots);
        let now_us = self.now_us;
        let host = &mut self.hosts[node];
        let Some(running) = host.node.as_ref().filter(|node| node.is_full()) else {
            return;
        };
        let patience = running.config().timing.mismatch_patience;
        // It asks after a fifth of that by its own clock, which runs at no less than half of the right speed.
        let wait: Duration = patience / 2;
        let due_us = now_us + wait.as_micros() as u64 + SPARE_US;
        for (dot, born_us) in born {
            let by = (link, due_us, host.disk.last());
            host.notices.named(dot, born_us, by);
        }
    }

    /// Judges a node at the end of its turn. A node that is hurt, or no member, is not judged, nor is one that leaves: the guarantees say
    /// that it takes no rows any more.
    pub(crate) fn check_notices(&mut self, node: usize) {
        let now_us = self.now_us;
        let host = &mut self.hosts[node];
        if !host.was_full || host.leaving || host.hurts.is_hurt() {
            return host.notices.excuse();
        }
        let synced = match host.has_disk {
            true => host.disk.synced(),
            false => Seq(u64::MAX),
        };
        let net = &self.net;
        let is_open = |link| net.end(link).is_some_and(|end| end.up && !end.closing);
        let found = host.notices.check((now_us, node), synced, is_open);
        self.found_once(found);
    }
}
