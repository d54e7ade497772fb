//! Anti-entropy: when to fetch and from which member, and the sessions this node asked for. The client merges each page at once and adopts
//! what the server had seen once, after all rows; never per page.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::kept::read_kept;
use super::rejoin::Staged;
use crate::config::{Limits, Timing};
use crate::effects::Effects;
use crate::id::{LinkId, NodeId};
use crate::io::Lane;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::rng::Rng;
use crate::table::{Context, Hlc, RowClass, Runs};
use crate::time::Instant;
use crate::wire::{ClassContext, GossipMessage, Message, Page, RowBatch};

/// How often the wait after a session without rows doubles.
const MAX_FRUITLESS: u32 = 5;

pub(crate) type Contexts = Vec<(RowClass, Context)>;

/// Contexts from the wire.
///
/// # Errors
/// The reason to refuse them.
pub(crate) fn read_contexts(wire: &[ClassContext]) -> Result<Contexts, Refusal> {
    let mut out: Contexts = Vec::with_capacity(wire.len());
    for part in wire {
        let name = RowClass::from_u8(part.class).ok_or(Refusal::UnknownClass)?;
        if out.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::ClassTwice);
        }
        let runs = part.actors.iter();
        let context = runs
            .map(|(actor, runs)| Some((*actor, Runs::from_wire(runs)?)))
            .collect::<Option<Context>>()
            .ok_or(Refusal::BadRuns)?;
        let named = part.actors.iter().filter(|(_, runs)| !runs.is_empty());
        if context.len() != named.count() {
            return Err(Refusal::ActorTwice);
        }
        out.push((name, context));
    }
    // A row class in which nothing is covered need not be named.
    for class in RowClass::ALL {
        if out.iter().all(|(known, _)| *known != class) {
            out.push((class, Context::new()));
        }
    }
    Ok(out)
}

/// Contexts for the wire.
pub(crate) fn write_contexts(contexts: &[(RowClass, Context)]) -> Vec<ClassContext> {
    let class = |(class, context): &(RowClass, Context)| ClassContext {
        class: *class as u8,
        actors: context
            .iter()
            .map(|(actor, runs)| (actor, runs.as_slice().to_vec()))
            .collect(),
    };
    let named = contexts.iter().filter(|(_, context)| !context.is_empty());
    named.map(class).collect()
}

/// A session that this node asked for.
struct Asked {
    node: NodeId,
    link: LinkId,
    received: BTreeSet<u32>,
    last: Option<(u32, Contexts, Hlc)>,
    rows: u64,
    touched: Instant,
    /// The peer was told a digest, and has not named a scope yet.
    unscoped: bool,
    /// Rows kept apart: a node that rejoins merges nothing before it has everything.
    staged: Option<Staged>,
}

/// How a session is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// With this node's contexts.
    Whole,
    /// With a digest of them: the peer says first in which parts its own differ.
    Digest,
    /// As one that takes over everything, with the dots that it may have rows of: what comes is compared with what is here when it is complete.
    Rejoin(Contexts),
}

/// The disagreement with one peer, as far as known.
#[derive(Default)]
struct Mismatch {
    since: Option<Instant>,
    /// Not before this instant, because the last session brought nothing.
    not_before: Option<Instant>,
    fruitless: u32,
    /// Do not wait: the link is new.
    urgent: bool,
    /// When it is due among all.
    queued: Option<Instant>,
}

/// The meaning of a page for the node.
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
    /// A rejoin is complete: everything the member holds.
    Rejoin {
        staged: Staged,
        adopt: Contexts,
        freed: Hlc,
        with: NodeId,
    },
}

/// Decides when to fetch and from which member, and follows the sessions that this node asked for.
///
/// Rows that several peers have would come several times, so a session that makes progress is the only one; and the state that a peer told
/// before one was complete may be met by it, so it is asked anew. Every step is O(log links), but for the end of a session and a change of settings, which are O(links).
pub(crate) struct AntiEntropy {
    timing: Timing,
    limit: usize,
    rng: Rng,
    asked: BTreeMap<u64, Asked>,
    last_number: u64,
    mismatches: BTreeMap<LinkId, Mismatch>,
    /// Peers to fetch from, by when.
    queue: BTreeSet<(Instant, LinkId)>,
    /// When a new link was last a reason to hurry.
    expedited: Option<Instant>,
}

impl AntiEntropy {
    pub(crate) fn new(timing: Timing, limits: &Limits, rng: Rng) -> Self {
        AntiEntropy {
            timing,
            limit: limits.sessions,
            rng,
            asked: BTreeMap::new(),
            last_number: 0,
            mismatches: BTreeMap::new(),
            queue: BTreeSet::new(),
            expedited: None,
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
        let links: Vec<LinkId> = self.mismatches.keys().copied().collect();
        for link in links {
            self.requeue(link);
        }
    }

    /// A peer told its state.
    pub(crate) fn compare(&mut self, now: Instant, link: LinkId, agrees: bool) {
        if agrees {
            return self.forget(link);
        }
        let mismatch = self.mismatches.entry(link).or_default();
        if mismatch.since.is_none() {
            mismatch.since = Some(now);
        }
        self.requeue(link);
    }

    /// The link is new, or its peer has something that this node must have: do not wait.
    pub(crate) fn pull_at_once(&mut self, now: Instant, link: LinkId) {
        let mismatch = self.mismatches.entry(link).or_default();
        mismatch.since = Some(now);
        mismatch.not_before = None;
        mismatch.urgent = true;
        self.requeue(link);
    }

    /// The link is new and its peer disagrees: do not wait, unless another new link was pulled from just now. Of many
    /// members that come at once each would be asked for what the first has brought.
    pub(crate) fn expedite(&mut self, now: Instant, link: LinkId) {
        let patience = self.timing.mismatch_patience;
        if self.expedited.is_some_and(|at| now.since(at) < patience) {
            return self.compare(now, link, false);
        }
        self.expedited = Some(now);
        self.pull_at_once(now, link);
    }

    /// Forgets what the other peers told, which is old: a session is complete. Returns some of those that disagreed, to be asked again;
    /// the others tell of themselves with the detector's rounds.
    pub(crate) fn outdate(&mut self, most: usize) -> Vec<LinkId> {
        let links: Vec<LinkId> = self.queue.iter().map(|(_, link)| *link).collect();
        for link in &links {
            self.forget(*link);
        }
        links.into_iter().take(most).collect()
    }

    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.forget(link);
        self.mismatches.remove(&link);
        self.asked.retain(|_, asked| asked.link != link);
    }

    /// There is no disagreement with the peer any more, or none that is known.
    fn forget(&mut self, link: LinkId) {
        let Some(mismatch) = self.mismatches.get_mut(&link) else {
            return;
        };
        if let Some(at) = mismatch.queued.take() {
            self.queue.remove(&(at, link));
        }
        if mismatch.fruitless == 0 && mismatch.not_before.is_none() {
            self.mismatches.remove(&link);
        } else {
            mismatch.since = None;
            mismatch.urgent = false;
        }
    }

    /// Something has changed that decides when the peer is asked.
    fn requeue(&mut self, link: LinkId) {
        let at = self.due_at(link);
        let Some(mismatch) = self.mismatches.get_mut(&link) else {
            return;
        };
        let before = core::mem::replace(&mut mismatch.queued, at);
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, link));
        }
        if let Some(at) = at {
            self.queue.insert((at, link));
        }
    }

    fn due_at(&self, link: LinkId) -> Option<Instant> {
        if self.asked.values().any(|asked| asked.link == link) {
            return None;
        }
        let mismatch = self.mismatches.get(&link)?;
        let since = mismatch.since?;
        let due = if mismatch.urgent {
            since
        } else {
            // Writes that wait to be pushed are not lost.
            since
                + self
                    .timing
                    .mismatch_patience
                    .max(self.timing.flush_deadline)
        };
        Some(due.max(mismatch.not_before.unwrap_or(Instant::ZERO)))
    }

    /// From when on another session may begin beside those under way.
    fn free_at(&self) -> Option<Instant> {
        let patience = self.timing.mismatch_patience;
        let progress = self.asked.values().map(|asked| asked.touched + patience);
        progress.max()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let timeouts = self
            .asked
            .values()
            .map(|asked| asked.touched + self.timing.session_timeout);
        let pull = self.queue.first().filter(|_| self.asked.len() < self.limit);
        let pull = pull.map(|(at, _)| (*at).max(self.free_at().unwrap_or(Instant::ZERO)));
        timeouts.chain(pull).min()
    }

    /// Gives up silent sessions and returns the link to pull from now.
    pub(crate) fn due(&mut self, fx: &mut Effects) -> Option<LinkId> {
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
            self.requeue(link);
        }
        if self.asked.len() >= self.limit || self.free_at().is_some_and(|at| at > now) {
            return None;
        }
        let (_, link) = self.queue.first().filter(|(at, _)| *at <= now)?;
        Some(*link)
    }

    /// A peer is asked for everything this node lacks. Returns the session's number.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        (link, node): (LinkId, NodeId),
        form: Form,
    ) -> u64 {
        let session = self.number();
        let unscoped = form == Form::Digest;
        let staged = match form {
            Form::Rejoin(hint) => Some(Staged {
                rows: Vec::new(),
                kept: Vec::new(),
                hint,
            }),
            Form::Whole | Form::Digest => None,
        };
        let asked = Asked {
            node,
            link,
            received: BTreeSet::new(),
            last: None,
            rows: 0,
            touched: now,
            unscoped,
            staged,
        };
        self.asked.insert(session, asked);
        self.forget(link);
        session
    }

    /// Numbers grow, so that a server knows a question that comes twice: its pages would be other ones.
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// A peer named the parts in which its contexts differ from a digest. Returns the number under which the session goes on, if it
    /// was asked to.
    pub(crate) fn scoped(&mut self, now: Instant, link: LinkId, session: u64) -> Option<u64> {
        let is_asked = |asked: &Asked| asked.link == link && asked.unscoped;
        if !self.asked.get(&session).is_some_and(is_asked) {
            return None;
        }
        let mut asked = self.asked.remove(&session)?;
        (asked.unscoped, asked.touched) = (false, now);
        let session = self.number();
        self.asked.insert(session, asked);
        Some(session)
    }

    pub(crate) fn sessions(&self) -> usize {
        self.asked.len()
    }

    /// The peer cannot serve now.
    pub(crate) fn on_refused(&mut self, fx: &mut Effects, link: LinkId, session: u64) {
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
            self.requeue(link);
        }
    }

    /// A page arrived.
    ///
    /// # Errors
    /// The reason to refuse it.
    pub(crate) fn page(
        &mut self,
        fx: &mut Effects,
        link: LinkId,
        page: Page,
    ) -> Result<Verdict, Refusal> {
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
        let hint = asked.staged.as_ref().map(|staged| &staged.hint);
        let kept = read_kept(&page.kept, hint.unwrap_or(&Contexts::new()))?;
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
        let complete = complete || !fx.rules().adopts_after_last_row() && asked.last.is_some();
        let mut rows = page.rows;
        if let Some(staged) = &mut asked.staged {
            staged.kept.push(kept);
            staged.rows.push(core::mem::replace(
                &mut rows,
                RowBatch {
                    actors: Vec::new(),
                    tables: Vec::new(),
                    rows: Vec::new(),
                },
            ));
        }
        if !complete {
            let more = Message::Gossip(GossipMessage::PageAck {
                session: page.session,
                page: have as u32,
            });
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
        self.forget(asked.link);
        match asked.staged {
            Some(staged) => Verdict::Rejoin {
                staged,
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
