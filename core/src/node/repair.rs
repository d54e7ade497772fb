//! Range repair: rows that a member lost without knowing it.
//!
//! A repair begins when a peer that has seen the same, durably, has another sum of rows. Each of the two repairs itself. While it
//! does, it frees no tombstone: what it fetches counts although it is covered, and must meet what has deleted it since.

use alloc::collections::BTreeSet;

use super::Node;
use crate::error::ReadError;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, Lane};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::gossip::{Contexts, Cursor, Form, Loaded, Place, read_contexts, write_contexts};
use crate::time::Instant;
use crate::wire::{Compare, Compared, Have, Message, RowBatch};

/// Dots fetched by one repair; more are found by the next.
const MOST_LOST: usize = 65_536;

/// Rows whose values are loaded for a repair at one time; more are found by the next.
const MOST_RENEWALS: usize = 1_024;

/// Rows that are written again once their values are loaded.
pub(super) type Renewals = BTreeSet<Place>;

/// A repair under way.
pub(super) struct Repair {
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

impl Node {
    pub(super) fn repair_deadline(&self) -> Option<Instant> {
        let repair = self.repair.as_ref()?;
        Some(repair.touched + self.config.timing.session_timeout)
    }

    /// Gives up a repair without progress.
    pub(super) fn repair_due(&mut self) {
        let now = self.fx.now().mono;
        if self.repair_deadline().is_some_and(|at| at <= now) {
            self.end_repair();
        }
    }

    /// What was not repaired is tried again, but not at once.
    pub(super) fn end_repair(&mut self) {
        if let Some(repair) = self.repair.take() {
            self.fx.mark(Mark::RepairEnds);
            self.repair_after = self.fx.now().mono + self.config.timing.session_timeout;
            let (with, rows) = (repair.node, repair.repaired);
            if rows > 0 {
                self.fx.event(Event::Repaired { with, rows });
            }
        }
    }

    pub(super) fn repair_link_down(&mut self, link: LinkId) {
        if self
            .repair
            .as_ref()
            .is_some_and(|repair| repair.link == link)
        {
            self.end_repair();
        }
    }

    /// A peer that has seen the same, durably, told the sum of its rows.
    pub(super) fn rows_compare(&mut self, link: LinkId, node: NodeId, theirs: u64) {
        let now = self.fx.now().mono;
        let ours = self.own_status();
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
        self.repair_on();
    }

    /// The next question, or the session once everything is compared.
    fn repair_on(&mut self) {
        let status = self.own_status();
        let Some(repair) = &mut self.repair else {
            return;
        };
        let link = repair.link;
        if let Some(cursor) = repair.cursor.filter(|_| repair.count < MOST_LOST) {
            let (ranges, next) = self.gossip.ranges(cursor);
            repair.cursor = next;
            repair.round += 1;
            let compare = Compare {
                round: repair.round,
                sys: status.sys,
                usr: status.usr,
                ranges,
            };
            return self.fx.send(link, Lane::Bulk, Message::Compare(compare));
        }
        if repair.count == 0 {
            return self.end_repair();
        }
        let (have, scope) = self.gossip.contexts_without(&repair.lost);
        let have = Have::Within {
            scope: scope.to_wire(),
            since: None,
            contexts: write_contexts(&have),
        };
        let (now, node) = (self.fx.now().mono, repair.node);
        let session = self.sync.begin(now, (link, node), Form::Whole);
        repair.session = Some(session);
        self.send_pull(link, session, have);
    }

    /// A peer whose rows differ asks what this node shows.
    pub(super) fn compare_ranges(&mut self, link: LinkId, compare: Compare) -> Result<(), Refusal> {
        if !self.is_full() || !self.links.is_ready(link) {
            return Ok(());
        }
        let status = self.own_status();
        let shown = match (status.sys, status.usr) == (compare.sys, compare.usr) {
            true => self.gossip.answer_ranges(&compare.ranges)?,
            false => Contexts::new(),
        };
        let compared = Compared {
            round: compare.round,
            sys: status.sys,
            usr: status.usr,
            shown: write_contexts(&shown),
        };
        self.fx.send(link, Lane::Bulk, Message::Compared(compared));
        Ok(())
    }

    /// The peer said what it shows in the ranges that differ.
    pub(super) fn ranges_compared(
        &mut self,
        link: LinkId,
        compared: Compared,
    ) -> Result<(), Refusal> {
        let shown = read_contexts(&compared.shown)?;
        let (now, status) = (self.fx.now().mono, self.own_status());
        let Some(repair) = &mut self.repair else {
            return Ok(());
        };
        if repair.link != link || repair.round != compared.round || repair.session.is_some() {
            return Ok(());
        }
        if (status.sys, status.usr) != (compared.sys, compared.usr) {
            // One of the two has seen more since: what the other lacks may have been deleted.
            self.end_repair();
            return Ok(());
        }
        repair.touched = now;
        repair.count += self.gossip.find_lost(&shown, &mut repair.lost);
        self.repair_on();
        Ok(())
    }

    /// A page of a session, which may be that of a repair.
    pub(super) fn merge_page(&mut self, session: u64, rows: RowBatch) -> Result<(), Refusal> {
        let now = self.fx.now().mono;
        let of_session = |repair: &&mut Repair| repair.session == Some(session);
        let Some(repair) = self.repair.as_mut().filter(of_session) else {
            return self.merge(rows).map(drop);
        };
        repair.touched = now;
        let (repaired, cold) = self.gossip.repair(&mut self.fx, rows, &repair.lost)?;
        repair.repaired += repaired;
        for place in cold {
            let has_room = self.renewals.contains(&place) || self.renewals.len() < MOST_RENEWALS;
            if has_room && self.loads.wants(&place) {
                self.renewals.insert(place);
            }
        }
        Ok(())
    }

    /// The load of a value has ended: a row that was to be written again with it is. What cannot be read is tried again by the next repair.
    pub(super) fn renewal_loaded(
        &mut self,
        place: &Place,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        if !self.renewals.remove(place) || !self.is_full() || self.takes_no_rows() {
            return;
        }
        if let Some(Ok(value)) = loaded {
            self.gossip.renew_loaded(&mut self.fx, place, value);
        }
    }

    pub(super) fn repair_complete(&mut self, session: u64) {
        let repair = self.repair.as_ref();
        if repair.is_some_and(|repair| repair.session == Some(session)) {
            self.end_repair();
        }
    }
}
