//! Keyspace notifications.

use rumormill_kit::client_session::Flow;

use super::Talk;

#[test]
fn subscribers_are_told_of_strings_and_hashes() {
    let mut talk = Talk::new();
    talk.say("HELLO 3");
    let confirmed = talk.say("PSUBSCRIBE __keyspace@0__:*");
    assert_eq!(confirmed, ">3 $10 psubscribe $16 __keyspace@0__:* :1");
    talk.turn(true);
    talk.say("SUBSCRIBE __keyevent@0__:hset __keyevent@0__:expired");
    let told = |talk: &mut Talk, line: &str| {
        talk.say(line);
        talk.turn(true);
        talk.read().trim_end().to_string()
    };
    assert_eq!(
        told(&mut talk, "SET a 1"),
        ">4 $8 pmessage $16 __keyspace@0__:* $16 __keyspace@0__:a $3 set"
    );
    assert_eq!(
        told(&mut talk, "DEL a"),
        ">4 $8 pmessage $16 __keyspace@0__:* $16 __keyspace@0__:a $3 del"
    );
    assert_eq!(
        told(&mut talk, "HSET h f v"),
        ">4 $8 pmessage $16 __keyspace@0__:* $16 __keyspace@0__:h $4 hset \
         >3 $7 message $19 __keyevent@0__:hset $1 h"
    );
    assert_eq!(
        told(&mut talk, "HDEL h f"),
        ">4 $8 pmessage $16 __keyspace@0__:* $16 __keyspace@0__:h $4 hdel"
    );
    told(&mut talk, "SET e 1 PX 50");
    talk.pass(100);
    assert_eq!(
        talk.read().trim_end(),
        ">4 $8 pmessage $16 __keyspace@0__:* $16 __keyspace@0__:e $7 expired \
         >3 $7 message $22 __keyevent@0__:expired $1 e"
    );
    told(&mut talk, "HSET h f v");
    assert_eq!(
        told(&mut talk, "DEL h"),
        ">4 $8 pmessage $16 __keyspace@0__:* $16 __keyspace@0__:h $3 del"
    );
    talk.say("PUNSUBSCRIBE");
    talk.say("UNSUBSCRIBE");
    assert_eq!(told(&mut talk, "SET a 1"), "");
}

#[test]
fn a_flush_of_everything_is_told_to_no_subscriber() {
    let mut talk = Talk::new();
    talk.say("HELLO 3");
    talk.say("PSUBSCRIBE *");
    for flush in ["FLUSHALL", "FLUSHDB"] {
        talk.say("SET a 1");
        talk.say("HSET h f v");
        talk.turn(true);
        assert!(talk.read().contains("hset"));
        assert_eq!(talk.say(flush), "+OK");
        talk.turn(true);
        assert_eq!(talk.read(), "");
        assert_eq!(talk.say("EXISTS a h"), ":0");
    }
}

#[test]
fn subscribers_are_told_of_fields_that_expire() {
    let mut talk = Talk::new();
    talk.say("HELLO 3");
    talk.say("PSUBSCRIBE __key*__:*xpired __keyspace@0__:h");
    let table = talk.node.table("h").unwrap();
    for (key, millis) in [(b"f", Some(50)), (b"g", None)] {
        let now = talk.now.wall.as_millis();
        let write = rumormill_core::table::Write::Put {
            key,
            value: "v".into(),
            expires: millis.map(|millis| rumormill_core::Wall::from_millis(now + millis)),
        };
        talk.node.write(talk.now, table, write).unwrap();
    }
    talk.turn(true);
    talk.read();
    talk.pass(100);
    assert_eq!(
        talk.read().trim_end(),
        ">4 $8 pmessage $16 __keyspace@0__:h $16 __keyspace@0__:h $8 hexpired \
         >4 $8 pmessage $16 __key*__:*xpired $23 __keyevent@0__:hexpired $1 h"
    );
    assert_eq!(talk.say("HKEYS h"), "*1 $1 g");
}

#[test]
fn a_subscriber_of_the_older_protocol_gets_arrays() {
    let mut talk = Talk::new();
    talk.say("SUBSCRIBE __keyspace@0__:a");
    talk.node
        .write(
            talk.now,
            rumormill_core::TableId::DEFAULT,
            rumormill_core::table::Write::Put {
                key: b"a",
                value: "1".into(),
                expires: None,
            },
        )
        .unwrap();
    talk.turn(true);
    assert_eq!(
        talk.read().trim_end(),
        "*3 $7 message $16 __keyspace@0__:a $3 set"
    );
}

#[test]
fn a_subscriber_that_lags_is_told_and_closed() {
    let mut talk = Talk::with(|config| config.limits.change_log = 4);
    talk.say("HELLO 3");
    talk.say("PSUBSCRIBE *");
    for key in 0..9 {
        talk.say(&format!("SET {key} 1"));
    }
    talk.turn(true);
    assert!(talk.read().starts_with("-LAGGED "));
    assert_eq!(talk.flow, Flow::Close);
}

#[test]
fn subscriptions_are_bounded() {
    let mut talk = Talk::new();
    let channels: Vec<String> = (0..=crate::SUBSCRIPTIONS).map(|n| n.to_string()).collect();
    let answer = talk.say(&format!("SUBSCRIBE {}", channels.join(" ")));
    assert_eq!(
        answer,
        "-TOOLARGE a client has at most 256 channels and patterns"
    );
    assert!(!rumormill_kit::client_session::ClientSession::watches(
        &talk.session
    ));
}
