//! Wall clocks that are wrong are told, on all sides.

use std::vec::Vec;

use super::*;
use crate::wire::{DetectorMessage, Message};

/// A moment a second later, with a wall clock that is ahead by so many milliseconds.
fn later(now: Now, ahead_ms: i64) -> Now {
    let wall = now.wall.as_millis().saturating_add_signed(ahead_ms) + 1_000;
    Now::new(now.mono + Duration::from_secs(1), Wall::from_millis(wall))
}

/// Returns the events of node 0 about clocks when its own is ahead by so much.
fn told(lab: &mut Lab, ahead_ms: i64) -> Vec<Event> {
    let now = later(lab.now, ahead_ms);
    lab.node(0).handle(now, Input::Tick);
    lab.now = later(lab.now, 0);
    lab.events.clear();
    lab.quiesce();
    let clocks = |event: &Event| matches!(event, Event::ClockWrong(_) | Event::ClockRight { .. });
    let events = lab.events.iter().filter(|(at, _)| *at == 0);
    events
        .map(|(_, event)| event.clone())
        .filter(clocks)
        .collect()
}

#[test]
pub(super) fn a_wrong_clock_is_told_until_it_is_right() {
    const DAY: i64 = 86_400_000;
    for (count, by_ms) in [(3, DAY), (3, -DAY), (2, DAY)] {
        let mut lab = Lab::new(count, Storage::Ordered, true);
        lab.run(20_000);
        assert_eq!(told(&mut lab, 290_000), [], "within the limit");
        let events = told(&mut lab, by_ms);
        let [Event::ClockWrong(clock)] = &events[..] else {
            panic!("a wrong clock is told once: {events:?}");
        };
        // Two peers judge this node; of two clocks each is wrong for the other.
        let (judged, me) = (lab.node(0).id(), count > 2);
        assert_eq!((clock.node == judged, clock.me), (me, me));
        assert_eq!(clock.by_ms.abs() / 10_000, DAY / 10_000);
        assert_eq!(clock.by_ms > 0, (by_ms > 0) == me);
        assert!(!clock.name.is_empty());
        assert_eq!(told(&mut lab, by_ms), [], "and not again");
        let now = lab.now;
        let status = lab.node(0).status(now);
        assert_eq!(status.wrong_clocks.len(), 1);
        let events = told(&mut lab, 0);
        assert!(
            matches!(&events[..], [Event::ClockRight { node, .. }] if *node == clock.node),
            "{events:?}"
        );
        let now = lab.now;
        assert_eq!(lab.node(0).status(now).wrong_clocks, []);
    }
}

#[test]
fn a_peer_whose_clock_is_wrong_is_named_by_the_others() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(20_000);
    let ids: Vec<NodeId> = (0..3).map(|i| lab.node(i).id()).collect();
    // Each of the others hears node 2 at its next second, a day behind.
    for i in 0..2 {
        let now = lab.now;
        let link = *lab
            .wires
            .iter()
            .find(|(at, peer)| at.0 == i && peer.0 == 2)
            .map(|((_, link), _)| link)
            .unwrap();
        let mut status = lab.node(2).own_status();
        status.wall_ms -= 86_400_000;
        let msg = Message::Detector(DetectorMessage::Probe {
            nonce: 0,
            status,
            rumors: Vec::new(),
        });
        lab.node(i).handle(now, Input::Message { link, msg });
        let now = later(now, 0);
        lab.node(i).handle(now, Input::Tick);
    }
    lab.quiesce();
    for i in 0..2 {
        let wrong = lab.events.iter().find_map(|(at, event)| match event {
            Event::ClockWrong(clock) if *at == i => Some(clock.clone()),
            _ => None,
        });
        let clock = wrong.expect("it is named");
        assert_eq!((clock.node, clock.me), (ids[2], false), "n{i}");
        assert!(clock.by_ms < -86_000_000);
        let text = std::format!("{clock}");
        assert!(
            text.starts_with("the clock of n2 ") && text.ends_with("behind this node's"),
            "{text}"
        );
    }
}
