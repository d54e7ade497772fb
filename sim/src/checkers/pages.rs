//! A session is served once, however often it is asked for.

use std::collections::BTreeMap;

use rumormill_core::wire::{GossipMessage, Message};
use rumormill_core::{LinkId, io::Links};

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "pages";

/// The pages that one boot of a node has served: by link and session the number of the page that comes next.
#[derive(Debug, Default)]
struct Served(BTreeMap<(LinkId, u64), u32>);

impl Served {
    /// The node sends a message over a link.
    fn sends(
        &mut self,
        (at_us, node): (u64, usize),
        link: LinkId,
        msg: &Message,
    ) -> Option<Violation> {
        let (session, page, next) = match msg {
            Message::Gossip(GossipMessage::Page(page)) => {
                (page.session, page.page, page.page.saturating_add(1))
            }
            // A scope is the whole answer.
            Message::Gossip(GossipMessage::DigestDiff { session, .. }) => (*session, 0, u32::MAX),
            _ => return None,
        };
        let expected = self.0.insert((link, session), next).unwrap_or(0);
        (page != expected).then(|| Violation {
            checker: NAME,
            at_us,
            text: format!("n{node} sends page {page} of a session instead of page {expected}"),
        })
    }
}

/// Watches the pages that each node serves.
pub(crate) struct Pages(Vec<Served>);

impl Pages {
    pub(crate) fn new(nodes: usize) -> Self {
        Pages(for_each(nodes))
    }

    /// A boot of the node begins.
    pub(crate) fn on_start(&mut self, node: usize) {
        self.0[node] = Served::default();
    }

    /// The node sends a message over some links.
    pub(crate) fn on_send(
        &mut self,
        (at_us, node): (u64, usize),
        to: &Links,
        msg: &Message,
    ) -> Vec<Violation> {
        let links = to.as_slice().iter();
        links
            .filter_map(|link| self.0[node].sends((at_us, node), *link, msg))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::wire::{Page, RowBatch};

    use super::*;

    fn page(session: u64, page: u32) -> Message {
        Message::Gossip(GossipMessage::Page(Page {
            session,
            page,
            rows: RowBatch {
                actors: Vec::new(),
                tables: Vec::new(),
                rows: Vec::new(),
            },
            kept: Vec::new(),
            last: None,
        }))
    }

    /// Whether the last of these messages is found to be one too many.
    fn is_found(sent: &[(u64, Message)]) -> bool {
        let mut served = Served::default();
        let mut sends = |(link, msg): &(u64, Message)| {
            let found = served.sends((0, 0), LinkId(*link), msg);
            found.is_some()
        };
        let (last, before) = sent.split_last().unwrap();
        assert!(!before.iter().any(&mut sends));
        sends(last)
    }

    #[test]
    fn the_pages_of_a_session_go_out_once_and_in_order() {
        let differs = |session| {
            Message::Gossip(GossipMessage::DigestDiff {
                session,
                scope: Vec::new(),
                at: 0,
            })
        };
        assert!(!is_found(&[(1, page(1, 0)), (1, page(1, 1))]));
        assert!(!is_found(&[(1, page(1, 0)), (2, page(1, 0))]));
        assert!(!is_found(&[(1, differs(1)), (1, page(2, 0))]));
        assert!(is_found(&[(1, page(1, 0)), (1, page(1, 0))]));
        assert!(is_found(&[(1, page(1, 0)), (1, page(1, 2))]));
        assert!(is_found(&[(1, differs(1)), (1, page(1, 0))]));
        assert!(is_found(&[(1, differs(1)), (1, differs(1))]));
        assert!(is_found(&[(1, page(1, 0)), (1, differs(1))]));
    }
}
