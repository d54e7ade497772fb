//! The bytes of a link, cut anywhere: never a panic, the same events and end however they are cut, and nothing believed without a
//! proof.

use rumormill_core::link::{Connection, Hello, LinkEvent, LinkLimits, Nonce, VERSIONS};
use rumormill_core::{Actor, ClusterId, NodeId, io::LinkError};

/// The first byte says how the rest is cut and what it is: a raw stream, or (without its lowest bit) pieces of a kind, two
/// bytes of length and a payload, which become frames with right checksums after a right hello, once with its proof and once without.
pub fn run(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    let piece = 1 + usize::from(how >> 1);
    if how & 1 == 1 {
        let _ = told(data, piece);
        return;
    }
    let _ = told(&sealed(data, true), piece);
    let unproved = told(&sealed(data, false), piece);
    let is_answer = |event: &LinkEvent| matches!(event, LinkEvent::Write(_));
    assert!(
        unproved.iter().all(is_answer)
            || data.windows(8).any(|bytes| bytes == SECRET.to_be_bytes()),
        "a stream without a proof was believed"
    );
}

/// The events of a stream, which have to be the same however it is cut.
fn told(stream: &[u8], piece: usize) -> Vec<LinkEvent> {
    let whole = receive(stream, stream.len().max(1));
    let cut = receive(stream, piece);
    assert_eq!(whole, cut, "cutting the stream changed what it says");
    whole.0
}

fn receive(stream: &[u8], piece: usize) -> (Vec<LinkEvent>, Result<(), LinkError>, LinkError) {
    let mut limits = LinkLimits::default();
    limits.message_bytes = 1 << 16;
    let mut connection = Connection::new(hello(1), nonce(1), limits);
    let mut events = Vec::new();
    let mut done = Ok(());
    for bytes in stream.chunks(piece) {
        done = connection.receive(bytes, &mut events);
        if let Err(why) = &done {
            assert_eq!(connection.receive(b"more", &mut events).as_ref(), Err(why));
            break;
        }
    }
    let _ = connection.parting();
    (events, done, connection.end())
}

/// Half of the nonces here. No proof can be made without it.
const SECRET: u64 = 0x6a09_e667_f3bc_c908;

fn nonce(node: u64) -> Nonce {
    Nonce::new([SECRET, node])
}

fn hello(node: u64) -> Hello {
    let node = NodeId(node);
    Hello {
        versions: VERSIONS,
        cluster_name: "rumormill".to_string(),
        cluster: ClusterId(7),
        actor: Actor { node, boot: 2 },
        generation: 3,
        name: "fuzzed".to_string(),
        addr: "127.0.0.1:7400".to_string(),
    }
}

fn sealed(mut data: &[u8], with_proof: bool) -> Vec<u8> {
    let mut peer = Connection::new(hello(9), nonce(9), LinkLimits::default());
    let mut out = peer.opening().to_vec();
    if with_proof {
        let theirs = Connection::new(hello(1), nonce(1), LinkLimits::default());
        let mut events = Vec::new();
        let heard = peer.receive(&theirs.opening(), &mut events);
        let (Ok(()), Some(LinkEvent::Write(proof))) = (heard, events.pop()) else {
            panic!("a right hello has no answer");
        };
        out.extend_from_slice(&proof);
    }
    while let [kind, low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        let mut lead = (length as u32).to_le_bytes().to_vec();
        lead.push(*kind);
        let sum = crc32c(lead.iter().chain(payload));
        out.extend_from_slice(&lead);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(payload);
        data = rest;
    }
    out
}

/// CRC-32C bit by bit, written from its definition so that it also checks the quick one.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => sum >> 1 ^ 0x82f6_3b78,
            _ => sum >> 1,
        })
    })
}
