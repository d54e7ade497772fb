//! A game of three players in one thread: every frame each player reads its mailbox, moves, and sends. No sockets and no sleeping: a
//! frame is what the game says it is, and links are queues in memory that hold a frame's worth of messages.
//!
//! `cargo run -p rumormill-core --example game_ticks`

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    Config, Instant, LinkId, Node, Now, Recovery, Seed, TableId, Wall,
    io::{Input, LinkError, Output},
    table::Write,
};

const FRAME: Duration = Duration::from_millis(16);
const NAMES: [&str; 3] = ["ann", "ben", "cleo"];

/// Messages in a mailbox; a game that is slower loses the link, and the store repairs what was lost with it.
const MAILBOX: usize = 1_024;

/// One end of a link: the player and the number it has there.
type End = (usize, LinkId);

/// The queues between players. A real game would put datagrams here, in order and without gaps per link.
#[derive(Default)]
struct Wires {
    ends: BTreeMap<End, End>,
    mail: [VecDeque<Input>; NAMES.len()],
    links: u64,
}

impl Wires {
    fn link(&mut self) -> LinkId {
        self.links += 1;
        LinkId(self.links)
    }

    fn post(&mut self, player: usize, input: Input) {
        if self.mail[player].len() < MAILBOX {
            return self.mail[player].push_back(input);
        }
        if let Input::Message { link, .. } = input {
            self.cut((player, link));
        }
    }

    /// A link breaks: both ends are told, in the place of the messages that did not fit.
    fn cut(&mut self, end: End) {
        let Some(other) = self.ends.remove(&end) else {
            return;
        };
        self.ends.remove(&other);
        for (player, link) in [end, other] {
            let why = LinkError::Closed;
            self.mail[player].push_back(Input::LinkDown { link, why });
        }
    }

    /// A player has left the game without a word.
    fn crash(&mut self, player: usize) {
        let gone: Vec<End> = self
            .ends
            .keys()
            .filter(|end| end.0 == player)
            .copied()
            .collect();
        gone.into_iter().for_each(|end| self.cut(end));
        self.mail[player].clear();
    }
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut now = Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000));
    let mut wires = Wires::default();
    let mut players: Vec<Option<Node>> = Vec::new();
    for (seed, name) in (1..).zip(NAMES) {
        let mut config = Config::new(name, name);
        if name != NAMES[0] {
            config.seeds.push(NAMES[0].to_string()); // any player that has joined already
        }
        let node = Recovery::new(config, Seed::from_u64(seed)).finish(now)?;
        players.push(Some(node));
    }
    for frame in 0..1_500_u32 {
        now = Now::new(now.mono + FRAME, now.wall + FRAME);
        if frame == 600 {
            players[2] = None;
            wires.crash(2);
            println!("frame {frame}: cleo's machine is gone");
        }
        for player in 0..players.len() {
            play(&mut players, &mut wires, player, frame, now)?;
        }
        if frame % 300 == 299 {
            show(&mut players, frame, now);
        }
    }
    Ok(())
}

/// One frame of one player.
fn play(
    players: &mut [Option<Node>],
    wires: &mut Wires,
    player: usize,
    frame: u32,
    now: Now,
) -> Result<(), Box<dyn std::error::Error>> {
    let Some(node) = &mut players[player] else {
        return Ok(());
    };
    if frame.is_multiple_of(10) {
        let place = format!("x={} y={}", frame / 10, player);
        node.write(
            now,
            TableId::DEFAULT,
            Write::Put {
                key: NAMES[player].as_bytes(),
                value: Bytes::from(place),
                expires: None,
            },
        )?;
    }
    while let Some(input) = wires.mail[player].pop_front() {
        node.handle(now, input);
    }
    // Every turn ends with a tick, and a tick with everything the node wants done.
    node.handle(now, Input::Tick);
    let mut outputs = Vec::new();
    while let Some(output) = node.poll_output() {
        outputs.push(output);
    }
    for output in outputs {
        carry_out(players, wires, player, frame, output);
    }
    Ok(())
}

fn carry_out(
    players: &[Option<Node>],
    wires: &mut Wires,
    player: usize,
    frame: u32,
    output: Output,
) {
    match output {
        Output::Send { to, msg, .. } => {
            for link in to.as_slice() {
                if let Some((peer, link)) = wires.ends.get(&(player, *link)).copied() {
                    let msg = (*msg).clone();
                    wires.post(peer, Input::Message { link, msg });
                }
            }
        }
        Output::Dial { dial, addr } => {
            let peer = NAMES.iter().position(|name| *name == addr);
            let ours = players[player].as_ref().map(Node::hello);
            let theirs = peer.and_then(|peer| players[peer].as_ref().map(Node::hello));
            if let (Some(peer), Some(ours), Some(theirs)) = (peer, ours, theirs) {
                let (near, far) = ((player, wires.link()), (peer, wires.link()));
                wires.ends.extend([(near, far), (far, near)]);
                for ((at, link), dial, hello) in [(near, Some(dial), theirs), (far, None, ours)] {
                    wires.mail[at].push_back(Input::LinkUp { link, dial, hello });
                }
            } else {
                let why = LinkError::Unreachable;
                wires.mail[player].push_back(Input::DialFailed { dial, why });
            }
        }
        Output::Hangup { link, .. } => wires.cut((player, link)),
        Output::Event(event) => {
            println!(
                "frame {frame}: {}: {}",
                NAMES[player],
                rumormill_core::Trace(&event)
            );
        }
        // Without storage nothing is stored or loaded; no request was made, so no reply comes.
        _ => {}
    }
}

/// Prints where each player sees all players: a read is local and costs no more than a look into a map.
fn show(players: &mut [Option<Node>], frame: u32, now: Now) {
    for (name, node) in NAMES.iter().zip(players) {
        let Some(node) = node else { continue };
        let view = node.view(now);
        let seen: Vec<String> = NAMES
            .iter()
            .filter_map(|of| {
                let found = view.get(TableId::DEFAULT, of.as_bytes());
                let place = found.row()?.value()?.clone();
                Some(format!("{of} at {}", String::from_utf8_lossy(&place)))
            })
            .collect();
        println!("frame {frame}: {name} sees {}", seen.join(", "));
    }
}
