//! The members that rows may go to, in the order of their ids.

use alloc::sync::Arc;

use super::links::Links;
use crate::id::{LinkId, NodeId};

/// The members found at the last look.
#[derive(Default)]
pub(super) struct Ring(Option<Arc<[(NodeId, LinkId)]>>);

impl Ring {
    /// Links have changed in what counts here.
    pub(super) fn outdate(&mut self) {
        self.0 = None;
    }
}

impl Links {
    /// Full members with a link, congested ones included, by id. O(1) while none comes, goes, or enters another phase, and else O(members).
    pub(crate) fn ring(&mut self) -> Arc<[(NodeId, LinkId)]> {
        if let Some(ring) = &self.ring.0 {
            return Arc::clone(ring);
        }
        let links = self.by_node.iter();
        let members = links.filter(|(_, link)| self.is_ready(**link));
        let ring: Arc<[_]> = members.map(|(node, link)| (*node, *link)).collect();
        self.ring.0 = Some(Arc::clone(&ring));
        ring
    }
}
