//! Values that are only in the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::{
    TableId, Token,
    errors::RequestError,
    io::{Input, Output, Response},
    table::{Durability, TableOptions},
};
use rumormill_kit::client_session::{Ask, ClientSession as _, Flow};

use super::{Talk, array};

/// A talk with a node that keeps values of at most 4 bytes in memory, its disk, and the driver's part in loading.
struct Cold {
    talk: Talk,
    disk: BTreeMap<Bytes, Bytes>,
    tokens: u64,
}

impl Cold {
    fn new() -> Self {
        let talk = Talk::with(|config| {
            config.storage = rumormill_core::Storage::Ordered;
            config.resident_value = Some(4);
        });
        let (disk, tokens) = (BTreeMap::new(), 0);
        let mut cold = Cold { talk, disk, tokens };
        cold.turn();
        cold
    }

    /// Stores everything, and answers loads. The replies to requests are returned.
    fn turn(&mut self) -> Vec<Result<Response, RequestError>> {
        let mut replies = Vec::new();
        let now = self.talk.now;
        loop {
            self.talk.node.handle(now, Input::Tick);
            let mut idle = true;
            while let Some(output) = self.talk.node.poll_output() {
                idle = false;
                match output {
                    Output::Store { seq, batch, .. } => {
                        for op in batch {
                            op.apply(&mut self.disk);
                        }
                        self.talk.node.handle(now, Input::Stored { upto: seq });
                    }
                    Output::Load { load, query } => {
                        let result = Ok(self.disk.get(&query).cloned());
                        self.talk.node.handle(now, Input::Loaded { load, result });
                    }
                    Output::Reply { result, .. } => replies.push(result),
                    _ => {}
                }
            }
            if idle {
                return replies;
            }
        }
    }

    /// The driver reads the rows that the client session asked for: how many.
    fn load(&mut self) -> usize {
        let asks = self.talk.replies.take_asks();
        let count = asks.len();
        for ask in asks {
            self.load_one(ask);
        }
        count
    }

    fn load_one(&mut self, ask: Ask) {
        self.tokens += 1;
        let input = Input::Request {
            token: Token(self.tokens),
            deadline: None,
            request: ask.request.into(),
        };
        self.talk.node.handle(self.talk.now, input);
        let answer = self.turn().pop().expect("a reply");
        let talk = &mut self.talk;
        talk.flow = talk.session.answered(
            talk.now,
            &mut talk.node,
            ask.ticket,
            answer,
            &mut talk.replies,
        );
        talk.go_on();
    }

    /// Says a line and loads what is needed: the reply, and how many loads it took.
    fn say(&mut self, line: &str) -> (String, usize) {
        let mut said = self.talk.send(format!("{line}\n").as_bytes());
        let mut loads = 0;
        loop {
            let more = self.load();
            if more == 0 {
                break;
            }
            loads += more;
            said.push_str(&self.talk.read());
        }
        self.turn();
        (said.trim_end().to_string(), loads)
    }

    fn expect(&mut self, transcript: &[(&str, &str, usize)]) {
        for (line, expected, loads) in transcript {
            let (said, needed) = self.say(line);
            assert_eq!((said.as_str(), needed), (*expected, *loads), "{line}");
        }
    }
}

#[test]
fn commands_wait_for_values_that_are_only_in_the_store() {
    let mut cold = Cold::new();
    cold.expect(&[
        ("SET large abcdefgh", "+OK", 0),
        ("SET small abc", "+OK", 0),
        ("GET small", "$3 abc", 0),
        ("STRLEN large", ":8", 0),
        ("EXISTS large", ":1", 0),
        ("TYPE large", "+string", 0),
        ("SETNX large x", ":0", 0),
        ("GET large", "$8 abcdefgh", 1),
        (
            "MGET large none small large",
            "*4 $8 abcdefgh $-1 $3 abc $8 abcdefgh",
            1,
        ),
        ("SET large 12345678 GET", "$8 abcdefgh", 1),
        ("EXPIRE large 100", ":1", 1),
        ("TTL large", ":100", 0),
        ("PERSIST large", ":1", 1),
        ("GETDEL large", "$8 12345678", 1),
        ("GET large", "$-1", 0),
    ]);
    cold.expect(&[
        ("HSET h a abcdefgh b 1 c 12345678", ":3", 0),
        ("HGET h a", "$8 abcdefgh", 1),
        ("HSTRLEN h a", ":8", 0),
        ("HMGET h a b x", "*3 $8 abcdefgh $1 1 $-1", 1),
        ("HKEYS h", "*3 $1 a $1 b $1 c", 0),
        ("HVALS h", "*3 $8 abcdefgh $1 1 $8 12345678", 2),
        (
            "HGETALL h",
            "*6 $1 a $8 abcdefgh $1 b $1 1 $1 c $8 12345678",
            2,
        ),
        (
            "HSCAN h 0",
            "*2 $1 0 *6 $1 a $8 abcdefgh $1 b $1 1 $1 c $8 12345678",
            2,
        ),
        ("HSCAN h 0 NOVALUES", "*2 $1 0 *3 $1 a $1 b $1 c", 0),
        ("HDEL h a", ":1", 0),
    ]);
}

#[test]
fn later_commands_of_a_pipeline_wait_and_keep_their_order() {
    let mut cold = Cold::new();
    cold.say("SET large abcdefgh");
    for cut in 0..60 {
        let mut stream = Vec::new();
        stream.extend(b"PING\r\n");
        stream.extend(array(&[b"GET", b"large"]));
        stream.extend(array(&[b"SET", b"after", b"1"]));
        stream.extend(b"GET large\r\nPING\r\n");
        let (head, tail) = stream.split_at(cut.min(stream.len()));
        let mut said = cold.talk.send(head);
        // A driver hands in no more while the client session takes none.
        while cold.talk.flow != Flow::Continue {
            cold.load();
        }
        said += &cold.talk.read();
        said += &cold.talk.send(tail);
        while cold.talk.replies.waits() {
            cold.load();
        }
        said += &cold.talk.read();
        let expected = "+PONG $8 abcdefgh +OK $8 abcdefgh +PONG ";
        assert_eq!(said, expected, "cut at {cut}");
    }
}

#[test]
fn a_row_that_changes_while_it_is_loaded_is_shown_as_it_is_at_the_end() {
    let mut cold = Cold::new();
    for key in ["k", "gone"] {
        cold.say(&format!("SET {key} abcdefgh"));
    }
    cold.say("HSET h a abcdefgh b abcdefgh c abcdefgh");
    let mut other = cold.talk.gateway.client(4);
    let mut act = |cold: &mut Cold, line: &str| {
        let talk = &mut cold.talk;
        let mut replies = rumormill_kit::client_session::Replies::new();
        let line = format!("{line}\n");
        other.receive(talk.now, &mut talk.node, line.as_bytes(), &mut replies);
        cold.turn();
    };
    assert_eq!(cold.talk.say("GET k"), "");
    act(&mut cold, "SET k new");
    cold.load();
    assert_eq!(cold.talk.read(), "$3 new ");
    assert_eq!(cold.talk.say("GETDEL gone"), "");
    act(&mut cold, "DEL gone");
    cold.load();
    assert_eq!(cold.talk.read(), "$-1 ");
    assert_eq!(cold.talk.say("HGETALL h"), "*6");
    act(&mut cold, "HSET h b newer-value");
    act(&mut cold, "HDEL h c");
    let mut said = String::new();
    while cold.talk.flow == Flow::Wait {
        cold.load();
        said += &cold.talk.read();
    }
    let gone = "-GONE the row was deleted while the reply was sent ";
    assert_eq!(
        said,
        format!("$1 a $8 abcdefgh $1 b $11 newer-value $1 c {gone}")
    );
    assert_eq!(cold.talk.say("PING"), "+PONG");
}

#[test]
fn a_damaged_value_is_an_error_and_changes_nothing() {
    let mut cold = Cold::new();
    cold.say("SET k abcdefgh");
    cold.say("HSET h a abcdefgh b 1");
    let rows: Vec<Bytes> = cold
        .disk
        .keys()
        .filter(|key| key[0] == b'r')
        .cloned()
        .collect();
    for key in rows {
        let mut value = cold.disk[&key].to_vec();
        *value.last_mut().unwrap() ^= 1;
        cold.disk.insert(key, Bytes::from(value));
    }
    let error = "-UNREADABLE the stored value is damaged: checksum or form";
    cold.expect(&[
        ("GET k", error, 1),
        ("GETDEL k", error, 1),
        ("STRLEN k", ":8", 0),
        ("HVALS h", &format!("*2 {error} $1 1"), 1),
        ("MGET none k", &format!("*2 $-1 {error}"), 1),
        ("PING", "+PONG", 0),
        ("SET k fresh-value", "+OK", 0),
        ("GET k", "$11 fresh-value", 1),
    ]);
}

#[test]
fn a_loaded_value_of_a_sync_table_is_shown_when_it_is_durable() {
    let mut cold = Cold::new();
    let options = TableOptions::default().durability(Durability::Sync);
    let now = cold.talk.now;
    let (table, _) = cold.talk.node.create_table(now, "safe", options).unwrap();
    assert_ne!(table, TableId::DEFAULT);
    cold.expect(&[("HSET safe a abcdefgh", "", 0)]);
    assert_eq!(cold.talk.read(), ":1 ");
    cold.expect(&[("HGET safe a", "$8 abcdefgh", 1)]);
}

#[test]
fn commands_go_on_behind_one_that_waits_and_their_replies_keep_the_order() {
    let mut cold = Cold::new();
    cold.say("SET large abcdefgh");
    cold.say("SET huge 12345678");
    let said = cold
        .talk
        .send(b"PING\nGET large\nSET after 1\nGET after\nGET huge\nPING\n");
    assert_eq!((said.as_str(), cold.talk.flow), ("+PONG ", Flow::Continue));
    // Another client sees what was written behind the command that waits.
    let mut other = cold.talk.gateway.client(4);
    let mut replies = rumormill_kit::client_session::Replies::new();
    let talk = &mut cold.talk;
    other.receive(talk.now, &mut talk.node, b"GET after\n", &mut replies);
    assert_eq!(replies.ready(), b"$1\r\n1\r\n");
    let mut asks = cold.talk.replies.take_asks();
    assert_eq!(asks.len(), 2);
    // The second row comes first.
    cold.load_one(asks.pop().unwrap());
    assert_eq!(cold.talk.read(), "");
    cold.load_one(asks.pop().unwrap());
    assert_eq!(cold.talk.read(), "$8 abcdefgh +OK $1 1 $8 12345678 +PONG ");
}

#[test]
fn a_command_on_a_key_that_an_earlier_one_waits_for_comes_after_it() {
    let mut cold = Cold::new();
    let cases = [
        ("GETDEL k", "GET k", "$8 abcdefgh $-1 "),
        ("GET k", "SET k 1", "$8 abcdefgh +OK "),
        ("SET k 1 GET", "GET k", "$8 abcdefgh $1 1 "),
        ("GET k", "DEL x k", "$8 abcdefgh :1 "),
        ("GET k", "FLUSHALL", "$8 abcdefgh +OK "),
        ("GET k", "DBSIZE", "$8 abcdefgh :1 "),
        ("MGET k", "GETDEL k", "*1 $8 abcdefgh $8 abcdefgh "),
        ("EXPIRE k 100", "TTL k", ":1 :100 "),
        ("GET k", "QUIT", "$8 abcdefgh +OK "),
        (
            "GET k",
            "*1\r\n+",
            "$8 abcdefgh -ERR Protocol error: expected '$', got '+' ",
        ),
    ];
    for (first, second, expected) in cases {
        cold.talk.session = cold.talk.gateway.client(9);
        cold.say("FLUSHALL");
        cold.say("SET k abcdefgh");
        let mut said = cold.talk.send(format!("{first}\n{second}\r\n").as_bytes());
        assert_eq!(
            (said.as_str(), cold.talk.flow),
            ("", Flow::Wait),
            "{second}"
        );
        while cold.load() > 0 {
            said += &cold.talk.read();
        }
        cold.turn();
        said += &cold.talk.read();
        assert_eq!(said, expected, "{first}, {second}");
    }
}

#[test]
fn the_commands_that_wait_are_bounded() {
    let mut cold = Cold::new();
    for n in 0..200 {
        cold.say(&format!("SET k{n} abcdefgh"));
    }
    let stream: String = (0..200).map(|n| format!("GET k{n}\n")).collect();
    let mut said = cold.talk.send(stream.as_bytes());
    assert_eq!(cold.talk.flow, Flow::Wait);
    let mut most = 0;
    loop {
        let asks = cold.talk.replies.take_asks();
        most = most.max(asks.len());
        if asks.is_empty() {
            break;
        }
        for ask in asks {
            cold.load_one(ask);
        }
        said += &cold.talk.read();
    }
    assert!(most <= 128, "{most}");
    assert_eq!(said, "$8 abcdefgh ".repeat(200));
}

#[test]
fn a_transaction_loads_its_values_first() {
    let mut cold = Cold::new();
    cold.say("SET k abcdefgh");
    cold.say("HSET h a abcdefgh b 1 c 12345678");
    for line in ["MULTI", "GET k", "SET k 1", "GET k", "HVALS h", "HGETALL h"] {
        cold.say(line);
    }
    let all = "*3 $8 abcdefgh $1 1 $8 12345678 *6 $1 a $8 abcdefgh $1 b $1 1 $1 c $8 12345678";
    let (said, loads) = cold.say("EXEC");
    assert_eq!(said, format!("*5 $8 abcdefgh +OK $1 1 {all}"));
    assert_eq!(loads, 3);
    // A row that changes while it is loaded is loaded again, and nothing is done before that.
    cold.say("SET k abcdefgh");
    for line in ["MULTI", "SET other 1", "GET k"] {
        cold.say(line);
    }
    assert_eq!(cold.talk.send(b"EXEC\nGET other\n"), "");
    assert_eq!(cold.talk.flow, Flow::Wait);
    let mut other = cold.talk.gateway.client(4);
    let mut replies = rumormill_kit::client_session::Replies::new();
    let talk = &mut cold.talk;
    other.receive(
        talk.now,
        &mut talk.node,
        b"SET k 12345678\nGET other\n",
        &mut replies,
    );
    assert_eq!(replies.ready(), b"+OK\r\n$-1\r\n");
    cold.turn();
    let mut said = String::new();
    while cold.load() > 0 {
        said += &cold.talk.read();
    }
    assert_eq!(said, "*2 +OK $8 12345678 $1 1 ");
}

#[test]
fn what_follows_an_exec_that_waits_is_no_part_of_the_transaction() {
    let mut cold = Cold::new();
    cold.say("SET k abcdefgh");
    let mut said = cold.talk.send(b"MULTI\nGET k\nEXEC\nPING\nECHO x\n");
    assert_eq!(said, "+OK +QUEUED ");
    while cold.load() > 0 {
        said += &cold.talk.read();
    }
    assert_eq!(said, "+OK +QUEUED *1 $8 abcdefgh +PONG $1 x ");
    // Neither is one that is refused for its size.
    let mut stream = b"MULTI\nGET k\nEXEC\n".to_vec();
    stream.extend(array(&[b"SET", b"k", &vec![b'x'; 2 << 20]]));
    let mut said = cold.talk.send(&stream);
    while cold.load() > 0 {
        said += &cold.talk.read();
    }
    assert!(
        said.starts_with("+OK +QUEUED *1 $8 abcdefgh -TOOLARGE"),
        "{said}"
    );
}
