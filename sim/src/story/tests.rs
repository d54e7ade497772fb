use rumormill_core::Actor;
use rumormill_core::wire::{
    ClassContext, DetectorMessage, DotRange, GossipMessage, RangeDots, RangeSum, Row, RowBatch,
    Status,
};

use super::*;

fn hash(msg: &Message) -> u64 {
    let mut trace = Trace::default();
    received(&mut trace, &Ids::new(), 0, 0, 1, msg);
    trace.hash()
}

fn compare(change: impl FnOnce(&mut RangeSum)) -> Message {
    let actor = Actor {
        node: NodeId(1),
        boot: 2,
    };
    let mut compare = RangeSum {
        round: 3,
        sys: 4,
        usr: 5,
        ranges: vec![DotRange {
            class: 1,
            from: (actor, 6),
            to: Some((actor, 7)),
            sum: 8,
        }],
    };
    change(&mut compare);
    Message::Gossip(GossipMessage::RangeSum(compare))
}

fn compared(change: impl FnOnce(&mut RangeDots)) -> Message {
    let actor = Actor {
        node: NodeId(1),
        boot: 2,
    };
    let mut compared = RangeDots {
        round: 3,
        sys: 4,
        usr: 5,
        shown: vec![ClassContext {
            class: 1,
            actors: vec![(actor, vec![(6, 7)])],
        }],
    };
    change(&mut compared);
    Message::Gossip(GossipMessage::RangeDots(compared))
}

fn probe(change: impl FnOnce(&mut Status)) -> Message {
    let mut status = Status {
        sys: 1,
        usr: 2,
        rows: 3,
        claims: true,
        batch: 7,
        awaits_claims: false,
        clock: 4,
        wall_ms: 5,
        settled_ms: 4,
    };
    change(&mut status);
    Message::Detector(DetectorMessage::Probe {
        nonce: 0,
        status,
        rumors: Vec::new(),
    })
}

fn push(change: impl FnOnce(&mut RowBatch)) -> Message {
    let actor = Actor {
        node: NodeId(1),
        boot: 2,
    };
    let mut batch = RowBatch {
        actors: vec![actor],
        tables: Vec::new(),
        rows: vec![Row {
            table: 0,
            actor: 0,
            counter: 1,
            clock: 2,
            expires: 0,
            key: "k".into(),
            value: None,
        }],
    };
    change(&mut batch);
    Message::Gossip(GossipMessage::Push(batch))
}

#[test]
fn messages_that_differ_in_one_field_have_different_hashes() {
    let messages = [
        compare(|_| {}),
        compare(|compare| compare.round = 9),
        compare(|compare| compare.sys = 9),
        compare(|compare| compare.usr = 9),
        compare(|compare| compare.ranges[0].class = 0),
        compare(|compare| compare.ranges[0].from.0.node.0 = 9),
        compare(|compare| compare.ranges[0].from.1 = 9),
        compare(|compare| compare.ranges[0].to = None),
        compare(|compare| compare.ranges[0].sum = 9),
        compared(|_| {}),
        compared(|compared| compared.round = 9),
        compared(|compared| compared.sys = 9),
        compared(|compared| compared.usr = 9),
        compared(|compared| compared.shown[0].class = 9),
        compared(|compared| compared.shown[0].actors[0].0.node.0 = 9),
        compared(|compared| compared.shown[0].actors[0].1[0].1 = 9),
        probe(|_| {}),
        probe(|status| status.rows = 9),
        probe(|status| status.awaits_claims = true),
        probe(|status| status.wall_ms = 9),
        probe(|status| status.settled_ms = 9),
        push(|_| {}),
        push(|batch| batch.actors[0].node.0 = 9),
        push(|batch| batch.actors[0].boot = 9),
        push(|batch| batch.rows[0].value = Some("v".into())),
    ];
    let hashes: std::collections::BTreeSet<u64> = messages.iter().map(hash).collect();
    assert_eq!(hashes.len(), messages.len());
}
