//! The line of a message, field by field.

use rumormill_core::NodeId;
use rumormill_core::wire::{
    Compare, Compared, DomainContext, Page, Pull, RowBatch, Rumor, RumorState, Standing, Welcome,
};

use super::hash::{batch_hash, dots_of, fold, have_hash, ranges_hash, status_hash};
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

    fn push(&mut self, field: Field<'a>) -> &mut Self {
        self.fields[self.len] = field;
        self.len += 1;
        self
    }

    pub(super) fn num(&mut self, name: &'static str, number: impl Into<u64>) -> &mut Self {
        self.push(Field::Num(name, number.into()))
    }

    /// What makes the message another one and tells a reader nothing.
    pub(super) fn mute(&mut self, parts: impl IntoIterator<Item = u64>) -> &mut Self {
        self.push(Field::Mute(fold(parts)))
    }

    pub(super) fn who(&mut self, id: NodeId) -> &mut Self {
        self.push(Field::Node("who", index(self.ids, id)))
    }

    pub(super) fn greeting(&mut self, welcome: &'a Welcome) -> &mut Self {
        let (standing, since) = match &welcome.standing {
            Standing::Member => ("member", 0),
            Standing::Joining => ("joining", 0),
            Standing::Away { since, active } => {
                let active = fold(active.iter().map(|node| node.0));
                ("away", fold([*since, active]))
            }
        };
        let status = status_hash(&welcome.status);
        let [settled, founds, whole] =
            [welcome.settled, welcome.founds, welcome.whole].map(u64::from);
        self.push(Field::Word("standing", standing))
            .num("rows", welcome.rows.rows.len() as u64)
            .mute([batch_hash(&welcome.rows), status])
            .mute([since, welcome.cluster.0, settled, founds])
            .mute([welcome.evictions, whole])
    }

    pub(super) fn rumors(&mut self, rumors: &'a [Rumor]) -> &mut Self {
        let Some(first) = rumors.first() else {
            return self;
        };
        let parts = rumors.iter().flat_map(|rumor| {
            [
                rumor.node.0,
                rumor.epoch,
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

    pub(super) fn rows(&mut self, batch: &'a RowBatch) -> &mut Self {
        self.num("rows", batch.rows.len() as u64)
            .mute([batch_hash(batch)]);
        match batch.rows.first() {
            Some(row) => self.push(Field::Bytes("first", &row.key)),
            None => self,
        }
    }

    pub(super) fn page(&mut self, page: &'a Page) -> &mut Self {
        let last = page.last.as_ref();
        let adopts = last.map_or(0, |last| fold([dots_of(&last.contexts).1, last.freed]));
        self.num("page", page.page)
            .num("last", last.is_some())
            .mute([page.session, adopts])
            .rows(&page.rows)
    }

    pub(super) fn pull(&mut self, pull: &Pull) -> &mut Self {
        let durable = pull.durable.as_ref();
        let durable = durable.map_or(0, |durable| dots_of(durable).1);
        let status = status_hash(&pull.status);
        self.mute([pull.session, have_hash(&pull.have), durable, status])
    }

    pub(super) fn compare(&mut self, compare: &Compare) -> &mut Self {
        let Compare {
            round,
            sys,
            usr,
            ranges,
        } = compare;
        self.num("ranges", ranges.len() as u64)
            .mute([*round, *sys, *usr, ranges_hash(ranges)])
    }

    pub(super) fn compared(&mut self, compared: &Compared) -> &mut Self {
        let Compared {
            round,
            sys,
            usr,
            shown,
        } = compared;
        let actors = shown.iter().map(|domain| domain.actors.len() as u64);
        self.num("actors", actors.sum::<u64>())
            .mute([*round, *sys, *usr, dots_of(shown).1])
    }

    pub(super) fn dots(&mut self, dots: &[DomainContext]) -> &mut Self {
        let (runs, hash) = dots_of(dots);
        self.num("runs", runs).mute([hash])
    }

    pub(super) fn fields(&self) -> &[Field<'a>] {
        &self.fields[..self.len]
    }
}
