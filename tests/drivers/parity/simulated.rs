//! The cluster of the simulator, in virtual time.

use rumormill_core::{Node, Now, TableId, table::Cursor};
use rumormill_sim::Scenario;
use rumormill_sim::plan::FaultWhat;

use super::real::{change, links, members, rows};
use super::{Cluster, Rows};

/// How long it may take, in steps of 10 ms.
const STEPS: usize = 6_000;

pub(super) struct Simulated {
    story: Scenario,
    started: [bool; 3],
    watch: Option<(usize, Cursor)>,
    told: Vec<String>,
}

impl Simulated {
    pub(super) fn new() -> Self {
        Simulated {
            // They start when the script says so.
            story: Scenario::with_starts(&[0, 3_600_000, 3_600_000]),
            started: [false; 3],
            watch: None,
            told: Vec::new(),
        }
    }

    fn look<T>(&self, node: usize, at: impl FnOnce(&Node, Now) -> T) -> T {
        let world = self.story.world();
        let running = world.node(node).zip(world.clock(node));
        let (node, now) = running.expect("the node runs");
        at(node, now)
    }

    fn poll(&mut self) {
        let Some((node, from)) = self.watch else {
            return;
        };
        let changes = self.look(node, |node, now| {
            node.view(now).changes(TableId::DEFAULT, from, 1_000)
        });
        let changes = changes.expect("the log is long enough");
        self.watch = Some((node, changes.next));
        self.told.extend(changes.changes.into_iter().map(change));
    }
}

impl Cluster for Simulated {
    fn start(&mut self, node: usize) {
        if node > 0 || self.started[node] {
            self.story.restart(node);
        } else {
            self.story.wait(10);
        }
        self.started[node] = true;
    }

    fn stop(&mut self, node: usize) {
        // An accepted write is synced within a second.
        self.story.wait(2_000);
        self.story.kill(node);
    }

    fn leave(&mut self, node: usize) {
        self.story.begin(&FaultWhat::Leave { node });
        self.wait("its leave", &|cluster| {
            cluster.story.world().node(node).is_none()
        });
    }

    fn cut(&mut self) {
        self.story.partition(&[0], &[1, 2]).partition(&[1], &[2]);
        self.wait("no links", &|cluster| {
            (0..3).all(|node| cluster.look(node, links) == 0)
        });
    }

    fn mend(&mut self) {
        self.story.heal();
    }

    fn put(&mut self, node: usize, key: &str, value: &str) {
        self.story.put(node, key, value);
    }

    fn delete(&mut self, node: usize, key: &str) {
        self.story.delete(node, key);
    }

    fn rows(&mut self, node: usize) -> Rows {
        self.look(node, rows)
    }

    fn members(&mut self, node: usize) -> usize {
        self.look(node, members)
    }

    fn watch(&mut self, node: usize) {
        let from = self.look(node, |node, now| node.view(now).cursor());
        self.watch = Some((node, from));
    }

    fn told(&mut self) -> Vec<String> {
        self.told.clone()
    }

    fn wait(&mut self, what: &str, is_so: &dyn Fn(&mut Self) -> bool) {
        for _ in 0..STEPS {
            self.poll();
            if is_so(self) {
                return;
            }
            self.story.wait(10);
        }
        panic!("waited in vain: {what}\n{}", self.story.story());
    }
}
