//! Commands on hashes whose tables answer later.

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::{
    TableId, Token,
    errors::RequestError,
    io::{Input, Output, Response},
    table::Caller,
};
use rumormill_kit::client_session::{ClientSession as _, Flow, Ticket};

use super::Talk;

const DELAY_MS: u64 = 100;

/// A talk with a node whose hash `slow` answers later, and the driver's part in that.
struct Later {
    talk: Talk,
    table: TableId,
    asked: BTreeMap<Token, Ticket>,
    callers: Vec<Caller>,
    tokens: u64,
}

impl Later {
    fn new() -> Later {
        let mut talk = Talk::new();
        let table = talk.node.table("slow").unwrap();
        let delay = Duration::from_millis(DELAY_MS);
        talk.node.delay_table(table, delay);
        Later {
            talk,
            table,
            asked: BTreeMap::new(),
            callers: Vec::new(),
            tokens: 0,
        }
    }

    /// Hands the node what the client session asked for; returns how many operations that were.
    fn ask(&mut self) -> usize {
        let asks = self.talk.replies.take_asks();
        let count = asks.len();
        for ask in asks {
            self.tokens += 1;
            let token = Token(self.tokens);
            assert_eq!(ask.request.table, self.table);
            self.callers.push(ask.request.caller.clone());
            self.asked.insert(token, ask.ticket);
            let input = Input::Request {
                token,
                deadline: None,
                request: ask.request.into(),
            };
            self.talk.node.handle(self.talk.now, input);
        }
        count
    }

    /// Lets time pass, and hands the client session the answers that have come.
    fn pass(&mut self, millis: u64) -> String {
        self.ask();
        self.talk.now.mono = self.talk.now.mono + Duration::from_millis(millis);
        self.talk.node.handle(self.talk.now, Input::Tick);
        while let Some(output) = self.talk.node.poll_output() {
            if let Output::Reply { token, result } = output {
                self.answer(token, result);
            }
        }
        self.talk.read()
    }

    fn answer(&mut self, token: Token, result: Result<Response, RequestError>) {
        let ticket = self.asked.remove(&token).expect("it was asked for");
        let talk = &mut self.talk;
        talk.flow =
            talk.session
                .answered(talk.now, &mut talk.node, ticket, result, &mut talk.replies);
        talk.go_on();
    }

    fn say(&mut self, line: &str) -> String {
        let mut said = self.talk.send(format!("{line}\n").as_bytes());
        while self.talk.replies.waits() {
            said.push_str(&self.pass(DELAY_MS));
        }
        said.trim_end().to_string()
    }
}

#[test]
fn a_pipeline_goes_on_behind_a_table_that_answers_later() {
    let mut later = Later::new();
    let lines = b"CLIENT SETNAME ann\nSET a 1\nHSET slow k v\nSET b 2\nGET b\nHGET slow k\nGET a\n";
    let said = later.talk.send(lines);
    assert_eq!(said, "+OK +OK ");
    // The read of the same hash waits for the write, and what is behind it for both.
    assert_eq!((later.ask(), later.talk.flow), (1, Flow::Wait));
    let mut other = later.talk.gateway.client(4);
    let mut replies = rumormill_kit::client_session::Replies::new();
    let talk = &mut later.talk;
    other.receive(
        talk.now,
        &mut talk.node,
        b"GET b\nHGET slow k\n",
        &mut replies,
    );
    assert_eq!(
        replies.ready(),
        b"$1\r\n2\r\n",
        "its commands behind have run"
    );
    assert_eq!(later.pass(DELAY_MS / 2), "");
    assert_eq!(later.pass(DELAY_MS / 2), ":1 +OK $1 2 ");
    assert_eq!(later.pass(DELAY_MS), "$1 v $1 1 ");
    assert_eq!(later.talk.flow, Flow::Continue);
    let ann = Caller::Client { name: "ann".into() };
    assert_eq!(later.callers, [ann.clone(), ann]);
}

#[test]
fn commands_of_one_field_wait_and_others_say_why_not() {
    let mut later = Later::new();
    let refused = "-LATER the table answers later: HGET, HSET and HDEL of one field wait for that";
    for (line, expected) in [
        ("HGET slow k", "$-1"),
        ("HSET slow k v", ":1"),
        ("HSET slow k w", ":0"),
        ("HGET slow k", "$1 w"),
        ("HSET slow a 1 b 2", refused),
        ("HMGET slow k", refused),
        ("HEXISTS slow k", refused),
        ("HGETALL slow", refused),
        ("HKEYS slow", refused),
        ("HVALS slow", refused),
        ("HLEN slow", refused),
        ("HSTRLEN slow k", refused),
        ("HSCAN slow 0", refused),
        ("EXISTS slow", refused),
        ("TYPE slow", refused),
        ("TTL slow", refused),
        ("PEXPIRETIME slow", refused),
        ("EXPIRE slow 9", refused),
        ("PERSIST slow", ":0"),
        ("GET slow", refused),
        ("STRLEN slow", refused),
        ("GETDEL slow", refused),
        ("SET slow v", refused),
        ("SETNX slow v", refused),
        ("DEL slow", refused),
        ("UNLINK slow", refused),
        ("WATCH slow", refused),
        ("SET a 1", "+OK"),
        ("KEYS *", "*1 $1 a"),
        ("SCAN 0", "*2 $1 0 *1 $1 a"),
        ("EXISTS a slow", refused),
        ("HSETNX slow k v", refused),
        ("HDEL slow k l", refused),
        ("HDEL slow k", ":1"),
        ("HDEL slow k", ":0"),
        ("HGET slow k", "$-1"),
        ("HSET fast k v", ":1"),
    ] {
        assert_eq!(later.say(line), expected, "{line}");
    }
}

#[test]
fn a_transaction_does_not_wait() {
    let mut later = Later::new();
    let said = later.talk.send(b"MULTI\nHSET slow k v\nSET a 1\nEXEC\n");
    let why = "-LATER the table answers later, and a transaction does not wait";
    assert_eq!(said, format!("+OK +QUEUED +QUEUED *2 {why} +OK "));
    assert_eq!(later.ask(), 0);
}

#[test]
fn an_operation_that_fails_is_an_error_in_its_place() {
    let mut later = Later::new();
    assert_eq!(later.talk.send(b"HSET slow k v\nPING\n"), "");
    later.ask();
    let token = *later.asked.keys().next().expect("one waits");
    later.answer(token, Err(RequestError::DeadlineExceeded));
    assert_eq!(later.talk.read(), "-ERR the deadline passed +PONG ");
}
