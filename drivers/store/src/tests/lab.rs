//! A member in memory and a node on a store in a directory, wired back to back, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    Config, Instant, LinkId, Node, Now, Recovery, Seed, Storage, TableId, Wall,
    io::{Event, Input, LinkError, Output, Record, StoreOp},
    table::{ScanRange, Write},
};
use rumormill_kit::store::Store as _;

use crate::{Cut, DiskStore, Failure, Options, SetAside, recover};

const WALL: u64 = 1_700_000_000_000;

/// All rows of all tables, by table and key.
pub(super) type Rows = BTreeMap<(String, String), String>;

pub(super) const TABLES: [&str; 3] = ["default", "fruits", "sessions"];

/// Node 0 keeps its records in memory, node 1 in a directory.
pub(super) struct Lab {
    pub(super) now: Now,
    pub(super) nodes: [Option<Node>; 2],
    pub(super) disk: BTreeMap<Bytes, Bytes>,
    pub(super) store: Option<DiskStore>,
    pub(super) events: Vec<(usize, Event)>,
    pub(super) cut: Option<Cut>,
    wires: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    next_link: u64,
}

pub(super) fn config(i: usize, seeds: &[usize]) -> Config {
    let mut config = Config::new(&format!("n{i}"), &i.to_string());
    config.storage = Storage::Ordered;
    config.seeds = seeds.iter().map(usize::to_string).collect();
    config
}

/// Small files, merged at once.
pub(super) fn options() -> Options {
    Options {
        log_bytes: 12 << 10,
        step: 4 << 10,
        reserve: 1 << 10,
        thread: false,
        ..Options::default()
    }
}

impl Lab {
    pub(super) fn new(millis: u64, disk: BTreeMap<Bytes, Bytes>) -> Lab {
        Lab {
            now: at(Instant::ZERO + Duration::from_millis(millis)),
            nodes: [None, None],
            disk,
            store: None,
            events: Vec::new(),
            cut: None,
            wires: BTreeMap::new(),
            next_link: 1,
        }
    }

    fn seed(&self, i: usize) -> Seed {
        Seed::from_u64(self.now.mono.as_micros() * 2 + i as u64)
    }

    pub(super) fn start_member(&mut self) {
        let mut recovery = Recovery::new(config(0, &[]), self.seed(0));
        for (key, value) in &self.disk {
            let (key, value) = (key.clone(), value.clone());
            recovery.record(Record { key, value }).unwrap();
        }
        self.nodes[0] = Some(recovery.finish(self.now).unwrap());
    }

    pub(super) fn start_stored(
        &mut self,
        dir: &Path,
        config: Config,
    ) -> Result<Option<SetAside>, Failure> {
        let _started = super::STARTING.read();
        let recovered = recover(dir, options(), config, self.seed(1), self.now)?;
        self.cut = recovered.cut;
        self.nodes[1] = Some(recovered.node);
        self.store = Some(recovered.store);
        Ok(recovered.set_aside)
    }

    /// Ends the node, and closes its store.
    pub(super) fn stop_stored(&mut self) {
        self.nodes[1] = None;
        let (now, wires) = (self.now, std::mem::take(&mut self.wires));
        for ((at, link), _) in wires {
            if let (0, Some(node)) = (at, &mut self.nodes[0]) {
                let why = LinkError::Broken;
                node.handle(now, Input::LinkDown { link, why });
            }
        }
        if let Some(store) = self.store.take() {
            drop(store.close());
        }
    }

    pub(super) fn node(&mut self, i: usize) -> &mut Node {
        self.nodes[i].as_mut().unwrap()
    }

    /// Handles everything until no node has an output left.
    fn quiesce(&mut self) {
        let mut inputs: VecDeque<(usize, Input)> = VecDeque::new();
        loop {
            for i in 0..2 {
                if let Some(node) = &mut self.nodes[i] {
                    node.handle(self.now, Input::Tick);
                }
                while let Some(output) = self.nodes[i].as_mut().and_then(Node::poll_output) {
                    self.output(i, output, &mut inputs);
                }
            }
            if inputs.is_empty() {
                return;
            }
            for (to, input) in std::mem::take(&mut inputs) {
                if let Some(node) = &mut self.nodes[to] {
                    node.handle(self.now, input);
                }
            }
        }
    }

    fn output(&mut self, i: usize, output: Output, inputs: &mut VecDeque<(usize, Input)>) {
        match output {
            Output::Send { to, msg, .. } => {
                for link in to.as_slice() {
                    if let Some((peer, link)) = self.wires.get(&(i, *link)).copied() {
                        let msg = (*msg).clone();
                        inputs.push_back((peer, Input::Message { link, msg }));
                    }
                }
            }
            Output::Dial { dial, addr } => {
                let peer = addr.parse().ok().filter(|peer| *peer < 2);
                let Some(peer) = peer.filter(|peer: &usize| self.nodes[*peer].is_some()) else {
                    let why = LinkError::Unreachable;
                    return inputs.push_back((i, Input::DialFailed { dial, why }));
                };
                let (ours, theirs) = (LinkId(self.next_link), LinkId(self.next_link + 1));
                self.next_link += 2;
                self.wires.insert((i, ours), (peer, theirs));
                self.wires.insert((peer, theirs), (i, ours));
                let ends = [(i, ours, Some(dial), peer), (peer, theirs, None, i)];
                for (at, link, dial, from) in ends {
                    let hello = self.node(from).hello();
                    inputs.push_back((at, Input::LinkUp { link, dial, hello }));
                }
            }
            Output::Hangup { link, .. } => {
                let why = LinkError::Closed;
                if let Some((peer, link)) = self.wires.remove(&(i, link)) {
                    self.wires.remove(&(peer, link));
                    let why = why.clone();
                    inputs.push_back((peer, Input::LinkDown { link, why }));
                }
                inputs.push_back((i, Input::LinkDown { link, why }));
            }
            Output::Store { seq, batch, sync } => {
                self.apply(i, &batch, sync);
                if sync {
                    inputs.push_back((i, Input::Stored { upto: seq }));
                }
            }
            Output::Event(event) => self.events.push((i, event)),
            _ => {}
        }
    }

    fn apply(&mut self, i: usize, batch: &[StoreOp], sync: bool) {
        if let (1, Some(store)) = (i, &mut self.store) {
            store.apply(batch).unwrap();
            if sync {
                store.sync().unwrap();
            }
            return;
        }
        for op in batch {
            op.clone().apply(&mut self.disk);
        }
    }

    pub(super) fn run(&mut self, millis: u64) {
        let end = self.now.mono + Duration::from_millis(millis);
        while self.now.mono < end {
            self.quiesce();
            let deadlines = self.nodes.iter().flatten();
            let next = deadlines.filter_map(Node::next_deadline).map(|due| due.at);
            let soonest = self.now.mono + Duration::from_micros(100);
            let next = next.min().map_or(end, |next| next.max(soonest));
            self.now = at(next.min(end));
        }
        self.quiesce();
    }

    fn table(&mut self, i: usize, name: &str) -> TableId {
        self.node(i).table(name).unwrap()
    }

    pub(super) fn put(&mut self, i: usize, table: &str, key: &str, value: &str) {
        let (now, table) = (self.now, self.table(i, table));
        let write = Write::Put {
            key: key.as_bytes(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            expires: None,
        };
        self.node(i).write(now, table, write).unwrap();
    }

    pub(super) fn delete(&mut self, i: usize, table: &str, key: &str) {
        let (now, table) = (self.now, self.table(i, table));
        let key = key.as_bytes();
        self.node(i)
            .write(now, table, Write::Delete { key })
            .unwrap();
    }

    /// All live rows of a node.
    pub(super) fn rows(&mut self, i: usize) -> Rows {
        let mut rows = Rows::new();
        for name in TABLES {
            let (now, table) = (self.now, self.table(i, name));
            let view = self.node(i).view(now);
            for row in view.scan(table, ScanRange::default()).unwrap() {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let value = text(row.value().unwrap());
                rows.insert((name.into(), text(row.key())), value);
            }
        }
        rows
    }
}

fn at(mono: Instant) -> Now {
    Now::new(mono, Wall::from_millis(WALL + mono.as_micros() / 1_000))
}
