//! The lines that operators read on standard error.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};

use crate::support::{Node, PATIENCE, cluster_name, eventually, rumormill};

/// A node whose log goes to a file.
struct Logged {
    node: Node,
    log: PathBuf,
}

impl Logged {
    fn start(name: &str, root: &Path, join: Option<&Node>) -> Logged {
        let log = root.join(format!("{name}-{}.log", join.is_some()));
        let mut command = rumormill();
        command.args(["serve", "--json", "--name", name, "--data-dir"]);
        command.arg(root.join(name));
        command.args(["--listen", "0", "--redis", "0", "--http", "0"]);
        command.args(["--probe-interval-ms", "200", "--probe-timeout-ms", "100"]);
        if let Some(node) = join {
            command.args(["--join", node.peers()]);
        }
        command.stderr(File::create(&log).expect("a file"));
        let node = Node::from(command);
        Logged { node, log }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).expect("a log");
        text.lines().map(str::to_string).collect()
    }

    fn count(&self, parts: &[&str]) -> usize {
        let is_such = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.lines().iter().filter(is_such).count()
    }

    fn id(&self) -> String {
        let status = self.node.status();
        status["id"].as_str().expect("an id").to_string()
    }
}

#[test]
fn members_are_logged_by_name_and_id_and_a_dead_one_as_a_warning() {
    let root = tempfile::tempdir().expect("a directory");
    let alpha = Logged::start("alpha", root.path(), None);
    assert_eq!(
        alpha.node.client(&["put", "t", "k", "v"]).status.code(),
        Some(0)
    );
    let started = format!(
        "started version=\"{}\" name=alpha id={} cluster={} data_dir={} rows=0 seconds=",
        env!("CARGO_PKG_VERSION"),
        alpha.id(),
        cluster_name(),
        root.path().join("alpha").display()
    );
    assert_eq!(alpha.count(&[" INFO ", &started]), 1, "{:?}", alpha.lines());
    let beta = Logged::start("beta", root.path(), Some(&alpha.node));
    let member = format!("beta ({})", beta.id());
    eventually(&1, || alpha.count(&[" INFO ", &format!("{member} is up")]));
    let through = format!("joined through alpha ({})", alpha.id());
    eventually(&1, || beta.count(&[&through]));
    beta.node.kill();
    let down = format!("{member} is down");
    eventually(&1, || alpha.count(&[" WARN ", &down]));
    for line in alpha.lines() {
        assert!(!line.contains("NodeId("), "{line}");
    }
}

#[test]
fn strangers_are_logged_within_bounds() {
    let root = tempfile::tempdir().expect("a directory");
    let alpha = Logged::start("alpha", root.path(), None);
    for _ in 0..60 {
        let mut stream = TcpStream::connect(alpha.node.peers()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        // The node may close before all is taken.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let (_, metrics) = alpha.node.request("GET", "/metrics", "");
    let counted = |name: &str| -> u64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.rsplit(' ').next());
        number.and_then(|number| number.parse().ok()).expect(name)
    };
    let strange =
        counted("rumormill_refused_links_total ") + counted("rumormill_malformed_frames_total ");
    assert_eq!(strange, 60, "{metrics}");
    let lines = alpha.lines().len();
    assert!((2..=15).contains(&lines), "{:?}", alpha.lines());
}
