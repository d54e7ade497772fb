//! The bytes of a link, cut anywhere: never a panic, and the same events and end however they are cut.

use rumormill_core::link::{Connection, Hello, LinkEvent, LinkLimits, VERSIONS};
use rumormill_core::{Actor, ClusterId, LinkError, NodeId};

/// The first byte says how the rest is cut and what it is: a raw stream, or (without its lowest bit) pieces of a kind, two
/// bytes of length and a payload, which become frames with right checksums after a right handshake.
pub fn run(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    let stream = match how & 1 {
        1 => data.to_vec(),
        _ => sealed(data),
    };
    let whole = receive(&stream, stream.len().max(1));
    let cut = receive(&stream, 1 + usize::from(how >> 1));
    assert_eq!(whole, cut, "cutting the stream changed what it says");
}

fn receive(stream: &[u8], piece: usize) -> (Vec<LinkEvent>, Result<(), LinkError>, LinkError) {
    let mut limits = LinkLimits::default();
    limits.message_bytes = 1 << 16;
    let mut connection = Connection::new(hello(1), limits);
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

fn hello(node: u64) -> Hello {
    let node = NodeId(node);
    Hello {
        versions: VERSIONS,
        cluster_name: "rumormill".to_string(),
        cluster: ClusterId(7),
        actor: Actor { node, run: 2 },
        epoch: 3,
        name: "fuzzed".to_string(),
        addr: "127.0.0.1:7400".to_string(),
    }
}

fn sealed(mut data: &[u8]) -> Vec<u8> {
    let peer = Connection::new(hello(9), LinkLimits::default());
    let mut out = peer.opening().to_vec();
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
