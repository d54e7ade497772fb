//! Range repair: rows that a member lost without knowing it.
//!
//! A repair begins when a peer that has seen the same, durably, has another sum of rows. Each of the two repairs itself. While it
//! does, it frees no tombstone: what it fetches counts although it is covered, and must meet what has deleted it since.

use alloc::collections::BTreeSet;

use crate::error::ReadError;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, Lane};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::env::{Env, Look};
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::{
    Contexts, Cursor, Form, Loaded, Place, read_contexts, write_contexts,
};
use crate::time::Instant;
use crate::wire::{GossipMessage, Message, PullBasis, RangeDots, RangeSum, RowBatch};

/// Dots fetched by one repair; more are found by the next.
const MOST_LOST: usize = 65_536;

/// Rows whose values are loaded for a repair at one time; more are found by the next.
const MOST_RENEWALS: usize = 1_024;

/// Rows that are written again once their values are loaded.
pub(crate) type Renewals = BTreeSet<Place>;

/// A repair under way.
pub(crate) struct Repair {
    link: LinkId,
    node: NodeId,
    round: u64,
    /// Dots that the peer shows and that have no row here, by row class, and how many.
    lost: Contexts,
    count: usize,
    /// Where the comparison goes on; `None` once all is compared.
    cursor: Option<Cursor>,
    /// The session that fetches the lost ones.
    session: Option<u64>,
    repaired: u64,
    touched: Instant,
}

impl Gossip {
    pub(crate) fn repair_deadline(&self, env: &Look<'_>) -> Option<Instant> {
        let repair = self.repair.as_ref()?;
        Some(repair.touched + env.seat.config.timing.session_timeout)
    }

    /// Gives up a repair without progress.
    pub(crate) fn repair_due(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        if self
            .repair_deadline(&env.look())
            .is_some_and(|at| at <= now)
        {
            self.end_repair(env);
        }
    }

    /// Ends a repair. Rows that were not repaired are tried again, but not at once.
    pub(crate) fn end_repair(&mut self, env: &mut Env<'_>) {
        if let Some(repair) = self.repair.take() {
            env.fx.mark(Mark::RepairEnds);
            self.repair_after = env.fx.now().mono + env.seat.config.timing.session_timeout;
            let (with, rows) = (repair.node, repair.repaired);
            if rows > 0 {
                env.fx.event(Event::Repaired { with, rows });
            }
        }
    }

    pub(crate) fn repair_link_down(&mut self, env: &mut Env<'_>, link: LinkId) {
        if self
            .repair
            .as_ref()
            .is_some_and(|repair| repair.link == link)
        {
            self.end_repair(env);
        }
    }

    /// A peer that has seen the same, durably, told the sum of its rows.
    pub(crate) fn rows_compare(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        node: NodeId,
        theirs: u64,
    ) {
        let now = env.fx.now().mono;
        let ours = self.own_status(&env.look());
        let may = ours.claims && self.repair.is_none() && self.repair_after <= now;
        if !may || ours.rows == theirs {
            return;
        }
        self.repair = Some(Repair {
            link,
            node,
            round: 0,
            lost: Contexts::new(),
            count: 0,
            cursor: Some(Cursor::START),
            session: None,
            repaired: 0,
            touched: now,
        });
        self.repair_on(env);
    }

    /// The next question, or the session once everything is compared.
    fn repair_on(&mut self, env: &mut Env<'_>) {
        let status = self.own_status(&env.look());
        let Some(repair) = &mut self.repair else {
            return;
        };
        let link = repair.link;
        if let Some(cursor) = repair.cursor.filter(|_| repair.count < MOST_LOST) {
            let (ranges, next) = self.replica.ranges(cursor);
            repair.cursor = next;
            repair.round += 1;
            let compare = RangeSum {
                round: repair.round,
                sys: status.sys,
                usr: status.usr,
                ranges,
            };
            return env.fx.send(
                link,
                Lane::Bulk,
                Message::Gossip(GossipMessage::RangeSum(compare)),
            );
        }
        if repair.count == 0 {
            return self.end_repair(env);
        }
        let (have, scope) = self.replica.contexts_without(&repair.lost);
        let basis = PullBasis::Within {
            scope: scope.to_wire(),
            since: None,
            contexts: write_contexts(&have),
        };
        let (now, node) = (env.fx.now().mono, repair.node);
        let session = self.anti_entropy.begin(now, (link, node), Form::Whole);
        repair.session = Some(session);
        self.send_pull(env, link, session, basis);
    }

    /// A peer whose rows differ asks what this node shows.
    pub(crate) fn on_range_sum(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        compare: RangeSum,
    ) -> Result<(), Refusal> {
        if !env.seat.is_full() || !env.links.is_ready(link) {
            return Ok(());
        }
        let status = self.own_status(&env.look());
        let shown = match (status.sys, status.usr) == (compare.sys, compare.usr) {
            true => self.replica.answer_ranges(&compare.ranges)?,
            false => Contexts::new(),
        };
        let compared = RangeDots {
            round: compare.round,
            sys: status.sys,
            usr: status.usr,
            shown: write_contexts(&shown),
        };
        env.fx.send(
            link,
            Lane::Bulk,
            Message::Gossip(GossipMessage::RangeDots(compared)),
        );
        Ok(())
    }

    /// The peer said what it shows in the ranges that differ.
    pub(crate) fn on_range_dots(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        compared: RangeDots,
    ) -> Result<(), Refusal> {
        let shown = read_contexts(&compared.shown)?;
        let (now, status) = (env.fx.now().mono, self.own_status(&env.look()));
        let Some(repair) = &mut self.repair else {
            return Ok(());
        };
        if repair.link != link || repair.round != compared.round || repair.session.is_some() {
            return Ok(());
        }
        if (status.sys, status.usr) != (compared.sys, compared.usr) {
            // One of the two has seen more since: what the other lacks may have been deleted.
            self.end_repair(env);
            return Ok(());
        }
        repair.touched = now;
        repair.count += self.replica.find_lost(&shown, &mut repair.lost);
        self.repair_on(env);
        Ok(())
    }

    /// A page of a session, which may be that of a repair.
    pub(crate) fn merge_page(
        &mut self,
        env: &mut Env<'_>,
        session: u64,
        rows: RowBatch,
    ) -> Result<(), Refusal> {
        let now = env.fx.now().mono;
        let of_session = |repair: &&mut Repair| repair.session == Some(session);
        let Some(repair) = self.repair.as_mut().filter(of_session) else {
            return self.merge(env, rows).map(drop);
        };
        repair.touched = now;
        let (repaired, cold) = self.replica.repair(&mut env.rows(), rows, &repair.lost)?;
        repair.repaired += repaired;
        for place in cold {
            let has_room = self.renewals.contains(&place) || self.renewals.len() < MOST_RENEWALS;
            if has_room && env.loads.wants(&place) {
                self.renewals.insert(place);
            }
        }
        Ok(())
    }

    /// The load of a value has ended: a row that was to be written again with it is. What cannot be read is tried again by the next repair.
    pub(crate) fn renewal_loaded(
        &mut self,
        env: &mut Env<'_>,
        place: &Place,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        if !self.renewals.remove(place) || !env.seat.is_full() || env.seat.takes_no_rows {
            return;
        }
        if let Some(Ok(value)) = loaded {
            self.replica.renew_loaded(&mut env.rows(), place, value);
        }
    }

    pub(crate) fn repair_complete(&mut self, env: &mut Env<'_>, session: u64) {
        let repair = self.repair.as_ref();
        if repair.is_some_and(|repair| repair.session == Some(session)) {
            self.end_repair(env);
        }
    }
}
