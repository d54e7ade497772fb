//! Sessions: one member fetches from another everything it lacks, then adopts what the other had seen.
//!
//! The server takes a snapshot of its context when a session begins and sends, in pages, the rows whose dots are in it and
//! not in the client's. A key whose row is replaced before its page is remembered and sent at the end, so that every dot
//! the client adopts is dominated by a row it got. The client adopts once, after all rows; never per page.
//!
//! A page that meets values that are only in the store is drafted, waits for them, and is drafted anew: what was replaced meanwhile
//! is not sent twice. A value that cannot be read ends the session, since a page without it would pass for complete.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::cold::{Loaded, Place, Values};
use super::outbox::{Batcher, row_bytes};
use super::{ActorIx, Gossip, StoredRow};
use crate::config::{Limits, Timing};
use crate::effects::Effects;
use crate::error::ReadError;
use crate::id::{Actor, LinkId, NodeId, Seq, TableId};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::rng::Rng;
use crate::table::{Context, Domain, Hlc, Runs};
use crate::time::Instant;
use crate::wire::{DomainContext, Message, Page, Pull, RowBatch, Snapshot, Status, TableRef};

/// Pages on their way to a client that has not asked for more.
const WINDOW: u32 = 4;

/// How often the wait after a session without rows doubles.
const MAX_FRUITLESS: u32 = 5;

pub(crate) type Contexts = Vec<(Domain, Context)>;

/// Contexts from the wire.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn read_contexts(wire: &[DomainContext]) -> Result<Contexts, &'static str> {
    let mut out: Contexts = Vec::with_capacity(wire.len());
    for domain in wire {
        let name = Domain::from_u8(domain.domain).ok_or("unknown domain")?;
        if out.iter().any(|(known, _)| *known == name) {
            return Err("domain named twice");
        }
        let runs = domain.actors.iter();
        let context = runs
            .map(|(actor, runs)| Some((*actor, Runs::from_wire(runs)?)))
            .collect::<Option<Context>>()
            .ok_or("bad runs")?;
        let named = domain.actors.iter().filter(|(_, runs)| !runs.is_empty());
        if context.len() != named.count() {
            return Err("actor named twice");
        }
        out.push((name, context));
    }
    Ok(out)
}

/// Contexts for the wire.
pub(crate) fn write_contexts(contexts: &[(Domain, Context)]) -> Vec<DomainContext> {
    let domain = |(domain, context): &(Domain, Context)| DomainContext {
        domain: *domain as u8,
        actors: context
            .iter()
            .map(|(actor, runs)| (actor, runs.as_slice().to_vec()))
            .collect(),
    };
    contexts.iter().map(domain).collect()
}

/// A session that this node serves.
pub(crate) struct Served {
    pub(crate) link: LinkId,
    pub(crate) session: u64,
    gate: Seq,
    /// What this node had seen when the session began.
    snapshot: Contexts,
    /// Dots to send: snapshot without what the client has, in order.
    missing: Vec<(Domain, Actor, Runs)>,
    /// Position in `missing`, and the first counter of it not looked at yet.
    at: usize,
    counter: u64,
    replaced: BTreeSet<Place>,
    /// The most of them.
    replaced_max: usize,
    overflow: bool,
    /// Cold rows of the next page whose values are on their way, and the values that came.
    wanted: BTreeSet<Place>,
    values: Values,
    next_page: u32,
    granted: u32,
    finished: bool,
    touched: Instant,
}

impl Served {
    /// A row is replaced or freed here: if its page has not been sent, its key goes on the list.
    pub(crate) fn replaced(
        &mut self,
        domain: Domain,
        actor: Actor,
        counter: u64,
        table: TableId,
        key: &Bytes,
    ) {
        let unsent = self
            .missing
            .iter()
            .enumerate()
            .skip(self.at)
            .any(|(i, (d, a, runs))| {
                *d == domain
                    && *a == actor
                    && runs.contains(counter)
                    && (i > self.at || counter >= self.counter)
            });
        if unsent {
            self.remember(table, key);
        }
    }

    /// The draft goes out as it is: its rows are sent.
    fn commit(&mut self, mut draft: Draft, done: bool) -> RowBatch {
        (self.at, self.counter) = (draft.at, draft.counter);
        for _ in 0..draft.replaced {
            self.replaced.pop_first();
        }
        self.values.clear();
        self.finished = done;
        draft.batcher.take()
    }

    /// The row of this key goes out at the end, whatever has become of it.
    pub(crate) fn remember(&mut self, table: TableId, key: &Bytes) {
        if self.replaced.len() < self.replaced_max {
            self.replaced.insert((table, key.clone()));
        } else {
            self.overflow = true;
        }
    }
}

/// A page in the making: how far it reaches, and what it lacks.
struct Draft {
    batcher: Batcher,
    at: usize,
    counter: u64,
    /// Keys taken from the replaced ones, from the first on.
    replaced: usize,
    /// Rows whose values have to be loaded first.
    cold: BTreeSet<Place>,
}

impl Draft {
    fn new(served: &Served, limits: &Limits) -> Self {
        Draft {
            batcher: Batcher::new(limits.rows_per_message, limits.bytes_per_message),
            at: served.at,
            counter: served.counter,
            replaced: 0,
            cold: BTreeSet::new(),
        }
    }
}

fn refuse(fx: &mut Effects, served: &Served) {
    let session = served.session;
    fx.send(served.link, Lane::Sys, Message::Refused { session });
}

impl Gossip {
    /// Begins to serve a session. Returns false when too many are served already.
    pub(crate) fn serve(
        &mut self,
        fx: &mut Effects,
        link: LinkId,
        gate: Seq,
        session: u64,
        have: &Contexts,
    ) -> bool {
        self.cover.served.retain(|served| served.link != link);
        if self.cover.served.len() >= self.limits.sessions {
            return false;
        }
        let snapshot = self.contexts();
        let mut missing = Vec::new();
        for (domain, context) in &snapshot {
            let theirs = have
                .iter()
                .find(|(name, _)| name == domain)
                .map(|(_, context)| context);
            for (actor, runs) in context.iter() {
                let lacks = match theirs.and_then(|context| context.runs(actor)) {
                    Some(covered) => runs.minus(covered),
                    None => runs.clone(),
                };
                let unsent = mutated!(fx, SnapshotWithoutMemory) && *domain == Domain::UsrMemory;
                if !lacks.is_empty() && !unsent {
                    missing.push((*domain, actor, lacks));
                }
            }
        }
        self.cover.served.push(Served {
            link,
            session,
            gate,
            snapshot,
            missing,
            at: 0,
            counter: 0,
            replaced: BTreeSet::new(),
            replaced_max: self.limits.session_replaced,
            overflow: false,
            wanted: BTreeSet::new(),
            values: Values::new(),
            next_page: 0,
            granted: WINDOW,
            finished: false,
            touched: fx.now().mono,
        });
        self.send_pages(fx, link);
        true
    }

    /// The client has `page` pages and wants more.
    pub(crate) fn serve_more(&mut self, fx: &mut Effects, link: LinkId, session: u64, page: u32) {
        let now = fx.now().mono;
        let found = self
            .cover
            .served
            .iter_mut()
            .find(|served| served.link == link && served.session == session);
        let Some(served) = found else { return };
        served.granted = served.granted.max(page.saturating_add(WINDOW));
        served.touched = now;
        self.send_pages(fx, link);
    }

    /// Ends the service of sessions on a link that is gone.
    pub(crate) fn serve_none(&mut self, link: LinkId) {
        self.cover.served.retain(|served| served.link != link);
    }

    /// Ends sessions whose client has fallen silent.
    pub(crate) fn serve_expire(&mut self, now: Instant, timing: &Timing) {
        self.cover
            .served
            .retain(|served| now.since(served.touched) < timing.session_timeout * 2);
    }

    fn send_pages(&mut self, fx: &mut Effects, link: LinkId) {
        let Some(place) = self
            .cover
            .served
            .iter()
            .position(|served| served.link == link)
        else {
            return;
        };
        // Taken out while it reads the rows, which do not change meanwhile.
        let mut served = self.cover.served.swap_remove(place);
        while !served.finished && served.next_page < served.granted && served.wanted.is_empty() {
            if served.overflow {
                fx.mark(Mark::SessionOverflow);
                return refuse(fx, &served);
            }
            let mut draft = Draft::new(&served, &self.limits);
            let done = self.fill_page(fx, &served, &mut draft);
            if !draft.cold.is_empty() {
                fx.mark(Mark::PageWaitsForLoads);
                let rows = &self.rows;
                served.values.retain(|(table, key), (version, _)| {
                    rows.get(*table, key)
                        .is_some_and(|row| row.version_key() == *version)
                });
                self.wanted.extend(draft.cold.iter().cloned());
                served.wanted = draft.cold;
                break;
            }
            let rows = served.commit(draft, done);
            let last = done.then(|| Snapshot {
                contexts: write_contexts(&served.snapshot),
                freed: self.freed.0,
            });
            let (session, page) = (served.session, served.next_page);
            let msg = Message::Page(Page {
                session,
                page,
                rows,
                last,
            });
            fx.send_after(served.gate, Links::One(link), Lane::Bulk, msg);
            served.next_page += 1;
        }
        if !served.finished {
            self.cover.served.push(served);
        }
    }

    /// A load for pages has ended: with a value, with an error, or with nothing because the row is no longer cold.
    pub(crate) fn serve_loaded(
        &mut self,
        fx: &mut Effects,
        place: &Place,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        let mut go_on = Vec::new();
        self.cover.served.retain_mut(|served| {
            if !served.wanted.remove(place) {
                return true;
            }
            match loaded {
                Some(Ok(value)) => {
                    served.values.insert(place.clone(), value.clone());
                }
                Some(Err(_)) => {
                    fx.mark(Mark::SessionUnreadable);
                    refuse(fx, served);
                    return false;
                }
                None => {}
            }
            if served.wanted.is_empty() {
                go_on.push(served.link);
            }
            true
        });
        for link in go_on {
            self.send_pages(fx, link);
        }
    }

    /// The next cold row whose value a session waits for and for which no load was asked yet.
    pub(crate) fn next_wanted(&mut self) -> Option<Place> {
        self.wanted.pop_front()
    }

    /// Drafts a page until it is full (false) or everything is in it (true).
    fn fill_page(&self, fx: &Effects, served: &Served, draft: &mut Draft) -> bool {
        while let Some((domain, actor, runs)) = served.missing.get(draft.at) {
            let Some(ix) = self.cover.find(*actor) else {
                draft.at += 1;
                continue;
            };
            for &(low, high) in runs.as_slice() {
                let high = high - u64::from(mutated!(fx, LastDotUnsent) && high > low);
                if high < draft.counter {
                    continue;
                }
                for (counter, slot) in self.cover.range(*domain, ix, low.max(draft.counter), high) {
                    let Some(row) = self.rows.row(slot) else {
                        continue;
                    };
                    if !self.draft_row(served, draft, row) {
                        draft.counter = counter;
                        return false;
                    }
                    draft.counter = counter + 1;
                }
            }
            draft.at += 1;
            draft.counter = 0;
        }
        let replaced = served
            .replaced
            .iter()
            .filter(|_| !mutated!(fx, ReplacedForgotten));
        for (table, key) in replaced {
            if let Some(row) = self.rows.get(*table, key)
                && !self.draft_row(served, draft, row)
            {
                return false;
            }
            draft.replaced += 1;
        }
        true
    }

    /// Adds a row to a draft, or its place to what has to be loaded first; whether it still fitted.
    fn draft_row(&self, served: &Served, draft: &mut Draft, row: &StoredRow) -> bool {
        let place = || (row.table, row.key.clone());
        let value = match row.value.is_cold() {
            true => Self::value_of(row, served.values.get(&place())),
            false => row.value.resident(),
        };
        if value.is_some() || row.value.is_dead() {
            return self.add_row(&mut draft.batcher, row, value);
        }
        let bytes = row_bytes(&row.key, row.value.len());
        let fits = draft.batcher.fits(bytes);
        if fits {
            draft.batcher.reserve(bytes);
            draft.cold.insert(place());
        }
        fits
    }

    /// Adds a row with its value; whether it still fitted.
    pub(crate) fn add_row(
        &self,
        batcher: &mut Batcher,
        row: &StoredRow,
        value: Option<&Bytes>,
    ) -> bool {
        // An expired row is told as it was written: the other side expires it by its own clock.
        if !batcher.fits(row_bytes(&row.key, row.value.len())) {
            return false;
        }
        let table = row.table;
        batcher.add(
            (table, || self.table_ref(table)),
            (row.actor, self.actor(row.actor)),
            (row.counter, row.clock, row.expires),
            row.key.clone(),
            value.cloned(),
        );
        true
    }

    pub(crate) fn table_ref(&self, table: TableId) -> TableRef {
        TableRef {
            domain: self.tables.domain(table) as u8,
            name: self.tables.name(table).into(),
        }
    }

    /// The fresh local writes as batches for the wire; empties the outbox.
    pub(crate) fn take_pushes(&mut self) -> Vec<(bool, RowBatch)> {
        let mut out = Vec::new();
        let mut rows = self.outbox.take();
        if rows.is_empty() {
            return out;
        }
        // The store's own rows first: definitions before the rows they define.
        rows.sort_by_key(|row| self.tables.domain(row.table) != Domain::Sys);
        let mut batcher = Batcher::new(self.limits.rows_per_message, self.limits.bytes_per_message);
        let mut sys = true;
        for row in rows {
            let is_sys = self.tables.domain(row.table) == Domain::Sys;
            let full = !batcher.fits(row_bytes(
                &row.key,
                row.value.as_ref().map_or(0, Bytes::len),
            ));
            if (full || is_sys != sys) && !batcher.is_empty() {
                out.push((sys, batcher.take()));
            }
            sys = is_sys;
            let (table, actor): (TableId, ActorIx) = (row.table, row.actor);
            batcher.add(
                (table, || self.table_ref(table)),
                (actor, self.actor(actor)),
                (row.counter, row.clock, row.expires),
                row.key,
                row.value,
            );
        }
        if !batcher.is_empty() {
            out.push((sys, batcher.take()));
        }
        out
    }
}

/// A session that this node asked for.
struct Asked {
    node: NodeId,
    link: LinkId,
    received: BTreeSet<u32>,
    last: Option<(u32, Contexts, Hlc)>,
    rows: u64,
    touched: Instant,
    /// Rows kept apart: a node that reunites merges nothing before it has everything.
    staged: Option<Vec<RowBatch>>,
}

/// What is known of the disagreement with one peer.
#[derive(Default)]
struct Mismatch {
    since: Option<Instant>,
    /// Not before this instant, because the last session brought nothing.
    not_before: Option<Instant>,
    fruitless: u32,
    /// Do not wait: the link is new.
    urgent: bool,
}

/// What a page means for the node.
pub(crate) enum Verdict {
    /// Nothing to merge: an unknown session or a page seen before.
    Ignore,
    /// Rows to merge now.
    Merge(RowBatch),
    /// Rows to merge, then contexts to adopt: the session is complete.
    Complete {
        rows: RowBatch,
        adopt: Contexts,
        freed: Hlc,
        with: NodeId,
        count: u64,
    },
    /// A reunion is complete: everything the member holds.
    Reunite {
        rows: Vec<RowBatch>,
        adopt: Contexts,
        freed: Hlc,
        with: NodeId,
    },
}

/// Decides when to fetch from whom, and follows the sessions that this node asked for.
pub(crate) struct AntiEntropy {
    timing: Timing,
    limit: usize,
    rng: Rng,
    asked: BTreeMap<u64, Asked>,
    mismatches: BTreeMap<LinkId, Mismatch>,
}

impl AntiEntropy {
    pub(crate) fn new(timing: Timing, limits: &Limits, rng: Rng) -> Self {
        AntiEntropy {
            timing,
            limit: limits.sessions,
            rng,
            asked: BTreeMap::new(),
            mismatches: BTreeMap::new(),
        }
    }

    /// Other patience and limits hold from now on, also for what waits already.
    pub(crate) fn retime(&mut self, now: Instant, timing: Timing, limits: &Limits) {
        self.timing = timing;
        self.limit = limits.sessions;
        let most = self.timing.mismatch_patience * (1 << MAX_FRUITLESS);
        for mismatch in self.mismatches.values_mut() {
            mismatch.not_before = mismatch.not_before.map(|at| at.min(now + most));
        }
    }

    /// A peer told its state.
    pub(crate) fn compare(&mut self, now: Instant, link: LinkId, agrees: bool) {
        let mismatch = self.mismatches.entry(link).or_default();
        if agrees {
            *mismatch = Mismatch::default();
        } else if mismatch.since.is_none() {
            mismatch.since = Some(now);
        }
    }

    /// The link is new, or its peer has something that this node must have: do not wait.
    pub(crate) fn urge(&mut self, now: Instant, link: LinkId) {
        let mismatch = self.mismatches.entry(link).or_default();
        mismatch.since = Some(now);
        mismatch.not_before = None;
        mismatch.urgent = true;
    }

    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.mismatches.remove(&link);
        self.asked.retain(|_, asked| asked.link != link);
    }

    fn due_at(&self, link: LinkId, mismatch: &Mismatch) -> Option<Instant> {
        if self.asked.values().any(|asked| asked.link == link) {
            return None;
        }
        let since = mismatch.since?;
        let due = if mismatch.urgent {
            since
        } else {
            since + self.timing.mismatch_patience
        };
        Some(due.max(mismatch.not_before.unwrap_or(Instant::ZERO)))
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let timeouts = self
            .asked
            .values()
            .map(|asked| asked.touched + self.timing.session_timeout);
        let pulls = self
            .mismatches
            .iter()
            .filter_map(|(link, mismatch)| self.due_at(*link, mismatch));
        if self.asked.len() < self.limit {
            timeouts.chain(pulls).min()
        } else {
            timeouts.min()
        }
    }

    /// Gives up silent sessions and returns the links to pull from now.
    pub(crate) fn due(&mut self, fx: &mut Effects) -> Vec<LinkId> {
        let now = fx.now().mono;
        let timeout = self.timing.session_timeout;
        let silent = |asked: &Asked| now.since(asked.touched) >= timeout;
        let lost: Vec<LinkId> = self
            .asked
            .values()
            .filter(|asked| silent(asked))
            .map(|asked| asked.link)
            .collect();
        self.asked.retain(|_, asked| !silent(asked));
        for link in lost {
            fx.mark(Mark::SessionTimeout);
            self.mismatches.entry(link).or_default().since = Some(now);
        }
        let room = self.limit.saturating_sub(self.asked.len());
        let due = |link: &LinkId, mismatch: &Mismatch| {
            self.due_at(*link, mismatch).is_some_and(|at| at <= now)
        };
        self.mismatches
            .iter()
            .filter(|(link, m)| due(link, m))
            .map(|(link, _)| *link)
            .take(room)
            .collect()
    }

    /// Asks a peer for everything this node lacks.
    pub(crate) fn pull(
        &mut self,
        fx: &mut Effects,
        (link, node, gate): (LinkId, NodeId, Seq),
        have: &Contexts,
        durable: Option<Vec<DomainContext>>,
        status: Status,
        reunion: bool,
    ) {
        let session = self.rng.next();
        let now = fx.now().mono;
        let staged = reunion.then(Vec::new);
        let asked = Asked {
            node,
            link,
            received: BTreeSet::new(),
            last: None,
            rows: 0,
            touched: now,
            staged,
        };
        self.asked.insert(session, asked);
        if let Some(mismatch) = self.mismatches.get_mut(&link) {
            mismatch.urgent = false;
            mismatch.since = None;
        }
        let have = write_contexts(have);
        let msg = Message::Pull(Pull {
            session,
            have,
            durable,
            status,
        });
        fx.send_after(gate, Links::One(link), Lane::Sys, msg);
    }

    pub(crate) fn sessions(&self) -> usize {
        self.asked.len()
    }

    /// The peer cannot serve now.
    pub(crate) fn refused(&mut self, fx: &mut Effects, link: LinkId, session: u64) {
        if self
            .asked
            .get(&session)
            .is_some_and(|asked| asked.link == link)
        {
            self.asked.remove(&session);
            let wait = self.rng.jitter(self.timing.mismatch_patience, 100);
            let now = fx.now().mono;
            let mismatch = self.mismatches.entry(link).or_default();
            mismatch.since = Some(now);
            mismatch.not_before = Some(now + wait);
        }
    }

    /// A page arrived.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn page(
        &mut self,
        fx: &mut Effects,
        link: LinkId,
        page: Page,
    ) -> Result<Verdict, &'static str> {
        let adopt = match &page.last {
            Some(last) => Some((read_contexts(&last.contexts)?, Hlc(last.freed))),
            None => None,
        };
        let Some(asked) = self
            .asked
            .get_mut(&page.session)
            .filter(|asked| asked.link == link)
        else {
            return Ok(Verdict::Ignore);
        };
        asked.touched = fx.now().mono;
        if !asked.received.insert(page.page) {
            return Ok(Verdict::Ignore);
        }
        if let Some((adopt, freed)) = adopt {
            asked.last = Some((page.page, adopt, freed));
        }
        asked.rows += page.rows.rows.len() as u64;
        let have = asked.received.len() as u64;
        let complete = asked
            .last
            .as_ref()
            .is_some_and(|(last, ..)| have == u64::from(*last) + 1);
        let complete = complete || mutated!(fx, AdoptEarly) && asked.last.is_some();
        let mut rows = page.rows;
        if let Some(staged) = &mut asked.staged {
            staged.push(core::mem::replace(
                &mut rows,
                RowBatch {
                    actors: Vec::new(),
                    tables: Vec::new(),
                    rows: Vec::new(),
                },
            ));
        }
        if !complete {
            let more = Message::More {
                session: page.session,
                page: have as u32,
            };
            fx.send(link, Lane::Sys, more);
            return Ok(if asked.staged.is_some() {
                Verdict::Ignore
            } else {
                Verdict::Merge(rows)
            });
        }
        Ok(self.complete(fx, page.session, rows))
    }

    fn complete(&mut self, fx: &mut Effects, session: u64, rows: RowBatch) -> Verdict {
        let Some(asked) = self.asked.remove(&session) else {
            return Verdict::Ignore;
        };
        let (_, adopt, freed) = asked.last.unwrap_or_default();
        let now = fx.now().mono;
        let mismatch = self.mismatches.entry(asked.link).or_default();
        // A session without rows may still bring dots; only repeated fruitless ones are put off.
        mismatch.fruitless = if asked.rows == 0 {
            (mismatch.fruitless + 1).min(MAX_FRUITLESS)
        } else {
            0
        };
        let wait = self.timing.mismatch_patience * (1 << mismatch.fruitless);
        mismatch.not_before = Some(now + self.rng.jitter(wait, 50));
        match asked.staged {
            Some(staged) => Verdict::Reunite {
                rows: staged,
                adopt,
                freed,
                with: asked.node,
            },
            None => Verdict::Complete {
                rows,
                adopt,
                freed,
                with: asked.node,
                count: asked.rows,
            },
        }
    }
}
