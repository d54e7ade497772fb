//! The members to whom rows may go, in the order of their ids.

use alloc::sync::Arc;

use super::links::{Links, Phase};
use crate::id::{LinkId, NodeId};

/// What was found when it was last looked up.
#[derive(Default)]
pub(super) struct Ring(Option<Arc<[(NodeId, LinkId)]>>);

impl Ring {
    /// Some link has changed, perhaps in what counts here.
    pub(super) fn outdate(&mut self) {
        self.0 = None;
    }
}

impl Links {
    /// Full members with a link, congested ones included, by id. O(1) while no link changes, and else O(members).
    pub(crate) fn ring(&mut self) -> Arc<[(NodeId, LinkId)]> {
        if let Some(ring) = &self.ring.0 {
            return Arc::clone(ring);
        }
        let is_ready = |link: &LinkId| {
            self.get(*link)
                .is_some_and(|link| link.phase == Phase::Ready)
        };
        let members = self.by_node.iter().filter(|(_, link)| is_ready(link));
        let ring: Arc<[_]> = members.map(|(node, link)| (*node, *link)).collect();
        self.ring.0 = Some(Arc::clone(&ring));
        ring
    }
}
