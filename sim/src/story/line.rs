//! The line of a message, field by field.

use rumormill_core::NodeId;
use rumormill_core::wire::{
    ClassContext, ClusterMessage, DetectorMessage, GossipMessage, Greeting, Page, Phase, Pull,
    RangeDots, RangeSum, RowBatch, Rumor, RumorState,
};

use super::hash::{
    ask_parts, basis_hash, batch_hash, claim_parts, dots_of, fold, numbers, ranges_hash,
    scope_hash, status_hash,
};
use super::{Ids, index};
use crate::trace::Field;

fn rumor_state(state: RumorState) -> &'static str {
    match state {
        RumorState::Alive => "alive",
        RumorState::Suspect => "suspect",
        RumorState::Down => "down",
    }
}

/// The most fields that a message has in its line.
const MAX_FIELDS: usize = 8;

/// The line of a message that is being written.
pub(super) struct Line<'a> {
    ids: &'a Ids,
    fields: [Field<'a>; MAX_FIELDS],
    len: usize,
}

impl<'a> Line<'a> {
    pub(super) fn new(ids: &'a Ids, from: usize) -> Self {
        let mut line = Line {
            ids,
            fields: [Field::Mute(0); MAX_FIELDS],
            len: 0,
        };
        line.push(Field::Node("from", from));
        line
    }

    pub(super) fn cluster(&mut self, msg: &'a ClusterMessage) -> &mut Self {
        match msg {
            ClusterMessage::Greeting(greeting) => self.greeting(greeting),
            ClusterMessage::EvictionDigest(evictions) => self
                .num("evictions", evictions.len() as u64)
                .mute(evictions.iter().copied()),
            ClusterMessage::Denial(why) => self.mute([*why as u64]),
            ClusterMessage::Leave | ClusterMessage::Stop => self,
            ClusterMessage::Evict {
                node,
                round,
                generation,
                force,
            } => self
                .who(*node)
                .num("round", *round)
                .mute([*generation, u64::from(*force)]),
            ClusterMessage::EvictVote { round, agrees } => {
                self.num("agrees", *agrees).mute([*round])
            }
            ClusterMessage::EvictCancel { node, generation } => self.who(*node).mute([*generation]),
            ClusterMessage::Handover {
                round,
                insists,
                held,
            } => self.dots(held).mute([*round, u64::from(*insists)]),
            ClusterMessage::Takeover { round } => self.mute([*round]),
            ClusterMessage::Holds(claims) => self
                .num("claims", claims.len() as u64)
                .mute(numbers(claims)),
        }
    }

    pub(super) fn detector(&mut self, msg: &'a DetectorMessage) -> &mut Self {
        match msg {
            DetectorMessage::Probe { nonce, status, .. }
            | DetectorMessage::Ack { nonce, status, .. } => {
                self.mute([*nonce, status_hash(status)])
            }
            DetectorMessage::IndirectProbe { nonce, target, .. } => {
                self.who(*target).mute([*nonce])
            }
            DetectorMessage::IndirectAck { nonce, alive, .. } => {
                self.num("alive", *alive).mute([*nonce])
            }
        };
        self.rumors(msg.rumors())
    }

    pub(super) fn gossip(&mut self, msg: &'a GossipMessage) -> &mut Self {
        match msg {
            GossipMessage::Push(batch) => self.rows(batch),
            GossipMessage::Forward { cuts, rows } => {
                self.mute(cuts.iter().map(|cut| cut.0)).rows(rows)
            }
            GossipMessage::IHave(dots) | GossipMessage::Graft(dots) => self.dots(dots),
            GossipMessage::Pull(pull) => self.pull(pull),
            GossipMessage::Page(page) => self.page(page),
            GossipMessage::PageAck { session, page } => self.mute([*session]).num("page", *page),
            GossipMessage::DigestDiff { session, scope, at } => {
                self.mute([*session, scope_hash(scope), *at])
            }
            GossipMessage::Refused { session } => self.mute([*session]),
            GossipMessage::RangeSum(sums) => self.range_sum(sums),
            GossipMessage::RangeDots(dots) => self.range_dots(dots),
            GossipMessage::AskClaims(asks) => self
                .num("count", asks.len() as u64)
                .mute(asks.iter().flat_map(ask_parts)),
            GossipMessage::Claims(claims) => self
                .num("count", claims.len() as u64)
                .mute(claims.iter().flat_map(claim_parts)),
        }
    }

    fn push(&mut self, field: Field<'a>) -> &mut Self {
        self.fields[self.len] = field;
        self.len += 1;
        self
    }

    fn num(&mut self, name: &'static str, number: impl Into<u64>) -> &mut Self {
        self.push(Field::Num(name, number.into()))
    }

    /// Adds the parts that make the message another one and tell a reader nothing.
    fn mute(&mut self, parts: impl IntoIterator<Item = u64>) -> &mut Self {
        self.push(Field::Mute(fold(parts)))
    }

    fn who(&mut self, id: NodeId) -> &mut Self {
        self.push(Field::Node("who", index(self.ids, id)))
    }

    fn greeting(&mut self, greeting: &'a Greeting) -> &mut Self {
        let (phase, since) = match &greeting.phase {
            Phase::Member => ("member", 0),
            Phase::Joining => ("joining", 0),
            Phase::Rejoining { since, active } => {
                let active = fold(active.iter().map(|node| node.0));
                ("rejoining", fold([*since, active]))
            }
        };
        let status = status_hash(&greeting.status);
        let [has_fellows, founds, whole] =
            [greeting.has_fellows, greeting.founds, greeting.whole].map(u64::from);
        self.push(Field::Word("phase", phase))
            .num("rows", greeting.rows.rows.len() as u64)
            .mute([batch_hash(&greeting.rows), status])
            .mute([since, greeting.cluster.0, has_fellows, founds])
            .mute([greeting.evictions, whole])
            .mute(numbers(&greeting.freed_on))
    }

    fn rumors(&mut self, rumors: &'a [Rumor]) -> &mut Self {
        let Some(first) = rumors.first() else {
            return self;
        };
        let parts = rumors.iter().flat_map(|rumor| {
            [
                rumor.node.0,
                rumor.generation,
                rumor.incarnation,
                rumor.state as u64,
                rumor.from.0,
            ]
        });
        let about = Field::Node("about", index(self.ids, first.node));
        self.num("rumors", rumors.len() as u64)
            .push(about)
            .push(Field::Word("is", rumor_state(first.state)))
            .mute(parts)
    }

    fn rows(&mut self, batch: &'a RowBatch) -> &mut Self {
        self.num("rows", batch.rows.len() as u64)
            .mute([batch_hash(batch)]);
        match batch.rows.first() {
            Some(row) => self.push(Field::Bytes("first", &row.key)),
            None => self,
        }
    }

    fn page(&mut self, page: &'a Page) -> &mut Self {
        let last = page.last.as_ref();
        let adopts = last.map_or(0, |last| {
            let freed_on = last.freed_on.iter();
            let freed_on =
                freed_on.flat_map(|(node, claim)| [node.0, claim.generation, claim.batch]);
            fold([dots_of(&last.contexts).1, last.freed, fold(freed_on)])
        });
        let (kept, dots) = dots_of(&page.kept);
        self.num("page", page.page).num("last", last.is_some());
        if kept > 0 {
            self.num("kept", kept);
        }
        self.mute([page.session, adopts, dots]).rows(&page.rows)
    }

    fn pull(&mut self, pull: &Pull) -> &mut Self {
        let durable = pull.durable.as_ref();
        let durable = durable.map_or(0, |durable| dots_of(durable).1);
        let status = status_hash(&pull.status);
        self.mute([pull.session, basis_hash(&pull.basis), durable, status])
    }

    fn range_sum(&mut self, sums: &RangeSum) -> &mut Self {
        let RangeSum {
            round,
            sys,
            usr,
            ranges,
        } = sums;
        self.num("ranges", ranges.len() as u64)
            .mute([*round, *sys, *usr, ranges_hash(ranges)])
    }

    fn range_dots(&mut self, dots: &RangeDots) -> &mut Self {
        let RangeDots {
            round,
            sys,
            usr,
            shown,
        } = dots;
        let actors = shown.iter().map(|class| class.actors.len() as u64);
        self.num("actors", actors.sum::<u64>())
            .mute([*round, *sys, *usr, dots_of(shown).1])
    }

    fn dots(&mut self, dots: &[ClassContext]) -> &mut Self {
        let (runs, hash) = dots_of(dots);
        self.num("runs", runs).mute([hash])
    }

    pub(super) fn fields(&self) -> &[Field<'a>] {
        &self.fields[..self.len]
    }
}
