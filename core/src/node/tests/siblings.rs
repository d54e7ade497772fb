//! Tables that keep siblings, through the contract.

use std::collections::BTreeSet;
use std::string::{String, ToString};

use arbtest::arbtest;

use super::*;
use crate::table::RowClass;
use crate::table::gossip;
use crate::wire::{GossipMessage, Message};

const NAME: &str = "carts";

/// Nodes with a table of siblings.
fn lab(count: usize, durability: Durability) -> Lab {
    let mut lab = Lab::new(count, Storage::Ordered, true);
    lab.run(3_000);
    let options = TableOptions {
        durability,
        conflict: Conflict::Siblings,
    };
    let now = lab.now;
    lab.node(0).create_table(now, NAME, options).unwrap();
    lab.run(3_000);
    lab
}

impl Lab {
    fn write_to(&mut self, i: usize, write: Write<'_>) -> Result<Accepted, WriteError> {
        let now = self.now;
        let table = self.node(i).table(NAME).unwrap();
        self.node(i).write(now, table, write)
    }

    fn add(&mut self, i: usize, key: &str, value: &str) -> Result<Accepted, WriteError> {
        let put = Write::Put {
            key: key.as_bytes(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            expires: None,
        };
        self.write_to(i, put)
    }

    fn replace(&mut self, i: usize, key: &str, value: &str, context: &CausalToken) {
        let replace = Write::Replace {
            key: key.as_bytes(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            context,
        };
        self.write_to(i, replace).unwrap();
    }

    fn remove(&mut self, i: usize, key: &str, context: &CausalToken) -> Accepted {
        let key = key.as_bytes();
        self.write_to(i, Write::Remove { key, context }).unwrap()
    }

    fn siblings(&self, i: usize, key: &str) -> Option<Siblings> {
        let node = self.nodes[i].as_ref().unwrap();
        let table = node.user_table(NAME)?;
        match node.view(self.now).get(table, key.as_bytes()) {
            Found::Siblings(row) => row.siblings(),
            Found::Absent => None,
            other => panic!("{other:?}"),
        }
    }

    fn context(&self, i: usize, key: &str) -> CausalToken {
        self.siblings(i, key).unwrap().context
    }

    fn values(&self, i: usize, key: &str) -> BTreeSet<String> {
        let siblings = self.siblings(i, key).into_iter();
        let values = siblings.flat_map(|siblings| siblings.values);
        values
            .map(|(value, _)| String::from_utf8(value.to_vec()).unwrap())
            .collect()
    }

    fn all_show_at(&self, i: usize, key: &str, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(self.values(i, key), expected, "n{i}");
    }

    fn all_show(&self, key: &str, expected: &[&str]) {
        for i in (0..self.nodes.len()).filter(|i| self.nodes[*i].is_some()) {
            self.all_show_at(i, key, expected);
        }
    }

    fn cut_all(&mut self) {
        self.cut = Box::new(|_, _, _| true);
    }

    fn reconnect(&mut self) {
        self.cut = Box::new(|_, _, _| false);
        self.run(20_000);
    }
}

#[test]
fn concurrent_writes_stay_until_one_that_has_seen_them() {
    for durability in [Durability::Periodic, Durability::Memory] {
        let mut lab = lab(3, durability);
        lab.cut_all();
        lab.add(0, "k", "a").unwrap();
        lab.add(1, "k", "b").unwrap();
        lab.reconnect();
        lab.all_show("k", &["a", "b"]);
        let first = lab.siblings(0, "k");
        assert_eq!(
            lab.siblings(2, "k"),
            first,
            "in one order, with one context"
        );
        let context = lab.context(2, "k");
        lab.add(1, "k", "unseen").unwrap();
        lab.replace(2, "k", "both", &context);
        lab.run(3_000);
        lab.all_show("k", &["both", "unseen"]);
    }
}

#[test]
fn a_delete_removes_what_its_author_has_seen_and_is_freed() {
    let mut lab = lab(3, Durability::Periodic);
    lab.add(0, "k", "a").unwrap();
    lab.run(3_000);
    let context = lab.context(1, "k");
    lab.cut_all();
    lab.add(2, "k", "later").unwrap();
    lab.remove(1, "k", &context);
    lab.all_show_at(1, "k", &[]);
    lab.reconnect();
    lab.all_show("k", &["later"]);
    assert_eq!(
        lab.tombstones(),
        [0, 0, 0],
        "what was replaced is forgotten"
    );
    let again = lab.remove(0, "k", &context);
    lab.all_show("k", &["later"]);
    assert!(again.existed, "an old context removes nothing");
    let context = lab.context(0, "k");
    lab.remove(0, "k", &context);
    lab.run(10_000);
    lab.all_show("k", &[]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
fn a_delete_of_what_is_not_here_yet_holds_when_it_comes() {
    let mut lab = lab(3, Durability::Periodic);
    lab.cut_all();
    lab.add(0, "k", "a").unwrap();
    let context = lab.context(0, "k");
    lab.remove(1, "k", &context);
    lab.reconnect();
    lab.all_show("k", &[]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
fn siblings_and_contexts_survive_a_restart() {
    let mut lab = lab(3, Durability::Periodic);
    lab.add(0, "k", "a").unwrap();
    lab.add(0, "k", "b").unwrap();
    lab.run(3_000);
    let context = lab.context(0, "k");
    lab.stop(0);
    lab.start(0);
    lab.all_show_at(0, "k", &["a", "b"]);
    lab.run(5_000);
    lab.replace(0, "k", "c", &context);
    lab.run(3_000);
    lab.all_show("k", &["c"]);
}

#[test]
fn a_rejoin_brings_what_the_cluster_lacks_and_nothing_that_was_replaced() {
    let mut lab = lab(3, Durability::Periodic);
    for key in ["gone", "kept"] {
        lab.add(2, key, "old").unwrap();
    }
    lab.run(3_000);
    let gone = lab.context(2, "gone");
    lab.cut_all();
    lab.add(2, "kept", "alone").unwrap();
    lab.add(2, "mine", "replaced").unwrap();
    lab.add(2, "mine", "alone").unwrap();
    let mine = lab.context(2, "mine");
    lab.run(2_000);
    lab.stop(2);
    lab.cut = Box::new(|_, _, _| false);
    let (id, now) = (lab.configs[2].name.clone(), lab.now);
    let request = Request::Evict {
        member: id,
        force: true,
    };
    let (token, deadline) = (Token(9), None);
    lab.node(0).handle(
        now,
        Input::Request {
            token,
            deadline,
            request,
        },
    );
    lab.run(10_000);
    // A client that has read on the third member writes to another.
    lab.replace(0, "mine", "new", &mine);
    lab.remove(1, "gone", &gone);
    lab.run(10_000);
    assert_eq!(lab.tombstones()[0], lab.tombstones()[1]);
    lab.start(2);
    // The members lack what it held: it waits half a minute for one that does not.
    lab.run(50_000);
    lab.all_show("kept", &["old", "alone"]);
    lab.all_show("mine", &["new"]);
    lab.all_show("gone", &[]);
}

/// A client reads `k` on the third member and deletes it through the first, which has never seen the value. Then the third is evicted
/// while it is down.
fn deleted_unseen_and_evicted() -> (Lab, CausalToken) {
    let mut lab = lab(3, Durability::Periodic);
    lab.stop(0);
    lab.stop(1);
    lab.add(2, "k", "v").unwrap();
    let context = lab.context(2, "k");
    lab.run(2_000);
    lab.stop(2);
    lab.start(0);
    lab.start(1);
    lab.run(5_000);
    lab.remove(0, "k", &context);
    lab.run(30_000);
    let third = lab.configs[2].name.clone();
    let request = Request::Evict {
        member: third,
        force: false,
    };
    assert!(lab.asks(0, request).is_ok());
    lab.run(20_000);
    (lab, context)
}

impl Lab {
    pub(super) fn asks(&mut self, i: usize, request: Request) -> Result<Response, RequestError> {
        let token = Token(50_000 + self.replies.len() as u64);
        let (now, deadline) = (self.now, None);
        let input = Input::Request {
            token,
            deadline,
            request,
        };
        self.node(i).handle(now, input);
        self.run(2_000);
        self.replies[&token].clone()
    }

    fn waits(&mut self, i: usize) -> Vec<(String, HoldsUp)> {
        let now = self.now;
        let waits = self.node(i).status(now).waiting_for.into_iter();
        waits.map(|one| (one.name, one.why)).collect()
    }
}

#[test]
pub(super) fn a_deleted_sibling_stays_deleted_after_an_eviction() {
    let (mut lab, _) = deleted_unseen_and_evicted();
    let waits = (lab.configs[2].name.clone(), HoldsUp::Writes { deletes: 1 });
    for i in 0..2 {
        assert_eq!(lab.tombstones()[i], 1, "the delete is kept");
        assert_eq!(lab.waits(i), std::slice::from_ref(&waits));
    }
    lab.start(2);
    lab.run(50_000);
    lab.all_show("k", &[]);
    // Another node may have got the write from the third, and be gone too: only an operator knows.
    assert_eq!(lab.tombstones(), [1, 1, 1], "proposed by other dots");
    let node = lab.configs[2].name.clone();
    assert!(lab.asks(1, Request::DeclareLost { node }).is_ok());
    lab.run(10_000);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
fn a_delete_no_longer_waits_for_a_node_that_was_declared_lost() {
    let (mut lab, context) = deleted_unseen_and_evicted();
    let third = lab.configs[2].name.clone();
    let declare = |node: &str| Request::DeclareLost { node: node.into() };
    let unknown = lab.asks(0, declare("nothing"));
    assert_eq!(unknown, Err(RequestError::Lost(LostError::NotKnown)));
    assert!(matches!(
        lab.asks(0, declare(&third)),
        Ok(Response::DeclaredLost(_))
    ));
    lab.run(10_000);
    assert_eq!(lab.tombstones()[..2], [0, 0]);
    assert_eq!(lab.waits(1), []);
    lab.remove(1, "k", &context);
    lab.run(10_000);
    assert_eq!(lab.tombstones()[..2], [1, 1], "a later delete waits again");
}

#[test]
fn a_drop_marker_takes_the_versions_at_or_below_it() {
    let mut lab = lab(3, Durability::Periodic);
    lab.add(0, "k", "old").unwrap();
    lab.run(3_000);
    lab.cut_all();
    let (table, now) = (lab.node(1).table(NAME).unwrap(), lab.now);
    lab.node(1).flush(now, Some(table)).unwrap();
    lab.run(50);
    lab.add(2, "k", "new").unwrap();
    lab.reconnect();
    lab.all_show("k", &["new"]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let mut lab = lab(1, Durability::Periodic);
    lab.add(0, "k", "v").unwrap();
    let context = lab.context(0, "k");
    let key = b"k";
    let delete = lab.write_to(0, Write::Delete { key });
    assert_eq!(delete, Err(WriteError::ContextRequired));
    let put = Write::Put {
        key,
        value: Bytes::new(),
        expires: Some(Wall::from_millis(u64::MAX)),
    };
    assert_eq!(lab.write_to(0, put), Err(WriteError::ExpiryUnsupported));
    let (context, key) = (&context, b"other");
    let other = lab.write_to(0, Write::Remove { key, context });
    assert_eq!(other, Err(WriteError::Context(TokenError::OtherKey)));
    let now = lab.now;
    let unused = lab
        .node(0)
        .write(now, TableId::DEFAULT, Write::Remove { key, context });
    assert_eq!(unused, Err(WriteError::ContextUnused));
    for _ in 1..64 {
        lab.add(0, "k", "v").unwrap();
    }
    let more = lab.add(0, "k", "v");
    assert_eq!(more, Err(WriteError::TooManySiblings { limit: 64 }));
    let context = lab.context(0, "k");
    lab.replace(0, "k", "one", &context);
    lab.all_show("k", &["one"]);
    let large = |lab: &mut Lab| lab.add(0, "k", &"x".repeat(1 << 20));
    for _ in 0..3 {
        large(&mut lab).unwrap();
    }
    let limit = MAX_SIBLING_BYTES;
    let size = (4 << 20) + 3;
    assert_eq!(
        large(&mut lab),
        Err(WriteError::SiblingsTooLarge { size, limit })
    );
}

#[test]
fn tokens_are_text_and_damage_is_noticed() {
    let mut lab = lab(1, Durability::Memory);
    lab.add(0, "k", "v").unwrap();
    lab.add(0, "k", "w").unwrap();
    let token = lab.context(0, "k");
    let text = token.to_string();
    assert_eq!(text.parse(), Ok(token.clone()));
    assert_eq!(CausalToken::from_bytes(&token.to_bytes()), Ok(token));
    for at in 0..text.len() {
        let mut damaged = text.clone().into_bytes();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        let damaged = String::from_utf8(damaged).unwrap();
        assert!(damaged.parse::<CausalToken>().is_err(), "{at}");
        assert!(text[..at].parse::<CausalToken>().is_err(), "{at}");
    }
}

#[test]
fn members_agree_whatever_is_lost_and_nothing_unseen_is_replaced() {
    arbtest(|u| {
        let mut lab = lab(3, Durability::Periodic);
        let mut contexts: Vec<(CausalToken, BTreeSet<String>)> = Vec::new();
        let (mut replaced, mut written) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..u.int_in_range(1..=16)? {
            let i = u.choose_index(3)?;
            match u.int_in_range(0..=5)? {
                0 => {
                    let (a, b) = (u.choose_index(3)?, u.choose_index(3)?);
                    lab.cut = Box::new(move |from, to, _| from == a || to == b);
                }
                1 => lab.run(u.int_in_range(0..=3_000)?),
                2 if !contexts.is_empty() => {
                    let (context, seen) = u.choose(&contexts)?.clone();
                    lab.remove(i, "k", &context);
                    replaced.extend(seen);
                }
                3 | 4 if !contexts.is_empty() => {
                    let (context, seen) = u.choose(&contexts)?.clone();
                    lab.replace(i, "k", &number.to_string(), &context);
                    replaced.extend(seen);
                    written.insert(number.to_string());
                }
                _ => {
                    lab.add(i, "k", &number.to_string()).unwrap();
                    written.insert(number.to_string());
                }
            }
            lab.quiesce();
            if let Some(siblings) = lab.siblings(i, "k") {
                contexts.push((siblings.context, lab.values(i, "k")));
            }
        }
        lab.reconnect();
        let left: BTreeSet<String> = written.difference(&replaced).cloned().collect();
        for i in 0..3 {
            assert_eq!(lab.values(i, "k"), left, "n{i}");
        }
        assert_eq!(lab.tombstones(), [0, 0, 0]);
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
pub(super) fn what_a_disk_brings_back_is_replaced_again_though_it_is_forgotten_elsewhere() {
    let mut lab = lab(4, Durability::Periodic);
    lab.cut_all();
    lab.add(0, "k", "a").unwrap();
    lab.add(1, "k", "b").unwrap();
    lab.reconnect();
    let carts = gossip::record::row_key(RowClass::UsrDurableSiblings, NAME, b"k");
    let old = lab.disks[0][&carts].clone();
    let knows = lab.context(2, "k");
    lab.replace(2, "k", "both", &knows);
    lab.run(8_000);
    lab.all_show("k", &["both"]);
    assert_eq!(lab.tombstones(), [0; 4], "forgotten");
    // A record still says what was replaced: of those that start again the second knows it, as long as the fourth is down. The third has
    // forgotten it.
    for i in [0, 1, 3] {
        lab.stop(i);
    }
    lab.disks[0].insert(carts, old);
    // The one with the old row learns nothing by asking.
    lab.cut = Box::new(|_, to, msg| {
        to == 0 && matches!(msg, Message::Gossip(GossipMessage::RangeDots(_)))
    });
    lab.start(0);
    lab.start(1);
    lab.all_show_at(0, "k", &["a", "b"]);
    lab.run(20_000);
    lab.all_show("k", &["both"]);
    assert!(lab.marked(1, "row-renewed"));
    lab.start(3);
    lab.run(8_000);
    lab.all_show("k", &["both"]);
    assert_eq!(lab.tombstones(), [0; 4], "forgotten again");
}

#[test]
fn a_sibling_that_a_disk_lost_is_not_taken_for_replaced() {
    let mut lab = lab(2, Durability::Periodic);
    lab.add(0, "k", "a").unwrap();
    lab.run(4_000);
    let carts = gossip::record::row_key(RowClass::UsrDurableSiblings, NAME, b"k");
    let old = lab.disks[0][&carts].clone();
    lab.cut_all();
    let knows = lab.context(1, "k");
    lab.replace(0, "k", "left", &knows);
    lab.replace(1, "k", "right", &knows);
    lab.reconnect();
    lab.all_show("k", &["left", "right"]);
    lab.stop(0);
    lab.disks[0].insert(carts, old);
    // The one with the old row learns nothing by asking, and what the other fetches there is replaced.
    lab.cut = Box::new(|_, to, msg| {
        to == 0 && matches!(msg, Message::Gossip(GossipMessage::RangeDots(_)))
    });
    lab.start(0);
    lab.all_show_at(0, "k", &["a"]);
    lab.run(20_000);
    lab.all_show("k", &["left", "right"]);
}
