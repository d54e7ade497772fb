//! A connection that writes until its node is killed.

use std::time::Instant;

use super::history::{Answer, History, Value, Verdict};
use crate::commands::load::next_random;
use crate::failure::Failure;
use crate::resp::{Client, Reply};

/// Keys of a writer in each table.
const KEYS: usize = 24;
/// The most commands that are sent at once.
const PIPELINE: usize = 16;

/// Numbers drawn from a seed.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Draws a number below a bound.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = next_random(self.0);
        (self.0 >> 11) % bound.max(1)
    }
}

/// A table that is written to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) is_sync: bool,
    /// Whether the writer has it for itself, and may flush it.
    pub(super) is_own: bool,
}

impl Target {
    /// The tables of a writer.
    pub(super) fn all(writer: usize) -> Vec<Target> {
        let durabilities = ["sync", "periodic"].into_iter();
        let names = durabilities.flat_map(|durability| [(durability, false), (durability, true)]);
        let targets = names.map(|(durability, is_own)| Target {
            name: match is_own {
                true => format!("{durability}-{writer}"),
                false => durability.to_string(),
            },
            is_sync: durability == "sync",
            is_own,
        });
        targets.collect()
    }
}

/// How many writes were acknowledged, left open or refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) sync: u64,
    pub(super) periodic: u64,
    pub(super) open: u64,
    pub(super) refused: u64,
}

/// A writer, whose keys no other writes.
pub(super) struct Writer {
    number: usize,
    random: Random,
    /// The number of the next value.
    next: u64,
    pub(super) tables: Vec<(Target, Vec<History>)>,
    pub(super) counts: Counts,
}

/// A command that was sent: its table, and the places of its writes in the histories of their keys.
struct Sent {
    table: usize,
    /// Whether it deletes, and may find nothing.
    deletes: bool,
    places: Vec<(usize, usize)>,
}

impl Writer {
    pub(super) fn new(number: usize, seed: u64) -> Writer {
        let tables = Target::all(number).into_iter();
        Writer {
            number,
            random: Random::new(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
            next: 1,
            tables: tables
                .map(|target| (target, vec![History::default(); KEYS]))
                .collect(),
            counts: Counts::default(),
        }
    }

    /// The name of one of its keys.
    fn key(&self, key: usize) -> String {
        format!("{}:{key}", self.number)
    }

    /// The names of all of its keys.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        let names = (0..KEYS).map(|key| self.key(key).into_bytes());
        names.collect()
    }

    /// Writes until the connection is lost. Anything else is a failure.
    pub(super) fn write(&mut self, addr: &str) -> Result<(), Failure> {
        let mut client = match Client::connect(addr) {
            Err(Failure::Unreachable(_)) => return Ok(()),
            client => client?,
        };
        loop {
            match self.pipeline(&mut client) {
                Err(Failure::Unreachable(_)) => return Ok(()),
                written => written?,
            }
        }
    }

    fn pipeline(&mut self, client: &mut Client) -> Result<(), Failure> {
        let mut sent = Vec::new();
        let commands = 1 + self.random.below(PIPELINE as u64);
        for _ in 0..commands {
            // A command that could not be sent is open as well.
            sent.push(self.send(client)?);
        }
        client.flush()?;
        for (at, one) in sent.iter().enumerate() {
            let reply = client.receive();
            let Ok(reply) = reply else {
                self.counts.open += (sent.len() - at) as u64;
                return reply.map(drop);
            };
            let Some((target, histories)) = self.tables.get_mut(one.table) else {
                continue;
            };
            let answer = match reply {
                Reply::Error(_) => {
                    self.counts.refused += 1;
                    Answer::NoWrite
                }
                // A flush before it may not be synced yet.
                Reply::Int(0) if one.deletes => Answer::NoWrite,
                _ => Answer::Acknowledged(Instant::now()),
            };
            if matches!(answer, Answer::Acknowledged(_)) {
                match target.is_sync {
                    true => self.counts.sync += 1,
                    false => self.counts.periodic += 1,
                }
            }
            for (key, place) in &one.places {
                if let Some(history) = histories.get_mut(*key) {
                    history.answer(*place, answer);
                }
            }
        }
        Ok(())
    }

    /// Queues one command.
    fn send(&mut self, client: &mut Client) -> Result<Sent, Failure> {
        let table = self.random.below(self.tables.len() as u64) as usize;
        let key = self.random.below(KEYS as u64) as usize;
        let name = self.key(key);
        let kind = self.random.below(100);
        let value = (kind >= 15).then(|| self.value());
        let mut places = Vec::new();
        let Some((target, histories)) = self.tables.get_mut(table) else {
            let deletes = false;
            return Ok(Sent {
                table,
                deletes,
                places,
            });
        };
        let (hash, field) = (target.name.as_bytes(), name.as_bytes());
        match value {
            None if kind == 0 && target.is_own => {
                // The record of a flush is a row of the store's own, which is not synced first.
                let sent = histories
                    .iter_mut()
                    .map(|history| history.send(None, false));
                places.extend(sent.enumerate());
                client.send(&[b"DEL", hash])?;
            }
            None => {
                let history = histories.get_mut(key);
                let is_sync = target.is_sync;
                places.extend(history.map(|history| (key, history.send(None, is_sync))));
                client.send(&[b"HDEL", hash, field])?;
            }
            Some(value) => {
                let history = histories.get_mut(key);
                places.extend(
                    history.map(|history| (key, history.send(Some(value), target.is_sync))),
                );
                client.send(&[b"HSET", hash, field, &value.to_bytes()])?;
            }
        }
        Ok(Sent {
            table,
            deletes: value.is_none(),
            places,
        })
    }

    /// Draws a value: most are small, some have kilobytes, and a few a megabyte.
    fn value(&mut self) -> Value {
        let len = match self.random.below(400) {
            0 => self.random.below(1 << 20),
            1..20 => self.random.below(16 << 10),
            _ => self.random.below(300),
        };
        let number = self.next;
        self.next += 1;
        Value {
            writer: self.number,
            number,
            len: len as usize,
        }
    }

    /// Reads all of its keys and judges what was found. Returns the keys whose verdict is not [`Verdict::Whole`].
    pub(super) fn judge(
        &mut self,
        client: &mut Client,
        promised: Instant,
    ) -> Result<Vec<Judged>, Failure> {
        let mut judged = Vec::new();
        let names: Vec<String> = (0..KEYS).map(|key| self.key(key)).collect();
        for (target, histories) in &mut self.tables {
            for name in &names {
                client.send(&[b"HGET", target.name.as_bytes(), name.as_bytes()])?;
            }
            client.flush()?;
            for (name, history) in names.iter().zip(histories) {
                let Reply::Bulk(found) = client.receive()?.accepted()? else {
                    return Err(Failure::Not(format!("HGET of {name} answered no value")));
                };
                let value = found.as_deref().map(Value::from_bytes);
                let made = history.describe();
                let verdict = match value {
                    Some(None) => Verdict::Lost,
                    value => history.judge(value.flatten(), promised),
                };
                if verdict != Verdict::Whole {
                    judged.push(Judged {
                        is_sync: target.is_sync,
                        verdict,
                        what: format!("{}/{name}: {made}; found {}", target.name, show(found)),
                    });
                }
            }
        }
        Ok(judged)
    }
}

/// A key that lacks something.
pub(super) struct Judged {
    pub(super) is_sync: bool,
    pub(super) verdict: Verdict,
    /// The writes that were made, and what was found.
    pub(super) what: String,
}

fn show(found: Option<Vec<u8>>) -> String {
    match found {
        None => "none".into(),
        Some(bytes) => {
            let begin = bytes.get(..bytes.len().min(24)).unwrap_or_default();
            format!("{} ({} bytes)", begin.escape_ascii(), bytes.len())
        }
    }
}
