//! A live node and peers that say anything: never a panic, and its own invariants hold after every input.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use rumormill_core::link::{self, Hello};
use rumormill_core::{
    Config, Instant, LinkId, Node, Now, Recovery, Seed, Seq, Storage, TableId, Token, Trace, Wall,
    io::{Input, LinkError, Output, Request},
    table::{TableOptions, Write},
    wire,
};

use super::start;

const MAX_STEPS: usize = 96;

/// The bytes choose what happens: time, links, requests, the store, and what peers say. That is what a real peer said to this
/// very node in another course of events, as it was or with bytes changed, or any bytes that decode.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut stage = Stage::new();
    for _ in 0..MAX_STEPS {
        if u.is_empty() || stage.step(&mut u).is_err() {
            break;
        }
        stage.quiesce();
    }
}

fn node(name: &str, seed: u64, seeds: &[&str]) -> Node {
    let mut config = Config::new(name, name);
    config.seeds = seeds.iter().map(ToString::to_string).collect();
    config.storage = Storage::Ordered;
    let recovery = Recovery::new(config, Seed::from_u64(seed));
    recovery.finish(start()).expect("a new node starts")
}

struct Stage {
    node: Node,
    now: Now,
    up: Vec<LinkId>,
    links: u64,
    tokens: u64,
    dials: Vec<rumormill_core::DialId>,
    /// The newest batch.
    seq: Option<Seq>,
}

impl Stage {
    fn new() -> Self {
        let mut stage = Stage {
            node: node("alpha", 1, &[]),
            now: start(),
            up: Vec::new(),
            links: 0,
            tokens: 0,
            dials: Vec::new(),
            seq: None,
        };
        stage.handle(Input::Tick);
        stage.quiesce();
        stage
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
    }

    /// Does a driver's work after an input. Every sent message has to have a form on the wire.
    fn quiesce(&mut self) {
        self.node.inspect().check();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { msg, lane, .. } => {
                    link::encode(&msg, lane).expect("it can be sent");
                }
                Output::Dial { dial, .. } => self.dials.push(dial),
                Output::Hangup { link, .. } => self.up.retain(|up| *up != link),
                Output::Store { seq, .. } => self.seq = Some(seq),
                _ => {}
            }
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=15)? {
            0 => self.pass(u)?,
            1 => self.link_up(u)?,
            2 => self.link_down(u)?,
            3 => self.request(u)?,
            4 => self.store(u)?,
            5 => self.write(u)?,
            6 => self.handle(Input::Tick),
            _ => self.hear(u)?,
        }
        Ok(())
    }

    fn pass(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let ms = 1_u64 << u.int_in_range(0..=20)?;
        let mono = self.now.mono.as_micros() + ms * 1_000;
        let wall = self.now.wall.as_millis() + ms;
        // Wall clocks are set now and then, forward and back.
        let wall = match u.int_in_range(0..=7)? {
            0 => u.int_in_range(0..=1 << 47)?,
            _ => wall,
        };
        self.now = Now::new(Instant::from_micros(mono), Wall::from_millis(wall));
        self.handle(Input::Tick);
        Ok(())
    }

    fn link_up(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.links += 1;
        let link = LinkId(self.links);
        let mut hello = u.choose(&script().hellos)?.clone();
        if u.ratio(1, 4)? {
            hello.generation = u.arbitrary()?;
            hello.actor.boot = u.arbitrary()?;
        }
        if u.ratio(1, 8)? {
            hello.cluster = rumormill_core::ClusterId(u.arbitrary()?);
        }
        let dial = if u.arbitrary()? {
            self.dials.pop()
        } else {
            None
        };
        self.up.push(link);
        self.handle(Input::LinkUp { link, dial, hello });
        Ok(())
    }

    fn link_down(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let why = LinkError::Broken;
        if let Some(dial) = self.dials.pop() {
            self.handle(Input::DialFailed { dial, why });
        } else if !self.up.is_empty() {
            let index = u.choose_index(self.up.len())?;
            let link = self.up[index];
            match u.int_in_range(0..=2)? {
                0 => self.handle(Input::Congested { link }),
                1 => self.handle(Input::Drained { link }),
                _ => {
                    self.up.swap_remove(index);
                    self.handle(Input::LinkDown { link, why });
                }
            }
        }
        Ok(())
    }

    fn request(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.tokens += 1;
        let request = match u.int_in_range(0..=9)? {
            0 => Request::Leave,
            1 => Request::Join {
                addr: "beta".to_string(),
            },
            2 | 3 => Request::CreateTable {
                name: u.arbitrary()?,
                options: TableOptions::default(),
            },
            _ => Request::Sync,
        };
        let deadline = Some(self.now.mono + Duration::from_secs(1));
        let input = Input::Request {
            token: Token(self.tokens),
            deadline,
            request,
        };
        self.handle(input);
        Ok(())
    }

    fn store(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match (u.int_in_range(0..=15)?, self.seq) {
            (0, _) => self.handle(Input::StoreFailed {
                error: "damaged".to_string(),
            }),
            (1, _) => self.handle(Input::StoreStalled {
                why: "full".to_string(),
            }),
            (_, Some(upto)) => self.handle(Input::Stored { upto }),
            (_, None) => {}
        }
        Ok(())
    }

    fn write(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let key = [b'k', u.int_in_range(b'0'..=b'3')?];
        let expires = match u.int_in_range(0..=3)? {
            0 => Some(self.now.wall + Duration::from_millis(u.int_in_range(0..=5_000)?)),
            _ => None,
        };
        let write = match u.arbitrary()? {
            true => Write::Delete { key: &key },
            false => Write::Put {
                key: &key,
                value: Bytes::from_static(b"value"),
                expires,
            },
        };
        // It may be refused: the node may be leaving, or its store stalled.
        let _ = self.node.write(self.now, TableId::DEFAULT, write);
        Ok(())
    }

    fn hear(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.up.is_empty() {
            return self.link_up(u);
        }
        let link = *u.choose(&self.up)?;
        let msg = match u.int_in_range(0..=7)? {
            0 => wire::decode(u.arbitrary()?),
            changed => {
                let mut bytes = u.choose(&script().messages)?.clone();
                for _ in 3..changed {
                    let at = u.choose_index(bytes.len())?;
                    bytes[at] = u.arbitrary()?;
                }
                wire::decode(&bytes)
            }
        };
        if let Ok(msg) = msg {
            self.handle(Input::Message { link, msg });
        }
        Ok(())
    }
}

/// The hellos and messages of nodes in a real course of events.
struct Script {
    hellos: Vec<Hello>,
    messages: Vec<Vec<u8>>,
}

/// Three nodes meet, write, delete, and one leaves. One wire joins each two of them.
fn script() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let mut nodes = vec![
            node("alpha", 1, &[]),
            node("beta", 2, &["alpha"]),
            node("gamma", 3, &["alpha"]),
        ];
        let hellos = nodes.iter().map(Node::hello).collect();
        let mut now = start();
        let mut messages: Vec<Arc<wire::Message>> = Vec::new();
        let mut inputs: Vec<(usize, Input)> = Vec::new();
        for turn in 0..400_u64 {
            act(turn, now, &mut nodes);
            for (at, input) in std::mem::take(&mut inputs) {
                nodes[at].handle(now, input);
            }
            for at in 0..nodes.len() {
                nodes[at].handle(now, Input::Tick);
                while let Some(output) = nodes[at].poll_output() {
                    if let Output::Send { msg, .. } = &output {
                        messages.push(Arc::clone(msg));
                    }
                    inputs.extend(carry_out(&nodes, at, output));
                }
            }
            let step = Duration::from_millis(20);
            now = Now::new(now.mono + step, now.wall + step);
        }
        Script {
            hellos,
            messages: choose(&messages),
        }
    })
}

fn act(turn: u64, now: Now, nodes: &mut [Node]) {
    let at = (turn % 3) as usize;
    let key = [b'k', b'0' + (turn / 7 % 4) as u8];
    let write = match turn % 4 {
        0 => Write::Delete { key: &key },
        _ => Write::Put {
            key: &key,
            value: Bytes::from_static(b"said"),
            expires: (turn % 4 == 3).then(|| now.wall + Duration::from_millis(100)),
        },
    };
    if turn == 0 {
        // Before it enters: so it compares its rows with a member's.
        let (key, value) = (b"own", Bytes::from_static(b"row"));
        let expires = None;
        let write = Write::Put {
            key,
            value,
            expires,
        };
        nodes[2]
            .write(now, TableId::DEFAULT, write)
            .expect("a node that joins takes writes");
    }
    if turn.is_multiple_of(5) {
        // Refused once the node is leaving.
        let _ = nodes[at].write(now, TableId::DEFAULT, write);
    }
    if turn == 300 {
        let input = Input::Request {
            token: Token(1),
            deadline: None,
            request: Request::Leave,
        };
        nodes[2].handle(now, input);
    }
}

/// The wire between nodes `a` and `b` is called by both ends what it is.
fn carry_out(nodes: &[Node], at: usize, output: Output) -> Vec<(usize, Input)> {
    let wire = |a: usize, b: usize| LinkId(1 + a.min(b) as u64 * 10 + a.max(b) as u64);
    match output {
        Output::Dial { dial, addr } => {
            let names = ["alpha", "beta", "gamma"];
            let Some(peer) = names.iter().position(|name| *name == addr) else {
                return Vec::new();
            };
            let link = wire(at, peer);
            let up = |dial, hello| Input::LinkUp { link, dial, hello };
            vec![
                (at, up(Some(dial), nodes[peer].hello())),
                (peer, up(None, nodes[at].hello())),
            ]
        }
        Output::Send { to, msg, .. } => {
            let peers = (0..nodes.len()).filter(|peer| *peer != at);
            let heard = peers.filter(|peer| to.as_slice().contains(&wire(at, *peer)));
            heard
                .map(|peer| {
                    let (link, msg) = (wire(at, peer), (*msg).clone());
                    (peer, Input::Message { link, msg })
                })
                .collect()
        }
        Output::Store { seq, .. } => vec![(at, Input::Stored { upto: seq })],
        _ => Vec::new(),
    }
}

/// A few of each kind, from the beginning, the middle and the end.
fn choose(messages: &[Arc<wire::Message>]) -> Vec<Vec<u8>> {
    // The first word of a message's line is its kind. Pulls differ by their basis.
    let kind = |msg: &wire::Message| {
        let line = Trace(msg).to_string();
        let mut words = line.split(' ');
        let first = words.next().unwrap_or_default();
        let basis = words.find(|word| word.starts_with("basis="));
        first.to_string() + basis.unwrap_or_default()
    };
    let mut out = Vec::new();
    let mut done = Vec::new();
    for msg in messages {
        if done.contains(&kind(msg)) {
            continue;
        }
        done.push(kind(msg));
        let alike: Vec<_> = messages
            .iter()
            .filter(|other| kind(other) == kind(msg))
            .collect();
        for index in 0..alike.len().min(8) {
            let mut bytes = Vec::new();
            let msg = alike[index * alike.len() / alike.len().min(8)];
            wire::encode(msg, &mut bytes).expect("it was sent");
            out.push(bytes);
        }
    }
    out
}
