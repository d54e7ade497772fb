//! Starting daemons and talking to them. Waiting is polling for a condition, with a deadline.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test fails; far beyond what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, free of this process's settings. Its nodes are of a cluster of this test alone, for the port of a dead one may be given to
/// a node of another test.
pub(crate) fn rumormill() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rumormill"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("RUMORMILL_") || variable == "PORT" {
            command.env_remove(variable);
        }
    }
    command.env("RUMORMILL_CLUSTER_NAME", cluster_name());
    command.stdin(Stdio::null());
    command
}

/// Threads of tests have the names of their tests.
pub(crate) fn cluster_name() -> String {
    thread::current().name().unwrap_or("tests").to_owned()
}

/// A running node, killed when dropped.
pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) ready: Value,
}

impl Node {
    /// A node on free ports with quick detection, which keeps its rows in `dir`.
    pub(crate) fn start(name: &str, dir: &Path, join: Option<&Node>) -> Node {
        Node::start_with(name, dir, join, &[])
    }

    /// The same with further flags.
    pub(crate) fn start_with(name: &str, dir: &Path, join: Option<&Node>, flags: &[&str]) -> Node {
        let mut command = rumormill();
        command
            .args([
                "serve",
                "--json",
                "--log",
                "warn",
                "--name",
                name,
                "--data-dir",
            ])
            .arg(dir);
        command.args(["--listen", "0", "--redis", "0", "--http", "0"]);
        command.args(["--probe-interval-ms", "200", "--probe-timeout-ms", "100"]);
        if let Some(node) = join {
            command.args(["--join", node.peers()]);
        }
        command.args(flags);
        Node::from(command)
    }

    /// Whatever `command` starts, once it has said where it listens.
    pub(crate) fn from(mut command: Command) -> Node {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let output = child.stdout.take().expect("a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = lines.recv_timeout(PATIENCE).expect("a line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line:?}"));
        Node { child, ready }
    }

    pub(crate) fn peers(&self) -> &str {
        self.ready["peers"].as_str().expect("an address")
    }

    pub(crate) fn redis(&self) -> &str {
        self.ready["redis"].as_str().expect("an address")
    }

    pub(crate) fn http(&self) -> &str {
        self.ready["http"].as_str().expect("an address")
    }

    /// A client command against this node.
    pub(crate) fn client(&self, args: &[&str]) -> Output {
        let mut command = rumormill();
        command.args(args).args(["--addr", self.redis()]);
        command.output().expect("it runs")
    }

    /// The same, with something on standard input.
    pub(crate) fn client_with(&self, args: &[&str], input: &str) -> Output {
        let mut command = rumormill();
        command.args(args).args(["--addr", self.redis()]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(input.as_bytes()).expect("taken");
        drop(pipe);
        child.wait_with_output().expect("it ends")
    }

    pub(crate) fn status(&self) -> Value {
        let (code, body) = self.request("GET", "/v1/status", "");
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Returns the output of a command as JSON.
    pub(crate) fn json(&self, command: &str) -> Value {
        let output = self.client(&[command, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// All rows of a table, as sorted lines. A table that this node has not heard of has none.
    pub(crate) fn rows(&self, table: &str) -> Vec<String> {
        let output = self.client(&["export", "--table", table, "--format", "tsv"]);
        let why = text(&output.stderr);
        if output.status.code() == Some(1) && why.contains("there is no table") {
            return Vec::new();
        }
        assert!(output.status.success(), "{why}");
        let mut rows: Vec<String> = text(&output.stdout).lines().map(str::to_string).collect();
        rows.sort();
        rows
    }

    /// An HTTP request with a JSON body: the status code and the body of the answer.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (code, _, body) = self.exchange(method, path, &[], body);
        (code, body)
    }

    /// The same with further headers: the status code, the head and the body of the answer.
    pub(crate) fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.http()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut head = format!("{method} {path} HTTP/1.0\r\ncontent-type: application/json\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let rest = format!("content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all((head + &rest).as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (code.expect("a status"), head.to_string(), body.to_string())
    }

    /// Ends it as a loss of power of the process would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Has it leave by a command, and waits for its end.
    pub(crate) fn leave(mut self) -> (ExitStatus, Duration, Output) {
        let begin = Instant::now();
        let said = self.client(&["leave"]);
        let status = wait(&mut self.child);
        (status, begin.elapsed(), said)
    }

    /// Asks it by a signal to end, and waits for that: a node that keeps its rows stops.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        signal(&self.child, "TERM");
        let status = wait(&mut self.child);
        (status, begin.elapsed())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(child: &Child, name: &str) {
    assert!(send_signal(child.id(), name), "no such child");
}

fn send_signal(pid: u32, name: &str) -> bool {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    sent.expect("kill runs").success()
}

/// Waits for its end; a child that takes too long is killed and fails the test.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let pid = child.id();
    let (sender, end) = mpsc::channel();
    thread::scope(|scope| {
        // The receiver is gone once the time is over.
        scope.spawn(move || sender.send(child.wait()).unwrap_or(()));
        end.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            send_signal(pid, "KILL");
            panic!("it does not end");
        })
    })
    .expect("a child")
}

/// Asks again and again until `see` gives `expected`; fails with what it gave last. `see` asks a node, which paces the loop.
pub(crate) fn eventually<T: PartialEq + Debug>(expected: &T, mut see: impl FnMut() -> T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = see();
        if seen == *expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "still {seen:?}, expected {expected:?}"
        );
    }
}

/// The exit code of a command that may not have been ended by a signal.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
