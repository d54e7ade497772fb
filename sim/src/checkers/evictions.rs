//! An eviction that is not forced has a majority.

use std::collections::BTreeSet;

use rumormill_core::{Token, errors::RequestError, io::Response};

use super::Violation;

/// The checker's name in reports.
pub const NAME: &str = "eviction";

/// An eviction under way.
#[derive(Clone, Copy)]
struct Asked {
    token: Token,
    /// The machine it was asked of, and that machine's boot.
    by: (usize, u32),
    /// Whether it may do without a majority. Guarantees, "Eviction and resumption": with `force` it needs no agreement.
    force: bool,
}

/// The outcome of an eviction.
pub(crate) enum Outcome {
    /// The node has refused it.
    Refused,
    /// The node has evicted the member.
    Evicted,
}

/// Follows the evictions of a run, one at a time.
#[derive(Default)]
pub(crate) struct Evictions {
    asked: Option<Asked>,
    /// Machines whose node is out, and does not know it.
    outcasts: BTreeSet<usize>,
}

impl Evictions {
    /// A machine is asked, in this boot, to evict a member.
    pub(crate) fn on_request(&mut self, token: Token, by: (usize, u32), force: bool) {
        self.asked = Some(Asked { token, by, force });
    }

    /// Returns the machine, and its boot, that has not answered an eviction.
    pub(crate) fn asked(&self) -> Option<(usize, u32)> {
        self.asked.map(|asked| asked.by)
    }

    /// A node answers. Returns the outcome if the answer is to an eviction, and what is wrong with it.
    pub(crate) fn on_reply(
        &mut self,
        at_us: u64,
        token: Token,
        result: &Result<Response, RequestError>,
    ) -> Option<(Outcome, Option<Violation>)> {
        let asked = self.asked.take_if(|asked| asked.token == token)?;
        let Ok(Response::Evicted { acks, members, .. }) = *result else {
            return Some((Outcome::Refused, None));
        };
        let by = asked.by.0;
        let is_wrong = !asked.force && acks * 2 <= members;
        let found = is_wrong.then(|| Violation {
            checker: NAME,
            at_us,
            text: format!("n{by} evicted a member with {acks} of {members}, unforced"),
        });
        Some((Outcome::Evicted, found))
    }

    /// Others go on without the nodes of these machines.
    pub(crate) fn on_cast_out(&mut self, machines: impl IntoIterator<Item = usize>) {
        self.outcasts.extend(machines);
    }

    /// The node of a machine has heard of its eviction, or another one has come in its place.
    pub(crate) fn on_return(&mut self, node: usize) {
        self.outcasts.remove(&node);
    }

    /// Whether others have evicted the node, or do not know it, and it has not heard of that.
    pub(crate) fn is_outcast(&self, node: usize) -> bool {
        self.outcasts.contains(&node)
    }
}
