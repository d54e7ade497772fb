use rumormill_core::DialId;

use super::*;

fn open(net: &mut Network) -> LinkId {
    let (id, _) = net.accept(0, (0, 1), (1, 1), DialId(1));
    net.set_up(id, true);
    net.set_up(Network::other(id), true);
    id
}

fn arrivals(net: &mut Network, id: LinkId, count: u64) -> Vec<u64> {
    let mut out = Vec::new();
    for i in 0..count {
        match net.send(1_000_000 + i, id, true) {
            Fate::Arrives(at) => out.push(at),
            Fate::Twice(at, again) => out.extend([at, again]),
            _ => {}
        }
    }
    out
}

#[test]
fn a_healthy_link_keeps_order() {
    let mut net = Network::new(3, 2);
    let id = open(&mut net);
    let got = arrivals(&mut net, id, 500);
    assert_eq!(got.len(), 500);
    assert!(got.is_sorted());
}

#[test]
fn windows_lose_double_and_reorder() {
    let mut net = Network::new(3, 2);
    let id = open(&mut net);
    net.begin(0, &FaultWhat::Loss { ppm: 200_000 });
    let got = arrivals(&mut net, id, 1_000).len();
    assert!((700..900).contains(&got), "{got}");
    net.heal();
    net.begin(1, &FaultWhat::Dup { ppm: 200_000 });
    let got = arrivals(&mut net, id, 1_000).len();
    assert!((1_100..1_300).contains(&got), "{got}");
    net.end_fault(1);
    net.begin(
        2,
        &FaultWhat::Reorder {
            ppm: 1,
            by_us: 50_000,
        },
    );
    assert!(
        !arrivals(&mut net, id, 50).is_sorted(),
        "the first message of a window is always struck"
    );
}

#[test]
fn cuts_swallow_and_break() {
    let mut net = Network::new(3, 3);
    let id = open(&mut net);
    net.begin(
        0,
        &FaultWhat::OneWay {
            from: vec![0],
            to: vec![1, 2],
        },
    );
    assert_eq!(net.send(10, id, true), Fate::Swallowed { breaks: false });
    assert!(matches!(
        net.send(10, Network::other(id), true),
        Fate::Arrives(_)
    ));
    assert_eq!(
        net.send(20_000_000, id, true),
        Fate::Swallowed { breaks: true }
    );
    net.begin(
        1,
        &FaultWhat::Partition {
            left: vec![1, 2],
            right: vec![0],
        },
    );
    assert_eq!(
        net.send(10, Network::other(id), true),
        Fate::Swallowed { breaks: false }
    );
    net.end_fault(0);
    net.end_fault(1);
    assert!(matches!(net.send(20_000_001, id, true), Fate::Arrives(_)));
    assert_eq!(
        net.send(20_000_002, id, false),
        Fate::Swallowed { breaks: false }
    );
    net.set_up(Network::other(id), false);
    assert!(matches!(net.send(20_000_003, id, true), Fate::Forgotten(_)));
    assert_eq!((net.met.oneway, net.met.partition), (2, 1));
}
