//! The nodes that are stopped and started again, each a process of its own that keeps its addresses.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::commands::http::{self, Ask};
use crate::failure::Failure;
use crate::node::{self, Listeners};
use crate::resp::Client;
use crate::table::document;

/// How long a node may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(2);

/// A node, killed when dropped.
pub(super) struct Member {
    pub(super) name: String,
    dir: PathBuf,
    join: Option<String>,
    child: Child,
    pub(super) peers: String,
    pub(super) redis: String,
    http: String,
}

impl Member {
    /// Starts a node on free ports, which keeps its rows in `dir`.
    pub(super) fn start(name: &str, dir: &Path, join: Option<String>) -> Result<Member, Failure> {
        let (child, ready) = launch(name, dir, join.as_deref(), &Listeners::default())?;
        let text = |name: &str| ready[name].as_str().unwrap_or("").to_string();
        Ok(Member {
            name: name.to_string(),
            dir: dir.to_path_buf(),
            join,
            child,
            peers: text("peers"),
            redis: text("redis"),
            http: text("http"),
        })
    }

    /// Stops the process by SIGTERM. Returns whether it ended with exit code 0.
    ///
    /// # Errors
    /// It does not end in time.
    pub(super) fn stop(&mut self) -> Result<bool, Failure> {
        let failed = |why: String| Failure::Not(format!("{} does not stop: {why}", self.name));
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| failed(error.to_string()))?;
        let begin = Instant::now();
        while begin.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status.success()),
                Ok(None) => thread::sleep(LOOK),
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        Err(failed("it runs after ten seconds".into()))
    }

    /// Starts it again on the same addresses.
    pub(super) fn start_again(&mut self) -> Result<(), Failure> {
        let listeners = Listeners {
            peers: self.peers.clone(),
            redis: self.redis.clone(),
            http: self.http.clone(),
        };
        let (child, _) = launch(&self.name, &self.dir, self.join.as_deref(), &listeners)?;
        self.child = child;
        Ok(())
    }

    /// Returns whether clients should be sent to it.
    pub(super) fn is_ready(&self) -> bool {
        let answer = http::ask(&self.http, &Ask::new("GET", "/readyz"));
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Returns a number of its status.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn number(&self, name: &str) -> Result<u64, Failure> {
        let mut client = Client::connect(&self.redis)?;
        let status: Value = document(&mut client, "STATUS")?;
        Ok(status[name].as_u64().unwrap_or(0))
    }
}

fn launch(
    name: &str,
    dir: &Path,
    join: Option<&str>,
    listeners: &Listeners,
) -> Result<(Child, Value), Failure> {
    let mut flags = vec!["--log", "warn"];
    if let Some(join) = join {
        flags.extend(["--join", join]);
    }
    node::start_on(listeners, name, Some(dir), &flags)
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
