//! The questions of each client and their answers, in order: the guarantees of a session are judged by them.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::{
    Actor, NodeId,
    table::{Hlc, Version},
};

use crate::agreed::Agreed;
use crate::checkers::Violation;
use crate::checkers::sessions::{Deed, Scope, SessionOp, check};
use crate::clock::is_beyond_drift;
use crate::model::{Effect, History, Model, Told};
use crate::plan::Table;

/// One question of a client and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The client that asked.
    pub client: u32,
    /// The node that was asked. A client changes its node when its plan says so and when its node is down.
    pub node: usize,
    /// Which boot of the node it was: another one may have lost what the client saw.
    pub boot: u32,
    /// Which view of its rows the node had: counts its starts, and each time that it took its cluster's rows in the place of its
    /// own, as it does when it joins or rejoins. What a client saw in one view need not be in the next. `None` if that happened
    /// while a read waited.
    pub view: Option<u32>,
    /// The table.
    pub table: Table,
    /// The key; `None` for the whole table.
    pub key: Option<Bytes>,
    /// The answer, and the question with it.
    pub answer: Answer,
    /// The largest time that the node's wall clock had shown when it answered, in milliseconds: what expires later it did not hide.
    pub clock_ms: u64,
    /// When it was asked, in virtual microseconds.
    pub invoked_us: u64,
    /// When the client was told; `None` if its node stopped first, so that it never knew.
    pub returned_us: Option<u64>,
}

/// An answer, and the question with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A read found this, or nothing.
    Read(Option<Found>),
    /// A write was accepted under this version.
    Wrote {
        /// Its version.
        version: Version,
        /// Its effect. A flush deletes.
        effect: Effect,
        /// Its number in the model, `None` for a delete that found nothing to delete: it wrote nothing.
        op: Option<usize>,
    },
}

/// A row as a client read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// Its value.
    pub value: Bytes,
    /// Whether it expires some time: by the node's own wall clock, which may be wrong.
    pub expires: bool,
}

/// Everything that clients asked and were answered, in the order they asked.
pub(crate) struct Exchanges {
    all: Vec<Exchange>,
    /// Counts for each node its starts, and how often its rows were replaced by its cluster's.
    views: Vec<u32>,
}

impl Exchanges {
    pub(crate) fn new(nodes: usize) -> Self {
        Exchanges {
            all: Vec::new(),
            views: vec![0; nodes],
        }
    }

    pub(crate) fn all(&self) -> &[Exchange] {
        &self.all
    }

    /// A boot of the node begins, or the rows of its cluster take the place of its own.
    pub(crate) fn on_view(&mut self, node: usize) {
        self.views[node] += 1;
    }

    /// Returns the number of the view that the node has of its rows.
    pub(crate) fn view_of(&self, node: usize) -> u32 {
        self.views[node]
    }

    /// A client has asked, and may have been answered. Returns the number of the exchange.
    pub(crate) fn on_asked(&mut self, exchange: Exchange) -> usize {
        self.all.push(exchange);
        self.all.len() - 1
    }

    /// A client is told that its write is done.
    pub(crate) fn on_acked(&mut self, number: usize, at_us: u64) {
        self.all[number].returned_us = Some(at_us);
    }

    /// A node, whose wall clock has shown `clock_ms` at most, answers a read that waited. Returns its exchange.
    pub(crate) fn on_answer(
        &mut self,
        number: usize,
        (at_us, node): (u64, usize),
        clock_ms: u64,
        found: Option<Found>,
    ) -> Option<&mut Exchange> {
        let view = self.views[node];
        let exchange = self.all.get_mut(number)?;
        exchange.returned_us = Some(at_us);
        exchange.clock_ms = clock_ms;
        exchange.view = exchange.view.filter(|asked| *asked == view);
        exchange.answer = Answer::Read(found);
        Some(exchange)
    }

    /// Judges whether each session was given what one boot of a node guarantees.
    pub(crate) fn check(&self, model: &Model, agreed: &Agreed) -> Vec<Violation> {
        check(&self.ops(model, agreed), Scope::Boot)
    }

    /// Returns the questions of clients and their answers, as the judge of sessions takes them. A session waits for each answer; the clients of a
    /// plan do not. Guarantees, "Reads": what a node showed before it joined or rejoined counts no more. Reads that were not answered before their client touched the key again are left out: they have no place in an order.
    pub(crate) fn ops(&self, model: &Model, agreed: &Agreed) -> Vec<SessionOp> {
        let mut keys: BTreeMap<Table, Vec<(&Bytes, History<'_>)>> = BTreeMap::new();
        let mut out = Vec::new();
        let mut unordered: BTreeMap<(Table, &Bytes), u64> = BTreeMap::new();
        for (number, (table, key, history)) in (0_u32..).zip(model.keys()) {
            if table == Table::Siblings {
                continue;
            }
            let ended = |op: &Told| agreed.may_have_ended(op);
            if let Some(at_us) = removed_beyond_drift(history, ended) {
                unordered.insert((table, key), at_us);
            }
            keys.entry(table).or_default().push((key, history));
            let removes = |op: &Told| op.effect == Effect::Delete || agreed.may_have_ended(op);
            out.extend(newest(history, removes).map(|version| SessionOp {
                // In a session of its own, which does nothing else.
                session: u32::MAX - number,
                at_us: 0,
                node: 0,
                boot: 0,
                table: table.name(),
                key: key.clone(),
                deed: Deed::Delete(version),
            }));
        }
        for (at, exchange) in self.all.iter().enumerate() {
            let Some(view) = exchange.view.filter(|_| !self.is_overtaken(at)) else {
                continue;
            };
            let keys = keys.get(&exchange.table).into_iter().flatten();
            let keys = keys.filter(|(key, _)| {
                let since = unordered.get(&(exchange.table, *key));
                exchange.key.as_ref().is_none_or(|one| one == *key)
                    && since.is_none_or(|since_us| exchange.told_us() < *since_us)
            });
            out.extend(keys.map(|(key, history)| exchange.session_op(view, key, *history)));
        }
        out
    }

    /// Whether a read was not answered, or not before its client touched the key again. What is written shows at once, whenever
    /// its client is told.
    fn is_overtaken(&self, at: usize) -> bool {
        let exchange = &self.all[at];
        let Answer::Read(_) = exchange.answer else {
            return false;
        };
        let Some(returned_us) = exchange.returned_us else {
            return true;
        };
        let later = self.all[at + 1..].iter();
        let mut meanwhile = later.take_while(|other| {
            exchange.invoked_us < returned_us && other.invoked_us <= returned_us
        });
        meanwhile.any(|other| {
            let same_key = other.key.is_none() || other.key == exchange.key;
            (other.client, other.table) == (exchange.client, exchange.table) && same_key
        })
    }
}

/// When the first delete, or row that may have `ended`, got a clock that not every member follows, in virtual microseconds. Once it is freed,
/// later writes are older than it and what it deleted (guarantees, "Conflicts and clocks"), so that versions say nothing about order. A flush
/// has the clock of its own node, and that never falls below it.
fn removed_beyond_drift(history: History<'_>, ended: impl Fn(&Told) -> bool) -> Option<u64> {
    let removes = |op: &&Told| op.effect == Effect::Delete && !op.flush || ended(op);
    let beyond = history
        .ops()
        .filter(removes)
        .filter(|op| is_beyond_drift(op.version.clock, op.at_us));
    beyond.map(|op| op.at_us).min()
}

/// The newest version among operations that can explain why a key shows nothing. Guarantees, "Rejoining": what its acceptor proposed anew when
/// it joined got a clock that no client was told, so that it explains everything.
fn newest(history: History<'_>, explains: impl Fn(&Told) -> bool) -> Option<Version> {
    let ops = history.ops().filter(|op| explains(op));
    let versions = ops.map(|op| match (op.alone, op.flush) {
        (true, _) => last_of(Hlc(u64::MAX)),
        (false, true) => last_of(op.version.clock),
        (false, false) => op.version,
    });
    versions.max()
}

/// The largest version of a clock. A flush goes by the clock alone.
const fn last_of(clock: Hlc) -> Version {
    Version {
        clock,
        actor: Actor {
            node: NodeId(u64::MAX),
            boot: u64::MAX,
        },
        counter: u64::MAX,
    }
}

impl Exchange {
    /// When its client was told, or when it asked if it never was, in virtual microseconds.
    fn told_us(&self) -> u64 {
        self.returned_us.unwrap_or(self.invoked_us)
    }

    /// The newest row that the node may have hidden, whose clock had reached its expiry. Guarantees, "Expiry".
    fn hidden(&self, history: History<'_>) -> Option<Version> {
        newest(
            history,
            |op| matches!(op.effect, Effect::PutFor(_, expires_ms) if expires_ms <= self.clock_ms),
        )
    }

    fn session_op(&self, view: u32, key: &Bytes, history: History<'_>) -> SessionOp {
        let deed = match &self.answer {
            Answer::Read(Some(found)) if found.expires => Deed::SawFor(found.version),
            Answer::Read(Some(found)) => Deed::Saw(found.version),
            // A client that deletes nothing has seen that there was nothing.
            Answer::Read(None) | Answer::Wrote { op: None, .. } => {
                Deed::SawNothing(self.hidden(history))
            }
            Answer::Wrote { version, .. } if self.key.is_none() => {
                Deed::Flush(last_of(version.clock))
            }
            Answer::Wrote {
                version, effect, ..
            } => match effect {
                Effect::Put(_) | Effect::PutFor(..) => Deed::Put(*version),
                Effect::Delete => Deed::Delete(*version),
            },
        };
        SessionOp {
            session: self.client,
            at_us: self.told_us(),
            node: self.node,
            boot: view,
            table: self.table.name(),
            key: key.clone(),
            deed,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Scenario;
    use crate::checkers::sessions::{READ_YOUR_WRITES, Scope, SessionOp, check};
    use crate::plan::{Op, OpVerb, Table};

    fn ops_of(story: &Scenario) -> Vec<SessionOp> {
        story.world.observers.session_ops()
    }

    /// How many operations of a client are judged that asks all of these of a node, whose clock goes far ahead after the second.
    fn judged(verbs: [OpVerb; 4]) -> usize {
        let mut story = Scenario::new(2);
        story.at(3_000);
        for (number, verb) in verbs.into_iter().enumerate() {
            if number == 2 {
                story.skew(0, 30 * 86_400_000);
            }
            let (client, table) = (0, Table::Periodic);
            story.world.perform(&Op {
                client,
                table,
                verb,
            });
            story.wait(10);
        }
        let ops = ops_of(&story);
        ops.iter().filter(|op| op.session == 0).count()
    }

    /// The checkers that blame a read of nothing, when the wall clock of this node has been far ahead.
    fn blamed(ahead: usize) -> Vec<&'static str> {
        let mut story = Scenario::new(2);
        story.at(3_000);
        story.skew(ahead, 30 * 86_400_000).wait(3_000);
        story.skew(ahead, -30 * 86_400_000).wait(3_000);
        let (client, table, key, ttl_ms) = (0, Table::Periodic, 0, 86_400_000);
        for verb in [OpVerb::PutFor { key, ttl_ms }, OpVerb::Get { key }] {
            story.world.perform(&Op {
                client,
                table,
                verb,
            });
            story.wait(10);
        }
        let last = story.world.exchanges().len() - 1;
        let at = (story.world.now_us, 0);
        story.world.observers.on_answer(last, at, None);
        let found = check(&ops_of(&story), Scope::Boot);
        found.into_iter().map(|found| found.checker).collect()
    }

    #[test]
    fn a_row_that_another_node_hides_explains_nothing() {
        assert_eq!(blamed(1), [READ_YOUR_WRITES]);
        assert!(blamed(0).is_empty());
    }

    #[test]
    fn what_was_answered_before_a_delete_from_the_far_future_is_judged() {
        let key = 0;
        let (put, get) = (OpVerb::Put { key }, OpVerb::Get { key });
        assert_eq!(judged([put, get, OpVerb::Delete { key }, get]), 2);
        assert_eq!(judged([put, get, put, get]), 4);
        assert_eq!(
            judged([put, get, OpVerb::Flush, get]),
            4,
            "drop markers stay"
        );
    }
}
