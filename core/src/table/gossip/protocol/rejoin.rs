//! Rejoining: a member's rows have come whole, and this node's own are compared with them once their values are in memory.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use crate::effects::Effects;
use crate::error::ReadError;
use crate::id::{Actor, LinkId, NodeId};
use crate::marks::Mark;
use crate::table::env::Env;
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::{Loaded, Place, Reunion};
use crate::table::{Context, RowClass, Runs};
use crate::time::Instant;

/// How long a node that is away looks for a member that has all that it once had. Longer, and it may be the only one that has it.
const REUNION_PATIENCE: Duration = Duration::from_secs(30);

/// A reunion that waits for values of this node's own rows.
pub(crate) struct Reuniting {
    link: LinkId,
    with: NodeId,
    reunion: Reunion,
    /// Values to ask for, and values asked for.
    todo: VecDeque<Place>,
    wanted: BTreeSet<Place>,
}

/// A reunion that is complete.
pub(crate) struct Rejoined {
    pub(crate) link: LinkId,
    pub(crate) with: NodeId,
    /// Rows that were dropped, and rows that were written again.
    pub(crate) dropped: u64,
    pub(crate) proposed: u64,
}

impl Gossip {
    /// Begins to compare everything that a member holds with this node's rows.
    pub(crate) fn rejoin(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        with: NodeId,
        reunion: Reunion,
    ) -> Option<Rejoined> {
        self.reuniting = Some(Reuniting {
            link,
            with,
            reunion,
            todo: VecDeque::new(),
            wanted: BTreeSet::new(),
        });
        self.rejoin_if_complete(env)
    }

    /// Returns the link to the member whose rows have come and are compared with this node's.
    pub(crate) fn rejoins_through(&self) -> Option<LinkId> {
        self.reuniting.as_ref().map(|reuniting| reuniting.link)
    }

    /// Asks for as many values as there is room for; for the rest when some have come.
    pub(crate) fn ask_for_rejoin(&mut self, env: &mut Env<'_>) {
        let Some(reuniting) = &mut self.reuniting else {
            return;
        };
        while let Some(place) = reuniting.todo.front() {
            if !env.loads.wants(place) {
                return;
            }
            reuniting.wanted.extend(reuniting.todo.pop_front());
        }
    }

    /// Takes in the value of a row that the reunion waits for, if it does.
    pub(crate) fn rejoin_loaded(
        &mut self,
        env: &mut Env<'_>,
        place: Place,
        loaded: Option<Result<Loaded, ReadError>>,
    ) -> Option<Rejoined> {
        let reuniting = self.reuniting.as_mut()?;
        if !reuniting.wanted.remove(&place) {
            return None;
        }
        reuniting.reunion.loaded(place, loaded);
        self.rejoin_if_complete(env)
    }

    fn rejoin_if_complete(&mut self, env: &mut Env<'_>) -> Option<Rejoined> {
        let mut reuniting = self.reuniting.take()?;
        if reuniting.todo.is_empty() && reuniting.wanted.is_empty() {
            // Rows may have been written, and have left memory, while others were loaded.
            reuniting.todo = self.replica.cold_proposals(env.fx, &reuniting.reunion);
            if reuniting.todo.is_empty() {
                let Reuniting {
                    link,
                    with,
                    reunion,
                    ..
                } = reuniting;
                let (dropped, proposed) = self.replica.reunite(env.fx, reunion);
                return Some(Rejoined {
                    link,
                    with,
                    dropped,
                    proposed,
                });
            }
            env.fx.mark(Mark::ReunionWaitsForLoads);
        }
        self.reuniting = Some(reuniting);
        None
    }

    /// Notes what this node holds of users' tables as it goes away: a member has to have that before this node reunites with it.
    pub(crate) fn gone_away(&mut self, now: Instant) {
        let contexts = self.replica.contexts().into_iter();
        self.past = contexts
            .filter(|(class, _)| *class != RowClass::Sys)
            .collect();
        self.away_from = now;
    }

    /// Returns whether a member lacks what this node held when it went away. Others may have deleted some of that, which this member does
    /// not know yet either: to reunite with it would bring it back.
    pub(crate) fn is_behind(&self, fx: &Effects, member: &[(RowClass, Context)]) -> bool {
        let lacks = |(class, context): &(RowClass, Context)| {
            let theirs = member.iter().find(|(name, _)| name == class);
            let covers = |(actor, runs): (Actor, &Runs)| {
                let covered = theirs.and_then(|(_, theirs)| theirs.runs(actor));
                runs.is_empty() || covered.is_some_and(|covered| runs.is_subset(covered))
            };
            !context.iter().all(covers)
        };
        let waited = fx.now().mono.since(self.away_from);
        let patient = waited < REUNION_PATIENCE && fx.rules().reunions_await_past();
        patient && self.past.iter().any(lacks)
    }
}
