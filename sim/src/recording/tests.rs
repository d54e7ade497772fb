use super::*;
use crate::faults::{FaultKind, FaultSet};
use crate::run::{Options, record, run};

const RUN: Options = Options {
    seed: 7,
    nodes: 3,
    minutes: 0,
    faults: FaultSet::ALL,
    trace: true,
};

#[test]
fn a_recording_is_the_trace_and_changes_nothing() {
    let report = record(&RUN, usize::MAX);
    assert_eq!(report.hash, run(&RUN).hash);
    let recording = report.recording.unwrap();
    assert_eq!(recording.cut_us(), None);
    let lines = recording.events().iter().map(|event| {
        let node = event
            .node
            .map_or_else(|| "-".to_string(), |node| format!("n{node}"));
        format!("{} {} {node} {event}", event.at_us, event.seq)
    });
    assert!(lines.eq(report.trace));
}

#[test]
fn every_message_has_its_end() {
    let report = record(&RUN, usize::MAX);
    let recording = report.recording.unwrap();
    let mut ends = 0;
    for event in recording.events() {
        let Some(flight) = event.message.and_then(|number| recording.flight(number)) else {
            let of_nodes = ["caught_up", "loses", "repaired"].contains(&event.verb);
            assert!(event.field("rows").is_none() || of_nodes, "{event}");
            continue;
        };
        ends += 1;
        if flight.outcome == Outcome::Arrived {
            assert_eq!(event.verb, flight.kind);
            assert_eq!(event.node, Some(flight.to));
            assert_eq!(
                event.field("from"),
                Some(&FieldValue::Node(Some(flight.from)))
            );
            assert!(flight.arrivals.contains(&(event.at_us, event.seq)));
            assert!(flight.sent_us <= event.at_us && flight.sent_after < event.seq);
        } else {
            assert_eq!(event.verb, flight.outcome.name());
            assert_eq!(event.node, Some(flight.from));
        }
    }
    let told: usize = recording
        .flights()
        .iter()
        .map(|flight| match flight.outcome {
            Outcome::Arrived => flight.arrivals.len(),
            Outcome::Lost | Outcome::Swallowed => 1,
            _ => 0,
        })
        .sum();
    assert_eq!(ends, told);
    // The numbers also count what was sent into links that had just closed.
    assert!(recording.flights().len() as u64 <= report.counts["messages"]);
}

#[test]
fn a_doubled_message_arrives_twice() {
    let faults = FaultSet::NONE.with(FaultKind::Dup);
    let report = record(&Options { faults, ..RUN }, usize::MAX);
    let recording = report.recording.unwrap();
    let flights = recording.flights().iter();
    let twice = flights.filter(|flight| flight.arrivals.len() == 2).count() as u64;
    // A copy that comes late may find its link gone.
    assert!((1..=report.faults["dup"]).contains(&twice), "{twice}");
}

#[test]
fn faults_have_their_time_and_nodes() {
    // Only in a longer run is a node down for long enough to be evicted.
    let long = Options {
        seed: 3,
        minutes: 1,
        ..RUN
    };
    let report = record(&long, usize::MAX);
    let recording = report.recording.unwrap();
    let mut kinds: Vec<&str> = recording.spans().iter().map(|span| span.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(
        FaultKind::ALL
            .iter()
            .all(|kind| kinds.contains(&kind.name())),
        "{kinds:?}"
    );
    for span in recording.spans() {
        assert!(
            span.until_us
                .is_some_and(|until_us| until_us > span.from_us),
            "{span:?}"
        );
        let cut = ["partition", "oneway", "partial", "bridge", "flap"].contains(&span.kind);
        assert_eq!(!span.others.is_empty(), cut, "{span:?}");
    }
}
