//! A recording of one stream is worth nothing on another.

use super::*;
use crate::config::Config;
use crate::node::Node;
use crate::recovery::Recovery;
use crate::rng::Seed;
use crate::time::Now;

const STALE: LinkError = LinkError::Refused(Refusal::Proof);

fn node(seed: u64) -> Node {
    let name = if seed == 1 { "a" } else { "b" };
    Recovery::new(Config::new(name, name), Seed::from_u64(seed))
        .finish(Now::default())
        .unwrap()
}

/// Lets two ends talk, and records what each of them wrote: the left one first.
fn talk(left: &mut Connection, right: &mut Connection) -> [Vec<u8>; 2] {
    let mut wrote = [left.opening().to_vec(), right.opening().to_vec()];
    let (mut to_left, mut to_right) = (Vec::new(), Vec::new());
    left.receive(&wrote[1], &mut to_left).unwrap();
    right.receive(&wrote[0], &mut to_right).unwrap();
    for (wrote, events) in wrote.iter_mut().zip([&to_left, &to_right]) {
        let [LinkEvent::Write(proof)] = &events[..] else {
            panic!("{events:?}");
        };
        wrote.extend_from_slice(proof);
        wrote.extend_from_slice(encode(&probe(7), Lane::Control).unwrap().as_bytes());
    }
    left.receive(&wrote[1][right.opening().len()..], &mut to_left)
        .unwrap();
    right
        .receive(&wrote[0][left.opening().len()..], &mut to_right)
        .unwrap();
    for (events, from) in [(&to_left, right.ours()), (&to_right, left.ours())] {
        assert_eq!(
            events[1..],
            [LinkEvent::Up(from.clone()), LinkEvent::Message(probe(7))]
        );
    }
    wrote
}

/// Asserts that `conn` answers the bytes with the proof of their hello and a refusal, and that it tells of nothing else.
fn is_worthless(conn: &mut Connection, bytes: &[u8], piece: usize) {
    let mut events = Vec::new();
    let mut done = Ok(());
    for part in bytes.chunks(piece) {
        done = conn.receive(part, &mut events);
    }
    assert_eq!(done, Err(STALE), "pieces of {piece}");
    assert!(
        matches!(events[..], [LinkEvent::Write(_)]),
        "pieces of {piece}: {events:?}"
    );
    assert!(!conn.is_up());
    assert_eq!(conn.end(), STALE);
    assert!(conn.parting().is_some());
}

#[test]
fn a_recorded_stream_is_worthless_to_either_side_however_it_is_cut() {
    let (mut a, mut b) = (node(1), node(2));
    let limits = LinkLimits::default();
    let wrote = talk(&mut a.connection(limits), &mut b.connection(limits));
    for piece in 1..=wrote[0].len() {
        is_worthless(&mut b.connection(limits), &wrote[0], piece);
        is_worthless(&mut a.connection(limits), &wrote[1], piece);
    }
}

#[test]
fn a_recorded_stream_is_worthless_to_a_later_boot_of_the_same_seed() {
    let boot = |start_ms| {
        let now = Now {
            wall: crate::time::Wall::from_millis(start_ms),
            ..Now::default()
        };
        Recovery::new(Config::new("b", "b"), Seed::from_u64(2))
            .finish(now)
            .unwrap()
    };
    let limits = LinkLimits::default();
    let (mut first, mut second) = (boot(1_000), boot(2_000));
    assert_eq!(first.id(), second.id());
    let [from_peer, _] = talk(
        &mut node(1).connection(limits),
        &mut first.connection(limits),
    );
    is_worthless(&mut second.connection(limits), &from_peer, usize::MAX);
}

#[test]
fn no_two_streams_have_one_nonce() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..10 {
        let mut node = node(seed);
        for _ in 0..100 {
            assert!(seen.insert(node.nonce().bits()));
        }
    }
}

#[test]
fn nothing_is_believed_before_the_proof() {
    let opening = peer("a").opening().to_vec();
    let (events, done) = feed(&mut connection(), [&opening[..]]);
    assert_eq!(done, Ok(()));
    assert_eq!(events, shaken()[..1], "the hello alone brings no link up");

    let whole = encode(&probe(1), Lane::Control).unwrap();
    let first = encode(&push(2 * CHUNK_BYTES), Lane::Bulk)
        .unwrap()
        .next()
        .unwrap();
    for (what, early) in [
        ("a message", &whole.as_bytes()[..]),
        ("a piece of one", &first[..]),
        ("hello again", &opening[MAGIC.len()..]),
    ] {
        let bytes = [&opening[..], early, &proof(2)].concat();
        for piece in [1, bytes.len()] {
            let (events, done) = feed(&mut connection(), bytes.chunks(piece));
            assert_eq!(
                (done, events),
                (Err(LinkError::Malformed), shaken()[..1].to_vec()),
                "{what} before the proof, in pieces of {piece}"
            );
        }
    }
    let early = [&MAGIC[..], &proof(2), &opening[MAGIC.len()..]].concat();
    let (events, done) = feed(&mut connection(), [&early[..]]);
    assert_eq!(
        (done, events),
        (Err(LinkError::Malformed), vec![]),
        "a proof before the hello"
    );
}

#[test]
fn a_wrong_proof_is_refused_and_both_sides_hear_why() {
    let opening = peer("a").opening();
    // Every bit of the nonce counts.
    for bit in 0..128 {
        let mut bits = nonce(2).bits();
        bits[bit / 64] ^= 1 << (bit % 64);
        #[derive(serde::Serialize)]
        struct Proof {
            nonce: Nonce,
        }
        let wrong = rmp_serde::to_vec_named(&Proof {
            nonce: Nonce::new(bits),
        });
        let wrong = frame(Kind::Proof, &wrong.unwrap());
        is_worthless(&mut connection(), &[&opening[..], &wrong].concat(), 1_000);
    }
    let mut conn = connection();
    is_worthless(&mut conn, &[&opening[..], &proof(1)].concat(), 1_000);
    // The peer may be up by then, or still wait for a proof.
    for proved in [&proof(1)[..], &[]] {
        let mut at_peer = peer("a");
        let heard = [
            &connection().opening()[..],
            proved,
            &conn.parting().unwrap(),
        ]
        .concat();
        assert_eq!(feed(&mut at_peer, [&heard[..]]).1, Err(STALE));
    }
}

#[test]
fn what_is_no_proof_is_malformed() {
    let opening = peer("a").opening();
    for payload in [&b""[..], b"\x80", b"\xc0", b"\x81\xa5nonce\x91\x01"] {
        let bytes = [&opening[..], &frame(Kind::Proof, payload)].concat();
        let (events, done) = feed(&mut connection(), [&bytes[..]]);
        assert_eq!(
            (done, events.len()),
            (Err(LinkError::Malformed), 1),
            "{payload:?}"
        );
    }
}

#[test]
fn an_echo_is_refused() {
    let mut conn = connection();
    let opening = conn.opening();
    let (events, done) = feed(&mut conn, [&opening[..]]);
    assert_eq!((done, events), (Err(STALE), vec![]));
}

#[test]
fn a_hello_without_a_nonce_is_refused_by_its_version_and_says_so_to_both() {
    let older = Hello {
        versions: (2, 2),
        ..hello("a")
    };
    let payload = rmp_serde::to_vec_named(&older).unwrap();
    let bytes = [&MAGIC[..], &frame(Kind::Hello, &payload)].concat();
    let mut conn = connection();
    let (events, done) = feed(&mut conn, [&bytes[..]]);
    let refused = |theirs| LinkError::Refused(Refusal::Version { theirs });
    assert_eq!((done, events), (Err(refused((2, 2))), vec![]));
    // A program of version 2 reads the hello of today and refuses it for its own part, or reads this.
    let parting = [&MAGIC[..], &conn.parting().unwrap()].concat();
    assert_eq!(
        feed(&mut peer("a"), [&parting[..]]).1,
        Err(refused(VERSIONS))
    );

    let payload = rmp_serde::to_vec_named(&hello("a")).unwrap();
    let bytes = [&MAGIC[..], &frame(Kind::Hello, &payload)].concat();
    assert_eq!(
        feed(&mut connection(), [&bytes[..]]).1,
        Err(LinkError::Malformed),
        "a hello of today has a nonce"
    );
}
