//! Serving sessions: the snapshot, its pages, and what changes under them.
//!
//! The server takes a snapshot of its context when a session begins and sends, in pages, the rows whose dots are in it and
//! not in the client's. A key whose row is replaced before its page is remembered and sent at the end, so that every dot
//! the client adopts is dominated by a row it got. A session about a part of the contexts remembers what has changed since that part
//! was named, for the rows in it may have been replaced by rows outside of it.
//!
//! A client that compares its rows names the dots that it may have rows of. For those that are live here a page has the dots alone
//! ([`kept`](super::kept)).
//!
//! A page that meets values that are only in the store is drafted, waits for them, and is drafted anew: what was replaced meanwhile
//! is not sent twice. A value that cannot be read ends the session, since a page without it would pass for complete.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::anti_entropy::Contexts;
use super::cold::{Loaded, Place, Values};
use super::digest::{Digest, Scope};
use super::kept::{KeptDots, LOOKS, names_one_version};
use super::outbox::{Batcher, row_bytes};
use super::{ActorIx, Replica, StoredRow};
use crate::config::{Limits, Timing};
use crate::effects::Effects;
use crate::error::ReadError;
use crate::id::{Actor, LinkId, Seq, TableId};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::table::Slot;
use crate::table::catalog::Catalog;
use crate::table::causal::Dot;
use crate::table::env::RowEnv;
use crate::table::siblings::SiblingRow;
use crate::table::{RowClass, Runs};
use crate::time::Instant;
use crate::wire::{ClassContext, GossipMessage, Message, Page, RowBatch, Snapshot, TableRef};

/// Pages on their way to a client that has not asked for more.
const WINDOW: u32 = 4;

/// A session that this node serves.
pub(crate) struct Served {
    pub(crate) link: LinkId,
    pub(crate) session: u64,
    gate: Seq,
    /// The dots that this node had seen when the session began and the client lacks, by row class and actor: to be sent, and to be adopted.
    missing: Vec<(RowClass, Actor, Runs)>,
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
    touched: Instant,
    /// Dots whose rows the client may have: it is sent the dots alone.
    known: Contexts,
    /// The client adopts nothing.
    rows_alone: bool,
    /// The client is no member yet.
    enters: bool,
}

/// The client of a session.
pub(crate) struct Client {
    pub(crate) link: LinkId,
    /// The batch that records it: nothing goes out before that is durable.
    pub(crate) gate: Seq,
    /// Whether it is no member yet.
    pub(crate) enters: bool,
}

/// The extent of a session.
pub(crate) enum Extent {
    /// All contexts.
    All,
    /// All contexts, for a client that compares its rows: it takes over everything, and may have the rows of these dots.
    Compared(Contexts),
    /// A part of them that this node has named, and when, by the changes it had seen; `None` for rows without contexts.
    Part { scope: Scope, since: Option<u64> },
    /// Nothing: the contexts agree.
    Nothing,
}

impl Served {
    /// A row is replaced or freed here: if its page has not been sent, its key goes on the list.
    pub(crate) fn replaced(
        &mut self,
        class: RowClass,
        actor: Actor,
        counter: u64,
        table: TableId,
        key: &Bytes,
    ) {
        let rest = &self.missing[self.at.min(self.missing.len())..];
        let Ok(found) = rest.binary_search_by_key(&(class, actor), |(d, a, _)| (*d, *a)) else {
            return;
        };
        let unsent = found > 0 || counter >= self.counter;
        if unsent && rest[found].2.contains(counter) {
            self.remember(table, key);
        }
    }

    /// Whether the session looks for the row of a dot before that of another, which lies in its part `at`.
    pub(super) fn is_before(&self, class: RowClass, dot: Dot, at: usize, other: Dot) -> bool {
        let parts = self.missing.iter().take(at + 1).enumerate();
        let mut parts = parts.filter(|(_, (of, actor, _))| (*of, *actor) == (class, dot.actor));
        parts.any(|(i, (_, _, runs))| {
            runs.contains(dot.counter) && (i < at || dot.counter < other.counter)
        })
    }

    /// The dots of an actor whose rows the client may have.
    fn known(&self, class: RowClass, actor: Actor) -> Option<&Runs> {
        let mut known = self.known.iter();
        let (_, context) = known.find(|(of, _)| *of == class && names_one_version(class))?;
        context.runs(actor)
    }

    /// The draft goes out as it is: its rows and dots are sent.
    fn commit(&mut self, mut draft: Draft) -> (RowBatch, KeptDots) {
        (self.at, self.counter) = (draft.at, draft.counter);
        for _ in 0..draft.replaced {
            self.replaced.pop_first();
        }
        self.values.clear();
        (draft.batcher.take(), draft.kept)
    }

    /// Returns the contexts that the client adopts at the end.
    fn contexts(&self) -> Vec<ClassContext> {
        let class = |class: RowClass| ClassContext {
            class: class as u8,
            actors: self
                .missing
                .iter()
                .filter(|(of, ..)| *of == class)
                .map(|(_, actor, runs)| (*actor, runs.as_slice().to_vec()))
                .collect(),
        };
        if self.rows_alone {
            return Vec::new();
        }
        let classes = RowClass::ALL.into_iter().map(class);
        classes
            .filter(|context| !context.actors.is_empty())
            .collect()
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
    kept: KeptDots,
    /// Dots that were looked at, of which a page has a limit where the client may have their rows.
    looks: usize,
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
            kept: KeptDots::default(),
            looks: 0,
            at: served.at,
            counter: served.counter,
            replaced: 0,
            cold: BTreeSet::new(),
        }
    }

    /// Adds a dot alone; whether it still fitted.
    fn keep(&mut self, class: RowClass, actor: Actor, counter: u64) -> bool {
        let cost = self.kept.cost(class, actor, counter);
        let is_first = self.kept.is_empty() && self.batcher.is_empty() && self.cold.is_empty();
        let fits = is_first || self.batcher.has_room(cost);
        if fits {
            self.batcher.spend(cost);
            self.kept.add(class, actor, counter);
        }
        fits
    }
}

fn refuse(fx: &mut Effects, served: &Served) {
    let session = served.session;
    fx.send(
        served.link,
        Lane::Sys,
        Message::Gossip(GossipMessage::Refused { session }),
    );
}

impl Replica {
    /// Whether there is room for a session with this client, whose former one ends.
    pub(crate) fn may_serve(&mut self, link: LinkId) -> bool {
        self.serve_none(link);
        self.coverage.served.len() < self.limits.sessions
    }

    /// The parts of the contexts in which this node differs from a client that has told it a digest.
    pub(crate) fn differing(&mut self, theirs: &Digest) -> Scope {
        Scope::differing(&self.coverage.digest(), theirs)
    }

    /// Begins to serve a session about a part of the contexts. Returns false when too many are served already.
    pub(crate) fn serve(
        &mut self,
        env: &mut RowEnv<'_>,
        client: Client,
        session: u64,
        extent: Extent,
        have: &Contexts,
    ) -> bool {
        let Client { link, gate, enters } = client;
        if !self.may_serve(link) {
            return false;
        }
        let missing = self.missing(&extent, have);
        let rows_alone = matches!(extent, Extent::Part { since: None, .. });
        let (known, part) = match extent {
            Extent::Compared(known) => (known, None),
            Extent::Part { scope, since } => (Contexts::new(), since.map(|since| (scope, since))),
            Extent::All | Extent::Nothing => (Contexts::new(), None),
        };
        let mut served = Served {
            link,
            session,
            gate,
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
            touched: env.fx.now().mono,
            known,
            rows_alone,
            enters,
        };
        if let Some((scope, since)) = part
            && !self.remember_since(env, &mut served, &scope, since)
        {
            return false;
        }
        self.coverage.served.push(served);
        self.send_pages(env, link);
        true
    }

    /// Outside the scope a client covers what this node did when it named the scope, and may lack what came since: which may have
    /// replaced rows in scope, whose dots the client adopts. Returns false when the changes since are no longer known.
    fn remember_since(
        &self,
        env: &RowEnv<'_>,
        served: &mut Served,
        scope: &Scope,
        since: u64,
    ) -> bool {
        for (number, entry) in env.changes.since(since) {
            let Some(slot) = entry.gossip_slot() else {
                continue;
            };
            let row = self.rows.row(slot).filter(|row| row.arrival == number);
            let Some(row) = row else { continue };
            let class = env.catalog.class(row.table);
            if class.has_siblings() || !scope.contains(class, self.actor(row.actor)) {
                served.remember(row.table, &row.key);
            }
        }
        since >= env.changes.first()
    }

    /// Returns the dots that a client lacks.
    fn missing(&self, extent: &Extent, have: &Contexts) -> Vec<(RowClass, Actor, Runs)> {
        let mut missing = Vec::new();
        let here = match extent {
            Extent::All | Extent::Compared(_) => self.contexts(),
            Extent::Part { scope, .. } => self.contexts_in(scope),
            Extent::Nothing => Vec::new(),
        };
        for (class, context) in &here {
            let theirs = have
                .iter()
                .find(|(name, _)| name == class)
                .map(|(_, context)| context);
            for (actor, runs) in context.iter() {
                let lacks = match theirs.and_then(|context| context.runs(actor)) {
                    Some(covered) => runs.minus(covered),
                    None => runs.clone(),
                };
                if !lacks.is_empty() {
                    missing.push((*class, actor, lacks));
                }
            }
        }
        missing
    }

    /// The client has `page` pages and wants more.
    pub(crate) fn on_page_ack(
        &mut self,
        env: &mut RowEnv<'_>,
        link: LinkId,
        session: u64,
        page: u32,
    ) {
        let now = env.fx.now().mono;
        let found = self
            .coverage
            .served
            .iter_mut()
            .find(|served| served.link == link && served.session == session);
        let Some(served) = found else { return };
        served.granted = served.granted.max(page.saturating_add(WINDOW));
        served.touched = now;
        self.send_pages(env, link);
    }

    /// Ends the service of sessions on a link that is gone.
    pub(crate) fn serve_none(&mut self, link: LinkId) {
        self.coverage.served.retain(|served| served.link != link);
    }

    /// Ends sessions whose client has fallen silent.
    pub(crate) fn serve_expire(&mut self, now: Instant, timing: &Timing) {
        self.coverage
            .served
            .retain(|served| now.since(served.touched) < timing.session_timeout * 2);
    }

    fn send_pages(&mut self, env: &mut RowEnv<'_>, link: LinkId) {
        let Some(place) = self
            .coverage
            .served
            .iter()
            .position(|served| served.link == link)
        else {
            return;
        };
        // Taken out while it reads the rows, which do not change meanwhile.
        let mut served = self.coverage.served.swap_remove(place);
        while served.next_page < served.granted && served.wanted.is_empty() {
            if served.overflow {
                env.fx.mark(Mark::SessionOverflow);
                return refuse(env.fx, &served);
            }
            let mut draft = Draft::new(&served, &self.limits);
            let done = self.fill_page(env, &served, &mut draft);
            if !draft.cold.is_empty() {
                env.fx.mark(Mark::PageWaitsForLoads);
                let rows = &self.rows;
                served.values.retain(|(table, key), (version, _)| {
                    rows.get(*table, key)
                        .is_some_and(|row| row.version_key() == *version)
                });
                self.wanted.extend(draft.cold.iter().cloned());
                served.wanted = draft.cold;
                break;
            }
            let (rows, kept) = served.commit(draft);
            let last = done.then(|| Snapshot {
                contexts: served.contexts(),
                freed: self.freed.0,
                freed_on: match served.enters && env.fx.rules().hands_numbers_over() {
                    true => self.freed_on.all(),
                    false => Vec::new(),
                },
            });
            let (session, page) = (served.session, served.next_page);
            let msg = Message::Gossip(GossipMessage::Page(Page {
                session,
                page,
                rows,
                kept: kept.into_wire(),
                last,
            }));
            env.fx
                .send_after(served.gate, Links::One(link), Lane::Bulk, msg);
            if done {
                return;
            }
            served.next_page += 1;
        }
        self.coverage.served.push(served);
    }

    /// A load for pages has ended: with a value, with an error, or with nothing because the row is no longer cold.
    pub(crate) fn serve_loaded(
        &mut self,
        env: &mut RowEnv<'_>,
        place: &Place,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        let mut go_on = Vec::new();
        self.coverage.served.retain_mut(|served| {
            if !served.wanted.remove(place) {
                return true;
            }
            match loaded {
                Some(Ok(value)) => {
                    served.values.insert(place.clone(), value.clone());
                }
                Some(Err(_)) => {
                    env.fx.mark(Mark::SessionUnreadable);
                    refuse(env.fx, served);
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
            self.send_pages(env, link);
        }
    }

    /// The next cold row whose value a session waits for and for which no load was asked yet.
    pub(crate) fn next_wanted(&mut self) -> Option<Place> {
        self.wanted.pop_front()
    }

    /// Drafts a page until it is full (false) or everything is in it (true).
    fn fill_page(&self, env: &RowEnv<'_>, served: &Served, draft: &mut Draft) -> bool {
        while let Some((class, actor, runs)) = served.missing.get(draft.at) {
            let is_sent = env.fx.rules().sends_memory_rows() || class.is_durable();
            let of = self.coverage.find(*actor).filter(|_| is_sent);
            let of = of.map(|ix| (*class, *actor, ix));
            if of.is_some_and(|of| !self.fill_from(env, served, draft, of, runs)) {
                return false;
            }
            draft.at += 1;
            draft.counter = 0;
        }
        let replaced = served
            .replaced
            .iter()
            .filter(|_| env.fx.rules().sends_replaced());
        for (table, key) in replaced {
            let found = self.rows.find(*table, key);
            if let Some(found) = found.and_then(|slot| Some((slot, self.rows.row(slot)?)))
                && !self.draft_row(env, served, draft, found)
            {
                return false;
            }
            draft.replaced += 1;
        }
        true
    }

    /// Drafts rows of one actor, or their dots where the client may have the rows; whether all of them still fitted.
    fn fill_from(
        &self,
        env: &RowEnv<'_>,
        served: &Served,
        draft: &mut Draft,
        (class, actor, ix): (RowClass, Actor, ActorIx),
        runs: &Runs,
    ) -> bool {
        let known = served.known(class, actor);
        let is_compared = !served.known.is_empty();
        let hides = env.fx.rules().serves_hidden_rows();
        for &(low, high) in runs.as_slice() {
            let high = high - u64::from(!env.fx.rules().sends_whole_runs() && high > low);
            if high < draft.counter {
                continue;
            }
            let low = low.max(draft.counter);
            for (counter, slot) in self.coverage.range(class, ix, low, high) {
                if is_compared && draft.looks == LOOKS {
                    draft.counter = counter;
                    return false;
                }
                draft.looks += 1;
                let Some(row) = self.rows.row(slot) else {
                    continue;
                };
                if self.is_sent_before(env.catalog, served, draft.at, (actor, counter), row) {
                    continue;
                }
                let lives = !row.value.is_dead() || !env.fx.rules().sends_tombstones_whole();
                let is_known = lives && known.is_some_and(|known| known.contains(counter));
                let fits = match is_known && (hides || !self.rows.is_hidden(slot)) {
                    true => draft.keep(class, actor, counter),
                    false => self.draft_row(env, served, draft, (slot, row)),
                };
                if !fits {
                    draft.counter = counter;
                    return false;
                }
                draft.counter = counter + 1;
            }
        }
        true
    }

    /// Adds a row to a draft, or its place to what has to be loaded first; whether it still fitted.
    fn draft_row(
        &self,
        env: &RowEnv<'_>,
        served: &Served,
        draft: &mut Draft,
        (slot, row): (Slot, &StoredRow),
    ) -> bool {
        if !env.fx.rules().serves_hidden_rows() && self.rows.is_hidden(slot) {
            return self.add_row(env.catalog, &mut draft.batcher, row, None);
        }
        let place = || (row.table, row.key.clone());
        let value = match row.value.is_cold() {
            true => Self::value_of(row, served.values.get(&place())),
            false => row.value.resident(),
        };
        if value.is_some() || !row.value.is_cold() {
            return self.add_row(env.catalog, &mut draft.batcher, row, value);
        }
        let bytes = row_bytes(&row.key, row.value.len());
        let fits = draft.batcher.fits(bytes);
        if fits {
            draft.batcher.reserve(bytes);
            draft.cold.insert(place());
        }
        fits
    }

    /// Adds a row with its value, or with its siblings; whether it still fitted.
    pub(crate) fn add_row(
        &self,
        catalog: &Catalog,
        batcher: &mut Batcher,
        row: &StoredRow,
        value: Option<&Bytes>,
    ) -> bool {
        // A hidden row is told as it was written: the other side hides it by its own clock.
        if !batcher.fits(row_bytes(&row.key, row.value.len())) {
            return false;
        }
        let table = row.table;
        let form = row.value.siblings().map(SiblingRow::encode);
        batcher.add(
            (table, || self.table_ref(catalog, table)),
            (row.actor, self.actor(row.actor)),
            (row.counter, row.clock, row.expires),
            row.key.clone(),
            form.or_else(|| value.cloned()),
        );
        true
    }

    pub(crate) fn table_ref(&self, catalog: &Catalog, table: TableId) -> TableRef {
        TableRef {
            class: catalog.class(table) as u8,
            name: catalog.name(table).into(),
        }
    }
}
