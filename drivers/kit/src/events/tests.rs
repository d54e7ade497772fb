use rumormill_core::{
    Config, Instant, Node, NodeId, Now, Recovery, Seed, TableId, Wall,
    io::{Event, HangupReason},
};

use super::{Names, is_warning};

fn alpha() -> Node {
    let now = Now::new(
        Instant::from_micros(0),
        Wall::from_millis(1_700_000_000_000),
    );
    Recovery::new(Config::new("alpha", "a"), Seed::from_u64(1))
        .finish(now)
        .expect("an empty store")
}

#[test]
fn members_are_told_by_name_and_id() {
    let node = alpha();
    let (id, stranger) = (node.id(), NodeId(0xabc));
    let said = |event: &Event| Names(&node).describe(event);
    assert_eq!(
        said(&Event::MemberDown(id)),
        (
            "MemberDown",
            format!("alpha ({id}) is down; its rows are kept")
        )
    );
    let why = HangupReason::OtherCluster;
    let refused = Event::Refused {
        node: stranger,
        why,
    };
    let text = "refused a node that is no member (0000000000000abc): both sides belong to different clusters that have members";
    assert_eq!(said(&refused), ("Refused", text.to_string()));
    let resumed = Event::Resumed {
        without: vec![id, stranger],
    };
    assert!(said(&resumed).1.contains(&format!("alpha ({id}), a node")));
}

#[test]
fn a_dead_member_is_a_warning() {
    assert!(is_warning(&Event::MemberDown(NodeId(1))));
    assert!(!is_warning(&Event::MemberUp(NodeId(1))));
}

#[test]
fn a_long_key_is_cut() {
    let node = alpha();
    let unreadable = Event::Unreadable {
        table: TableId::DEFAULT,
        key: vec![0xff; 10_000].into(),
        why: rumormill_core::errors::ReadError::Missing,
    };
    let (_, text) = Names(&node).describe(&unreadable);
    assert!(text.len() < 400 && text.contains("..."), "{text}");
}
