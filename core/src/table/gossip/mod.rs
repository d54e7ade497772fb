//! Gossip tables: every member holds every row, any member writes, the larger version wins.
//!
//! [`Replica`] is what a node holds. The rest is what it says to others about it: fresh rows (`push`), sessions (`anti_entropy`), repairs of lost rows (`repair`), claims and
//! what is freed on them (`relay`, `freeing`), rows whose time has come (`expiry`), and the way back in (`rejoin`).

mod door;
mod protocol;
mod received;
mod replica;
mod restored;
#[cfg(test)]
pub(crate) mod tests;

use alloc::vec::Vec;

pub(crate) use door::SysRow;
pub use protocol::StrayRows;
pub(crate) use protocol::{Paged, Rejoined};
pub use received::RowsReceived;
pub(crate) use replica::*;
pub(crate) use restored::Restored;

use self::protocol::{PendingRejoin, Relays, Renewals, Repair, Settled};
use crate::config::Config;
use crate::error::ReadError;
use crate::id::{LinkId, NodeId};
use crate::io::Timer;
use crate::refusals::Refusal;
use crate::rng::Rng;
use crate::table::env::{Env, Look};
use crate::table::{Context, RowClass};
use crate::time::Instant;
use crate::wire::GossipMessage;

/// Tables that are used no more, and are forgotten in one turn.
const FORGET_BUDGET: usize = 256;

/// Rows that a drop marker has hidden, and that are removed in one turn: half a millisecond.
const SWEEP_BUDGET: usize = 256;

/// The gossip tables of a node, as one machine.
pub(crate) struct Gossip {
    /// The rows and coverage that the node holds.
    replica: Replica,
    received: RowsReceived,
    stability: Stability,
    relays: Relays,
    anti_entropy: AntiEntropy,
    lazy: Lazy,
    repair: Option<Repair>,
    renewals: Renewals,
    /// Not before this is another repair begun.
    repair_after: Instant,
    /// When rows that wait to become siblings are looked at next.
    strays_at: Instant,
    /// A rejoin whose rows are here, and which waits for values of this node's own.
    pending_rejoin: Option<PendingRejoin>,
    /// The coverage of users' tables that a node had when it began to rejoin, and when the first member was met that lacks some of it.
    past: Vec<(RowClass, Context)>,
    put_off_since: Option<Instant>,
    /// How the next member is asked for what differs.
    asking: Asking,
    settled: Settled,
    /// Not before this is it looked again which rows have to end.
    end_rows_at: Instant,
}

impl Gossip {
    /// Begins with what a store held.
    pub(crate) fn new(now: Instant, config: &Config, rng: Rng, replica: Replica) -> Gossip {
        Gossip {
            replica,
            received: RowsReceived::default(),
            stability: Stability::default(),
            relays: Relays::default(),
            anti_entropy: AntiEntropy::new(config.timing.clone(), &config.limits, rng),
            lazy: Lazy::default(),
            repair: None,
            renewals: Renewals::new(),
            repair_after: now,
            strays_at: Instant::ZERO,
            pending_rejoin: None,
            past: Vec::new(),
            put_off_since: None,
            asking: Asking::default(),
            settled: Settled::default(),
            end_rows_at: now,
        }
    }

    /// Returns what the node holds.
    pub(crate) fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Returns what the node holds, to change it.
    pub(crate) fn replica_mut(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// Goes by another configuration from now on.
    pub(crate) fn retime(&mut self, now: Instant, config: &Config) {
        let (timing, limits) = (&config.timing, &config.limits);
        self.anti_entropy.retime(now, timing.clone(), limits);
        self.lazy.retime(now, timing.mismatch_patience);
        self.replica.set_limits(limits.clone());
    }

    /// Returns the earliest moment at which [`Gossip::tick`] or the end of a turn has something to do, and why.
    pub(crate) fn next_deadline(&self, look: &Look<'_>) -> Option<(Instant, Timer)> {
        let now = look.fx.now().mono;
        let removes = self.replica.is_sweeping() || self.replica.is_flushing();
        let removes = removes && !look.fx.is_pressed(&look.seat.config.limits);
        let timers = [
            (
                (self.frees_now(look) || removes).then_some(now),
                Timer::Flush,
            ),
            (self.push_deadline(look), Timer::Flush),
            (self.anti_entropy.next_deadline(), Timer::Gossip),
            (self.repair_deadline(look), Timer::Gossip),
            (self.lazy.next_deadline(), Timer::Gossip),
            (self.strays_deadline(look), Timer::Gossip),
            (self.relays.next_deadline(), Timer::Gossip),
            (self.expiry_deadline(look), Timer::Expiry),
        ];
        let due = timers.into_iter().filter_map(|(at, why)| Some((at?, why)));
        due.min()
    }

    /// Does what is due: sessions, repairs, IHAVEs, rows whose time has come.
    pub(crate) fn tick(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        self.replica.serve_expire(now, &env.seat.config.timing);
        self.pulls_due(env);
        self.repair_due(env);
        self.lazy_due(env);
        self.rows_expire(env);
        self.strays_due(env);
    }

    /// Takes in a message of a member.
    ///
    /// # Errors
    /// The reason to refuse it.
    pub(crate) fn on_message(
        &mut self,
        env: &mut Env<'_>,
        (link, node): (LinkId, NodeId),
        msg: GossipMessage,
    ) -> Result<Paged, Refusal> {
        self.received.count(&msg);
        match msg {
            GossipMessage::Push(batch) => self.on_push(env, batch)?,
            GossipMessage::Forward { cuts, rows } => self.on_forward(env, &cuts, rows)?,
            GossipMessage::IHave(have) => self.on_ihave(env, link, &have)?,
            GossipMessage::Graft(dots) => self.on_graft(env, link, &dots)?,
            GossipMessage::Pull(pull) => self.on_pull(env, link, node, pull)?,
            GossipMessage::Page(page) => return self.on_page(env, link, page),
            GossipMessage::PageAck { session, page } => {
                self.replica
                    .on_page_ack(&mut env.rows(), link, session, page);
            }
            GossipMessage::RangeSum(compare) => self.on_range_sum(env, link, compare)?,
            GossipMessage::RangeDots(compared) => self.on_range_dots(env, link, compared)?,
            GossipMessage::DigestDiff { session, scope, at } => {
                self.on_digest_diff(env, link, session, (&scope, at))?;
            }
            GossipMessage::AskClaims(asks) => self.on_ask_claims(env, link, &asks)?,
            GossipMessage::Claims(claims) => self.on_claims(env, link, &claims)?,
            GossipMessage::Refused { session } => {
                self.anti_entropy.on_refused(env.fx, link, session)
            }
        }
        Ok(Paged::Merged)
    }

    /// Returns how many rows peers have sent in this boot.
    pub(crate) fn rows_received(&self) -> RowsReceived {
        self.received
    }

    /// Lets all that waited for a value go on, but for a rejoin. `None`: the row is no longer cold.
    pub(crate) fn on_loaded(
        &mut self,
        env: &mut Env<'_>,
        place: &Place,
        loaded: Option<&Result<Loaded, ReadError>>,
    ) {
        self.replica.serve_loaded(&mut env.rows(), place, loaded);
        self.renewal_loaded(env, place, loaded);
        let value = loaded.and_then(|loaded| loaded.as_ref().ok());
        match self.moves_strays(&env.look()) {
            true => self.replica.stray_loaded(&mut env.rows(), place, value),
            false => self.replica.stray_not_loaded(place),
        }
    }

    /// Ends the turn, before its batch goes out: asks for claims, goes on with flushes, removes what drop markers have hidden, frees tombstones, forgets
    /// changes and names, and stores what became covered.
    pub(crate) fn seal(&mut self, env: &mut Env<'_>) {
        self.claims_due(env);
        // A store that lags gets no more to do.
        if !env.fx.is_pressed(&env.seat.config.limits) {
            self.flushes_due(env, AT_ONCE);
            if !self.is_compared(env) {
                self.replica.sweep(&mut env.rows(), SWEEP_BUDGET);
            }
        }
        self.free_tombstones(env);
        // The rows of a member that are about to be compared name their tables by their ids.
        if self.pending_rejoin.is_none() {
            self.replica.forget_names(&mut env.rows(), FORGET_BUDGET);
        }
        self.replica.coverage_mut().store_changes(env.fx);
    }

    /// Whether this node's rows are about to be compared with a member's: what its drop markers hide is found until then, and goes with the comparison.
    fn is_compared(&self, env: &Env<'_>) -> bool {
        let asks = env.seat.is_rejoining && self.anti_entropy.sessions() > 0;
        asks || self.pending_rejoin.is_some()
    }

    /// Notes whether a peer has seen the same as this node: for long enough, and this node fetches from it.
    pub(crate) fn note_agreement(&mut self, now: Instant, link: LinkId, agrees: bool) {
        self.anti_entropy.compare(now, link, agrees);
    }

    /// Lets a fetch that is due later begin now.
    pub(crate) fn expedite(&mut self, now: Instant, link: LinkId) {
        self.anti_entropy.expedite(now, link);
    }

    /// Fetches from a peer, whether or not it has seen the same.
    pub(crate) fn pull_at_once(&mut self, now: Instant, link: LinkId) {
        self.anti_entropy.pull_at_once(now, link);
    }

    /// Returns how many sessions this node has asked for that are under way.
    pub(crate) fn sessions(&self) -> usize {
        self.anti_entropy.sessions()
    }

    /// Forgets what others claimed before this node became a full member.
    pub(crate) fn became_full(&mut self) {
        self.pending_rejoin = None;
        self.asking = Asking::default();
        self.replica.end_hint();
        self.stability.forget_all();
    }

    /// Looks at the tombstones again, since other members count now.
    pub(crate) fn members_changed(&mut self) {
        self.stability.touch();
    }

    /// Forgets what an earlier generation of a member claimed.
    pub(crate) fn forget_claim(&mut self, node: NodeId) {
        self.stability.forget(node);
    }

    /// Forgets what generations of a member before this one claimed.
    pub(crate) fn forget_earlier_claim(&mut self, node: NodeId, generation: u64) {
        self.stability.forget_before(node, generation);
    }

    /// Returns the claims on which deletes were freed.
    pub(crate) fn freed_on(&self) -> &FreedOn {
        self.replica.freed_on()
    }

    /// Returns the claims on which deletes were freed, to change what is known of them.
    pub(crate) fn freed_on_mut(&mut self) -> &mut FreedOn {
        self.replica.freed_on_mut()
    }

    /// Forgets the clock of a member that has left.
    pub(crate) fn forget_clock(&mut self, node: NodeId) {
        self.settled.forget(node);
    }

    /// Takes in that everything up to a batch has become durable.
    pub(crate) fn stored(&mut self, durable: crate::Seq) {
        self.replica.stored(durable);
        self.stability.stored();
    }

    /// Drops what belongs to a link that carries nothing any more.
    pub(crate) fn link_gone(&mut self, env: &mut Env<'_>, link: LinkId) {
        self.anti_entropy.link_down(link);
        self.repair_link_down(env, link);
        self.replica.serve_none(link);
        if self.rejoins_through() == Some(link) {
            self.pending_rejoin = None;
        }
    }

    /// Asserts this machine's own invariants. O(actors and rows).
    pub(crate) fn check(&self) {
        self.replica.coverage().check();
        self.replica.rows().check();
    }
}
