//! The servers that are measured: a node, and Redis, each a process of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::node;
use crate::resp::{Client, Reply};

/// How long Redis may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// A server, killed when dropped.
pub(super) struct Server {
    child: Child,
    pub(super) addr: String,
    pub(super) is_redis: bool,
}

impl Server {
    /// A node of this name that keeps its rows in `dir`, or in memory alone. It is ready.
    pub(super) fn node(name: &str, dir: Option<&Path>) -> Result<Server, Failure> {
        let (child, ready) = node::start(name, dir, &["--log", "warn"])?;
        let addr = ready["redis"].as_str().unwrap_or("").to_string();
        Ok(Server {
            child,
            addr,
            is_redis: false,
        })
    }

    /// A Redis in a directory, with these flags, that saves no snapshots by itself. It is ready: it has loaded what it kept.
    pub(super) fn redis(program: &str, dir: &Path, flags: &[&str]) -> Result<Server, Failure> {
        let failed = |why: String| Failure::Not(format!("{program} did not start: {why}"));
        // Redis takes no port 0, so one that is free at the moment is looked for.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let addr = free.map_err(|error| failed(error.to_string()))?;
        let port = addr.port().to_string();
        let child = Command::new(program)
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .args(flags)
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let server = Server {
            child,
            addr: addr.to_string(),
            is_redis: true,
        };
        let begin = Instant::now();
        while begin.elapsed() < START {
            // While it loads it answers with an error.
            if let Ok(mut client) = Client::connect(&server.addr)
                && let Ok(Reply::Simple(_)) = client.call(&[b"PING"])
            {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(failed("it does not answer".into()))
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
