//! Rejoining: all that differs of a member's rows has come, and this node's own are compared with them once their values are in memory. If rows
//! are lacking that the member took for known here, it is asked again.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::effects::Effects;
use crate::error::ReadError;
use crate::id::{Actor, LinkId, NodeId};
use crate::marks::Mark;
use crate::table::env::Env;
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::{
    Asking, Contexts, Form, Loaded, Place, Rejoin, write_contexts,
};
use crate::table::{Context, RowClass, Runs};
use crate::wire::PullBasis;

/// How long a node that is rejoining looks for a member that has all that it once had, from the first on that lacks some of it. Longer, and it may be the
/// only one that has it.
const REJOIN_PATIENCE: Duration = Duration::from_secs(30);

/// A rejoin that waits for values of this node's own rows.
pub(crate) struct PendingRejoin {
    link: LinkId,
    with: NodeId,
    rejoin: Rejoin,
    /// Values to ask for, and values asked for.
    todo: VecDeque<Place>,
    wanted: BTreeSet<Place>,
}

/// A rejoin that is complete.
#[must_use = "the node has to act on it"]
pub(crate) struct Rejoined {
    pub(crate) link: LinkId,
    pub(crate) with: NodeId,
    /// Rows that were dropped, and rows that were written again.
    pub(crate) dropped: u64,
    pub(crate) proposed: u64,
}

impl Gossip {
    /// Returns how a member is asked for all that this node has to take over.
    pub(crate) fn ask_to_compare(&mut self) -> (Form, PullBasis) {
        let hint = self.replica.begin_hint(&self.asking);
        let basis = match self.asking {
            Asking::Nothing => PullBasis::Whole(Vec::new()),
            Asking::Covered | Asking::CoveredBut(_) => PullBasis::Compare(write_contexts(&hint)),
        };
        (Form::Rejoin(hint), basis)
    }

    /// Asks a member again, since rows are lacking here that it keeps.
    fn ask_again(&mut self, env: &mut Env<'_>, link: LinkId, lacking: Contexts) {
        env.fx.mark(Mark::RejoinAgain);
        self.asking.step_down(lacking);
        self.anti_entropy.pull_at_once(env.fx.now().mono, link);
    }

    /// Begins to compare everything that a member holds with this node's rows.
    pub(crate) fn rejoin(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        with: NodeId,
        rejoin: Rejoin,
    ) -> Option<Rejoined> {
        self.pending_rejoin = Some(PendingRejoin {
            link,
            with,
            rejoin,
            todo: VecDeque::new(),
            wanted: BTreeSet::new(),
        });
        self.rejoin_if_complete(env)
    }

    /// Returns the link to the member whose rows have come and are compared with this node's.
    pub(crate) fn rejoins_through(&self) -> Option<LinkId> {
        self.pending_rejoin.as_ref().map(|pending| pending.link)
    }

    /// Asks for as many values as there is room for; for the rest when some have come.
    pub(crate) fn ask_for_rejoin(&mut self, env: &mut Env<'_>) {
        let Some(pending) = &mut self.pending_rejoin else {
            return;
        };
        while let Some(place) = pending.todo.front() {
            if !env.loads.wants(place) {
                return;
            }
            pending.wanted.extend(pending.todo.pop_front());
        }
    }

    /// Takes in the value of a row that the rejoin waits for, if it does.
    pub(crate) fn rejoin_loaded(
        &mut self,
        env: &mut Env<'_>,
        place: Place,
        loaded: Option<Result<Loaded, ReadError>>,
    ) -> Option<Rejoined> {
        let pending = self.pending_rejoin.as_mut()?;
        if !pending.wanted.remove(&place) {
            return None;
        }
        pending.rejoin.loaded(place, loaded);
        self.rejoin_if_complete(env)
    }

    fn rejoin_if_complete(&mut self, env: &mut Env<'_>) -> Option<Rejoined> {
        let mut pending = self.pending_rejoin.take()?;
        if pending.todo.is_empty() && pending.wanted.is_empty() {
            let lacking = self.replica.lacking(&env.rows(), &mut pending.rejoin);
            if !lacking.is_empty() {
                self.ask_again(env, pending.link, lacking);
                return None;
            }
            // Rows may have been written, and have left memory, while others were loaded.
            pending.todo = self.replica.cold_proposals(&env.rows(), &pending.rejoin);
            if pending.todo.is_empty() {
                let PendingRejoin {
                    link, with, rejoin, ..
                } = pending;
                let (dropped, proposed) = self.replica.rejoin(&mut env.rows(), rejoin);
                return Some(Rejoined {
                    link,
                    with,
                    dropped,
                    proposed,
                });
            }
            env.fx.mark(Mark::RejoinWaitsForLoads);
        }
        self.pending_rejoin = Some(pending);
        None
    }

    /// Notes what this node holds of users' tables as it begins to rejoin: a member has to have that before this node rejoins through it.
    pub(crate) fn on_rejoining(&mut self) {
        let contexts = self.replica.contexts().into_iter();
        self.past = contexts
            .filter(|(class, _)| *class != RowClass::Sys)
            .collect();
        self.put_off_since = None;
        self.asking = Asking::default();
    }

    /// Returns whether a member lacks what this node held when it began to rejoin. Others may have deleted some of that, which this member does
    /// not know yet either: to rejoin through it would bring it back.
    pub(crate) fn is_behind(&mut self, fx: &Effects, member: &[(RowClass, Context)]) -> bool {
        let lacks = |(class, context): &(RowClass, Context)| {
            let theirs = member.iter().find(|(name, _)| name == class);
            let covers = |(actor, runs): (Actor, &Runs)| {
                let covered = theirs.and_then(|(_, theirs)| theirs.runs(actor));
                runs.is_empty() || covered.is_some_and(|covered| runs.is_subset(covered))
            };
            !context.iter().all(covers)
        };
        if !fx.rules().rejoins_await_past() || !self.past.iter().any(lacks) {
            return false;
        }
        let now = fx.now().mono;
        let since = *self.put_off_since.get_or_insert(now);
        now.since(since) < REJOIN_PATIENCE
    }
}
