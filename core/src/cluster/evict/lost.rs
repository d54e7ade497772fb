//! Declaring a node lost: deletes of siblings no longer wait for what it wrote in earlier boots.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::cluster::membership::lost_key;
use crate::cluster::{Cluster, Env};
use crate::error::LostError;
use crate::id::NodeId;
use crate::io::Event;
use crate::table::sys;

impl Cluster {
    /// Declares the missing writes of a node lost. Every member that hears of it frees the deletes made until now without them.
    ///
    /// # Errors
    /// [`LostError`]; nothing was changed.
    pub(crate) fn declare_lost(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
    ) -> Result<NodeId, LostError> {
        if !self.is_full() || self.leaving.is_some() {
            return Err(LostError::NoMember);
        }
        let node = self.node_once_called(name)?;
        env.write_sys(sys::DEPARTED, &lost_key(node), Bytes::new());
        env.fx.sync_this_turn();
        env.fx.event(Event::DeclaredLost(node));
        Ok(node)
    }

    /// Finds a node by its id, or else by the name that it has or had. An id need not be known: a token may name a node that no
    /// member has heard of.
    fn node_once_called(&self, name: &str) -> Result<NodeId, LostError> {
        if let Ok(id) = name.parse::<NodeId>() {
            return Ok(id);
        }
        let all = self.membership.all();
        let named = all.filter(|(_, member)| member.record.name == name);
        let named: Vec<NodeId> = named.map(|(node, _)| node).collect();
        match named.as_slice() {
            [id] => Ok(*id),
            [] => Err(LostError::NotKnown),
            _ => Err(LostError::Ambiguous(named)),
        }
    }
}
