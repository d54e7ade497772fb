//! Evictions: the plan has a member evict another that it takes for dead, which may be down or only out of reach.

use std::collections::BTreeSet;

use rumormill_core::{
    NodeId, Token,
    errors::RequestError,
    io::{Event, Request, Response},
    members::MemberState,
};

use crate::checkers::evictions::Outcome;
use crate::faults::FaultKind;
use crate::hurt::Hurt;
use crate::injection::Ending;
use crate::plan::FaultWhat;
use crate::trace::{Field, Weight};
use crate::world::World;

impl World {
    pub(crate) fn begin_evict(
        &mut self,
        number: usize,
        what: &FaultWhat,
        node: usize,
        force: bool,
    ) {
        self.finish_turn();
        // One at a time, and none by a node that is out itself: of two sides that evict each other one loses deletes.
        let is_open = !self.is_evicting();
        let fits = |node: usize| self.is_member(node) && !self.hosts[node].hurts.has(Hurt::Paused);
        let by = self.running_where(node, fits).filter(|_| is_open);
        let Some((by, id)) = by.and_then(|by| Some((by, self.dead_to(by)?))) else {
            return self.try_again(number);
        };
        self.strikes(number, what, by);
        self.course.endings.insert(number, Ending::Answered);
        let who = Field::Node("who", self.ids.get(&id).copied().unwrap_or(by));
        let fields = [who, Field::Num("force", u64::from(force))];
        self.trace
            .event(self.now_us, by, Weight::Story, "evict", &fields);
        let member = id.to_string();
        let token = self.request(by, None, Request::Evict { member, force });
        let boot = self.hosts[by].boot;
        self.observers.on_eviction_asked(token, (by, boot), force);
    }

    /// Whether a node that runs has not answered yet.
    pub(crate) fn is_evicting(&self) -> bool {
        let asked = self.observers.eviction_asked();
        asked.is_some_and(|(node, boot)| self.still_runs(node, boot))
    }

    /// Whether others have evicted the node, or do not know it, and it has not heard of that.
    pub(crate) fn is_outcast(&self, node: usize) -> bool {
        self.observers.is_outcast(node)
    }

    /// A member that a node takes for dead, the next machine first.
    fn dead_to(&self, by: usize) -> Option<NodeId> {
        let count = self.hosts.len();
        let members = self.hosts[by].node.as_ref()?.members();
        let down = members
            .iter()
            .filter(|member| member.state == MemberState::Down);
        let place = |id: &NodeId| {
            let machine = self.ids.get(id).copied().unwrap_or(by);
            ((machine + count - by) % count, *id)
        };
        down.map(|member| member.id).min_by_key(place)
    }

    /// Takes down what became of an eviction; whether the answer was to one.
    pub(crate) fn eviction_answered(
        &mut self,
        node: usize,
        token: Token,
        result: &Result<Response, RequestError>,
    ) -> bool {
        match self
            .observers
            .on_eviction_answer(self.now_us, token, result)
        {
            None => return false,
            Some(Outcome::Refused) => self.count("evictions_refused"),
            Some(Outcome::Evicted) => {
                self.count(FaultKind::Evict.name());
                self.casts_out(node);
            }
        }
        true
    }

    /// A node has ended the generation of a member: it goes on without all machines whose nodes it does not count now.
    fn casts_out(&mut self, node: usize) {
        let Some(running) = &self.hosts[node].node else {
            return;
        };
        let known = running.members().into_iter();
        let counted: BTreeSet<NodeId> = known
            .filter(|member| member.state != MemberState::Left)
            .map(|member| member.id)
            .collect();
        let hosts = self.hosts.iter().enumerate();
        let out = hosts.filter(|(_, host)| host.id.is_some_and(|id| !counted.contains(&id)));
        let out: Vec<usize> = out.map(|(out, _)| out).collect();
        self.observers.on_cast_out(out);
    }

    /// Notes that a node that others went on without proposes anew all that it has accepted or holds.
    pub(crate) fn hears_of_eviction(&mut self, node: usize, event: &Event) {
        match event {
            // One that no operator asked for.
            Event::MemberEvicted { policy: true, .. } => self.casts_out(node),
            Event::Evicted { .. } | Event::OlderCopy { .. } => {
                self.outdate_copies(node);
                self.observers.on_return(node);
                self.hosts[node].ties.alone = true;
                let held = self.held(node);
                self.observers.on_went_alone(node, held.as_ref());
                self.call_operator();
            }
            Event::Rejoined { .. } | Event::Resumed { .. } => self.observers.on_return(node),
            _ => {}
        }
    }
}
