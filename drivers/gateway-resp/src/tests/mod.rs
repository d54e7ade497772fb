//! Conversations with a node. The replies are copied from a real server where it has the command.

mod cold;
mod config;
mod costs;
mod expiry;
mod large;
mod later;
mod notifications;
mod siblings;
mod transactions;
mod transcripts;
mod truth;

use rumormill_core::{
    Config, Instant, Node, Now, Recovery, Seed, Storage, Wall,
    io::{Input, Output},
};
use rumormill_kit::client_session::{ClientSession as _, Flow, Replies};

use crate::{ClientSession, Gateway};

pub(crate) const START: u64 = 1_800_000_000_000;

/// A node, one client of it, and what it has said.
pub(crate) struct Talk {
    pub(crate) node: Node,
    pub(crate) gateway: Gateway,
    pub(crate) session: ClientSession,
    pub(crate) replies: Replies,
    pub(crate) now: Now,
    pub(crate) flow: Flow,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Talk::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("a", "here");
        change(&mut config);
        let gateway = Gateway::new(&config.limits, |node, _, topic, name| {
            let own = || node.config().name.clone();
            (topic == "name").then(|| name.map_or_else(own, str::to_string))
        });
        let now = Now::new(Instant::from_micros(5_000_000), Wall::from_millis(START));
        let node = Recovery::new(config, Seed::from_u64(7))
            .finish(now)
            .unwrap();
        Talk {
            node,
            session: gateway.client(3),
            gateway,
            replies: Replies::new(),
            now,
            flow: Flow::Continue,
        }
    }

    pub(crate) fn stored() -> Self {
        let mut talk = Talk::with(|config| config.storage = Storage::Ordered);
        talk.turn(true);
        talk
    }

    /// Lets time pass, and the node act on it.
    pub(crate) fn pass(&mut self, millis: u64) {
        let mono = self.now.mono.as_micros() + millis * 1000;
        let wall = self.now.wall.as_millis() + millis;
        self.now = Now::new(Instant::from_micros(mono), Wall::from_millis(wall));
        self.turn(true);
    }

    /// Ends the turn; says of each batch that it is stored, if asked to. Returns the tables that changed.
    pub(crate) fn turn(&mut self, store: bool) -> usize {
        self.node.handle(self.now, Input::Tick);
        let mut changed = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Store { seq, .. } if store => {
                    self.node.handle(self.now, Input::Stored { upto: seq });
                }
                Output::Changed { table } => changed.push(table),
                _ => {}
            }
        }
        if !changed.is_empty() && self.session.watches() {
            self.flow = self
                .session
                .changed(self.now, &mut self.node, &mut self.replies);
            self.go_on();
        }
        changed.len()
    }

    /// Lets the client session go on while it only wants another turn.
    pub(crate) fn go_on(&mut self) {
        while self.flow == Flow::Yield {
            self.flow = self
                .session
                .resume(self.now, &mut self.node, &mut self.replies);
        }
    }

    /// Takes what may be written.
    pub(crate) fn read(&mut self) -> String {
        let mut text = String::new();
        loop {
            self.replies.release(self.node.durable());
            let ready = self.replies.ready();
            if ready.is_empty() {
                break;
            }
            text.push_str(&ready.escape_ascii().to_string());
            let written = ready.len();
            self.replies.advance(written);
        }
        text.replace("\\r\\n", " ")
            .replace("\\'", "'")
            .replace("\\\"", "\"")
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> String {
        self.flow = self
            .session
            .receive(self.now, &mut self.node, bytes, &mut self.replies);
        self.go_on();
        self.read()
    }

    /// Sends one command, its words parted by spaces and quoted as inline commands are.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\n").as_bytes())
            .trim_end()
            .to_string()
    }

    pub(crate) fn expect(&mut self, transcript: &[(&str, &str)]) {
        for (line, expected) in transcript {
            assert_eq!(&self.say(line), expected, "{line}");
        }
    }
}

/// A command as an array of bulks.
pub(crate) fn array(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::encoder::array(&mut out, words.len());
    for word in words {
        crate::encoder::bulk(&mut out, word);
    }
    out
}
