//! No command and no subscription keeps a call of a client session busy for long.

use rumormill_core::{
    Seq, Storage,
    io::{Input, Output},
};
use rumormill_kit::client_session::{ClientSession as _, Flow};

use super::{Talk, array};
use crate::keyspace::{ALL_SUBSCRIPTION_BYTES, SUBSCRIPTION_BYTES, SUBSCRIPTION_ELEMENTS};

/// Goes on until the client session wants more input; how many calls that took.
fn go_on(talk: &mut Talk) -> (usize, String) {
    let (mut calls, mut text) = (0, talk.read());
    while matches!(talk.flow, Flow::Full | Flow::Yield) {
        calls += 1;
        talk.flow = talk
            .session
            .resume(talk.now, &mut talk.node, &mut talk.replies);
        text.push_str(&talk.read());
    }
    (calls, text)
}

#[test]
fn a_class_of_any_length_is_compared_once_for_each_character() {
    let mut talk = Talk::new();
    talk.say("MSET abz 1 abc 2");
    let class = [b"*[", &b"z".repeat(60_000)[..], b"]"].concat();
    assert_eq!(talk.send(&array(&[b"KEYS", &class])), "*1 $3 abz ");
    let scan = array(&[b"SCAN", b"0", b"MATCH", &class]);
    assert_eq!(talk.send(&scan), "*2 $1 0 *1 $3 abz ");
    let long = [b"*", &b"a".repeat(2_000)[..]].concat();
    for command in [
        array(&[b"KEYS", &long]),
        array(&[b"SCAN", b"0", b"MATCH", &long]),
        array(&[b"HSCAN", b"h", b"0", b"MATCH", &long]),
        array(&[b"PSUBSCRIBE", &long]),
        array(&[b"CONFIG", b"GET", &long]),
    ] {
        let refused = talk.send(&command);
        assert!(
            refused.starts_with("-TOOLARGE a pattern of more than 1024"),
            "{refused}"
        );
    }
    assert_eq!(talk.say("PING"), "+PONG");
}

#[test]
fn a_pipeline_of_costly_scans_takes_several_calls() {
    let mut talk = Talk::new();
    for n in 0..1_000 {
        talk.say(&format!("SET {n:0200} v"));
    }
    let pattern = [b"*", &b"0".repeat(1_000)[..], b"*"].concat();
    let scan = array(&[b"SCAN", b"0", b"COUNT", b"10000", b"MATCH", &pattern]);
    talk.flow = talk.session.receive(
        talk.now,
        &mut talk.node,
        &scan.repeat(20),
        &mut talk.replies,
    );
    assert_eq!(talk.flow, Flow::Yield);
    let (calls, text) = go_on(&mut talk);
    assert!(calls >= 10, "{calls}");
    // Each has looked at a part of the keys and found none.
    assert_eq!(text.matches("*2 ").count(), 20);
    assert_eq!(text.matches("*0 ").count(), 20);
}

#[test]
fn a_listing_of_many_rows_is_built_and_said_in_small_pieces() {
    let mut talk = Talk::new();
    for n in 0..20_000 {
        talk.say(&format!("SET {n:030} v"));
    }
    let keys = array(&[b"KEYS", b"*"]);
    talk.flow = talk
        .session
        .receive(talk.now, &mut talk.node, &keys, &mut talk.replies);
    let (calls, text) = go_on(&mut talk);
    assert!(text.starts_with("*20000 "), "{}", &text[..20]);
    // A thousand rows in a piece, and 256 KiB of a reply of 720 KiB.
    assert!(calls >= 19 + 2, "{calls}");
    let reply = talk.say("SCAN 0 COUNT 10000");
    let rows = reply
        .split(' ')
        .filter(|word| word.starts_with('0'))
        .count();
    assert_eq!(rows, 2_000, "of a call of SCAN");
}

#[test]
fn a_costly_scan_goes_on_where_it_stopped() {
    let mut talk = Talk::new();
    for n in 0..500 {
        talk.say(&format!("SET {}{n:03} v", "a".repeat(5_000)));
    }
    let pattern = format!("*{}*9", "a".repeat(1_000));
    let (mut cursor, mut found, mut calls) = ("0".to_string(), 0, 0);
    loop {
        let text = talk.say(&format!("SCAN {cursor} COUNT 10000 MATCH {pattern}"));
        let mut words = text.split(' ');
        cursor = words.nth(2).expect("a cursor").to_string();
        found += text.matches("$5003 ").count();
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!((5..200).contains(&calls), "{calls}");
    assert!(found == 50, "{found}");
}

#[test]
fn a_change_is_told_to_many_patterns_in_several_calls_and_to_each_once() {
    let mut talk = Talk::new();
    talk.say("HELLO 3");
    for n in 0..200 {
        // Each costs as many steps as the key has bytes.
        let answer = talk.say(&format!("PSUBSCRIBE *{n:03}*"));
        assert!(answer.starts_with(">3 "), "{answer}");
    }
    let numbers: String = (0..200).map(|n| format!("{n:03}")).collect();
    let key = format!("{}{numbers}", "x".repeat(10_000));
    talk.say(&format!("SET {key} v"));
    talk.node.handle(talk.now, Input::Tick);
    while talk.node.poll_output().is_some() {}
    talk.flow = talk
        .session
        .changed(talk.now, &mut talk.node, &mut talk.replies);
    assert_eq!(talk.flow, Flow::Yield);
    let (calls, text) = go_on(&mut talk);
    assert!(calls >= 2, "{calls}");
    for n in 0..200 {
        let told = text.matches(&format!("$8 pmessage $5 *{n:03}* $")).count();
        assert_eq!(told, 1, "{n}");
    }
}

/// The first hundred bytes of the answer to a command.
fn answer(talk: &mut Talk, command: &[u8]) -> String {
    talk.session
        .receive(talk.now, &mut talk.node, command, &mut talk.replies);
    let ready = talk.replies.ready();
    let text = ready[..ready.len().min(100)].escape_ascii().to_string();
    talk.replies.advance(talk.replies.ready().len());
    text
}

#[test]
fn patterns_are_bounded_for_a_client_and_for_all() {
    let mut talk = Talk::new();
    let pattern = |n: usize| format!("*{n:04}{}", "a".repeat(996)).into_bytes();
    let most = SUBSCRIPTION_ELEMENTS / 1_000;
    for n in 0..most {
        assert!(answer(&mut talk, &array(&[b"PSUBSCRIBE", &pattern(n)])).starts_with('*'));
    }
    let refused = answer(&mut talk, &array(&[b"PSUBSCRIBE", &pattern(most)]));
    assert!(
        refused.starts_with("-TOOLARGE the patterns of a client"),
        "{refused}"
    );
    let large = vec![b'a'; SUBSCRIPTION_BYTES / 2];
    assert!(answer(&mut talk, &array(&[b"SUBSCRIBE", &large])).starts_with('*'));
    let another = vec![b'b'; SUBSCRIPTION_BYTES / 2];
    let refused = answer(&mut talk, &array(&[b"SUBSCRIBE", &another]));
    assert!(refused.starts_with("-TOOLARGE the channels and patterns of a client"));
    let mut others = Vec::new();
    let refused = loop {
        let mut other = talk.gateway.client(100 + others.len() as u64);
        std::mem::swap(&mut talk.session, &mut other);
        let answer = answer(&mut talk, &array(&[b"SUBSCRIBE", &large]));
        others.push(other);
        if answer.starts_with('-') {
            break answer;
        }
    };
    assert!(refused.starts_with("-TOOLARGE the channels and patterns of all clients"));
    assert!(others.len() > ALL_SUBSCRIPTION_BYTES / SUBSCRIPTION_BYTES);
    // They make room when they go.
    others.clear();
    assert!(answer(&mut talk, &array(&[b"SUBSCRIBE", &large])).starts_with('*'));
}

#[test]
fn a_watcher_that_resubscribes_gives_its_room_back() {
    let mut talk = Talk::new();
    let large = vec![b'a'; SUBSCRIPTION_BYTES / 2];
    for _ in 0..200 {
        assert!(answer(&mut talk, &array(&[b"SUBSCRIBE", &large])).starts_with('*'));
        assert!(answer(&mut talk, &array(&[b"UNSUBSCRIBE", &large])).starts_with('*'));
    }
}

#[test]
fn reads_are_answered_while_the_store_lags_behind_and_writes_wait_in_their_place() {
    let mut talk = Talk::with(|config| {
        config.storage = Storage::Ordered;
        config.limits.store_backlog = 4;
    });
    let mut last = Seq(0);
    for n in 0..2 {
        talk.say(&format!("SET a {n}"));
        talk.node.handle(talk.now, Input::Tick);
        while let Some(output) = talk.node.poll_output() {
            if let Output::Store { seq, .. } = output {
                last = seq;
            }
        }
    }
    assert!(talk.node.pressure());
    let answers = talk.send(b"PING\nGET a\nSET a 2\nGET a\nRUMORMILL SET b 3\nPING\n");
    assert_eq!(
        (answers.as_str(), &talk.flow),
        ("+PONG $1 1 ", &Flow::Store)
    );
    talk.node.handle(talk.now, Input::Stored { upto: last });
    talk.flow = talk
        .session
        .resume(talk.now, &mut talk.node, &mut talk.replies);
    assert_eq!(talk.read(), "+OK $1 2 +OK +PONG ");
    assert_eq!(talk.flow, Flow::Continue);
}

#[test]
fn a_transaction_that_writes_waits_whole_while_the_store_lags_behind() {
    let mut talk = Talk::with(|config| {
        config.storage = Storage::Ordered;
        config.limits.store_backlog = 4;
    });
    let mut last = Seq(0);
    for n in 0..2 {
        talk.say(&format!("SET a {n}"));
        talk.node.handle(talk.now, Input::Tick);
        while let Some(output) = talk.node.poll_output() {
            if let Output::Store { seq, .. } = output {
                last = seq;
            }
        }
    }
    assert!(talk.node.pressure());
    let answers = talk.send(b"MULTI\nGET a\nEXEC\nMULTI\nSET a 2\nGET a\nEXEC\nPING\n");
    let expected = "+OK +QUEUED *1 $1 1 +OK +QUEUED +QUEUED ";
    assert_eq!((answers.as_str(), &talk.flow), (expected, &Flow::Store));
    talk.node.handle(talk.now, Input::Stored { upto: last });
    talk.flow = talk
        .session
        .resume(talk.now, &mut talk.node, &mut talk.replies);
    assert_eq!(talk.read(), "*2 +OK $1 2 +PONG ");
}

#[test]
fn what_costs_much_is_bounded_in_a_transaction() {
    let mut talk = Talk::new();
    for n in 0..100 {
        talk.say(&format!("SET {}{n:03} v", "0".repeat(10_000)));
    }
    let pattern = format!("*{}", "1".repeat(500));
    let costly = [
        format!("SCAN 0 MATCH {pattern}"),
        format!("KEYS {pattern}"),
        "INFO".to_string(),
        "FLUSHALL".to_string(),
        "COMMAND DOCS".to_string(),
    ];
    for line in costly {
        talk.say("MULTI");
        for _ in 0..40 {
            assert_eq!(talk.say(&line), "+QUEUED");
        }
        let refused = talk.say("EXEC");
        let why = "-EXECABORT Transaction discarded because of its size: TOOLARGE it would keep";
        assert!(refused.starts_with(why), "{line}: {refused}");
    }
    assert_eq!(talk.say("DBSIZE"), ":100");
}

#[test]
fn a_pipeline_of_flushes_takes_several_calls() {
    let mut talk = Talk::new();
    for hash in 0..20 {
        for n in 0..300 {
            talk.say(&format!("HSET h{hash} f{n} 1"));
        }
    }
    let lines: String = (0..20).map(|hash| format!("DEL h{hash}\n")).collect();
    let bytes = lines.as_bytes();
    talk.flow = talk
        .session
        .receive(talk.now, &mut talk.node, bytes, &mut talk.replies);
    assert_eq!(talk.flow, Flow::Yield);
    let (calls, text) = go_on(&mut talk);
    assert!(calls >= 9, "{calls}");
    assert_eq!(text, ":1 ".repeat(20));
    // Flushes of little are cheap.
    let lines = "FLUSHALL\n".repeat(100);
    let bytes = lines.as_bytes();
    talk.flow = talk
        .session
        .receive(talk.now, &mut talk.node, bytes, &mut talk.replies);
    let (calls, _) = go_on(&mut talk);
    assert!(calls <= 2, "{calls}");
}
