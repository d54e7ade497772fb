//! Whom a node dials, and when.

use std::vec::Vec;

use super::*;

#[test]
fn nobody_dials_the_former_owner_of_an_address_that_a_linked_node_has_taken() {
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
