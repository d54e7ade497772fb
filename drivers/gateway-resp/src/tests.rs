//! Transcripts: requests against a real node, replies as Redis 7 gives them.

use std::net::SocketAddr;

use rumormill_core::{
    Config, Conflict, Durability, Input, Instant, Node, Now, Output, Recovery, Seed, Seq, Storage,
    TableOptions, Wall,
};
use rumormill_kit::session::{Clients, Flow, Replies, Session};

use crate::session::{Client, Gateway};

struct Lab {
    node: Node,
    gateway: Gateway,
    now: Now,
}

impl Lab {
    fn new(storage: Storage) -> Lab {
        let mut config = Config::new("m", "m");
        config.storage = storage;
        let now = Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000));
        let node = Recovery::new(config, Seed::from_u64(1))
            .finish(now)
            .unwrap();
        let gateway = Gateway::new(&node.config().limits, |node, _, topic| {
            (topic == "name").then(|| node.config().name.clone())
        });
        Lab { node, gateway, now }
    }

    fn client(&mut self) -> Client {
        self.gateway
            .accept(7, SocketAddr::from(([127, 0, 0, 1], 1)), 1)
    }

    fn say(&mut self, client: &mut Client, input: &[u8]) -> (String, Flow) {
        let mut replies = Replies::new();
        let flow = client.receive(self.now, &mut self.node, input, &mut replies);
        (
            String::from_utf8_lossy(replies.ready()).replace("\r\n", "\n"),
            flow,
        )
    }
}

/// Lines that begin with `> ` are requests; what follows is the reply to the last of them.
fn replay(transcript: &str) {
    let mut lab = Lab::new(Storage::None);
    let mut client = lab.client();
    let mut failures = String::new();
    let parts: Vec<&str> = transcript.trim_start_matches("> ").split("\n> ").collect();
    for (at, part) in parts.iter().enumerate() {
        let (request, expected) = part.split_once('\n').unwrap_or((part, ""));
        // All but the last lost their line end to the split.
        let expected = if at + 1 < parts.len() {
            format!("{expected}\n")
        } else {
            expected.to_string()
        };
        let (reply, _) = lab.say(&mut client, format!("{request}\r\n").as_bytes());
        if reply != expected {
            failures.push_str(&format!("> {request}\nexpected:\n{expected}got:\n{reply}"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn replies_are_those_of_redis() {
    replay(include_str!("tests/redis.txt"));
}

#[test]
fn what_differs_from_redis_says_so() {
    replay(
        "> SELECT 1\n-ERR DB index is out of range\n\
         > CLIENT SETINFO lib-name x\n+OK\n\
         > INCR n\n-NOTSUPPORTED 'incr' would lose updates: the members of a last-writer-wins table change a value without asking each other\n\
         > HSET default f 1\n-ERR 'default' is the table of the strings and cannot be a hash\n\
         > SET \"\" v\n-ERR a key has at least one byte\n\
         > HSET h f 1\n:1\n\
         > EXPIRE h 10\n-NOTSUPPORTED a hash is a table, and tables do not expire; let its rows do so\n\
         > SCAN 99\n-ERR cursor is unknown or too old, begin again with 0\n\
         > RUMORMILL NAME\n$1\nm\n\
         > RUMORMILL WHAT\n-ERR unknown subcommand 'what'\n",
    );
}

#[test]
fn resp3_has_types_of_its_own() {
    let mut lab = Lab::new(Storage::None);
    let mut client = lab.client();
    let (hello, _) = lab.say(&mut client, b"HELLO 3\r\n");
    assert!(hello.starts_with("%7\n$6\nserver\n"), "{hello}");
    let (text, _) = lab.say(
        &mut client,
        b"GET x\r\nHSET h a 1\r\nHGETALL h\r\nSUBSCRIBE c\r\nGET x\r\n",
    );
    assert_eq!(
        text,
        "_\n:1\n%1\n$1\na\n$1\n1\n>3\n$9\nsubscribe\n$1\nc\n:1\n_\n"
    );
}

#[test]
fn an_oversize_value_is_refused_and_the_connection_goes_on() {
    let mut lab = Lab::new(Storage::None);
    let mut client = lab.client();
    let mut stream = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n".to_vec();
    stream.extend(vec![b'x'; 2_000_000]);
    stream.extend(b"\r\nPING\r\n");
    let (mut text, mut flow) = (String::new(), Flow::Continue);
    for piece in stream.chunks(60_000) {
        let (reply, next) = lab.say(&mut client, piece);
        text.push_str(&reply);
        flow = next;
    }
    assert_eq!(
        text,
        "-TOOLARGE an argument has 2000000 bytes, the limit is 1048576\n+PONG\n"
    );
    assert_eq!(flow, Flow::Continue);
}

#[test]
fn garbage_gets_the_error_and_is_closed() {
    let mut lab = Lab::new(Storage::None);
    let mut client = lab.client();
    let (text, flow) = lab.say(&mut client, b"*2\r\n$3\r\nGET\r\n$629145600\r\n");
    assert_eq!(
        (text.as_str(), flow),
        ("-ERR Protocol error: invalid bulk length\n", Flow::Close)
    );
}

#[test]
fn a_sync_table_answers_when_the_store_has_it() {
    let mut lab = Lab::new(Storage::Ordered);
    let options = TableOptions {
        durability: Durability::Sync,
        conflict: Conflict::LastWriterWins,
    };
    let now = lab.now;
    lab.node.create_table(now, "ledger", options).unwrap();
    let mut client = lab.client();
    let mut replies = Replies::new();
    let input = b"SET plain 1\r\nHSET ledger a 1\r\nPING\r\n";
    client.receive(lab.now, &mut lab.node, input, &mut replies);
    assert_eq!(replies.ready(), b"+OK\r\n");
    let mut reader = lab.client();
    let (seen, _) = lab.say(&mut reader, b"HGET ledger a\r\n");
    assert_eq!(seen, "", "a row that is not durable is not shown");
    lab.node.handle(now, Input::Tick);
    let mut stored = Seq(0);
    while let Some(output) = lab.node.poll_output() {
        if let Output::Store { seq, sync, .. } = output {
            assert!(sync);
            stored = seq;
        }
    }
    lab.node.handle(now, Input::Stored { upto: stored });
    assert_eq!(replies.release(lab.node.durable()), None);
    assert_eq!(replies.ready(), b"+OK\r\n:1\r\n+PONG\r\n");
}

#[test]
fn subscribers_hear_of_changes() {
    let mut lab = Lab::new(Storage::None);
    let mut client = lab.client();
    lab.say(&mut client, b"PSUBSCRIBE __key*__:*\r\n");
    assert!(client.watches());
    let mut writer = lab.client();
    lab.say(&mut writer, b"SET k v\r\nDEL k\r\nHSET h f 1\r\n");
    let mut replies = Replies::new();
    let (now, table) = (lab.now, rumormill_core::TableId::DEFAULT);
    assert_eq!(
        client.changed(now, &mut lab.node, table, &mut replies),
        Flow::Continue
    );
    let text = String::from_utf8_lossy(replies.ready()).replace("\r\n", " ");
    for part in [
        "__keyspace@0__:k $3 del",
        "__keyevent@0__:del $1 k",
        "__keyspace@0__:h $4 hset",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_large_reply_is_streamed() {
    let mut lab = Lab::new(Storage::None);
    let mut client = lab.client();
    for n in 0..3_000 {
        let value = "v".repeat(1_000);
        lab.say(
            &mut client,
            format!("HSET big f{n:05} {value}\r\n").as_bytes(),
        );
    }
    let mut replies = Replies::new();
    let mut flow = client.receive(
        lab.now,
        &mut lab.node,
        b"HGETALL big\r\nPING\r\n",
        &mut replies,
    );
    let mut text = Vec::new();
    while flow == Flow::Full {
        assert!(replies.len() < 2 << 20, "bounded");
        text.extend_from_slice(replies.ready());
        replies.advance(replies.len());
        flow = client.resume(lab.now, &mut lab.node, &mut replies);
    }
    text.extend_from_slice(replies.ready());
    assert!(text.starts_with(b"*6000\r\n$6\r\nf00000\r\n") && text.ends_with(b"\r\n+PONG\r\n"));
    assert_eq!(text.iter().filter(|byte| **byte == b'$').count(), 6_000);
}

#[test]
fn scans_visit_everything_once() {
    let mut lab = Lab::new(Storage::None);
    let mut client = lab.client();
    for n in 0..57 {
        lab.say(
            &mut client,
            format!("SET key{n} v\r\nHSET hash{n} f v\r\n").as_bytes(),
        );
    }
    let mut seen = Vec::new();
    let mut cursor = "0".to_string();
    loop {
        let (text, _) = lab.say(&mut client, format!("SCAN {cursor} COUNT 7\r\n").as_bytes());
        let mut lines = text.lines().skip(2).map(String::from);
        cursor = lines.next().unwrap();
        seen.extend(lines.filter(|line| line.starts_with("key") || line.starts_with("hash")));
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen.len(), 114);
    seen.dedup();
    assert_eq!(seen.len(), 114);
}
