#![cfg(feature = "std")]

use alloc::vec;
use alloc::vec::Vec;
use std::string::ToString;

use bytes::Bytes;

use super::frame::{CHUNK_BYTES, HEADER_BYTES, Kind, put};
use super::*;
use crate::id::NodeId;
use crate::io::{Lane, LinkError};
use crate::wire::{
    ClusterMessage, DetectorMessage, GossipMessage, Message, Row, RowBatch, Rumor, RumorState,
    Status,
};

mod replayed;

fn hello(name: &str) -> Hello {
    Hello {
        versions: VERSIONS,
        cluster_name: "rumormill".to_string(),
        cluster: ClusterId(7),
        actor: Actor {
            node: NodeId(1),
            boot: 2,
        },
        generation: 3,
        name: name.to_string(),
        addr: "127.0.0.1:7400".to_string(),
    }
}

fn probe(nonce: u64) -> Message {
    let status = Status {
        sys: 1,
        usr: 2,
        rows: u64::MAX,
        claims: true,
        batch: 7,
        awaits_claims: true,
        clock: nonce,
        wall_ms: nonce,
        settled_ms: nonce,
    };
    let rumor = Rumor {
        node: NodeId(4),
        generation: 1,
        incarnation: 0,
        state: RumorState::Suspect,
        from: NodeId(5),
    };
    Message::Detector(DetectorMessage::Probe {
        nonce,
        status,
        rumors: vec![rumor],
    })
}

fn push(value: usize) -> Message {
    let row = Row {
        table: 0,
        actor: 0,
        counter: 1,
        clock: 9,
        expires: 0,
        key: Bytes::from_static(b"k"),
        value: Some((0..value).map(|i| i as u8).collect::<Vec<u8>>().into()),
    };
    Message::Gossip(GossipMessage::Push(RowBatch {
        actors: Vec::new(),
        tables: Vec::new(),
        rows: vec![row],
    }))
}

fn bytes_of(msg: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    crate::wire::encode(msg, &mut out).unwrap();
    out
}

fn small_limits() -> LinkLimits {
    LinkLimits {
        message_bytes: 1 << 20,
        ..LinkLimits::default()
    }
}

fn nonce(n: u64) -> Nonce {
    Nonce::new([n, !n])
}

/// The end of `b`, which draws the nonce 2.
fn connection() -> Connection {
    Connection::new(hello("b"), nonce(2), small_limits())
}

/// The end of its peer, which draws the nonce 1.
fn peer(name: &str) -> Connection {
    Connection::new(hello(name), nonce(1), LinkLimits::default())
}

fn proof(n: u64) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Proof {
        nonce: Nonce,
    }
    let proof = Proof { nonce: nonce(n) };
    frame(Kind::Proof, &rmp_serde::to_vec_named(&proof).unwrap())
}

/// Returns the bytes that the peer of [`connection`] writes until both are up.
fn handshake() -> Vec<u8> {
    [&peer("a").opening()[..], &proof(2)].concat()
}

/// Returns the events that [`connection`] makes of those bytes.
fn shaken() -> Vec<LinkEvent> {
    vec![LinkEvent::Write(proof(1).into()), LinkEvent::Up(hello("a"))]
}

/// A connection that is up.
fn greeted() -> Connection {
    let mut conn = connection();
    conn.receive(&handshake(), &mut Vec::new()).unwrap();
    assert!(conn.is_up());
    conn
}

fn feed<'a>(
    conn: &mut Connection,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<LinkEvent>, Result<(), LinkError>) {
    let mut events = Vec::new();
    let mut done = Ok(());
    for piece in pieces {
        done = conn.receive(piece, &mut events);
    }
    (events, done)
}

fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, kind, [payload, &[]]);
    out
}

/// A probe on Control between the pieces of a push on Bulk.
fn stream() -> (Vec<u8>, Vec<LinkEvent>) {
    let (mut out, mut want) = (handshake(), shaken());
    out.extend_from_slice(encode(&probe(1), Lane::Control).unwrap().as_bytes());
    want.push(LinkEvent::Message(probe(1)));
    for (i, piece) in encode(&push(3 * CHUNK_BYTES), Lane::Bulk)
        .unwrap()
        .enumerate()
    {
        out.extend_from_slice(&piece);
        if i == 1 {
            out.extend_from_slice(encode(&probe(2), Lane::Control).unwrap().as_bytes());
            want.push(LinkEvent::Message(probe(2)));
        }
    }
    want.push(LinkEvent::Message(push(3 * CHUNK_BYTES)));
    out.extend_from_slice(
        encode(&Message::Cluster(ClusterMessage::Leave), Lane::Sys)
            .unwrap()
            .as_bytes(),
    );
    want.push(LinkEvent::Message(Message::Cluster(ClusterMessage::Leave)));
    (out, want)
}

#[test]
fn every_split_gives_the_same_events() {
    let (bytes, want) = stream();
    assert!(handshake().len() < 400, "all of it is cut below");
    for at in 0..=bytes.len() {
        // Splits within the pieces of the push are all alike.
        if at > 400 && at < bytes.len() - 400 && at % 997 != 0 {
            continue;
        }
        let mut conn = connection();
        let (events, done) = feed(&mut conn, [&bytes[..at], &bytes[at..]]);
        assert_eq!((done, events == want), (Ok(()), true), "split at {at}");
        assert_eq!(conn.end(), LinkError::Closed);
    }
    for step in [1, 2, 7, 8, 9, 10, 1000, 20_000] {
        let (events, done) = feed(&mut connection(), bytes.chunks(step));
        assert_eq!((done, events == want), (Ok(()), true), "pieces of {step}");
    }
}

#[test]
fn a_stream_that_ends_within_a_message_is_malformed() {
    let (bytes, _) = stream();
    for at in [1, 4 + 1, 4 + HEADER_BYTES, bytes.len() - 1, bytes.len() / 2] {
        let mut conn = connection();
        let (_, done) = feed(&mut conn, [&bytes[..at]]);
        assert_eq!(
            (done, conn.end()),
            (Ok(()), LinkError::Malformed),
            "cut at {at}"
        );
    }
    let first = encode(&push(2 * CHUNK_BYTES), Lane::Bulk)
        .unwrap()
        .next()
        .unwrap();
    let mut conn = greeted();
    let (_, done) = feed(&mut conn, [&first[..]]);
    assert_eq!(
        (done, conn.end()),
        (Ok(()), LinkError::Malformed),
        "cut between frames"
    );
}

#[test]
fn pieces_are_small_and_shared() {
    let frames = encode(&push(100_000), Lane::Bulk).unwrap();
    let sizes: Vec<usize> = frames.clone().map(|frame| frame.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), frames.len());
    assert_eq!(sizes.len(), 7);
    assert!(
        sizes
            .iter()
            .all(|size| *size <= CHUNK_BYTES + HEADER_BYTES + 4)
    );
    assert_eq!(encode(&probe(1), Lane::Control).unwrap().count(), 1);
}

/// Returns the error of `a` when `b` has opened, and the one that `b` finds in the parting.
fn refused(a: Hello, b: Hello) -> (LinkError, Option<LinkError>) {
    let mut left = Connection::new(a, nonce(1), LinkLimits::default());
    let opening = Connection::new(b.clone(), nonce(2), LinkLimits::default()).opening();
    let (events, done) = feed(&mut left, [&opening[..]]);
    assert!(events.is_empty());
    // The peer's own check is left out, as if it had been content.
    let mut right = Connection::new(b.clone(), nonce(2), LinkLimits::default());
    let content = Connection::new(b, nonce(1), LinkLimits::default()).opening();
    let heard = left
        .parting()
        .map(|parting| feed(&mut right, [&content[..], &parting]).1.unwrap_err());
    (done.unwrap_err(), heard)
}

#[test]
fn other_versions_and_clusters_are_refused_with_a_reason_for_both() {
    let newer = Hello {
        versions: (VERSIONS.1 + 1, VERSIONS.1 + 4),
        ..hello("b")
    };
    let older = Hello {
        versions: (0, 0),
        ..hello("b")
    };
    let other = Hello {
        cluster_name: "other".to_string(),
        ..hello("b")
    };
    let version = |theirs| LinkError::Refused(Refusal::Version { theirs });
    let cluster = |theirs: &str| {
        LinkError::Refused(Refusal::ClusterName {
            theirs: theirs.to_string(),
        })
    };
    assert_eq!(
        refused(hello("a"), newer),
        (
            version((VERSIONS.1 + 1, VERSIONS.1 + 4)),
            Some(version(VERSIONS))
        )
    );
    assert_eq!(
        refused(hello("a"), older),
        (version((0, 0)), Some(version(VERSIONS)))
    );
    assert_eq!(
        refused(hello("a"), other),
        (cluster("other"), Some(cluster("rumormill")))
    );
    let overlapping = Hello {
        versions: (1, 9),
        ..hello("a")
    };
    let (events, done) = feed(
        &mut connection(),
        [&Connection::new(overlapping, nonce(1), LinkLimits::default()).opening()[..]],
    );
    assert_eq!((done, events.len()), (Ok(()), 1));
}

#[test]
fn another_protocol_is_refused_at_its_first_byte() {
    let mut conn = connection();
    let (_, done) = feed(&mut conn, [&b"G"[..]]);
    assert_eq!(done, Err(LinkError::Refused(Refusal::Magic)));
    assert_eq!(conn.parting(), None);
    assert_eq!(
        feed(&mut conn, [&b"ET /"[..]]).1,
        Err(LinkError::Refused(Refusal::Magic)),
        "it stays refused"
    );
}

#[test]
fn a_refusal_of_a_newer_kind_is_still_a_refusal() {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&frame(Kind::Refusal, b"\xa7NoVisit"));
    let (_, done) = feed(&mut connection(), [&bytes[..]]);
    assert_eq!(done, Err(LinkError::Refused(Refusal::Other)));
}

#[test]
fn a_hello_with_fields_of_a_newer_version_is_read() {
    #[derive(serde::Serialize)]
    struct Newer {
        #[serde(flatten)]
        hello: Hello,
        dialect: u8,
        nonce: Nonce,
        mac: u32,
    }
    let mut bytes = MAGIC.to_vec();
    let newer = rmp_serde::to_vec_named(&Newer {
        hello: hello("a"),
        dialect: 4,
        nonce: nonce(1),
        mac: 5,
    })
    .unwrap();
    bytes.extend_from_slice(&frame(Kind::Hello, &newer));
    bytes.extend_from_slice(&proof(2));
    let (events, done) = feed(&mut connection(), [&bytes[..]]);
    assert_eq!((done, events), (Ok(()), shaken()));
}

#[test]
fn frames_out_of_order_are_malformed() {
    let total = |n: u32| n.to_le_bytes();
    let whole = encode(&probe(1), Lane::Bulk).unwrap().as_bytes().to_vec();
    let first = frame(Kind::First(Lane::Bulk), &[&total(100)[..], b"abc"].concat());
    let cases: [(&str, Vec<u8>); 13] = [
        ("more without first", frame(Kind::More(Lane::Bulk), b"abc")),
        ("last without first", frame(Kind::Last(Lane::Bulk), b"abc")),
        (
            "last of another lane",
            [&first[..], &frame(Kind::Last(Lane::Sys), &[0; 97])].concat(),
        ),
        ("first within a message", [&first[..], &first].concat()),
        ("whole within a message", [&first[..], &whole].concat()),
        (
            "too short in all",
            [&first[..], &frame(Kind::Last(Lane::Bulk), &[0; 96])].concat(),
        ),
        (
            "too long in all",
            [&first[..], &frame(Kind::Last(Lane::Bulk), &[0; 98])].concat(),
        ),
        (
            "an empty piece",
            [&first[..], &frame(Kind::More(Lane::Bulk), b"")].concat(),
        ),
        ("no total", frame(Kind::First(Lane::Bulk), b"abc")),
        ("hello again", peer("a").opening()[MAGIC.len()..].to_vec()),
        ("proof again", proof(2)),
        ("another proof", proof(3)),
        ("an unknown kind", vec![0, 0, 0, 0, 7, 0, 0, 0, 0]),
    ];
    for (what, bytes) in cases {
        assert_eq!(
            feed(&mut greeted(), [&bytes[..]]).1,
            Err(LinkError::Malformed),
            "{what}"
        );
        let mut conn = greeted();
        assert_eq!(
            feed(&mut conn, bytes.chunks(1)).1,
            Err(LinkError::Malformed),
            "{what}, bytewise"
        );
        assert_eq!(conn.partial.capacity(), 0);
    }
    let mut early = MAGIC.to_vec();
    early.extend_from_slice(&whole);
    assert_eq!(
        feed(&mut connection(), [&early[..]]).1,
        Err(LinkError::Malformed),
        "a message before the hello"
    );
}

#[test]
fn bytes_after_a_message_are_malformed() {
    let mut payload = bytes_of(&probe(1));
    assert_eq!(
        feed(
            &mut greeted(),
            [&frame(Kind::Whole(Lane::Control), &payload)[..]]
        )
        .1,
        Ok(())
    );
    payload.push(0);
    let done = feed(
        &mut greeted(),
        [&frame(Kind::Whole(Lane::Control), &payload)[..]],
    )
    .1;
    assert_eq!(done, Err(LinkError::Malformed));
}

#[test]
fn claims_above_a_cap_are_refused_before_they_cost_memory() {
    let limits = small_limits();
    let header = |kind: u8, length: usize| {
        let mut bytes = (length as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&[kind, 0, 0, 0, 0]);
        bytes
    };
    let mut opening = MAGIC.to_vec();
    opening.extend_from_slice(&header(0, limits.hello_bytes + 1));
    assert_eq!(
        feed(&mut connection(), [&opening[..]]).1,
        Err(LinkError::Malformed)
    );
    for length in [limits.frame_bytes + 1, u32::MAX as usize] {
        let mut conn = greeted();
        assert_eq!(
            feed(&mut conn, [&header(2, length)[..]]).1,
            Err(LinkError::Malformed)
        );
        assert_eq!(conn.partial.capacity(), 0);
    }
    let total = |n: usize| {
        frame(
            Kind::First(Lane::Bulk),
            &[&(n as u32).to_le_bytes()[..], b"abc"].concat(),
        )
    };
    assert_eq!(
        feed(&mut greeted(), [&total(limits.message_bytes + 1)[..]]).1,
        Err(LinkError::Malformed)
    );
    let mut conn = greeted();
    assert_eq!(
        feed(&mut conn, [&total(limits.message_bytes)[..]]).1,
        Ok(())
    );
    let held = conn.lanes[Lane::Bulk as usize]
        .as_ref()
        .unwrap()
        .bytes
        .capacity();
    assert!(held <= 64, "a claim of 1 MiB took {held} bytes");
    let mut conn = greeted();
    feed(&mut conn, [&header(2, limits.frame_bytes)[..]])
        .1
        .unwrap();
    assert!(conn.partial.capacity() <= 64);
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = vec![0x91; 60_000];
    assert_eq!(
        feed(&mut greeted(), [&frame(Kind::Whole(Lane::Bulk), &deep)[..]]).1,
        Err(LinkError::Malformed)
    );
    // A variant whose body is a map with an unknown key, whose value is skipped.
    let mut skipped = b"\x81\xa4Pull\x81\xa1x".to_vec();
    skipped.extend_from_slice(&deep);
    assert_eq!(
        feed(
            &mut greeted(),
            [&frame(Kind::Whole(Lane::Bulk), &skipped)[..]]
        )
        .1,
        Err(LinkError::Malformed)
    );
}

#[test]
fn any_flipped_bit_is_detected() {
    let bytes = encode(&probe(1), Lane::Control)
        .unwrap()
        .as_bytes()
        .to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let mut conn = greeted();
        let (events, done) = feed(&mut conn, [&bent[..]]);
        // A longer length waits for bytes that the next frame will fill in wrongly.
        let waits = done.is_ok() && conn.end() == LinkError::Malformed;
        assert!(
            events.is_empty() && (waits || done == Err(LinkError::Malformed)),
            "bit {bit}"
        );
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    let (valid, _) = stream();
    arbtest::arbtest(|u| {
        let mut conn = if u.arbitrary()? {
            connection()
        } else {
            greeted()
        };
        let mut events = Vec::new();
        for _ in 0..u.int_in_range(0..=20)? {
            let piece = match u.int_in_range(0..=3)? {
                0 => u.bytes(u.len().min(9))?.to_vec(),
                1 => {
                    let from = u.choose_index(valid.len())?;
                    valid[from..].to_vec()
                }
                // A frame with a right checksum around anything.
                2 => {
                    let lane = *u.choose(&Lane::ALL)?;
                    let kinds = [
                        Kind::Whole(lane),
                        Kind::First(lane),
                        Kind::More(lane),
                        Kind::Last(lane),
                        Kind::Hello,
                        Kind::Proof,
                    ];
                    let kind = *u.choose(&kinds)?;
                    let length = u.choose_index(40)?.min(u.len());
                    frame(kind, u.bytes(length)?)
                }
                _ => {
                    let mut bent = bytes_of(&probe(u.arbitrary()?));
                    let at = u.choose_index(bent.len())?;
                    bent[at] = u.arbitrary()?;
                    frame(Kind::Whole(Lane::Sys), &bent)
                }
            };
            let _ = conn.receive(&piece, &mut events);
            conn.end();
            conn.parting();
        }
        Ok(())
    });
}
