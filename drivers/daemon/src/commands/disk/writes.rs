//! SETs that are synced within a second, HSETs that are synced first, and SETs that no disk is told of.

use std::path::Path;

use super::figure::{Figure, Goal};
use super::{Bench, median, micros, remove};
use crate::cli::{Conflict, Durability};
use crate::commands::load::{Load, Request};
use crate::commands::server::Server;
use crate::commands::tables;
use crate::failure::Failure;
use crate::table::Table;

/// The load: connections, requests at once on each, bytes of a value, and different keys.
const CLIENTS: u64 = 50;
const PIPELINE: u64 = 16;
const SIZE: usize = 100;
const KEYS: u64 = 100_000;

/// The table that is synced before a write is acknowledged.
const SYNCED: &str = "synced";

/// One kind of server under its kind of load.
#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Periodic,
    EverySec,
    Sync,
    Always,
}

impl Kind {
    const ALL: [Kind; 5] = [
        Kind::Memory,
        Kind::Periodic,
        Kind::EverySec,
        Kind::Sync,
        Kind::Always,
    ];

    /// Starts the server; none for a Redis that there is none of.
    fn start(self, bench: &Bench, dir: &Path) -> Result<Option<Server>, Failure> {
        let node = |dir| Server::node("disk", dir).map(Some);
        match self {
            Kind::Memory => node(None),
            Kind::Periodic => node(Some(dir)),
            Kind::EverySec => bench.start_redis(dir, "everysec"),
            Kind::Always => bench.start_redis(dir, "always"),
            Kind::Sync => {
                let server = node(Some(dir))?;
                if let Some(server) = &server {
                    let conflict = Conflict::LastWriterWins;
                    tables::ask(&server.addr, SYNCED, Durability::Sync, conflict)?;
                }
                Ok(server)
            }
        }
    }

    fn request(self) -> Result<Request, Failure> {
        Ok(match self {
            Kind::Memory | Kind::Periodic | Kind::EverySec => Request::Set,
            Kind::Sync | Kind::Always => Request::Put(Table::new(SYNCED)?),
        })
    }
}

/// CPU time of the server for a write in microseconds, and writes per second, of each pass.
#[derive(Default)]
struct Passes {
    cpu: Vec<f64>,
    rate: Vec<f64>,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let mut found: [Passes; Kind::ALL.len()] = Default::default();
    for pass in 0..bench.passes {
        eprintln!("writes: pass {} of {}", pass + 1, bench.passes);
        for (kind, passes) in Kind::ALL.into_iter().zip(&mut found) {
            let dir = bench.dir("writes")?;
            if let Some(server) = kind.start(bench, &dir)? {
                once(bench, kind, &server, passes)?;
            }
            remove(&dir)?;
        }
    }
    let medians = found.map(|passes| (median(passes.cpu), median(passes.rate)));
    let [memory, periodic, everysec, sync, always] = medians;
    let figure = |what: &str, measured, beside, name, goal| Figure {
        what: what.into(),
        measured,
        beside,
        name,
        goal,
    };
    let (on_disk, none) = ("Redis everysec", Goal::None);
    Ok(vec![
        figure("SET in memory, server CPU, us", memory.0, None, "", none),
        figure(
            "SET, server CPU, us",
            periodic.0,
            everysec.0,
            on_disk,
            Goal::AtMost(1.1),
        ),
        figure("SET, per second", periodic.1, everysec.1, on_disk, none),
        figure(
            "HSET into a sync table, server CPU, us",
            sync.0,
            always.0,
            "Redis always",
            Goal::AtMost(1.0),
        ),
        figure(
            "HSET into a sync table, per second",
            sync.1,
            always.1,
            "Redis always",
            Goal::AtLeast(1.0),
        ),
    ])
}

/// One load, after a smaller one that has the server know all keys.
fn once(bench: &Bench, kind: Kind, server: &Server, passes: &mut Passes) -> Result<(), Failure> {
    let mut load = Load {
        request: kind.request()?,
        addr: server.addr.clone(),
        size: SIZE,
        keys: KEYS,
        clients: CLIENTS,
        pipeline: PIPELINE,
        requests: bench.requests / 2,
    };
    load.run(None)?;
    load.requests = bench.requests;
    let done = load.run(Some(server.pid()))?;
    if done.errors > 0 {
        eprintln!("{} of {} writes were refused", done.errors, load.requests);
    }
    let writes = load.requests as f64;
    passes.cpu.extend(done.cpu.map(|cpu| micros(cpu) / writes));
    passes.rate.push(writes / done.wall.as_secs_f64().max(1e-9));
    Ok(())
}
