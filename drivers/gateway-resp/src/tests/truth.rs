//! A client is told what is so, and what it meant for another database goes nowhere.

use std::collections::BTreeMap;

use rumormill_core::{
    Config, Now, Recovery, Seed, Storage, Wall,
    io::{Input, Output, StoreOp},
};
use rumormill_kit::client_session::{ClientSession as _, Flow};

use super::{START, Talk};

fn info(talk: &mut Talk) -> BTreeMap<String, String> {
    let text = talk.say("INFO");
    let fields = text.split(' ').filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[test]
fn what_follows_a_refused_select_writes_nothing() {
    let mut talk = Talk::new();
    talk.say("SET a 1");
    let pipeline =
        b"SELECT 1\nSET a 2\nDEL a\nHSET h f v\nFLUSHALL\nGET a\nRUMORMILL SET a 3\nPING\n";
    let answers = talk.send(pipeline);
    assert_eq!(answers.matches("-ERR a database was selected").count(), 6);
    assert!(
        answers.starts_with("-ERR DB index is out of range "),
        "{answers}"
    );
    assert!(answers.ends_with("+PONG "), "{answers}");
    talk.expect(&[
        ("SELECT 0", "+OK"),
        ("GET a", "$1 1"),
        ("EXISTS h", ":0"),
        ("SELECT 99999999999999999999", "-ERR value is not an integer or out of range"),
        ("GET a", "-ERR a database was selected that does not exist, and there is database 0 alone: nothing is read or written until SELECT 0"),
        ("RESET", "+RESET"),
        ("SET a 4", "+OK"),
    ]);
}

#[test]
fn what_follows_a_refused_select_in_a_transaction_writes_nothing() {
    let mut talk = Talk::new();
    talk.say("SET a 1");
    let answers = talk.send(b"MULTI\nSELECT 1\nSET a 2\nDEL a\nEXEC\n");
    assert!(
        answers.starts_with(
            "+OK +QUEUED +QUEUED +QUEUED *3 -ERR DB index is out of range -ERR a database"
        ),
        "{answers}"
    );
    talk.expect(&[
        ("SELECT 0", "+OK"),
        ("GET a", "$1 1"),
        ("SELECT 1", "-ERR DB index is out of range"),
    ]);
    let answers = talk.send(b"MULTI\nSET a 2\nEXEC\nSELECT 0\n");
    assert!(answers.contains("-EXECABORT"), "{answers}");
    assert_eq!(talk.say("GET a"), "$1 1");
}

#[test]
fn the_times_of_an_expiry_do_not_overflow() {
    let mut talk = Talk::new();
    talk.say("SET a 1");
    talk.expect(&[
        ("PEXPIREAT a 9223372036854775807", ":1"),
        ("PEXPIRETIME a", ":9223372036854775807"),
        ("EXPIRETIME a", ":9223372036854776"),
    ]);
    assert!(talk.say("TTL a").starts_with(":92233"));
    assert!(talk.say("PTTL a").starts_with(":92233"));
    for command in ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"] {
        for moment in [i64::MAX, i64::MAX / 1000, i64::MAX / 1000 + 1] {
            let answer = talk.say(&format!("{command} a {moment}"));
            let refused = format!(
                "-ERR invalid expire time in '{}' command",
                command.to_lowercase()
            );
            assert!(
                answer == ":1" || answer == refused,
                "{command} {moment}: {answer}"
            );
            for show in ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
                let shown = talk.say(&format!("{show} a"));
                let shown: i64 = shown[1..].parse().expect("a number");
                assert!(shown > 0, "{show} after {command} {moment}: {shown}");
            }
        }
    }
    // A moment long past deletes, as in Redis, and does not wrap.
    assert_eq!(talk.say(&format!("EXPIREAT a {}", i64::MIN / 1000)), ":1");
    assert_eq!(talk.say("EXISTS a"), ":0");
}

#[test]
fn info_counts_from_the_last_reset() {
    let mut talk = Talk::new();
    for _ in 0..10 {
        talk.say("PING");
    }
    let before = info(&mut talk);
    assert_eq!(before["total_connections_received"], "1");
    assert_eq!(before["total_commands_processed"], "10");
    assert_eq!(talk.say("CONFIG RESETSTAT"), "+OK");
    let after = info(&mut talk);
    assert_eq!(after["total_connections_received"], "0");
    assert_eq!(after["total_commands_processed"], "1");
    assert_eq!(after["connected_clients"], "1");
    assert!(talk.gateway.stats().commands() >= 10);
}

#[test]
fn info_has_what_clients_look_for_and_nothing_made_up() {
    let mut talk = Talk::new();
    let without = info(&mut talk);
    assert!(!without.contains_key("used_memory"));
    assert_eq!(without["cluster_enabled"], "0");
    assert_eq!(without["blocked_clients"], "0");
    assert_eq!(without["loading"], "0");
    let set = talk.gateway.stats().used_memory.set(|| Some(3 << 20));
    assert!(set.is_ok());
    let with = info(&mut talk);
    assert_eq!(with["used_memory"], "3145728");
    assert_eq!(with["used_memory_human"], "3.00M");
}

#[test]
fn a_script_is_told_that_locks_need_strong_tables() {
    let mut talk = Talk::new();
    let unlock = "EVAL \"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end\" 1 lock mine";
    for line in [unlock, "EVALSHA 0 0", "FCALL f 0", "SCRIPT LOAD x"] {
        let answer = talk.say(line);
        assert!(answer.contains("strong tables"), "{answer}");
        assert!(answer.starts_with("-ERR "), "{answer}");
    }
}

#[test]
fn a_hash_of_a_mode_that_is_not_built_is_refused() {
    let mut talk = Talk::new();
    let lines = [
        "HSET strong:locks a me",
        "HSETNX strong:locks a me",
        "HGET strong:locks a",
        "HGETALL strong:locks",
        "HDEL strong:locks a",
        "HSCAN strong:locks 0",
    ];
    for line in lines {
        let answer = talk.say(line);
        assert!(
            answer.contains("strong tables are not built yet"),
            "{answer}"
        );
    }
    // The names of strings are keys of one table.
    assert_eq!(talk.say("SET strong:locks v"), "+OK");
    assert_eq!(talk.say("DEL strong:locks quorum:x"), ":1");
}

#[test]
fn a_random_key_is_any_key_with_the_same_chance() {
    let mut talk = Talk::new();
    for n in 0..30 {
        talk.say(&format!("SET string{n} v"));
        talk.say(&format!("HSET hash{n} f v"));
    }
    // Rows of one large table, and deleted ones, change nothing.
    for n in 0..500 {
        talk.say(&format!("HSET hash0 field{n} v"));
        talk.say(&format!("SET gone{n} v"));
    }
    for n in 0..500 {
        talk.say(&format!("DEL gone{n}"));
    }
    let mut drawn = BTreeMap::new();
    for _ in 0..6_000 {
        *drawn.entry(talk.say("RANDOMKEY")).or_insert(0) += 1;
    }
    assert_eq!(drawn.len(), 60, "{drawn:?}");
    // A hundred times each: five standard deviations are fifty.
    for (key, times) in drawn {
        assert!((50..150).contains(&times), "{key} {times}");
    }
}

#[test]
fn info_counts_the_keys_that_expire() {
    let mut talk = Talk::new();
    talk.say("MSET a 1 b 2");
    assert_eq!(info(&mut talk)["db0"], "keys=2,expires=0,avg_ttl=0");
    talk.say("EXPIRE a 100");
    talk.say("SET c 3 PX 50");
    assert_eq!(info(&mut talk)["db0"], "keys=3,expires=2,avg_ttl=0");
    talk.say("PERSIST a");
    talk.pass(100);
    assert_eq!(info(&mut talk)["db0"], "keys=2,expires=0,avg_ttl=0");
}

/// A client of a node that has a hash of 700 fields whose clocks are a day ahead of its own.
fn with_rows_ahead() -> Talk {
    let mut ahead = Talk::with(|config| config.storage = Storage::Ordered);
    ahead.now = Now::new(ahead.now.mono, Wall::from_millis(START + 86_400_000));
    for field in 0..700 {
        ahead.say(&format!("HSET h {field} v"));
    }
    ahead.node.handle(ahead.now, Input::Tick);
    let mut talk = Talk::new();
    // A store of which only the rows are left: so the clock begins with the wall clock.
    let mut config = Config::new("b", "there");
    config.accept_damage = true;
    let mut recovery = Recovery::new(config, Seed::from_u64(8));
    while let Some(output) = ahead.node.poll_output() {
        let Output::Store { batch, .. } = output else {
            continue;
        };
        for op in batch {
            match op {
                StoreOp::Put(record) if record.key.starts_with(b"r\x01") => {
                    recovery.record(record).unwrap();
                }
                _ => {}
            }
        }
    }
    talk.node = recovery.finish(talk.now).unwrap();
    assert_eq!(talk.say("HLEN h"), ":700");
    talk
}

#[test]
fn a_flush_is_answered_when_the_rows_ahead_of_it_are_deleted() {
    for (command, answer) in [
        ("DEL h", ":1"),
        ("FLUSHALL", "+OK"),
        ("FLUSHDB SYNC", "+OK"),
    ] {
        let mut talk = with_rows_ahead();
        let bytes = format!("{command}\nHLEN h\n").into_bytes();
        let (node, replies) = (&mut talk.node, &mut talk.replies);
        talk.flow = talk.session.receive(talk.now, node, &bytes, replies);
        assert_eq!(
            (talk.flow, talk.read().as_str()),
            (Flow::Yield, ""),
            "{command}"
        );
        talk.go_on();
        assert_eq!(talk.read(), format!("{answer} :0 "), "{command}");
    }
}

#[test]
fn a_flush_that_is_not_waited_for_is_answered_at_once() {
    let mut talk = with_rows_ahead();
    assert_eq!(talk.say("FLUSHALL ASYNC"), "+OK");
    assert_ne!(talk.say("HLEN h"), ":0");
    for _ in 0..8 {
        talk.turn(true);
    }
    assert_eq!(talk.say("HLEN h"), ":0");
    let mut talk = with_rows_ahead();
    let answers = talk.send(b"MULTI\nDEL h\nEXEC\n");
    assert!(answers.ends_with("*1 :1 "), "{answers}");
    for _ in 0..8 {
        talk.turn(true);
    }
    assert_eq!(talk.say("HLEN h"), ":0");
}
