//! Tables that keep siblings: what Redis has room for, and what is refused.

use rumormill_core::{
    Token,
    io::{Input, Request},
    table::{Conflict, TableOptions, Write},
};

use super::Talk;

/// A client of a node whose hash `s` keeps siblings.
fn talk() -> Talk {
    let mut talk = Talk::new();
    let options = TableOptions::default().conflict(Conflict::Siblings);
    let input = Input::Request {
        token: Token(1),
        deadline: None,
        request: Request::CreateTable {
            name: "s".into(),
            options,
        },
    };
    talk.node.handle(talk.now, input);
    talk.turn(true);
    talk
}

fn add(talk: &mut Talk, key: &[u8], value: &'static str) {
    let table = talk.node.table("s").unwrap();
    let write = Write::Put {
        key,
        value: value.into(),
        expires: None,
    };
    talk.node.write(talk.now, table, write).unwrap();
}

#[test]
fn one_sibling_is_a_value_and_several_are_refused() {
    let mut talk = talk();
    add(&mut talk, b"a", "1");
    talk.expect(&[
        ("HGET s a", "$1 1"),
        ("HMGET s a b", "*2 $1 1 $-1"),
        ("HLEN s", ":1"),
    ]);
    add(&mut talk, b"a", "2");
    let several = "-SIBLINGS the field has several siblings, and a reply has room for one value: read it over HTTP or with rumormill get";
    talk.expect(&[
        ("HGET s a", several),
        ("HSTRLEN s a", several),
        ("HEXISTS s a", ":1"),
        ("HLEN s", ":1"),
        ("HKEYS s", "*1 $1 a"),
    ]);
}

#[test]
fn writes_are_refused_for_want_of_a_context() {
    let mut talk = talk();
    add(&mut talk, b"a", "1");
    let refused = "-SIBLINGS the hash is a table that keeps siblings, and the Redis protocol has no place for the context of a write: \
                   write over HTTP or with rumormill put and del";
    let replaced = "-SIBLINGS the key is a hash, a table that keeps siblings, and a string does not replace it";
    talk.expect(&[
        ("HSET s a 2", refused),
        ("HSETNX s b 2", refused),
        ("HMSET s b 2", refused),
        ("HDEL s a", refused),
        ("HGET s a", "$1 1"),
        // A command of several keys writes none.
        ("MSET x 1 s 2", replaced),
        ("EXISTS x", ":0"),
        ("SET s 1", replaced),
        ("SET s 1 XX", replaced),
        ("SETEX s 10 1", replaced),
        ("PSETEX s 10 1", replaced),
        ("SETNX s 1", ":0"),
        ("HGET s a", "$1 1"),
        // A hash that goes as a whole needs no context.
        ("DEL s", ":1"),
        ("HLEN s", ":0"),
        ("SET s 1", "+OK"),
    ]);
}

#[test]
fn the_private_command_changes_the_string_and_not_the_hash_of_a_name() {
    Talk::new().expect(&[
        ("HSET h a 1", ":1"),
        ("RUMORMILL SET h v", "+OK"),
        ("GET h", "$1 v"),
        ("HGET h a", "$1 1"),
        ("RUMORMILL DEL h", ":1"),
        ("RUMORMILL DEL h", ":0"),
        ("HGET h a", "$1 1"),
        ("TYPE h", "+hash"),
        (
            "RUMORMILL SET h",
            "-ERR wrong number of arguments for 'rumormill|set' command",
        ),
        ("RUMORMILL DEL ''", ":0"),
        ("DEL ''", ":0"),
        ("SET h v", "+OK"),
        ("DEL h", ":1"),
        ("HLEN h", ":0"),
    ]);
}

#[test]
fn the_private_command_may_name_a_table() {
    Talk::new().expect(&[
        ("RUMORMILL NAME b", "$1 b"),
        (
            "RUMORMILL NAME b c",
            "-ERR wrong number of arguments for 'rumormill' command",
        ),
    ]);
}
