//! Input of peers and clients that a node need not believe: it is refused with a reason that is counted, and nothing acknowledged is lost.

use arbitrary::Unstructured;
use arbtest::arbtest;

use super::*;
use crate::table::Hlc;
use crate::wire::{
    ClaimNumber, ClassContext, ClusterMessage, DetectorMessage, GossipMessage, Message, Pull, Row,
    RowBatch, Rumor, RumorState, Status, TableRef,
};

impl Lab {
    fn hears(&mut self, msg: Message) {
        let peer = self.nodes[1].as_ref().unwrap().id();
        let link = self.node(0).cluster.links.of(peer).unwrap();
        let now = self.now;
        self.node(0).handle(now, Input::Message { link, msg });
        self.node(0).inspect().check();
    }

    fn refused(&self, why: Refusal) -> u64 {
        let mut all = self.nodes[0].as_ref().unwrap().inspect().refusals();
        all.find(|(reason, _)| *reason == why)
            .map_or(0, |(_, count)| count)
    }

    fn pair() -> Lab {
        let mut lab = Lab::new(2, Storage::Ordered, true);
        lab.run(3_000);
        lab.put(0, "kept", "v");
        lab.run(1_000);
        lab
    }
}

fn actor(node: u64) -> Actor {
    Actor {
        node: NodeId(node),
        boot: 1,
    }
}

fn row(counter: u64, clock: u64) -> Row {
    Row {
        table: 0,
        actor: 0,
        counter,
        clock,
        expires: 0,
        key: Bytes::from_static(b"theirs"),
        value: Some(Bytes::from_static(b"v")),
    }
}

fn put(key: &'static [u8], value: &'static [u8]) -> Write<'static> {
    Write::Put {
        key,
        value: Bytes::from_static(value),
        expires: None,
    }
}

fn push(actor: Actor, class: u8, table: &str, row: Row) -> Message {
    Message::Gossip(GossipMessage::Push(RowBatch {
        actors: std::vec![actor],
        tables: std::vec![TableRef {
            class,
            name: table.into(),
        }],
        rows: std::vec![row],
    }))
}

fn status(clock: u64) -> Status {
    Status {
        sys: 1,
        usr: 1,
        rows: 0,
        claims: false,
        batch: 7,
        awaits_claims: false,
        clock,
        wall_ms: clock,
        settled_ms: clock,
    }
}

fn pull(have: Vec<ClassContext>) -> Message {
    pull_with(wire::PullBasis::Whole(have))
}

fn compare(have: Vec<ClassContext>) -> Message {
    pull_with(wire::PullBasis::Compare(have))
}

fn pull_with(basis: wire::PullBasis) -> Message {
    Message::Gossip(GossipMessage::Pull(Pull {
        // Above all that the members have asked for by themselves.
        session: 1 << 60,
        basis,
        durable: None,
        status: status(0),
    }))
}

fn covers(actors: Vec<(Actor, Vec<(u64, u64)>)>) -> ClassContext {
    ClassContext { class: 1, actors }
}

fn rumor(node: u64) -> Rumor {
    Rumor {
        node: NodeId(node),
        generation: u64::MAX,
        incarnation: u64::MAX,
        state: RumorState::Alive,
        from: NodeId(node),
    }
}

/// Every kind of message that breaks the protocol, with the reason.
fn broken() -> Vec<(Message, Refusal)> {
    let (some, good) = (actor(77), || row(1, 5));
    let one = |runs| std::vec![covers(std::vec![(some, runs)])];
    let twice = std::vec![(some, std::vec![(1, 2)]), (some, std::vec![(4, 5)])];
    let crowd = (0..65).map(rumor).collect();
    std::vec![
        (push(some, 9, "default", good()), Refusal::UnknownClass),
        (push(some, 1, "", good()), Refusal::BadTableName),
        (push(some, 1, "strong:t", good()), Refusal::BadTableName),
        (push(some, 0, "nobody", good()), Refusal::UnknownSystemTable),
        (push(some, 1, "default", row(0, 5)), Refusal::BadRow),
        (push(some, 1, "default", row(u64::MAX, 5)), Refusal::BadRow),
        (pull(one(std::vec![(5, 4)])), Refusal::BadRuns),
        (pull(one(std::vec![(1, u64::MAX)])), Refusal::BadRuns),
        (compare(one(std::vec![(5, 4)])), Refusal::BadRuns),
        (compare(one(std::vec![(1, 2), (2, 3)])), Refusal::BadRuns),
        (
            compare(std::vec![covers(twice.clone())]),
            Refusal::ActorTwice
        ),
        (pull(std::vec![covers(twice)]), Refusal::ActorTwice),
        (
            pull(std::vec![covers(Vec::new()), covers(Vec::new())]),
            Refusal::ClassTwice
        ),
        (
            Message::Detector(DetectorMessage::Probe {
                nonce: 1,
                status: status(0),
                rumors: crowd,
            }),
            Refusal::TooManyRumors
        ),
    ]
}

#[test]
fn a_message_that_breaks_the_protocol_is_refused_with_its_reason() {
    for (msg, why) in broken() {
        let mut lab = Lab::pair();
        let members = lab.node(0).members();
        lab.hears(msg);
        assert_eq!(lab.refused(why), 1, "{why:?}");
        assert_eq!(lab.get(0, "theirs"), None, "{why:?}");
        assert_eq!(lab.node(0).members(), members, "{why:?}");
        assert!(lab.marked(0, "protocol-violation"));
        assert_eq!(lab.everywhere("kept"), std::vec![value("v"); 2], "{why:?}");
    }
}

#[test]
fn a_dot_of_this_boot_that_it_has_not_issued_is_refused() {
    let mut lab = Lab::pair();
    let me = lab.node(0).actor();
    lab.hears(push(me, 1, "default", row(1_000, 5)));
    assert_eq!(
        (lab.refused(Refusal::OwnDot), lab.get(0, "theirs")),
        (1, None)
    );
    // A context that claims the same covers nothing here: the next write still gets out.
    let claimed = [(1_u64, 1_000)];
    let context: Context = [(me, Runs::from_wire(&claimed).unwrap())]
        .into_iter()
        .collect();
    let adopt = [(crate::table::RowClass::UsrDurable, context)];
    let node = lab.node(0);
    node.modes
        .gossip
        .replica_mut()
        .adopt(&mut node.fx, &adopt, Hlc(0));
    assert_eq!(lab.refused(Refusal::OwnDot), 2);
    lab.put(0, "mine", "w");
    lab.quiesce();
    assert_eq!(lab.everywhere("mine"), std::vec![value("w"); 2]);
}

#[test]
fn the_largest_counter_and_clock_of_a_peer_leave_room_for_other_writes() {
    let mut lab = Lab::pair();
    let largest = Hlc::MAX.0;
    lab.hears(push(actor(77), 1, "default", row(u64::MAX - 1, largest)));
    assert_eq!(
        lab.get(0, "theirs"),
        value("v"),
        "within the hard maximum it merges"
    );
    assert_eq!(lab.refused(Refusal::ClockAhead), 1);
    lab.put(0, "mine", "w");
    lab.quiesce();
    assert_eq!(lab.everywhere("mine"), std::vec![value("w"); 2]);
    let limit = lab.now.wall + lab.configs[0].limits.clock_drift;
    assert!(lab.node(0).modes.gossip.replica().clock() <= Hlc::at(limit));
    let (now, key) = (lab.now, &b"theirs"[..]);
    let delete = Write::Delete { key };
    for write in [put(key, b"w"), delete] {
        let refused = lab.node(0).write(now, TableId::DEFAULT, write);
        assert_eq!(refused, Err(WriteError::LastClock));
    }
    assert_eq!(lab.get(0, "theirs"), value("v"), "nothing was changed");
}

#[test]
fn a_row_from_the_far_future_can_be_replaced_and_drags_nothing_along() {
    let mut lab = Lab::pair();
    let far = Hlc::at(lab.now.wall + Duration::from_secs(30 * 86_400));
    lab.hears(push(actor(77), 1, "default", row(1, far.0)));
    let now = lab.now;
    let theirs = put(b"theirs", b"w");
    let accepted = lab.node(0).write(now, TableId::DEFAULT, theirs).unwrap();
    assert_eq!(accepted.version.clock, far.next());
    let mine = lab.node(0).write(now, TableId::DEFAULT, put(b"mine", b"w"));
    let limit = now.wall + lab.configs[0].limits.clock_drift;
    assert!(mine.unwrap().version.clock <= Hlc::at(limit));
    lab.quiesce();
    assert_eq!(lab.everywhere("theirs"), std::vec![value("w"); 2]);
}

#[test]
pub(super) fn a_node_whose_clock_is_ahead_of_all_others_gives_out_no_clocks() {
    let limit = Config::new("n", "n").limits.clock_drift;
    let ahead = |now: Now, by: Duration| Now::new(now.mono, now.wall + by);
    for (count, refuses) in [(2, false), (3, true)] {
        let mut lab = Lab::new(count, Storage::Ordered, true);
        lab.run(20_000);
        let now = lab.now;
        let within = ahead(now, limit);
        lab.node(0)
            .write(within, TableId::DEFAULT, put(b"k", b"v"))
            .unwrap();
        let beyond = ahead(now, limit + Duration::from_secs(7));
        let refused = lab.node(0).write(beyond, TableId::DEFAULT, put(b"k", b"w"));
        let limit_ms = u64::try_from(limit.as_millis()).unwrap();
        let expected = refuses.then_some(WriteError::ClockAhead {
            ahead_ms: limit_ms + 7_000,
            limit_ms,
        });
        assert_eq!(
            refused.err(),
            expected,
            "which of two clocks is wrong cannot be known"
        );
        assert_eq!(lab.refused(Refusal::WriteClockAhead), u64::from(refuses));
        // Set right it gives out clocks again, and so does a node that has long heard no peer.
        lab.node(0)
            .write(now, TableId::DEFAULT, put(b"k", b"x"))
            .unwrap();
        let alone = Now::new(now.mono + Duration::from_secs(61), beyond.wall);
        lab.node(0)
            .write(alone, TableId::DEFAULT, put(b"k", b"y"))
            .unwrap();
    }
}

#[test]
fn an_earlier_generation_and_a_copy_are_refused_with_the_reason() {
    let mut lab = Lab::pair();
    let hello = lab.nodes[1].as_ref().unwrap().hello();
    let mut old = hello.clone();
    old.generation -= 1;
    old.actor.boot ^= 1;
    let mut copy = hello;
    copy.actor.boot ^= 1;
    for (link, hello, why) in [
        (900, old, Refusal::SealedGeneration),
        (901, copy, Refusal::IdInUse),
    ] {
        let (now, link, dial) = (lab.now, LinkId(link), None);
        lab.node(0).handle(now, Input::LinkUp { link, dial, hello });
        assert_eq!(lab.refused(why), 1);
    }
    assert_eq!(lab.node(0).members().len(), 2);
}

fn any_message(u: &mut Unstructured<'_>) -> arbitrary::Result<Message> {
    let (counter, clock) = (u.arbitrary()?, u.arbitrary()?);
    let some = actor(u.int_in_range(70..=72)?);
    let runs = std::vec![(u.arbitrary()?, u.arbitrary()?)];
    let dots = std::vec![covers(std::vec![(some, runs.clone())])];
    let push_of = |u: &mut Unstructured<'_>| -> arbitrary::Result<RowBatch> {
        let table = u.int_in_range(0..=3)?;
        match push(some, table, "default", row(counter, clock)) {
            Message::Gossip(GossipMessage::Push(batch)) => Ok(batch),
            _ => Err(arbitrary::Error::IncorrectFormat),
        }
    };
    Ok(match u.int_in_range(0..=20)? {
        19 => compare(dots),
        20 => Message::Gossip(GossipMessage::Page(wire::Page {
            session: u.int_in_range(0..=2)?,
            page: u.int_in_range(0..=2)?,
            rows: push_of(u)?,
            kept: dots.clone(),
            last: u.arbitrary::<bool>()?.then_some(wire::Snapshot {
                contexts: dots,
                freed: clock,
                freed_on: Vec::new(),
            }),
        })),
        18 => Message::Cluster(ClusterMessage::Holds(std::vec![ClaimNumber {
            generation: u.arbitrary()?,
            batch: counter,
        }])),
        10 => Message::Gossip(GossipMessage::Forward {
            cuts: std::vec![NodeId(clock), NodeId(u.arbitrary()?)],
            rows: push_of(u)?,
        }),
        11 => Message::Gossip(GossipMessage::IHave(dots)),
        12 => Message::Gossip(GossipMessage::Graft(dots)),
        13 => Message::Gossip(GossipMessage::RangeSum(wire::RangeSum {
            round: counter,
            sys: u.arbitrary()?,
            usr: u.arbitrary()?,
            ranges: std::vec![wire::DotRange {
                class: u.int_in_range(0..=3)?,
                from: (some, counter),
                to: u.arbitrary::<bool>()?.then_some((some, clock)),
                sum: clock,
            }],
        })),
        14 => Message::Gossip(GossipMessage::RangeDots(wire::RangeDots {
            round: u.int_in_range(0..=2)?,
            sys: u.arbitrary()?,
            usr: u.arbitrary()?,
            shown: dots,
        })),
        16 => Message::Gossip(GossipMessage::AskClaims(std::vec![wire::ClaimAsk {
            node: NodeId(clock),
            clock: counter,
            dots: u.arbitrary()?,
            hops: u.arbitrary()?,
        }])),
        17 => Message::Gossip(GossipMessage::Claims(std::vec![wire::RelayedClaim {
            node: some.node,
            generation: u.arbitrary()?,
            batch: u.arbitrary()?,
            clock,
            contexts: dots,
        }])),
        15 => Message::Gossip(GossipMessage::DigestDiff {
            session: u.int_in_range(0..=2)?,
            scope: std::vec![wire::ClassScope {
                class: u.int_in_range(0..=3)?,
                buckets: clock,
            }],
            at: counter,
        }),
        0..=2 => push(some, u.int_in_range(0..=3)?, "default", row(counter, clock)),
        3 => pull(std::vec![covers(std::vec![(some, runs)])]),
        4 => Message::Detector(DetectorMessage::Probe {
            nonce: counter,
            status: Status {
                sys: u.arbitrary()?,
                usr: u.arbitrary()?,
                rows: u.arbitrary()?,
                claims: u.arbitrary()?,
                batch: u.arbitrary()?,
                awaits_claims: u.arbitrary()?,
                clock,
                wall_ms: u.arbitrary()?,
                settled_ms: u.arbitrary()?,
            },
            rumors: std::vec![rumor(u.int_in_range(0..=80)?)],
        }),
        5 => Message::Gossip(GossipMessage::PageAck {
            session: u.int_in_range(0..=2)?,
            page: u.arbitrary()?,
        }),
        6 => Message::Gossip(GossipMessage::Refused { session: counter }),
        7 => Message::Detector(DetectorMessage::IndirectProbe {
            nonce: counter,
            target: NodeId(clock),
            rumors: Vec::new(),
        }),
        8 => Message::Cluster(ClusterMessage::Evict {
            round: counter,
            node: NodeId(clock),
            generation: u.arbitrary()?,
            force: u.arbitrary()?,
        }),
        _ => Message::Cluster(ClusterMessage::EvictVote {
            round: counter,
            agrees: u.arbitrary()?,
        }),
    })
}

#[test]
fn any_messages_in_any_order_lose_no_acknowledged_row() {
    arbtest(|u| {
        let mut lab = Lab::pair();
        let peer = lab.nodes[1].as_ref().unwrap().id();
        for _ in 0..u.int_in_range(1..=12)? {
            let msg = any_message(u)?;
            for _ in 0..u.int_in_range(1..=2)? {
                // A link that was closed for a violation is made anew.
                while lab.node(0).cluster.links.of(peer).is_none() {
                    lab.run(1_000);
                }
                lab.hears(msg.clone());
            }
        }
        assert_eq!(lab.get(0, "kept"), value("v"));
        assert!(lab.node(0).members().len() <= 2, "nobody was made up");
        Ok(())
    })
    .budget_ms(2_000);
}
