//! Transactions. Replies are copied from Redis 7.0.15.

use rumormill_core::{TableId, table::Write};
use rumormill_kit::client_session::{ClientSession as _, Flow};

use super::{Talk, array};

#[test]
fn what_is_queued_is_carried_out_by_exec_and_not_before() {
    let mut talk = Talk::new();
    talk.expect(&[
        ("SET k 0", "+OK"),
        ("MULTI", "+OK"),
        ("SET k 1", "+QUEUED"),
        ("DISCARD", "+OK"),
        ("GET k", "$1 0"),
        ("MULTI", "+OK"),
        ("SET k 2", "+QUEUED"),
        ("GET k", "+QUEUED"),
        ("HGET k f", "+QUEUED"),
        ("GET k", "+QUEUED"),
        (
            "EXEC",
            "*4 +OK $1 2 -WRONGTYPE Operation against a key holding the wrong kind of value $1 2",
        ),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("UNWATCH", "+OK"),
        ("MULTI", "+OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("WATCH a", "-ERR WATCH inside MULTI is not allowed"),
        ("PING", "+QUEUED"),
        ("UNWATCH", "+QUEUED"),
        ("EXEC", "*2 +PONG +OK"),
        ("MULTI", "+OK"),
        ("CLIENT SETNAME x", "+QUEUED"),
        ("CLIENT GETNAME", "+QUEUED"),
        ("SELECT 0", "+QUEUED"),
        ("EXEC", "*3 +OK $1 x +OK"),
        ("MULTI", "+OK"),
        ("RESET", "+RESET"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("MULTI", "+OK"),
        ("HELLO 3", "+QUEUED"),
        ("GET zz", "+QUEUED"),
    ]);
    assert!(talk.say("EXEC").ends_with("modules *0 _"));
    talk.expect(&[("MULTI", "+OK"), ("QUIT", "+OK")]);
    assert_eq!(talk.flow, Flow::Close);
}

#[test]
fn an_error_at_queueing_discards_everything() {
    let mut talk = Talk::new();
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    let refused = [
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        (
            "NOPE a",
            "-ERR unknown command 'NOPE', with args beginning with: 'a'",
        ),
        (
            "DISCARD x",
            "-ERR wrong number of arguments for 'discard' command",
        ),
        (
            "LPUSH l 1",
            "-ERR LPUSH is not supported: there are strings and hashes only",
        ),
    ];
    for (line, error) in refused {
        talk.expect(&[
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            (line, error),
            ("SET b 1", "+QUEUED"),
            ("EXEC", aborted),
            ("EXEC", "-ERR EXEC without MULTI"),
            ("EXISTS a b", ":0"),
        ]);
    }
    talk.expect(&[
        ("MULTI", "+OK"),
        ("EXEC x", "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"),
        ("EXEC", "-ERR EXEC without MULTI"),
    ]);
    // A command that is skipped because it is too large.
    talk.say("MULTI");
    let skipped = array(&[b"SET", b"a", &vec![b'x'; 2 << 20]]);
    assert!(talk.send(&skipped).starts_with("-TOOLARGE"));
    assert_eq!(talk.say("EXEC"), aborted);
}

#[test]
fn a_watched_key_that_has_changed_makes_exec_do_nothing() {
    let mut talk = Talk::new();
    talk.say("SET k 1");
    talk.say("HSET h f 1");
    // Before, what happens between WATCH and EXEC, and whether the transaction is carried out.
    let cases = [
        ("k", "PING", true),
        ("k", "SET other 1", true),
        ("k", "SET k 1", false),
        ("k", "DEL k", false),
        ("k", "PEXPIRE k 100000", false),
        ("k", "FLUSHALL", false),
        ("k", "UNWATCH", true),
        ("k h", "HSET h g 1", false),
        ("h", "HDEL h f", false),
        ("h", "FLUSHALL", false),
        ("h", "SET h 1", false),
        ("h", "HSET other f 1", true),
        ("none", "SET other 1", true),
        ("none", "SET none 1", false),
        ("none", "HSET none f 1", false),
        ("none", "FLUSHALL", true),
    ];
    for (keys, act, carried) in cases {
        talk.say("FLUSHALL");
        talk.say("SET k 1");
        talk.say("HSET h f 1");
        talk.turn(true);
        talk.say(&format!("WATCH {keys}"));
        talk.say(act);
        talk.turn(true);
        talk.expect(&[("MULTI", "+OK"), ("SET done 1", "+QUEUED")]);
        let expected = if carried { "*1 +OK" } else { "*-1" };
        assert_eq!(talk.say("EXEC"), expected, "WATCH {keys}, {act}");
        assert_eq!(talk.say("EXISTS done"), if carried { ":1" } else { ":0" });
        // It is watched no longer.
        talk.say(act);
        talk.expect(&[("MULTI", "+OK"), ("EXEC", "*0")]);
    }
}

#[test]
fn a_key_that_came_and_went_has_changed() {
    let mut talk = Talk::new();
    talk.say("WATCH none");
    talk.say("SET none 1");
    talk.say("DEL none");
    // The tombstone is freed at once, because there is no other member.
    talk.turn(true);
    talk.pass(10);
    talk.expect(&[("MULTI", "+OK"), ("EXEC", "*-1")]);
    talk.say("WATCH none");
    // More changes than are looked at.
    for _ in 0..5_000 {
        let put = Write::Put {
            key: b"busy",
            value: "1".into(),
            expires: None,
        };
        talk.node.write(talk.now, TableId::DEFAULT, put).unwrap();
    }
    talk.expect(&[("MULTI", "+OK"), ("EXEC", "*0")]);
    talk.say("WATCH none");
    for n in 0..5_000 {
        talk.say(&format!("SET busy{n} 1"));
    }
    talk.expect(&[("MULTI", "+OK"), ("EXEC", "*-1")]);
}

#[test]
fn a_key_that_expires_has_changed() {
    let mut talk = Talk::new();
    talk.say("SET k 1 PX 30");
    talk.say("WATCH k");
    talk.pass(50);
    talk.expect(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*-1")]);
    // One that had expired before has not, also when its row ends meanwhile.
    talk.say("SET k 1 PX 30");
    talk.pass(50);
    talk.say("WATCH k");
    talk.pass(20_000);
    talk.expect(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*1 +PONG")]);
    // Its delete is a write, since other members may still show it.
    talk.say("SET k 1 PX 30");
    talk.pass(50);
    talk.expect(&[("WATCH k", "+OK"), ("DEL k", ":0")]);
    talk.expect(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*-1")]);
}

#[test]
fn subscribing_in_a_transaction_answers_as_redis_does() {
    let mut talk = Talk::new();
    talk.expect(&[
        ("MULTI", "+OK"),
        ("SUBSCRIBE a b", "+QUEUED"),
        ("PING", "+QUEUED"),
        ("EXEC", "*2 *3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 *2 $4 pong $0"),
        ("GET a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"),
        ("MULTI", "-ERR Can't execute 'multi': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"),
    ]);
}

#[test]
fn other_clients_see_all_of_a_transaction_or_nothing() {
    let mut talk = Talk::new();
    let mut other = talk.gateway.client(4);
    let mut heard = rumormill_kit::client_session::Replies::new();
    let mut look = |talk: &mut Talk| {
        let line = b"MGET a b\n";
        other.receive(talk.now, &mut talk.node, line, &mut heard);
        let said = heard.ready().escape_ascii().to_string();
        heard.advance(heard.ready().len());
        said.replace("\\r\\n", " ")
    };
    let stream = b"MULTI\nSET a 1\nSET b 1\nEXEC\n";
    let mut seen = std::collections::BTreeSet::new();
    for byte in stream {
        talk.send(&[*byte]);
        seen.insert(look(&mut talk));
    }
    let expected = ["*2 $-1 $-1 ", "*2 $1 1 $1 1 "];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_transaction_is_bounded_and_refused_whole() {
    let mut talk = Talk::new();
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    talk.say("MULTI");
    for _ in 0..4_096 {
        assert_eq!(talk.say("SET k 1"), "+QUEUED");
    }
    let refused = "-TOOLARGE a transaction has at most 4096 commands: send fewer, or without MULTI";
    talk.expect(&[
        ("SET k 1", refused),
        ("SET k 1", "+QUEUED"),
        ("EXEC", aborted),
    ]);
    let value = "v".repeat(1 << 19);
    talk.say("MULTI");
    for _ in 0..7 {
        assert_eq!(talk.say(&format!("ECHO {}", &value[..60_000])), "+QUEUED");
        let set = array(&[b"SET", b"k", value.as_bytes()]);
        assert_eq!(talk.send(&set), "+QUEUED ");
    }
    let set = array(&[b"SET", b"k", value.as_bytes()]);
    assert!(
        talk.send(&set)
            .starts_with("-TOOLARGE a transaction has at most 4194304 bytes")
    );
    talk.expect(&[("EXEC", aborted), ("EXISTS k", ":0")]);
    // Its reads are bounded as well.
    talk.send(&set);
    talk.say("MULTI");
    for _ in 0..9 {
        talk.say("GET k");
    }
    talk.expect(&[("SET done 1", "+QUEUED"), ("EXEC", "-EXECABORT Transaction discarded because of its size: TOOLARGE it reads values of more than 4194304 bytes")]);
    for n in 0..5_000 {
        talk.say(&format!("HSET h f{n} 1"));
    }
    talk.say("MULTI");
    talk.expect(&[
        ("HKEYS h", "+QUEUED"),
        ("HKEYS h", "+QUEUED"),
        ("SET done 1", "+QUEUED"),
        ("EXEC", "-EXECABORT Transaction discarded because of its size: TOOLARGE it would keep all other clients waiting for more than 4 ms; some 2000 writes fit"),
        ("EXISTS done", ":0"),
    ]);
    // Writes, and flushes: of each the 256 rows that it may delete one by one.
    let many = |talk: &mut Talk, count, line: fn(usize) -> String| {
        talk.say("MULTI");
        for n in 0..count {
            assert_eq!(talk.say(&line(n)), "+QUEUED");
        }
        talk.say("EXEC")
    };
    let too_large = "-EXECABORT Transaction discarded because of its size: TOOLARGE it would keep";
    assert!(many(&mut talk, 2_300, |n| format!("SET w{n} 1")).starts_with(too_large));
    assert!(many(&mut talk, 700, |n| format!("HSET w{n} f 1")).starts_with(too_large));
    assert_eq!(talk.say("EXISTS w0"), ":0");
    let said = many(&mut talk, 1_500, |n| format!("HSET made f{n} 1"));
    assert!(
        said.starts_with("*1500 :1"),
        "{}",
        &said[..said.len().min(200)]
    );
    assert!(many(&mut talk, 2_000, |n| format!("SET w{n} 1")).starts_with("*2000 +OK"));
    for hash in 1..=2 {
        for n in 0..3_000 {
            talk.say(&format!("HSET g{hash} f{n} 1"));
        }
    }
    assert!(many(&mut talk, 12, |_| "FLUSHALL".to_string()).starts_with(too_large));
    assert_eq!(talk.say("EXISTS g1 g2 w0"), ":3");
    let said = many(&mut talk, 2, |n| format!("DEL g{} w{n}", n + 1));
    assert_eq!(said, "*2 :2 :2");
    talk.say("MULTI");
    talk.say("HKEYS h");
    talk.say("KEYS w1*");
    assert!(talk.say("EXEC").starts_with("*2 *5000 $2 f0 "));
    let watched: String = (0..1_025).map(|n| format!(" {n}")).collect();
    assert!(
        talk.say(&format!("WATCH{watched}"))
            .starts_with("-TOOLARGE a client watches at most 1024 keys")
    );
}

/// Sends the bytes of `pipeline()` of redis-py 8 for `set`, `get`, `hset` with a mapping and `hgetall`, its default being a transaction.
#[test]
fn redis_py_pipelines_are_carried_out() {
    let mut talk = Talk::new();
    let mut stream = Vec::new();
    for words in [
        &[&b"MULTI"[..]][..],
        &[b"SET", b"a", b"1"],
        &[b"GET", b"a"],
        &[b"HSET", b"h", b"f", b"1", b"g", b"2"],
        &[b"HGETALL", b"h"],
        &[b"EXEC"],
    ] {
        stream.extend(array(words));
    }
    assert_eq!(
        talk.send(&stream),
        "+OK +QUEUED +QUEUED +QUEUED +QUEUED *4 +OK $1 1 :2 *4 $1 f $1 1 $1 g $1 2 "
    );
}

/// Sends the bytes of ioredis 5 for `redis.multi().set("foo", "bar").get("foo").exec()`, as its documentation shows: each command is written
/// at once, in lower case, and `exec` is answered with one array.
#[test]
fn ioredis_multi_is_carried_out() {
    let mut talk = Talk::new();
    let mut stream = Vec::new();
    for words in [
        &[&b"multi"[..]][..],
        &[b"set", b"foo", b"bar"],
        &[b"get", b"foo"],
        &[b"exec"],
    ] {
        stream.extend(array(words));
    }
    assert_eq!(talk.send(&stream), "+OK +QUEUED +QUEUED *2 +OK $3 bar ");
}

/// Sends the bytes of django-redis for `set_many` of two keys: the pipeline of redis-py, each key with its expiry in milliseconds.
#[test]
fn django_set_many_is_carried_out() {
    let mut talk = Talk::new();
    let mut stream = Vec::new();
    for words in [
        &[&b"MULTI"[..]][..],
        &[b"SET", b":1:a", b"1", b"PX", b"300000"],
        &[b"SET", b":1:b", b"\x80\x05\x8c\x01x\x94.", b"PX", b"300000"],
        &[b"EXEC"],
    ] {
        stream.extend(array(words));
    }
    assert_eq!(talk.send(&stream), "+OK +QUEUED +QUEUED *2 +OK +OK ");
    assert_eq!(talk.say("TTL :1:a"), ":300");
}
