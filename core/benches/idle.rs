//! Measures the cost of an idle node: clusters wired back to back in one process, without sockets, store or simulator. Prints the CPU of all nodes
//! together per node and second of virtual time: `cargo bench -p rumormill-core --bench idle`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    missing_docs
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant as Stopwatch};

use rumormill_core::{
    Config, Instant, LinkId, Node, Now, Recovery, Seed, Wall,
    io::{Input, LinkError, Output},
};

const SECONDS: u64 = 60;
const PASSES: usize = 5;

struct Cluster {
    now: Now,
    nodes: Vec<Node>,
    /// Where the other end of a link is; links are numbered as if by one driver, ends side by side.
    ends: Vec<usize>,
    /// When each node wants to be woken.
    due: BTreeSet<(Instant, usize)>,
    wakes: Vec<Instant>,
    inputs: VecDeque<(usize, Input)>,
    messages: u64,
}

impl Cluster {
    fn new(count: usize) -> Cluster {
        let now = at(Instant::ZERO);
        let start = |i: usize| {
            let mut config = Config::new(&format!("n{i}"), &i.to_string());
            config.seeds = (i > 0).then(|| "0".to_string()).into_iter().collect();
            Recovery::new(config, Seed::from_u64(i as u64))
                .finish(now)
                .unwrap()
        };
        let mut cluster = Cluster {
            now,
            nodes: (0..count).map(start).collect(),
            ends: Vec::new(),
            due: BTreeSet::new(),
            wakes: vec![Instant::ZERO; count],
            inputs: VecDeque::new(),
            messages: 0,
        };
        (0..count).for_each(|i| cluster.turn(i));
        cluster
    }

    /// One turn of one node: what is ready has been handed in.
    fn turn(&mut self, i: usize) {
        self.nodes[i].handle(self.now, Input::Tick);
        while let Some(output) = self.nodes[i].poll_output() {
            self.output(i, output);
        }
        self.due.remove(&(self.wakes[i], i));
        if let Some(next) = self.nodes[i].next_deadline() {
            self.wakes[i] = next.at;
            self.due.insert((next.at, i));
        }
    }

    fn output(&mut self, i: usize, output: Output) {
        match output {
            Output::Send { to, msg, .. } => {
                for link in to.as_slice() {
                    self.messages += 1;
                    let link = LinkId(link.0 ^ 1);
                    let msg = (*msg).clone();
                    self.inputs
                        .push_back((self.ends[link.0 as usize], Input::Message { link, msg }));
                }
            }
            Output::Dial { dial, addr } => {
                let peer: usize = addr.parse().unwrap();
                let ours = LinkId(self.ends.len() as u64);
                let theirs = LinkId(ours.0 + 1);
                self.ends.extend([i, peer]);
                let (mine, other) = (self.nodes[i].hello(), self.nodes[peer].hello());
                let (dial, hello) = (Some(dial), other);
                self.inputs.push_back((
                    i,
                    Input::LinkUp {
                        link: ours,
                        dial,
                        hello,
                    },
                ));
                let (dial, hello) = (None, mine);
                self.inputs.push_back((
                    peer,
                    Input::LinkUp {
                        link: theirs,
                        dial,
                        hello,
                    },
                ));
            }
            Output::Hangup { link, .. } => {
                let theirs = LinkId(link.0 ^ 1);
                let why = LinkError::Closed;
                self.inputs.push_back((
                    self.ends[theirs.0 as usize],
                    Input::LinkDown { link: theirs, why },
                ));
                let why = LinkError::Closed;
                self.inputs.push_back((i, Input::LinkDown { link, why }));
            }
            _ => {}
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.mono + span;
        loop {
            while let Some((i, input)) = self.inputs.pop_front() {
                self.nodes[i].handle(self.now, input);
                self.turn(i);
            }
            match self.due.first().copied() {
                Some((due, i)) if due < end => {
                    self.now = at(due.max(self.now.mono));
                    self.turn(i);
                }
                _ => break,
            }
        }
        self.now = at(end);
    }
}

fn at(mono: Instant) -> Now {
    Now::new(
        mono,
        Wall::from_millis(1_700_000_000_000 + mono.as_micros() / 1_000),
    )
}

fn main() {
    // `cargo test --benches` passes flags that ask for no measurement.
    let counts: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|count| count.parse().ok())
        .collect();
    let counts = if counts.is_empty() {
        vec![10, 100, 1_000]
    } else {
        counts
    };
    for count in counts {
        let mut cluster = Cluster::new(count);
        cluster.run(Duration::from_secs(60));
        let members: BTreeMap<usize, usize> =
            cluster.nodes.iter().fold(BTreeMap::new(), |mut all, node| {
                *all.entry(node.members().len()).or_default() += 1;
                all
            });
        assert_eq!(
            members,
            BTreeMap::from([(count, count)]),
            "the cluster has formed"
        );
        let before = cluster.messages;
        let mut passes: Vec<f64> = (0..PASSES)
            .map(|_| {
                let start = Stopwatch::now();
                cluster.run(Duration::from_secs(SECONDS));
                start.elapsed().as_nanos() as f64 / (count as u64 * SECONDS) as f64
            })
            .collect();
        passes.sort_by(f64::total_cmp);
        let sent =
            (cluster.messages - before) as f64 / (count as u64 * SECONDS * PASSES as u64) as f64;
        println!(
            "idle, n = {count}: {:.2} us per node-second ({:.2} to {:.2}), {sent:.2} messages",
            passes[PASSES / 2] / 1_000.0,
            passes[0] / 1_000.0,
            passes[PASSES - 1] / 1_000.0,
        );
    }
}
