//! Loads for servers: many connections with a bounded number of requests, and commands in a pipeline.

use std::thread;
use std::time::{Duration, Instant};

use super::process;
use crate::failure::Failure;
use crate::resp::{Client, Reply};
use crate::table::Table;

/// Commands on their way at once while something is prepared.
const PIPELINE: u64 = 512;

/// A kind of request.
#[derive(Clone)]
pub(super) enum Request {
    /// Write a row of a table, as a node understands it.
    Put(Table),
    /// Read a row of a table.
    Get(Table),
    /// Set a string, as any server understands it.
    Set,
}

/// A bounded load over several connections.
pub(super) struct Load {
    pub(super) request: Request,
    pub(super) addr: String,
    /// Bytes of a value.
    pub(super) size: usize,
    /// Different keys.
    pub(super) keys: u64,
    /// Connections.
    pub(super) clients: u64,
    /// Requests sent at once on a connection.
    pub(super) pipeline: u64,
    /// Requests of all connections together.
    pub(super) requests: u64,
}

/// The cost of a load.
pub(super) struct Done {
    pub(super) errors: u64,
    pub(super) wall: Duration,
    /// CPU time of the server, where it is known.
    pub(super) cpu: Option<Duration>,
    /// Time of each batch from sending to its last reply, ascending.
    pub(super) batches: Vec<Duration>,
}

impl Load {
    /// Sends everything, to a server whose process is known or not.
    pub(super) fn run(&self, pid: Option<u32>) -> Result<Done, Failure> {
        let cpu_before = pid.and_then(process::cpu_time);
        let begin = Instant::now();
        let outcomes: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.clients)
                .map(|client| scope.spawn(move || self.on_one_connection(client)))
                .collect();
            workers.into_iter().map(|worker| worker.join()).collect()
        });
        let wall = begin.elapsed();
        let cpu_after = pid.and_then(process::cpu_time);
        let (mut errors, mut batches) = (0, Vec::new());
        for outcome in outcomes {
            let stopped = |_| Failure::Not("a client thread stopped".into());
            let (failed, times) = outcome.map_err(stopped)??;
            errors += failed;
            batches.extend(times);
        }
        batches.sort_unstable();
        let cpu = cpu_before
            .zip(cpu_after)
            .map(|(before, after)| after.saturating_sub(before));
        Ok(Done {
            errors,
            wall,
            cpu,
            batches,
        })
    }

    fn on_one_connection(&self, client: u64) -> Result<(u64, Vec<Duration>), Failure> {
        let share = self.requests / self.clients;
        let mut left = share + u64::from(client < self.requests % self.clients);
        let mut value = vec![0; self.size];
        let mut connection = Client::connect(&self.addr)?;
        let (mut errors, mut times) = (0, Vec::new());
        let mut state = (client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while left > 0 {
            let batch = left.min(self.pipeline);
            for _ in 0..batch {
                state = next_random(state);
                let key = format!("key:{:016}", state % self.keys);
                fill(&mut value, state);
                let key = key.as_bytes();
                match &self.request {
                    Request::Put(table) => connection.send(&table.put(key, &value))?,
                    Request::Get(table) => connection.send(&table.get(key))?,
                    Request::Set => connection.send(&[b"SET", key, &value])?,
                }
            }
            let begin = Instant::now();
            connection.flush()?;
            for _ in 0..batch {
                errors += u64::from(matches!(connection.receive()?, Reply::Error(_)));
            }
            times.push(begin.elapsed());
            left -= batch;
        }
        Ok((errors, times))
    }
}

/// The xorshift generator of Marsaglia: good enough to spread keys, and the same in every run.
pub(super) fn next_random(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

/// Fills a value with bytes that do not get smaller when they are compressed, other ones for each seed.
fn fill(value: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for part in value.chunks_mut(8) {
        state = next_random(state);
        let bytes = state.to_le_bytes();
        part.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }
}

/// Sends `count` commands, so many at once; one that the server is too busy for is sent again.
pub(super) fn pipelined(
    client: &mut Client,
    count: u64,
    mut send: impl FnMut(&mut Client, u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut next = 0;
    while next < count {
        let end = (next + PIPELINE).min(count);
        let mut batch: Vec<u64> = (next..end).collect();
        while !batch.is_empty() {
            batch.iter().try_for_each(|&n| send(client, n))?;
            client.flush()?;
            let mut again = Vec::new();
            for n in batch {
                match client.receive()? {
                    Reply::Error(text) if text.starts_with("BUSY") => again.push(n),
                    reply => drop(reply.accepted()?),
                }
            }
            batch = again;
        }
        next = end;
    }
    Ok(())
}

/// Sets `count` keys to 100 bytes each, which do not get smaller when they are compressed.
pub(super) fn set_strings(client: &mut Client, count: u64) -> Result<(), Failure> {
    let mut value = [0; 100];
    pipelined(client, count, |client, n| {
        let key = format!("key:{n:012}");
        fill(&mut value, n);
        client.send(&[b"SET", key.as_bytes(), &value])
    })
}
