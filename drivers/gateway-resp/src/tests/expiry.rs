//! Rows that have expired by the clock of the member that is asked, and may show elsewhere.

use rumormill_core::{Now, Wall, table::Write};

use super::Talk;

/// A member that hides the strings `a` and `b` and the only field of the hash `h`.
fn hiding() -> Talk {
    let mut talk = Talk::new();
    for key in ["a", "b", "c", "d"] {
        talk.say(&format!("SET {key} 1 PX 1000"));
    }
    let table = talk.node.table("h").unwrap();
    let write = Write::Put {
        key: b"f",
        value: "v".into(),
        expires: Some(Wall::from_millis(talk.now.wall.as_millis() + 1_000)),
    };
    talk.node.write(talk.now, table, write).unwrap();
    talk.pass(2_000);
    talk
}

/// The clock is set back to where the rows would show.
fn set_back(talk: &mut Talk) {
    let wall = Wall::from_millis(talk.now.wall.as_millis() - 1_900);
    talk.now = Now::new(talk.now.mono, wall);
    talk.turn(true);
}

#[test]
fn a_delete_of_what_is_hidden_finds_nothing_and_is_a_write() {
    let mut talk = hiding();
    talk.expect(&[
        ("DEL a", ":0"),
        ("GETDEL b", "$-1"),
        ("SET c 2 EXAT 1", "+OK"),
        ("HDEL h f", ":0"),
    ]);
    set_back(&mut talk);
    talk.expect(&[
        ("GET a", "$-1"),
        ("GET b", "$-1"),
        ("GET c", "$-1"),
        ("HGET h f", "$-1"),
        ("GET d", "$1 1"),
    ]);
    let mut talk = hiding();
    assert_eq!(talk.say("DEL h"), ":0");
    set_back(&mut talk);
    assert_eq!(talk.say("HGET h f"), "$-1");
}

#[test]
fn what_needs_a_row_finds_none_where_it_is_hidden_and_writes_nothing() {
    let mut talk = hiding();
    talk.expect(&[
        ("EXPIRE a 100", ":0"),
        ("PERSIST b", ":0"),
        ("SET c 2 XX", "$-1"),
        ("DBSIZE", ":0"),
        ("SET d 2 NX", "+OK"),
    ]);
    let info = talk.say("INFO rumormill");
    assert!(info.contains("hidden_rows:4") && info.contains("stray_rows:0"));
    set_back(&mut talk);
    talk.expect(&[
        ("GET a", "$1 1"),
        ("PTTL b", ":900"),
        ("GET c", "$1 1"),
        ("GET d", "$1 2"),
    ]);
}
