//! The things that are done to a server, in their order, each beside a PING every millisecond.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::probe::{Pings, Probe};
use crate::commands::load::{pipelined, set_strings};
use crate::commands::server::Server;
use crate::failure::Failure;
use crate::resp::{Client, Reply};

/// Characters of the class in a pattern.
const CLASS: usize = 60_000;

/// Calls of what is quick.
const CALLS: u32 = 100;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much there is of everything.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) rows: u64,
    pub(super) tables: u64,
    pub(super) settle: Duration,
}

/// One thing, and what it did to the PINGs beside it.
pub(super) struct Measured {
    pub(super) thing: String,
    /// How long it took; one call of it, where it is done again and again.
    pub(super) took: Duration,
    pub(super) pings: Pings,
}

/// Does everything to one server.
pub(super) struct Things<'a> {
    server: &'a Server,
    client: Client,
    sizes: Sizes,
    done: Vec<Measured>,
}

/// All things in their order. `file` has as many lines to import as there are rows.
pub(super) fn measure(
    server: &Server,
    sizes: Sizes,
    file: &Path,
) -> Result<Vec<Measured>, Failure> {
    let mut client = Client::connect(&server.addr)?;
    client.set_patience(PATIENCE)?;
    let mut things = Things {
        server,
        client,
        sizes,
        done: Vec::new(),
    };
    things.nothing()?;
    things.patterns()?;
    things.one_large_hash(file)?;
    things.many_strings()?;
    things.many_hashes()?;
    Ok(things.done)
}

impl Things<'_> {
    /// Measures one thing, which says itself how long it took.
    fn thing(
        &mut self,
        name: impl Into<String>,
        act: impl FnOnce(&mut Client) -> Result<Duration, Failure>,
    ) -> Result<(), Failure> {
        let thing = name.into();
        eprintln!(
            "{}: {thing}",
            if self.server.is_redis {
                "redis"
            } else {
                "node"
            }
        );
        let probe = Probe::start(&self.server.addr)?;
        let took = act(&mut self.client);
        thread::sleep(self.sizes.settle);
        let pings = probe.stop()?;
        let took = took?;
        self.done.push(Measured { thing, took, pings });
        Ok(())
    }

    /// Measures one command.
    fn command(&mut self, name: impl Into<String>, command: &[&[u8]]) -> Result<(), Failure> {
        self.thing(name, |client| timed(|| skip(client, command)))
    }

    /// Measures a command that is called again and again: the mean of a call.
    fn calls(&mut self, name: impl Into<String>, command: &[&[u8]]) -> Result<(), Failure> {
        self.thing(name, |client| {
            let all = timed(|| (0..CALLS).try_for_each(|_| skip(client, command)))?;
            Ok(all / CALLS)
        })
    }

    fn nothing(&mut self) -> Result<(), Failure> {
        self.thing("nothing", |_| Ok(Duration::ZERO))
    }

    fn patterns(&mut self) -> Result<(), Failure> {
        let keys = self.sizes.rows / 100;
        set_strings(&mut self.client, keys)?;
        let pattern = [b"*[", &b"z".repeat(CLASS)[..], b"]*"].concat();
        let among = format!("a class of {CLASS} among {keys} keys");
        self.command(format!("KEYS with {among}"), &[b"KEYS", &pattern])?;
        self.thing(format!("SCAN with {among}"), |client| {
            timed(|| scan(client, &[b"COUNT", b"10000", b"MATCH", &pattern]))
        })?;
        let changes = keys / 10;
        let name = format!("{changes} SETs beside PSUBSCRIBE with a class of {CLASS}");
        let subscriber = Subscriber::start(&self.server.addr, &pattern)?;
        self.thing(name, |client| timed(|| set_strings(client, changes)))?;
        subscriber.stop()?;
        if !self.server.is_redis {
            set_strings(&mut self.client, self.sizes.rows)?;
            let name = format!(
                "KEYS with a class of {CLASS} among {} keys",
                self.sizes.rows
            );
            self.command(name, &[b"KEYS", &pattern])?;
        }
        skip(&mut self.client, &[b"FLUSHALL"])
    }

    fn one_large_hash(&mut self, file: &Path) -> Result<(), Failure> {
        let rows = self.sizes.rows;
        let (addr, is_redis) = (self.server.addr.clone(), self.server.is_redis);
        self.thing(format!("import of {rows} lines"), |client| {
            timed(|| match is_redis {
                // `import` asks for the node's description of the table.
                true => set_fields(client, rows),
                false => import(&addr, file),
            })
        })?;
        self.command(format!("HGETALL of {rows} rows"), &[b"HGETALL", b"large"])?;
        self.command(
            format!("DEL of a hash of {rows} fields"),
            &[b"DEL", b"large"],
        )
    }

    fn many_strings(&mut self) -> Result<(), Failure> {
        let rows = self.sizes.rows;
        set_strings(&mut self.client, rows)?;
        self.command(format!("KEYS * among {rows} keys"), &[b"KEYS", b"*"])?;
        self.thing(format!("SCAN over {rows} keys"), |client| {
            timed(|| scan(client, &[b"COUNT", b"1000"]))
        })?;
        self.calls(format!("RANDOMKEY among {rows} keys"), &[b"RANDOMKEY"])?;
        self.thing(
            format!("DEL of a hash of one field beside {rows} rows"),
            |client| {
                let mut all = Duration::ZERO;
                for _ in 0..CALLS {
                    skip(client, &[b"HSET", b"small", b"field", b"value"])?;
                    all += timed(|| skip(client, &[b"DEL", b"small"]))?;
                }
                Ok(all / CALLS)
            },
        )?;
        self.command(format!("FLUSHALL of {rows} rows"), &[b"FLUSHALL"])
    }

    fn many_hashes(&mut self) -> Result<(), Failure> {
        let some = self.sizes.tables * 6 / 10;
        set_hashes(&mut self.client, some)?;
        let beside = format!("with {some} hashes");
        self.calls(format!("SCAN call {beside}"), &[b"SCAN", b"0"])?;
        self.thing(format!("SCAN over all {beside}"), |client| {
            timed(|| scan(client, &[b"COUNT", b"1000"]))
        })?;
        for command in ["INFO", "DBSIZE", "RANDOMKEY"] {
            self.calls(format!("{command} {beside}"), &[command.as_bytes()])?;
        }
        self.command(format!("KEYS * {beside}"), &[b"KEYS", b"*"])?;
        skip(&mut self.client, &[b"FLUSHALL"])?;
        for tables in [self.sizes.tables * 3 / 10, self.sizes.tables] {
            set_hashes(&mut self.client, tables)?;
            self.command(format!("FLUSHALL of {tables} hashes"), &[b"FLUSHALL"])?;
        }
        Ok(())
    }
}

fn timed(act: impl FnOnce() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let begin = Instant::now();
    act()?;
    Ok(begin.elapsed())
}

/// One command, whose reply is passed over.
fn skip(client: &mut Client, command: &[&[u8]]) -> Result<(), Failure> {
    client.send(command)?;
    client.flush()?;
    client.skip()
}

fn set_hashes(client: &mut Client, count: u64) -> Result<(), Failure> {
    pipelined(client, count, |client, n| {
        let name = format!("hash:{n:012}");
        client.send(&[b"HSET", name.as_bytes(), b"field", &[b'v'; 100]])
    })
}

/// Sets what the lines to import say.
fn set_fields(client: &mut Client, count: u64) -> Result<(), Failure> {
    pipelined(client, count, |client, n| {
        let field = format!("field:{n:012}");
        client.send(&[b"HSET", b"large", field.as_bytes(), &[b'v'; 100]])
    })
}

/// A whole iteration.
fn scan(client: &mut Client, options: &[&[u8]]) -> Result<(), Failure> {
    let unexpected = || Failure::Not("the server answered SCAN with something else".into());
    let mut cursor = b"0".to_vec();
    loop {
        let command = [&[b"SCAN", &cursor[..]], options].concat();
        let Reply::Array(parts) = client.call(&command)?.accepted()? else {
            return Err(unexpected());
        };
        let Some(Reply::Bulk(Some(next))) = parts.into_iter().next() else {
            return Err(unexpected());
        };
        if next == b"0" {
            return Ok(());
        }
        cursor = next;
    }
}

/// Imports the file into the hash `large`, as a process of its own.
fn import(addr: &str, file: &Path) -> Result<(), Failure> {
    let failed = |why: String| Failure::Not(format!("the import failed: {why}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let status = Command::new(program)
        .arg("import")
        .arg(file)
        .args(["--table", "large", "--json", "--addr", addr])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| failed(error.to_string()))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(status.to_string())),
    }
}

/// A connection that is subscribed to a pattern and reads what it is told.
struct Subscriber {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Subscriber {
    fn start(addr: &str, pattern: &[u8]) -> Result<Subscriber, Failure> {
        let mut client = Client::connect(addr)?;
        client.set_patience(PATIENCE)?;
        skip(&mut client, &[b"PSUBSCRIBE", pattern])?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                skip(&mut client, &[b"PING"])?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        Ok(Subscriber { stop, thread })
    }

    fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let stopped = |_| Failure::Not("the subscriber's thread stopped".into());
        self.thread.join().map_err(stopped)?
    }
}
