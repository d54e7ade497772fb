//! Counts of the rows that peers have sent, by the reason for which they came.

use crate::wire::GossipMessage;

/// The rows that a node has got from peers in its present boot, the store's own included. A row that comes twice counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowsReceived {
    /// Rows that were pushed: fresh writes, and those that were asked for by their dots.
    pub pushed: u64,
    /// Rows that sessions brought: all that this node lacked while it was away, or all rows of a member in a rejoin.
    pub fetched: u64,
    /// Rows that peers named one by one, because sums of rows differed: a comparison of what did not change counts here.
    pub compared: u64,
}

impl RowsReceived {
    /// Counts the rows of a message.
    pub(crate) fn count(&mut self, msg: &GossipMessage) {
        let rows = msg.rows().map_or(0, |batch| batch.rows.len() as u64);
        match msg {
            GossipMessage::Page(_) => self.fetched += rows,
            GossipMessage::RangeDots(compared) => {
                let actors = compared.shown.iter().flat_map(|context| &context.actors);
                let runs = actors.flat_map(|(_, runs)| runs);
                let named = runs.map(|(from, to)| to.saturating_sub(*from).saturating_add(1));
                let named = named.fold(0, u64::saturating_add);
                self.compared = self.compared.saturating_add(named);
            }
            _ => self.pushed += rows,
        }
    }
}
