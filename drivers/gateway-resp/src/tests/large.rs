//! Limits, large replies, scans over many calls, durability, and whatever bytes.

use std::collections::BTreeSet;

use rumormill_core::{
    io::Input,
    table::{Durability, TableOptions},
};
use rumormill_kit::client_session::{Budget, ClientOutput, ClientSession as _, Flow, REPLIES_MARK};

use super::{Talk, array};

/// Reads a reply that pauses, as a driver does; checks that little is held at any time.
fn read_all(talk: &mut Talk) -> String {
    let mut text = String::new();
    loop {
        assert!(
            talk.replies.len() <= REPLIES_MARK + (64 << 10),
            "{}",
            talk.replies.len()
        );
        text.push_str(&talk.read());
        if !matches!(talk.flow, Flow::Full | Flow::Yield) {
            return text;
        }
        talk.flow = talk
            .session
            .resume(talk.now, &mut talk.node, &mut talk.replies);
    }
}

#[test]
fn large_replies_pause_and_show_the_moment_of_the_command() {
    let mut talk = Talk::new();
    let value = "v".repeat(10_000);
    for n in 0..400 {
        talk.say(&format!("HSET h f{n:03} {value}"));
    }
    let whole = |talk: &mut Talk, line: &str| {
        let mut input = format!("{line}\n").into_bytes();
        // Later commands in the pipeline wait for their turn.
        input.extend_from_slice(b"HSET h f999 new\nHDEL h f999\nPING\n");
        let receive = talk
            .session
            .receive(talk.now, &mut talk.node, &input, &mut talk.replies);
        talk.flow = receive;
        talk.go_on();
        assert_eq!(talk.flow, Flow::Full);
        read_all(talk)
    };
    let row = |n: usize| format!("$4 f{n:03} $10000 {value} ");
    let rows: String = (0..400).map(row).collect();
    let tail = ":1 :1 +PONG ";
    assert!(whole(&mut talk, "HGETALL h") == format!("*800 {rows}{tail}"));
    let fields: Vec<String> = (0..400).map(|n| format!("f{n:03}")).collect();
    let values = format!("$10000 {value} ").repeat(400);
    let line = format!("HMGET h {}", fields.join(" "));
    assert!(whole(&mut talk, &line) == format!("*400 {values}{tail}"));
    let start = talk
        .session
        .receive(talk.now, &mut talk.node, b"HVALS h\n", &mut talk.replies);
    talk.flow = start;
    talk.go_on();
    assert_eq!(talk.flow, Flow::Full);
    // The rows vanish while the client reads; the announced number is kept.
    let h = talk.node.user_table("h").unwrap();
    talk.node.flush(talk.now, Some(h)).unwrap();
    assert!(read_all(&mut talk) == format!("*400 {values}"));
}

#[test]
fn many_keys_are_listed_without_a_large_buffer() {
    let mut talk = Talk::new();
    let pad = "k".repeat(1_000);
    for n in 0..3_000 {
        talk.say(&format!("SET {n:04}{pad} 1"));
    }
    talk.flow = talk.session.receive(
        talk.now,
        &mut talk.node,
        b"KEYS *\nPING\n",
        &mut talk.replies,
    );
    talk.go_on();
    assert_eq!(talk.flow, Flow::Full);
    let expected: String = (0..3_000).map(|n| format!("$1004 {n:04}{pad} ")).collect();
    assert!(read_all(&mut talk) == format!("*3000 {expected}+PONG "));
}

/// Scans to the end; everything that was shown, each call's cursor given to the next.
fn scan(talk: &mut Talk, head: &str, options: &str) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_string(), Vec::new());
    loop {
        let answer = talk.say(&format!("{head} {cursor} {options}"));
        let mut words = answer
            .split(' ')
            .filter(|word| !word.starts_with(['$', '*']));
        cursor = words.next().unwrap().to_string();
        found.extend(words.map(str::to_string));
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn scans_show_every_key_once() {
    let mut talk = Talk::new();
    for n in 0..57 {
        talk.say(&format!("SET s{n:02} 1"));
        talk.say(&format!("HSET h{n:02} f 1"));
        talk.say(&format!("HSET big f{n:02} {n}"));
    }
    let strings: Vec<String> = (0..57).map(|n| format!("s{n:02}")).collect();
    let mut hashes: Vec<String> = (0..57).map(|n| format!("h{n:02}")).collect();
    hashes.insert(0, "big".to_string());
    let both = [&strings[..], &hashes[..]].concat();
    for count in [1, 7, 10, 57, 1_000, 1_000_000] {
        let options = format!("COUNT {count}");
        assert_eq!(scan(&mut talk, "SCAN", &options), both);
        assert_eq!(
            scan(&mut talk, "SCAN", &format!("{options} TYPE hash")),
            hashes
        );
        assert_eq!(
            scan(&mut talk, "SCAN", &format!("TYPE string {options}")),
            strings
        );
        let tens = scan(&mut talk, "SCAN", &format!("{options} MATCH [sh]3?"));
        assert_eq!(tens.len(), 20);
        assert_eq!(scan(&mut talk, "HSCAN big", &options).len(), 114);
        assert_eq!(
            scan(&mut talk, "HSCAN big", &format!("{options} NOVALUES")).len(),
            57
        );
    }
    let cursor = talk
        .say("HSCAN big 0")
        .split(' ')
        .nth(2)
        .unwrap()
        .to_string();
    // Another connection goes on from there; another scan does not.
    talk.session = talk.gateway.client(4);
    assert!(talk.say(&format!("HSCAN big {cursor}")).starts_with("*2 $"));
    assert!(
        talk.say(&format!("HSCAN h01 {cursor}"))
            .starts_with("-ERR invalid cursor")
    );
    assert!(
        talk.say(&format!("SCAN {cursor}"))
            .starts_with("-ERR invalid cursor")
    );
    assert!(talk.say("SCAN 12345").starts_with("-ERR invalid cursor"));
}

#[test]
fn limits_and_refusals_name_their_reason() {
    let mut talk = Talk::with(|config| {
        config.limits.value_bytes = 100;
        config.limits.key_bytes = 120;
    });
    let long = "x".repeat(119);
    talk.expect(&[
        ("INCR a", "-ERR INCR would lose counts: two members that write one row of a gossip table at once keep one of the two results. Only strong tables can do it"),
        ("lpush a 1", "-ERR LPUSH is not supported: there are strings and hashes only"),
        ("HSET h f 1", ":1"),
        ("EXPIRE h 10", "-ERR EXPIRE is not supported on a hash: a hash is a table, and tables do not expire"),
        ("HSET default a 1", "-ERR the hash 'default' is the table of the strings: use the commands for strings"),
        ("SET default 1", "+OK"),
        ("HGET default a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HSET \"\\xff\" a 1", "-ERR the name of a hash is the name of a table and has to be UTF-8"),
        ("SET '' 1", "-ERR a key has at least one byte"),
        ("GET ''", "$-1"),
        ("HSET h '' 1", "-ERR a key has at least one byte"),
        ("MSET ok 1 '' 2", "-ERR a key has at least one byte"),
        ("GET ok", "$-1"),
        ("DEL ''", ":0"),
        ("SELECT 1", "-ERR DB index is out of range"),
        ("SELECT 0", "+OK"),
        (&format!("SET a {long}"), "-TOOLARGE the value has 119 bytes, the limit is 100"),
        (&format!("SET {long}yy 1"), "-TOOLARGE the key has 121 bytes, the limit is 120"),
    ]);
    let mut skipped = array(&[b"SET", b"a", &[b'x'; 121]]);
    skipped.extend_from_slice(b"PING\n");
    let expected = "-TOOLARGE an argument has 121 bytes, the limit is 120 +PONG ";
    assert_eq!(talk.send(&skipped), expected);
    talk.node.handle(
        talk.now,
        Input::StoreStalled {
            why: "full".to_string(),
        },
    );
    talk.expect(&[
        ("SET a 1", "-OOM the store is out of space"),
        ("GET default", "$1 1"),
    ]);
}

#[test]
fn broken_streams_and_farewells_close() {
    let cases: [(&[u8], &str); 5] = [
        (
            b"PING\r\n*1\r\n+PING\r\n",
            "+PONG -ERR Protocol error: expected '$', got '+' ",
        ),
        (
            b"*1\r\n$600000000\r\n",
            "-ERR Protocol error: invalid bulk length ",
        ),
        (
            b"echo \"a\r\n",
            "-ERR Protocol error: unbalanced quotes in request ",
        ),
        (b"QUIT\r\nPING\r\n", "+OK "),
        (b"POST / HTTP/1.1\r\nPING\r\n", ""),
    ];
    for (stream, expected) in cases {
        let mut talk = Talk::new();
        assert_eq!(talk.send(stream), expected);
        assert_eq!(talk.flow, Flow::Close);
    }
}

#[test]
fn a_pipeline_answers_in_order_however_it_is_cut() {
    let mut stream = Vec::new();
    for n in 0..20 {
        let key = format!("key{n}");
        stream.extend(array(&[b"SET", key.as_bytes(), &[b'v'; 20]]));
        stream.extend(array(&[b"GET", key.as_bytes()]));
        stream.extend_from_slice(b"ping\r\n");
    }
    let expected = "+OK $20 vvvvvvvvvvvvvvvvvvvv +PONG ".repeat(20);
    for size in 1..stream.len() {
        let mut talk = Talk::new();
        let answer: String = stream.chunks(size).map(|piece| talk.send(piece)).collect();
        assert_eq!(answer, expected, "pieces of {size}");
    }
}

#[test]
fn replies_about_a_sync_table_wait_for_the_store() {
    let mut talk = Talk::stored();
    let options = TableOptions::default().durability(Durability::Sync);
    talk.node.create_table(talk.now, "safe", options).unwrap();
    talk.turn(true);
    assert_eq!(talk.say("PING"), "+PONG");
    let answer = talk.send(b"SET a 1\nHSET safe f v\nGET a\n");
    assert_eq!(answer, "+OK ", "what comes before is not held back");
    talk.turn(false);
    assert_eq!(talk.read(), "");
    let durable = talk.node.durable();
    let mut other = talk.gateway.client(9);
    std::mem::swap(&mut talk.session, &mut other);
    let mut replies = std::mem::take(&mut talk.replies);
    // A reader of the row waits as well, in every command that shows it.
    for line in [
        "HGET safe f",
        "HGETALL safe",
        "HMGET safe f",
        "HEXISTS safe f",
        "HSCAN safe 0",
    ] {
        talk.replies = rumormill_kit::client_session::Replies::new();
        // How many fields were asked for is no secret.
        assert!(["", "*1"].contains(&&talk.say(line)[..]), "{line}");
        assert!(!talk.replies.is_empty());
    }
    talk.node.handle(
        talk.now,
        Input::Stored {
            upto: rumormill_core::Seq(durable.0 + 10),
        },
    );
    assert!(talk.read().starts_with("*2 "));
    std::mem::swap(&mut talk.replies, &mut replies);
    assert_eq!(talk.read(), ":1 $1 1 ");
    assert_eq!(talk.say("HGET safe f"), "$1 v");
}

#[test]
fn what_the_server_says_of_itself() {
    let mut talk = Talk::new();
    let hello = talk.say("HELLO 3");
    let expected = "%7 $6 server $5 redis $7 version $6 7.0.15 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0";
    assert_eq!(hello, expected);
    talk.expect(&[
        ("CLIENT ID", ":3"),
        ("CLIENT SETINFO LIB-NAME x", "+OK"),
        (
            "CLIENT SETINFO lib-ver 'x y'",
            "-ERR lib-ver cannot contain spaces, newlines or special characters.",
        ),
        ("SET a 1", "+OK"),
        (
            "INFO keyspace",
            "=48 txt:# Keyspace db0:keys=1,expires=0,avg_ttl=0",
        ),
        (
            "COMMAND DOCS get",
            "%1 $3 get %2 $7 summary $22 Get the value of a key $5 group $6 string",
        ),
        (
            "COMMAND INFO get",
            "*1 *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~1 +@string *0 *0 *0",
        ),
    ]);
    let info = talk.say("INFO");
    for section in [
        "# Server",
        "# Clients",
        "connected_clients:1",
        "# Memory",
        "# Persistence",
        "loading:0",
        "# Stats",
        "role:master",
        "# Rumormill",
        "members:1",
        "tombstones:0",
    ] {
        assert!(info.contains(section), "{section}");
    }
    let count: usize = talk.say("COMMAND COUNT")[1..].parse().unwrap();
    assert!(talk.say("COMMAND").starts_with(&format!("*{count} *10 ")));
    for sub in ["INFO", "DOCS"] {
        let names = " get".repeat(count);
        let described = talk.say(&format!("COMMAND {sub}{names}"));
        assert!(described.starts_with(['*', '%']), "{described}");
        let refused = format!("-TOOLARGE {} names: there are {count} commands", count + 1);
        assert_eq!(talk.say(&format!("COMMAND {sub}{names} get")), refused);
    }
    assert_eq!(talk.say("COMMAND INFO nope"), "*1 _");
    let second = talk.gateway.client(4);
    assert_eq!(talk.gateway.stats().clients(), 2);
    drop(second);
    assert_eq!(
        (
            talk.gateway.stats().clients(),
            talk.gateway.stats().connections()
        ),
        (1, 2)
    );
}

#[test]
fn random_keys_are_of_both_kinds() {
    let mut talk = Talk::new();
    talk.say("MSET a 1 b 1");
    talk.say("HSET h f 1");
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        seen.insert(talk.say("RANDOMKEY"));
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["$1 a", "$1 b", "$1 h"]
    );
}

#[test]
fn whatever_a_client_sends_is_answered() {
    let words: Vec<&[u8]> = vec![
        b"GET",
        b"SET",
        b"HSET",
        b"HSCAN",
        b"SCAN",
        b"KEYS",
        b"DEL",
        b"HELLO",
        b"3",
        b"CLIENT",
        b"CONFIG",
        b"COMMAND",
        b"INFO",
        b"EXPIRE",
        b"MGET",
        b"HMGET",
        b"HGETALL",
        b"SUBSCRIBE",
        b"UNSUBSCRIBE",
        b"FLUSHALL",
        b"a",
        b"b",
        b"0",
        b"-1",
        b"9223372036854775807",
        b"*",
        b"[",
        b"",
        b"\xff",
        b"EX",
        b"GT",
        b"MATCH",
        b"COUNT",
        b"RANDOMKEY",
        b"TTL",
        b"PERSIST",
        b"HDEL",
        b"DOCS",
        b"GETDEL",
        b"default",
        b"STRLEN",
        b"RESET",
    ];
    arbtest::arbtest(|u| {
        let mut talk = Talk::new();
        for _ in 0..u.int_in_range(1..=20)? {
            let mut command = Vec::new();
            for _ in 0..u.int_in_range(1..=6)? {
                command.push(*u.choose(&words)?);
            }
            talk.say("CLIENT SETNAME x");
            let answer = talk.send(&array(&command));
            // `=` is the verbatim text that INFO answers with after `HELLO 3`.
            assert!(
                answer.starts_with(['+', '-', ':', '$', '*', '%', '>', '_', '=']),
                "{answer}"
            );
            talk.turn(true);
            talk.read();
        }
        Ok(())
    });
    arbtest::arbtest(|u| {
        let bytes: Vec<u8> = u.arbitrary()?;
        Talk::new().send(&bytes);
        Ok(())
    });
}

#[test]
fn a_client_that_does_not_read_is_not_executed_for() {
    let mut talk = Talk::new();
    let value = "v".repeat(10_000);
    talk.say(&format!("SET a {value}"));
    let input = b"GET a\n".repeat(400);
    let receive = talk
        .session
        .receive(talk.now, &mut talk.node, &input, &mut talk.replies);
    talk.flow = receive;
    assert_eq!(talk.flow, Flow::Full);
    assert!(read_all(&mut talk) == format!("$10000 {value} ").repeat(400));
}

#[test]
fn notifications_pause_and_none_is_lost() {
    let mut talk = Talk::with(|config| config.limits.key_bytes = 60_000);
    talk.say("PSUBSCRIBE __keyspace*");
    let pad = "k".repeat(50_000);
    let keys: Vec<String> = (0..60).map(|n| format!("{n:02}{pad}")).collect();
    for key in &keys {
        let put = rumormill_core::table::Write::Put {
            key: key.as_bytes(),
            value: "1".into(),
            expires: None,
        };
        talk.node
            .write(talk.now, rumormill_core::TableId::DEFAULT, put)
            .unwrap();
    }
    talk.turn(true);
    assert_eq!(talk.flow, Flow::Full);
    let message = |key: &String| {
        format!("*4 $8 pmessage $11 __keyspace* $50017 __keyspace@0__:{key} $3 set ")
    };
    let expected: String = keys.iter().map(message).collect();
    assert!(read_all(&mut talk) == expected);
}

#[test]
fn messages_about_one_change_pause_where_there_is_no_room() {
    let mut talk = Talk::with(|config| config.limits.key_bytes = 60_000);
    let patterns: String = (0..16).map(|n| format!(" {}*", "?".repeat(n))).collect();
    talk.say(&format!("PSUBSCRIBE{patterns}"));
    let key = "k".repeat(50_000);
    let put = rumormill_core::table::Write::Put {
        key: key.as_bytes(),
        value: "1".into(),
        expires: None,
    };
    talk.node
        .write(talk.now, rumormill_core::TableId::DEFAULT, put)
        .unwrap();
    talk.turn(true);
    assert_eq!(talk.flow, Flow::Full);
    let told = read_all(&mut talk).matches("pmessage").count();
    assert_eq!(told, 16 * 2, "each pattern, for both channels");
}

/// A client whose replies and those of others share a small budget, which is booked as a driver does.
struct Sharing {
    session: crate::ClientSession,
    replies: rumormill_kit::client_session::Replies,
    flow: Flow,
    booked: usize,
    heard: usize,
}

impl Sharing {
    fn act(&mut self, talk: &mut Talk, input: &[u8], reads: bool) {
        self.replies.renew_mark();
        let (now, node, replies) = (talk.now, &mut talk.node, &mut self.replies);
        self.flow = match input.is_empty() {
            true => self.session.resume(now, node, replies),
            false => self.session.receive(now, node, input, replies),
        };
        if reads {
            let ready = self.replies.ready().len();
            self.heard += ready;
            self.replies.advance(ready);
        }
        let holds = self.replies.footprint() + self.session.footprint();
        self.replies.budget().book(self.booked, holds);
        self.booked = holds;
    }
}

#[test]
fn large_replies_of_many_clients_wait_in_line_and_are_bounded_together() {
    let mut limits = ClientOutput::default();
    (limits.client, limits.all) = (64 << 10, 2 << 20);
    let budget = Budget::new(limits);
    let mut talk = Talk::new();
    let value = "v".repeat(1_000);
    for n in 0..900 {
        talk.say(&format!("HSET h f{n:03} {value}"));
    }
    let mut clients: Vec<Sharing> = (0..20)
        .map(|n| Sharing {
            session: talk.gateway.client(100 + n),
            replies: rumormill_kit::client_session::Replies::within(budget.clone()),
            flow: Flow::Continue,
            booked: 0,
            heard: 0,
        })
        .collect();
    for client in &mut clients {
        client.act(&mut talk, b"HGETALL h\n", false);
    }
    let mut waited = 0;
    for _ in 0..10_000 {
        assert!(budget.used() < 3 << 20, "{} bytes", budget.used());
        waited += clients
            .iter()
            .filter(|client| client.flow == Flow::Wait)
            .count();
        let due = budget.due();
        for (n, client) in clients.iter_mut().enumerate() {
            let is_due = client.flow != Flow::Wait || due == Some(100 + n as u64);
            if is_due {
                client.act(&mut talk, b"", true);
            }
        }
    }
    assert!(waited > 0);
    let whole = "*1800\r\n".len() + 900 * ("$4\r\nf000\r\n$1000\r\n\r\n".len() + 1_000);
    for client in &clients {
        assert_eq!((client.flow, client.heard), (Flow::Continue, whole));
    }
    // One that is more than half of the budget is refused whole.
    for n in 0..900 {
        talk.say(&format!("HSET h g{n:03} {value}"));
    }
    let mut client = clients.pop().unwrap();
    client.act(&mut talk, b"HGETALL h\n", false);
    while client.flow != Flow::Continue {
        client.act(&mut talk, b"", false);
    }
    assert!(
        client
            .replies
            .ready()
            .starts_with(b"-TOOLARGE the reply has more than")
    );
}
