//! Greetings: what two nodes tell each other first, and that it stays small.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::cluster::membership::{Departure, Eviction, eviction_key};
use crate::id::NodeId;
use crate::table::sys;
use crate::wire::{ClusterMessage, Message};

/// The messages on links: rows of greetings, and whether each was whole; and how many evictions the others named.
#[derive(Default)]
struct Said {
    greetings: Vec<(usize, bool)>,
    heard: Vec<usize>,
}

impl Lab {
    /// Node `by` ends generations of nodes that were never here, as its records tell; all members are counted.
    fn ends_strangers(&mut self, by: usize, strangers: core::ops::Range<u64>) {
        let members = self.node(by).members();
        let author = members.iter().find(|member| member.me).unwrap();
        let (eviction, active) = (
            Eviction {
                by: author.id,
                generation: author.generation,
                forced: true,
            },
            members.iter().map(|member| member.id).collect(),
        );
        let departure = Departure {
            contexts: Vec::new(),
            active,
            evicted: Some(eviction),
        };
        let now = self.now;
        let node = self.node(by);
        node.fx.set_now(now);
        for stranger in strangers {
            let key = eviction_key(NodeId(stranger), 1, eviction.by);
            node.modes.gossip.replica_mut().write_sys(
                &mut node.shared.rows(&mut node.fx),
                sys::DEPARTED,
                &key,
                departure.encode(),
            );
        }
    }

    fn listen(&mut self) -> Rc<RefCell<Said>> {
        let said = Rc::new(RefCell::new(Said::default()));
        let ears = Rc::clone(&said);
        self.cut = Box::new(move |_, _, msg| {
            let mut said = ears.borrow_mut();
            match msg {
                Message::Cluster(ClusterMessage::Greeting(greeting)) => {
                    let rows = greeting.rows.rows.len();
                    said.greetings.push((rows, greeting.whole));
                }
                Message::Cluster(ClusterMessage::EvictionDigest(evictions)) => {
                    said.heard.push(evictions.len())
                }
                _ => {}
            }
            false
        });
        said
    }

    fn heard_of(&self, i: usize) -> usize {
        self.nodes[i]
            .as_ref()
            .unwrap()
            .cluster
            .membership
            .evictions()
    }
}

#[test]
fn greetings_do_not_grow_with_the_evictions_that_both_have_heard_of() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.ends_strangers(0, 1..101);
    lab.run(3_000);
    lab.stop(2);
    lab.run(3_000);
    let said = lab.listen();
    lab.start(2);
    lab.run(3_000);
    let said = said.borrow();
    assert!(!said.greetings.is_empty() && said.heard.is_empty());
    assert!(said.greetings.iter().all(|(rows, _)| *rows <= 2));
    assert_eq!(lab.heard_of(2), 100);
}

#[test]
fn a_node_that_has_not_heard_of_an_eviction_hears_of_it_and_of_no_other_before_any_row() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.ends_strangers(0, 1..51);
    lab.run(3_000);
    lab.stop(2);
    lab.ends_strangers(1, 51..54);
    lab.run(3_000);
    let said = lab.listen();
    lab.start(2);
    // The greetings are through; no session has begun.
    lab.quiesce();
    assert_eq!(lab.heard_of(2), 53);
    let said = said.borrow();
    assert!(said.heard.contains(&50) && said.heard.contains(&53));
    let whole = said.greetings.iter().filter(|(_, whole)| *whole);
    assert!(whole.clone().any(|(rows, _)| *rows >= 3));
    assert!(
        whole.clone().all(|(rows, _)| *rows <= 5),
        "{:?}",
        said.greetings
    );
}

#[test]
fn sides_that_have_heard_of_different_evictions_both_hear_of_all() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let disk = lab.disks[1].clone();
    lab.stop(1);
    lab.ends_strangers(0, 1..8);
    lab.run(20_000);
    // The other side knows of other ones.
    lab.cut = Box::new(|_, _, _| true);
    lab.disks[1] = disk;
    lab.start(1);
    lab.ends_strangers(1, 8..20);
    lab.run(1_000);
    assert_eq!((lab.heard_of(0), lab.heard_of(1)), (7, 12));
    lab.cut = Box::new(|_, _, _| false);
    lab.stop(1);
    lab.start(1);
    lab.quiesce();
    assert_eq!((lab.heard_of(0), lab.heard_of(1)), (19, 19));
}
