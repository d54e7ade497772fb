//! The peers that a node dials, and when.

use std::vec::Vec;

use super::*;
use crate::link::LinkLimits;

#[test]
fn no_node_dials_the_former_owner_of_an_address_that_a_linked_node_has_taken() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.stop(1);
    lab.disks[1].clear();
    lab.start(1);
    lab.run(30_000);
    let links: Vec<LinkId> = lab.wires.keys().map(|(_, link)| *link).collect();
    lab.run(60_000);
    let after: Vec<LinkId> = lab.wires.keys().map(|(_, link)| *link).collect();
    assert_eq!(links, after, "links stay as they are");
    assert_eq!(lab.wires.len(), 6, "one for each pair");
}

#[test]
fn a_join_through_the_address_of_a_linked_node_makes_no_second_link() {
    let mut lab = Lab::new(2, Storage::Ordered, false);
    let join = |lab: &mut Lab, number| {
        let addr = "0".to_string();
        let (token, request) = (Token(number), Request::Join { addr });
        let (now, deadline) = (lab.now, None);
        lab.node(1).handle(
            now,
            Input::Request {
                token,
                deadline,
                request,
            },
        );
        lab.quiesce();
    };
    join(&mut lab, 1);
    let links = lab.next_link;
    join(&mut lab, 2);
    lab.run(5_000);
    assert_eq!(lab.next_link, links);
    let first = lab.node(0).id();
    for number in [1, 2] {
        assert_eq!(lab.replies[&Token(number)], Ok(Response::Joined(first)));
    }
}

#[test]
pub(super) fn a_peer_that_sends_back_the_nonce_of_this_node_is_refused() {
    let mut lab = Lab::new(1, Storage::None, true);
    let mut conn = lab.node(0).connection(LinkLimits::default());
    let (opening, mut events) = (conn.opening(), Vec::new());
    let done = conn.receive(&opening, &mut events);
    assert_eq!(
        done,
        Err(LinkError::Refused(link::Refusal::Proof)),
        "its own nonce"
    );
    assert!(events.is_empty() && !conn.is_up());
}
