//! The bytes of a Redis client, cut anywhere: the decoder finds the same commands, and a session answers the same.

use rumormill_core::{Config, Node, Recovery, Seed, io::Input};
use rumormill_gateway_resp::Gateway;
use rumormill_gateway_resp::decoder::{Caps, Decoded, Decoder};
use rumormill_kit::client_session::{ClientSession as _, Flow, Replies};

use super::start;

/// Small, so that a short input exceeds them.
const CAPS: Caps = Caps {
    argument: 64,
    command: 256,
};

/// The first byte says how the rest is cut.
pub fn run(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    let cut = 1 + usize::from(cut);
    let whole = decode(stream, stream.len().max(1));
    assert_eq!(
        whole,
        decode(stream, cut),
        "cutting the stream changed its commands"
    );
    let whole = converse(stream, stream.len().clamp(1, 64 << 10));
    let cut = converse(stream, cut);
    // Only the reply of INFO tells how many commands were counted when a piece ended.
    if !whole.contains("total_commands_processed") {
        assert_eq!(whole, cut, "cutting the stream changed its replies");
    }
}

#[derive(Debug, PartialEq)]
enum Found {
    Command(Vec<Vec<u8>>),
    Other(Decoded),
}

/// Shows the decoder a stream piece by piece, as the contract asks for.
fn decode(stream: &[u8], piece: usize) -> Vec<Found> {
    let mut decoder = Decoder::new(CAPS);
    let mut window = Vec::new();
    let mut out = Vec::new();
    for bytes in stream.chunks(piece) {
        window.extend_from_slice(bytes);
        loop {
            match decoder.next(&window) {
                Decoded::Incomplete => break,
                Decoded::Command => {
                    let args = decoder.args(&window).from(0).map(<[u8]>::to_vec);
                    out.push(Found::Command(args.collect()));
                }
                other @ Decoded::TooLarge(_) => out.push(Found::Other(other)),
                other @ Decoded::Broken(_) => {
                    out.push(Found::Other(other));
                    return out;
                }
            }
        }
        window.drain(..decoder.used());
        decoder.rebase();
    }
    out
}

/// Everything that a client of a fresh node is told.
fn converse(stream: &[u8], piece: usize) -> String {
    let mut config = Config::new("fuzzed", "here");
    (config.limits.key_bytes, config.limits.value_bytes) = (64, 64);
    let gateway = Gateway::new(&config.limits, |_, _, _, _| None);
    let recovery = Recovery::new(config, Seed::from_u64(7));
    let mut node = recovery.finish(start()).expect("a new node starts");
    let mut session = gateway.client(1);
    let mut replies = Replies::new();
    let mut said = Vec::new();
    for bytes in stream.chunks(piece) {
        let mut flow = session.receive(start(), &mut node, bytes, &mut replies);
        listen(&node, &mut replies, &mut said);
        while matches!(flow, Flow::Full | Flow::Yield) {
            flow = session.resume(start(), &mut node, &mut replies);
            listen(&node, &mut replies, &mut said);
        }
        if flow == Flow::Close {
            break;
        }
    }
    node.handle(start(), Input::Tick);
    node.inspect().check();
    said.escape_ascii().to_string()
}

fn listen(node: &Node, replies: &mut Replies, said: &mut Vec<u8>) {
    replies.release(node.durable());
    let ready = replies.ready().len();
    said.extend_from_slice(replies.ready());
    replies.advance(ready);
}
