//! A cluster that forms, and one that has nothing to do.

use rumormill_core::io::Lane;
use rumormill_core::wire::{DetectorMessage, Message, Status};

use super::{Figure, Goal, Lab, Measured, Meter, Parcel, Work};

/// How long a cluster rests after it has formed, and how long it is watched, in microseconds.
const QUIESCE_US: u64 = 10_000_000;
const IDLE_US: u64 = 60_000_000;

/// Measures the time from the first start until every node has a link to every other.
pub(super) fn form(lab: &mut Lab) -> Measured {
    lab.begin();
    let formed = lab.wait_formed();
    let after_s = lab.world.now_us() as f64 / 1e6;
    let nodes = lab.nodes() as f64;
    let links = nodes * (nodes - 1.0) / 2.0;
    let bytes = lab.meter().all.bytes as f64 / links;
    let value = |value: f64| formed.then_some(value);
    Measured {
        figures: vec![
            Figure::new("formed after", "s", value(after_s)),
            Figure::new("forming, bytes per link", "B", value(bytes)),
        ],
        work: None,
    }
}

/// Measures a cluster without writes and faults.
pub(super) fn idle(lab: &mut Lab) -> Measured {
    lab.begin();
    // An empty cluster has less to say of its state.
    lab.write(0, 1);
    lab.pass(QUIESCE_US);
    lab.begin();
    lab.pass(IDLE_US);
    let periods = IDLE_US as f64 / lab.period_us() as f64;
    let seconds = IDLE_US as f64 / 1e6;
    let nodes = lab.nodes() as f64;
    let rate = |count: u64| count as f64 / nodes / seconds;
    let all = lab.meter().all;
    let per_period = probe_and_ack_bytes() as f64;
    let figures = vec![
        Figure::new("idle, bytes sent per node", "B/s", Some(rate(all.bytes)))
            .bound(per_period * periods / seconds)
            .goal(Goal::Limit(200.0)),
        Figure::new(
            "idle, messages sent per node",
            "/s",
            Some(rate(all.messages)),
        )
        .bound(2.0 * periods / seconds),
    ];
    let work = Work {
        name: "idle, CPU per node-second",
        pieces: lab.nodes() as u64 * IDLE_US / 1_000_000,
        goal_us: 3.6,
    };
    Measured {
        figures,
        work: Some(work),
    }
}

/// Bytes of a probe and its ack, without news, with numbers as long as they usually are.
fn probe_and_ack_bytes() -> u64 {
    let status = Status {
        sys: u64::MAX,
        usr: u64::MAX,
        rows: u64::MAX,
        claims: true,
        batch: u64::from(u32::MAX),
        awaits_claims: true,
        clock: u64::MAX,
        wall_ms: u64::MAX,
        settled_ms: u64::MAX,
    };
    let (nonce, rumors) = (u64::MAX, Vec::new());
    let probe = Message::Detector(DetectorMessage::Probe {
        nonce,
        status: status.clone(),
        rumors: rumors.clone(),
    });
    let ack = Message::Detector(DetectorMessage::Ack {
        nonce,
        status,
        rumors,
    });
    let mut meter = Meter::new(2);
    for msg in [probe, ack] {
        meter.sent(Parcel::of(&msg, Lane::Control));
    }
    meter.all.bytes
}
