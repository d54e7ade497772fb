//! `cluster N`: several nodes as processes of their own, joined to the first.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::Cluster;
use crate::commands::describe;
use crate::events;
use crate::failure::Failure;
use crate::node;
use crate::output::print_line;

/// How long the nodes may take until they have stopped.
const STOP: Duration = Duration::from_secs(6);

/// The log levels of the nodes unless others are asked for.
const LOG: &str = "warn,lsm_tree=off";

/// How often it is looked whether a node has stopped by itself.
const LOOK: Duration = Duration::from_millis(200);

/// One node.
struct Running {
    name: String,
    dir: Option<PathBuf>,
    child: Child,
    ready: Value,
    ended: Option<ExitStatus>,
}

pub(crate) fn run(args: &Cluster) -> Result<(), Failure> {
    let temporary = match (&args.data_dir, args.start.memory) {
        (None, false) => Some(
            tempfile::Builder::new()
                .prefix("rumormill-cluster-")
                .tempdir()
                .map_err(|error| Failure::Not(format!("no temporary directory: {error}")))?,
        ),
        _ => None,
    };
    let kept = args.data_dir.as_deref();
    let root = kept.or(temporary.as_ref().map(tempfile::TempDir::path));
    let (sender, signals) = mpsc::channel();
    events::on_signal(sender)?;
    let mut nodes = Nodes(Vec::new());
    for number in 1..=args.nodes {
        let first = nodes.0.first().map(|node| text(&node.ready["peers"]));
        nodes.0.push(start(args, number, root, first)?);
    }
    nodes.print(args.start.json)?;
    loop {
        match signals.recv_timeout(LOOK) {
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => nodes.look(),
        }
    }
    nodes.stop();
    Ok(())
}

fn start(
    args: &Cluster,
    number: u16,
    root: Option<&Path>,
    first: Option<String>,
) -> Result<Running, Failure> {
    let name = format!("node-{number}");
    let dir = root.map(|root| root.join(&name));
    let log = args.start.log.as_deref().unwrap_or(LOG);
    // All of them end at once, so that none could hand over to another.
    let mut flags = vec!["--log", log, "--on-stop", "stop"];
    if let Some(first) = &first {
        flags.extend(["--join", first]);
    }
    let (child, ready) = node::start(&name, dir.as_deref(), &flags)?;
    Ok(Running {
        name,
        dir,
        child,
        ready,
        ended: None,
    })
}

/// All nodes; killed when dropped, so that none outlives a start that failed.
struct Nodes(Vec<Running>);

impl Nodes {
    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            let nodes: Vec<Value> = self.0.iter().map(Running::to_json).collect();
            return print_line(&json!({ "nodes": nodes }).to_string());
        }
        let rows = self.0.iter().map(|node| {
            let port = |name: &str| text(&node.ready[name]);
            let dir = node
                .dir
                .as_ref()
                .map_or("memory".into(), |dir| dir.display().to_string());
            let pid = node.child.id().to_string();
            vec![
                node.name.clone(),
                port("peers"),
                port("redis"),
                port("http"),
                pid,
                dir,
            ]
        });
        describe::show(&["name", "peers", "redis", "http", "pid", "data"], rows)?;
        let redis = self
            .0
            .first()
            .map_or(String::new(), |node| text(&node.ready["redis"]));
        eprintln!("try: rumormill --help, rumormill members --addr {redis}; ctrl-c stops all");
        Ok(())
    }

    /// Tells of nodes that have stopped by themselves, and how to start them again.
    fn look(&mut self) {
        let peers: Vec<(String, String)> = self
            .0
            .iter()
            .map(|node| (node.name.clone(), text(&node.ready["peers"])))
            .collect();
        for node in &mut self.0 {
            if node.ended.is_some() {
                continue;
            }
            if let Ok(Some(status)) = node.child.try_wait() {
                node.ended = Some(status);
                let other = peers.iter().find(|(name, _)| *name != node.name);
                let other = other.map(|(_, peers)| peers.as_str());
                eprintln!("{} has stopped ({status}); to start it again:", node.name);
                eprintln!("  {}", node.command(other));
            }
        }
    }

    fn stop(&mut self) {
        for node in &mut self.0 {
            drop(node.child.stdin.take());
        }
        let begin = Instant::now();
        while begin.elapsed() < STOP && self.0.iter_mut().any(Running::runs) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.0 {
            // A node that has ended cannot be killed, which is fine.
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
    }
}

impl Running {
    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn command(&self, join: Option<&str>) -> String {
        let port = |name: &str| text(&self.ready[name]);
        let data = match &self.dir {
            Some(dir) => format!("--data-dir {}", dir.display()),
            None => "--memory".to_string(),
        };
        let join = join.map_or(String::new(), |join| format!(" --join {join}"));
        let (peers, redis, http) = (port("peers"), port("redis"), port("http"));
        let name = &self.name;
        format!(
            "rumormill serve --name {name} {data} --listen {peers} --redis {redis} --http {http}{join}"
        )
    }

    fn to_json(&self) -> Value {
        let mut node = self.ready.clone();
        node["pid"] = self.child.id().into();
        node["data_dir"] = self
            .dir
            .as_ref()
            .map(|dir| dir.display().to_string())
            .into();
        node
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_string()
}
