//! One script, through the simulator and every driver: the same outcome.

pub(crate) mod real;
mod simulated;
mod ways;

use std::collections::BTreeMap;

#[cfg(feature = "async-std")]
use self::real::AsyncStd;
use self::real::{Mio, Real, Smol, Tokio};
use self::simulated::Simulated;

/// Rows of the table `default`.
type Rows = BTreeMap<String, String>;

/// Three nodes with disks; the first is the seed of the others.
trait Cluster {
    /// Starts a node from what its disk holds.
    fn start(&mut self, node: usize);
    /// Ends a node as a crash does, once what it has accepted is on its disk.
    fn stop(&mut self, node: usize);
    /// Ends a node as a leave does: others have all that it holds.
    fn leave(&mut self, node: usize);
    /// Cuts all ways between nodes, until no node has a link any more.
    fn cut(&mut self);
    fn mend(&mut self);
    fn put(&mut self, node: usize, key: &str, value: &str);
    fn delete(&mut self, node: usize, key: &str);
    fn rows(&mut self, node: usize) -> Rows;
    /// Members that a node knows and that have not left.
    fn members(&mut self, node: usize) -> usize;
    /// Begins to watch the table.
    fn watch(&mut self, node: usize);
    /// All changes that the watch has told so far.
    fn told(&mut self) -> Vec<String>;
    /// Lets time pass until it is so.
    fn wait(&mut self, what: &str, is_so: &dyn Fn(&mut Self) -> bool);
}

/// The script, and what it came to.
struct Script<C> {
    cluster: C,
    running: Vec<usize>,
    rows: Rows,
    told: usize,
    outcome: Vec<String>,
}

impl<C: Cluster> Script<C> {
    fn new(cluster: C) -> Self {
        Script {
            cluster,
            running: Vec::new(),
            rows: Rows::new(),
            told: 0,
            outcome: Vec::new(),
        }
    }

    fn start(&mut self, node: usize, members: usize) {
        self.cluster.start(node);
        self.running.push(node);
        self.are_members(members);
        self.agree(&format!("n{node} starts"));
    }

    /// All that run come to know so many.
    fn are_members(&mut self, members: usize) {
        let running = self.running.clone();
        self.cluster.wait("members", &|cluster| {
            running.iter().all(|node| cluster.members(*node) == members)
        });
    }

    fn leave(&mut self, node: usize) {
        self.cluster.leave(node);
        self.running.retain(|running| *running != node);
        self.are_members(self.running.len());
        self.agree(&format!("n{node} leaves"));
    }

    /// Has one node put and another delete while no node hears of another, and then lets all hear.
    fn part(&mut self, (putter, put): (usize, &str), (deleter, deleted): (usize, &str)) {
        self.cluster.cut();
        self.cluster.put(putter, put, "apart");
        self.cluster.delete(deleter, deleted);
        self.show("all ways are cut");
        self.cluster.mend();
        self.are_members(self.running.len());
        self.rows.insert(put.to_owned(), "apart".to_owned());
        self.rows.remove(deleted);
        self.told += 2;
        self.agree("they are mended");
    }

    fn stop(&mut self, node: usize) {
        self.cluster.stop(node);
        self.running.retain(|running| *running != node);
        self.outcome.push(format!("n{node} stops"));
    }

    fn put(&mut self, node: usize, key: &str, value: &str) {
        self.cluster.put(node, key, value);
        self.rows.insert(key.to_owned(), value.to_owned());
        self.told += 1;
        self.agree(&format!("n{node} puts {key}"));
    }

    fn delete(&mut self, node: usize, key: &str) {
        self.cluster.delete(node, key);
        self.rows.remove(key);
        self.told += 1;
        self.agree(&format!("n{node} deletes {key}"));
    }

    /// All that run come to show the same rows, and the watch tells of the change.
    fn agree(&mut self, after: &str) {
        let (running, rows, told) = (self.running.clone(), self.rows.clone(), self.told);
        self.cluster.wait(after, &|cluster| {
            let agreed = running.iter().all(|node| cluster.rows(*node) == rows);
            agreed && (told == 0 || cluster.told().len() >= told)
        });
        self.show(after);
    }

    fn show(&mut self, after: &str) {
        let running = self.running.clone();
        let shown = running.iter().map(|node| {
            let rows = self.cluster.rows(*node);
            let rows: Vec<String> = rows.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("n{node} {}", rows.join(" "))
        });
        let shown: Vec<String> = shown.collect();
        self.outcome.push(format!("{after}: {}", shown.join(", ")));
    }

    fn run(mut self) -> Vec<String> {
        self.start(0, 1);
        self.start(1, 2);
        self.start(2, 3);
        self.cluster.watch(2);
        self.put(0, "a", "1");
        self.put(1, "b", "2");
        self.put(2, "a", "3");
        self.delete(1, "a");
        self.stop(1);
        self.put(0, "c", "4");
        self.delete(2, "b");
        self.start(1, 3);
        self.put(1, "d", "5");
        self.put(0, "b", "6");
        self.part((0, "e"), (2, "d"));
        self.leave(1);
        self.put(0, "f", "7");
        self.start(1, 3);
        self.delete(1, "b");
        self.outcome.extend(self.cluster.told());
        self.outcome
    }
}

const OUTCOME: &[&str] = &[
    "n0 starts: n0 ",
    "n1 starts: n0 , n1 ",
    "n2 starts: n0 , n1 , n2 ",
    "n0 puts a: n0 a=1, n1 a=1, n2 a=1",
    "n1 puts b: n0 a=1 b=2, n1 a=1 b=2, n2 a=1 b=2",
    "n2 puts a: n0 a=3 b=2, n1 a=3 b=2, n2 a=3 b=2",
    "n1 deletes a: n0 b=2, n1 b=2, n2 b=2",
    "n1 stops",
    "n0 puts c: n0 b=2 c=4, n2 b=2 c=4",
    "n2 deletes b: n0 c=4, n2 c=4",
    "n1 starts: n0 c=4, n2 c=4, n1 c=4",
    "n1 puts d: n0 c=4 d=5, n2 c=4 d=5, n1 c=4 d=5",
    "n0 puts b: n0 b=6 c=4 d=5, n2 b=6 c=4 d=5, n1 b=6 c=4 d=5",
    "all ways are cut: n0 b=6 c=4 d=5 e=apart, n2 b=6 c=4, n1 b=6 c=4 d=5",
    "they are mended: n0 b=6 c=4 e=apart, n2 b=6 c=4 e=apart, n1 b=6 c=4 e=apart",
    "n1 leaves: n0 b=6 c=4 e=apart, n2 b=6 c=4 e=apart",
    "n0 puts f: n0 b=6 c=4 e=apart f=7, n2 b=6 c=4 e=apart f=7",
    "n1 starts: n0 b=6 c=4 e=apart f=7, n2 b=6 c=4 e=apart f=7, n1 b=6 c=4 e=apart f=7",
    "n1 deletes b: n0 c=4 e=apart f=7, n2 c=4 e=apart f=7, n1 c=4 e=apart f=7",
    r#"put b"a" Some(b"1")"#,
    r#"put b"b" Some(b"2")"#,
    r#"put b"a" Some(b"3")"#,
    r#"deleted b"a""#,
    r#"put b"c" Some(b"4")"#,
    r#"deleted b"b""#,
    r#"put b"d" Some(b"5")"#,
    r#"put b"b" Some(b"6")"#,
    r#"deleted b"d""#,
    r#"put b"e" Some(b"apart")"#,
    r#"put b"f" Some(b"7")"#,
    r#"deleted b"b""#,
];

#[test]
fn the_simulator() {
    assert_eq!(Script::new(Simulated::new()).run(), OUTCOME);
}

#[test]
fn mio() {
    assert_eq!(Script::new(Real::new(Mio)).run(), OUTCOME);
}

#[test]
fn smol() {
    assert_eq!(Script::new(Real::new(Smol)).run(), OUTCOME);
}

#[test]
fn tokio() {
    assert_eq!(Script::new(Real::new(Tokio::new())).run(), OUTCOME);
}

#[cfg(feature = "async-std")]
#[test]
fn async_std() {
    let runner = AsyncStd(rumormill_async_std::AsyncStd);
    assert_eq!(Script::new(Real::new(runner)).run(), OUTCOME);
}

/// The first step of moving from async-std to smol.
#[cfg(feature = "async-std")]
#[test]
fn smol_as_a_task_of_async_std() {
    let runner = AsyncStd(rumormill_smol::Smol::global());
    assert_eq!(Script::new(Real::new(runner)).run(), OUTCOME);
}
