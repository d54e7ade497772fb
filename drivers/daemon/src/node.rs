//! A node as a process of its own: the child of a command that needs one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;

/// How long a node may take until it is ready.
const START: Duration = Duration::from_secs(30);

/// Where a node listens, as its flags say it.
pub(crate) struct Listeners {
    pub(crate) peers: String,
    pub(crate) redis: String,
    pub(crate) http: String,
}

impl Default for Listeners {
    /// Free ports of this machine.
    fn default() -> Self {
        let free = || "127.0.0.1:0".to_string();
        Listeners {
            peers: free(),
            redis: free(),
            http: free(),
        }
    }
}

/// Starts a node on free ports of this machine; see [`start_on`].
pub(crate) fn start(
    name: &str,
    dir: Option<&Path>,
    flags: &[&str],
) -> Result<(Child, Value), Failure> {
    start_on(&Listeners::default(), name, dir, flags)
}

/// Starts a node on these listeners, which keeps its rows in `dir`, or in memory alone. Returns the process and the JSON
/// document of its listeners. The node ends when the pipe at its standard input does, and so with this process.
pub(crate) fn start_on(
    listeners: &Listeners,
    name: &str,
    dir: Option<&Path>,
    flags: &[&str],
) -> Result<(Child, Value), Failure> {
    spawn_on(listeners, name, dir, flags)?.ready()
}

/// A node that was started and may not be ready yet.
pub(crate) struct Starting {
    name: String,
    child: Child,
}

/// Starts a node on free ports as [`start`] does, and does not wait until it is ready.
pub(crate) fn spawn(name: &str, dir: Option<&Path>, flags: &[&str]) -> Result<Starting, Failure> {
    spawn_on(&Listeners::default(), name, dir, flags)
}

fn spawn_on(
    listeners: &Listeners,
    name: &str,
    dir: Option<&Path>,
    flags: &[&str],
) -> Result<Starting, Failure> {
    let failed = |why: String| Failure::Not(format!("{name} did not start: {why}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["serve", "--json", "--stop-on-eof", "--name", name]);
    command.args(["--listen", &listeners.peers, "--redis", &listeners.redis]);
    command.args(["--http", &listeners.http]);
    match dir {
        Some(dir) => command.arg("--data-dir").arg(dir),
        None => command.arg("--memory"),
    };
    command.args(flags);
    // The settings of the node are those above, whatever is in this process's environment.
    for (variable, _) in std::env::vars_os() {
        let ours = variable.to_string_lossy().starts_with("RUMORMILL_");
        if ours || variable == "PORT" {
            command.env_remove(variable);
        }
    }
    // The pipe ends with this process, however it ends, and the node with it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn().map_err(|error| failed(error.to_string()))?;
    Ok(Starting {
        name: name.to_string(),
        child,
    })
}

impl Starting {
    /// Waits until it is ready. Returns the process and the JSON document of its listeners.
    pub(crate) fn ready(mut self) -> Result<(Child, Value), Failure> {
        let line = self.child.stdout.take().and_then(first_line);
        match line.and_then(|line| serde_json::from_str(&line).ok()) {
            Some(ready) => Ok((self.child, ready)),
            None => {
                let why = "it said nothing about its listeners";
                let name = self.name.clone();
                self.kill();
                Err(Failure::Not(format!("{name} did not start: {why}")))
            }
        }
    }

    /// Kills it, whether it is ready or not.
    pub(crate) fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line that a node prints, if it comes in time.
fn first_line(output: impl std::io::Read + Send + 'static) -> Option<String> {
    let (sender, line) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        if BufReader::new(output).read_line(&mut text).is_ok() {
            let _ = sender.send(text);
        }
    });
    line.recv_timeout(START).ok()
}
