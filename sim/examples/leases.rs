//! An application of one's own in the simulator: machines share out jobs by leases.
//!
//! ```sh
//! cargo run --release -p rumormill-sim --example leases                # 40 seeds under faults: nothing is found
//! cargo run --release -p rumormill-sim --example leases -- --bug       # a bug is planted: a violation and its seed
//! cargo run --release -p rumormill-sim --example leases -- --bug --seed 3   # that seed alone, with its story
//! ```
//!
//! Each job has a *keeper*, one of the machines. A machine that looks for work asks the keeper of a job for a lease; the keeper
//! numbers its leases, writes the number to a table of the store that is synced before it answers, grants the lease, and
//! grants no other until it must have run out, whatever the clocks are like. The machine works as long as its lease lasts, and
//! writes how far it has come to another table, from which the next one goes on.
//!
//! The promise: once a machine has worked under a lease, no machine works under an earlier one. One line keeps it: a lease counts from when
//! it was *asked for*. With `--bug` it counts from when the answer arrives, which may be long after the keeper has given the job to another
//! machine.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    Instant, TableId, Token,
    errors::RequestError,
    io::Response,
    members::NodePhase,
    table::{Durability, TableOp, TableOptions, TableRequest, Write},
};
use rumormill_sim::app::{Application, Context, Deployment};
use rumormill_sim::plan::{Action, Entry, Fault, FaultWhat, Plan, Shape};
use rumormill_sim::{FaultKind, FaultSet, Keep, Report, Violation, World, report};

const JOBS: u8 = 6;
/// Steps of work until a job is done, more than fit into one lease.
const STEPS: u8 = 150;
const STEP: Duration = Duration::from_millis(30);
/// How long a machine may work after it has asked, by its own clock.
const LEASE: Duration = Duration::from_millis(150);
/// How long the keeper grants no other lease, by its own clock. No clock here is more than 50 % wrong, so that three times the
/// lease would be enough.
const GUARD: Duration = Duration::from_millis(4 * 150);
/// For how long a machine remembers a question without an answer.
const FORGETS: Duration = Duration::from_secs(10);
/// How long a machine without work waits before it asks again, at most.
const PATIENCE_US: u64 = 300_000;

/// The faults of a run. A wiped disk is not among them: its keeper would number its leases from the beginning.
const FAULTS: FaultSet = FaultSet::NONE
    .with(FaultKind::Loss)
    .with(FaultKind::Dup)
    .with(FaultKind::Reorder)
    .with(FaultKind::Delay)
    .with(FaultKind::Partition)
    .with(FaultKind::OneWay)
    .with(FaultKind::Flap)
    .with(FaultKind::Crash)
    .with(FaultKind::Pause)
    .with(FaultKind::Slow)
    .with(FaultKind::Skew);

/// The work of all machines, as seen from outside without delay.
#[derive(Default)]
struct Ledger {
    granted: u64,
    steps: u64,
    /// The newest lease of each job that a machine has worked under, with that machine and the time.
    newest: BTreeMap<u8, (u64, usize, u64)>,
    broken: Vec<Violation>,
}

impl Ledger {
    fn works(&mut self, at_us: u64, machine: usize, job: u8, lease: u64) {
        self.steps += 1;
        let newest = self.newest.entry(job).or_insert((lease, machine, at_us));
        let (other, worker, since_us) = *newest;
        if lease < other && self.broken.len() < 10 {
            self.broken.push(Violation {
                checker: "leases",
                at_us,
                text: format!(
                    "n{machine} works on job {job} under lease {lease}; n{worker} did under lease {other} at {since_us} us"
                ),
            });
        }
        if lease >= other {
            *newest = (lease, machine, at_us);
        }
    }
}

/// The message of machines to each other: a kind, a job, the number of the question, and of the lease in an answer.
#[derive(Clone, Copy)]
struct Letter {
    grants: bool,
    job: u8,
    question: u64,
    lease: u64,
}

impl Letter {
    fn write(self) -> Vec<u8> {
        let mut out = vec![u8::from(self.grants), self.job];
        out.extend(self.question.to_le_bytes());
        out.extend(self.lease.to_le_bytes());
        out
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (&[grants, job], numbers) = bytes.split_first_chunk()?;
        let (question, lease) = numbers.split_first_chunk()?;
        Some(Letter {
            grants: grants == 1,
            job,
            question: u64::from_le_bytes(*question),
            lease: u64::from_le_bytes(*lease.first_chunk()?),
        })
    }
}

/// A question of a machine for a lease.
struct Asked {
    job: u8,
    at: Instant,
}

/// The lease that a machine works under.
struct Held {
    job: u8,
    lease: u64,
    until: Instant,
}

/// The answer of a keeper, once the lease's number is safe.
struct Granting {
    to: usize,
    letter: Letter,
}

/// One machine.
struct Machine {
    ledger: Rc<RefCell<Ledger>>,
    bug: bool,
    tables: Option<Tables>,
    // As a worker:
    /// Its open questions, by their numbers: the answer to any will do.
    asked: BTreeMap<u64, Asked>,
    held: Option<Held>,
    // As the keeper of some jobs:
    /// When the last lease of a job has surely run out; unknown before a whole guard has passed in this boot.
    free_at: BTreeMap<u8, Instant>,
    begun: Instant,
    granting: BTreeMap<Token, Granting>,
}

#[derive(Clone, Copy)]
struct Tables {
    /// The number of each job's last lease.
    leases: TableId,
    /// How many steps of a job are done.
    progress: TableId,
}

/// The one timer of a machine.
const NEXT: u64 = 1;

impl Application for Machine {
    fn started(&mut self, context: &mut Context<'_>) {
        self.begun = context.now().mono;
        self.open(context);
        self.wait(context);
    }

    fn timer(&mut self, context: &mut Context<'_>, _: u64) {
        self.open(context);
        match self.held {
            Some(_) => self.work(context),
            None => self.look_for_work(context),
        }
    }

    fn message(&mut self, context: &mut Context<'_>, from: usize, message: &Bytes) {
        match Letter::read(message) {
            Some(letter) if letter.grants => self.is_granted(context, letter),
            Some(letter) => self.is_asked(context, from, letter),
            None => context.note("unreadable", ""),
        }
    }

    /// Looks at the jobs that machines have done, perhaps the one that this machine works on.
    fn changed(&mut self, context: &mut Context<'_>, table: TableId) {
        let Some(tables) = self.tables.filter(|tables| tables.progress == table) else {
            return;
        };
        let held = self.held.as_ref();
        if held.is_some_and(|held| is_done(context, tables, held.job)) {
            self.held = None;
            self.wait(context);
        }
    }

    /// The number of a lease is safe, or was refused.
    fn replied(
        &mut self,
        context: &mut Context<'_>,
        token: Token,
        result: Result<Response, RequestError>,
    ) {
        if let Some(Granting { to, letter }) = self.granting.remove(&token)
            && result.is_ok()
        {
            self.ledger.borrow_mut().granted += 1;
            context.note(
                "grants",
                &format!("job {} to n{to}, lease {}", letter.job, letter.lease),
            );
            context.send(to, letter.write());
        }
    }
}

/// The worker.
impl Machine {
    fn wait(&self, context: &mut Context<'_>) {
        let wait_us = PATIENCE_US / 2 + context.random_below(PATIENCE_US / 2);
        context.set_timer(NEXT, Duration::from_micros(wait_us));
    }

    fn look_for_work(&mut self, context: &mut Context<'_>) {
        self.wait(context);
        let Some(tables) = self.tables else { return };
        let open: Vec<u8> = (0..JOBS)
            .filter(|job| !is_done(context, tables, *job))
            .collect();
        let Some(&job) = open.get(context.random_below(open.len() as u64) as usize) else {
            return;
        };
        let question = context.random();
        let at = context.now().mono;
        self.asked.retain(|_, asked| at.since(asked.at) < FORGETS);
        self.asked.insert(question, Asked { job, at });
        let letter = Letter {
            grants: false,
            job,
            question,
            lease: 0,
        };
        context.send(keeper(context, job), letter.write());
    }

    fn is_granted(&mut self, context: &mut Context<'_>, letter: Letter) {
        // Removed, so that the same letter again is the answer to nothing.
        let asked = self.asked.remove(&letter.question);
        let Some(asked) = asked.filter(|_| self.held.is_none()) else {
            return;
        };
        let counts_from = match self.bug {
            true => context.now().mono,
            false => asked.at,
        };
        self.held = Some(Held {
            job: asked.job,
            lease: letter.lease,
            until: counts_from + LEASE,
        });
        self.work(context);
    }

    fn work(&mut self, context: &mut Context<'_>) {
        let (Some(held), Some(tables)) = (&self.held, self.tables) else {
            return self.wait(context);
        };
        let (job, lease) = (held.job, held.lease);
        if context.now().mono >= held.until {
            context.note("runs_out", &format!("job {job}, lease {lease}"));
            self.held = None;
            return self.wait(context);
        }
        self.ledger
            .borrow_mut()
            .works(context.true_us(), context.machine(), job, lease);
        let steps = progress(context, tables, job) + 1;
        context.note("works", &format!("job {job}, lease {lease}, step {steps}"));
        let write = Write::Put {
            key: &[job],
            value: Bytes::copy_from_slice(&[steps]),
            expires: None,
        };
        // A store that refuses has its reasons, and another machine will do the step again.
        if let Err(error) = context.write(tables.progress, write) {
            context.note("refused", &error.to_string());
        }
        context.set_timer(NEXT, STEP);
    }
}

/// The keeper.
impl Machine {
    fn is_asked(&mut self, context: &mut Context<'_>, from: usize, letter: Letter) {
        let job = letter.job;
        let now = context.now();
        let free_at = self.free_at.get(&job).copied();
        let free_at = free_at.unwrap_or(self.begun + GUARD);
        let Some(tables) = self.tables.filter(|_| now.mono >= free_at) else {
            return;
        };
        // No lease for what is done, and none from a node that does not know yet what its cluster knows.
        if is_done(context, tables, job) || context.node().status(now).phase != NodePhase::Member {
            return;
        }
        let lease = last_lease(context, tables, job) + 1;
        let letter = Letter {
            grants: true,
            lease,
            ..letter
        };
        self.free_at.insert(job, now.mono + GUARD);
        let op = TableOp::Put {
            key: Bytes::copy_from_slice(&[job]),
            value: Bytes::copy_from_slice(&lease.to_le_bytes()),
            expires: None,
        };
        let token = context.request(TableRequest::new(tables.leases, op).into());
        self.granting.insert(token, Granting { to: from, letter });
    }
}

impl Machine {
    /// Opens the tables; a store that refuses, for its disk is full, is asked again with the next timer.
    fn open(&mut self, context: &mut Context<'_>) {
        let options = |durability| TableOptions::default().durability(durability);
        if self.tables.is_none() {
            let leases = context.table("leases", options(Durability::Sync));
            let progress = context.table("progress", options(Durability::Periodic));
            self.tables = leases
                .and_then(|leases| {
                    Ok(Tables {
                        leases,
                        progress: progress?,
                    })
                })
                .ok();
        }
    }
}

fn keeper(context: &Context<'_>, job: u8) -> usize {
    usize::from(job) % context.machines()
}

fn is_done(context: &Context<'_>, tables: Tables, job: u8) -> bool {
    progress(context, tables, job) >= STEPS
}

fn progress(context: &Context<'_>, tables: Tables, job: u8) -> u8 {
    let view = context.view();
    let row = view.get(tables.progress, &[job]).row();
    row.and_then(|row| row.value()?.first().copied())
        .unwrap_or(0)
}

fn last_lease(context: &Context<'_>, tables: Tables, job: u8) -> u64 {
    let view = context.view();
    let row = view.get(tables.leases, &[job]).row();
    let value = row.and_then(|row| row.value()?.first_chunk().copied());
    value.map_or(0, u64::from_le_bytes)
}

/// All machines.
struct Leases {
    ledger: Rc<RefCell<Ledger>>,
    bug: bool,
}

impl Leases {
    /// Jobs that are not done in the eyes of some machine, with that machine.
    fn open_jobs(world: &World) -> Vec<(usize, u8)> {
        let done = |machine: usize, job: u8| {
            let node = world.node(machine)?;
            let view = node.view(world.clock(machine)?);
            let row = view.get(node.user_table("progress")?, &[job]).row()?;
            Some(*row.value()?.first()? >= STEPS)
        };
        let machines = 0..world.machines();
        let jobs = machines.flat_map(|machine| (0..JOBS).map(move |job| (machine, job)));
        jobs.filter(|(machine, job)| done(*machine, *job) != Some(true))
            .collect()
    }
}

impl Deployment for Leases {
    fn start(&mut self, _: usize) -> Box<dyn Application> {
        Box::new(Machine {
            ledger: self.ledger.clone(),
            bug: self.bug,
            tables: None,
            asked: BTreeMap::new(),
            held: None,
            free_at: BTreeMap::new(),
            begun: Instant::ZERO,
            granting: BTreeMap::new(),
        })
    }

    fn rests(&self, world: &World) -> bool {
        Leases::open_jobs(world).is_empty()
    }

    fn judge(&mut self, world: &World) -> Vec<Violation> {
        let mut found = std::mem::take(&mut self.ledger.borrow_mut().broken);
        for (machine, job) in Leases::open_jobs(world) {
            found.push(Violation {
                checker: "jobs",
                at_us: world.now_us(),
                text: format!("job {job} is never done, as n{machine} sees it"),
            });
        }
        found
    }
}

/// The outcome of a run.
pub(crate) struct Outcome {
    /// The report of the simulator, with what the application's own judge found.
    pub(crate) report: Report,
    /// Leases granted.
    pub(crate) granted: u64,
    /// Steps worked.
    pub(crate) steps: u64,
}

/// Adds to a plan messages that come later than a guard lasts: leases suffer most from these, and a seed seldom draws them.
fn add_late_answers(plan: &mut Plan) {
    let mut nodes = (0..plan.machines.len()).cycle();
    for at_us in (4_000_000..plan.stop_us).step_by(3_000_000) {
        let what = FaultWhat::Delay {
            node: nodes.next().unwrap_or(0),
            by_us: 1_000_000,
        };
        let action = Action::Fault(Fault {
            for_us: 1_500_000,
            what,
        });
        plan.entries.push(Entry { at_us, action });
    }
    plan.entries.sort_by_key(|entry| entry.at_us);
}

/// Runs a seed, with the bug or without, and keeps its story if that is wanted.
pub(crate) fn run(seed: u64, bug: bool, keep: Keep) -> Outcome {
    let shape = Shape {
        seed,
        nodes: 3 + (seed % 3) as usize,
        active_us: 17_000_000,
        faults: FAULTS,
        // The store's own clients only keep it a little busy.
        ops_per_s: Some(5),
    };
    let mut plan = Plan::from_seed(&shape);
    add_late_answers(&mut plan);
    // Values that are only on the disk would have to be asked for with `TableOp::Get`.
    plan.resident_value = None;
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let mut world = World::new(plan, keep);
    world.deploy(Box::new(Leases {
        ledger: ledger.clone(),
        bug,
    }));
    let report = report(world, seed, FAULTS);
    let ledger = ledger.borrow();
    Outcome {
        report,
        granted: ledger.granted,
        steps: ledger.steps,
    }
}

fn main() -> ExitCode {
    let mut bug = false;
    let mut seeds = 0..40;
    let mut keep = Keep::Nothing;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
        match argument.as_str() {
            "--bug" => bug = true,
            "--seeds" if let Some(count) = number(arguments.next()) => seeds = 0..count,
            "--seed" if let Some(seed) = number(arguments.next()) => {
                seeds = seed..seed.saturating_add(1);
                keep = Keep::Story;
            }
            _ => {
                eprintln!("leases [--bug] [--seeds COUNT | --seed SEED]");
                return ExitCode::from(2);
            }
        }
    }
    let (mut runs, mut granted, mut steps, mut faults) = (0, 0, 0, 0);
    for seed in seeds {
        let outcome = run(seed, bug, keep);
        runs += 1;
        granted += outcome.granted;
        steps += outcome.steps;
        faults += outcome.report.faults.values().sum::<u64>();
        if !outcome.report.held() {
            return tell(&outcome.report);
        }
    }
    println!(
        "{runs} seeds: {granted} leases granted, {steps} steps worked, {faults} faults: every promise held"
    );
    ExitCode::SUCCESS
}

/// A promise was broken: what led to it, if the story was kept, and what it was.
fn tell(report: &Report) -> ExitCode {
    const OWN: [&str; 6] = [
        "grants",
        "works",
        "runs_out",
        "delay_begins",
        "crash",
        "start",
    ];
    const LINES: usize = 40;
    let first_us = report.violations.first().map_or(0, |found| found.at_us);
    let led_to_it = |line: &&String| {
        let mut words = line.split(' ');
        let at_us = words.next().and_then(|word| word.parse().ok());
        let verb = words.nth(2).unwrap_or("");
        at_us.is_some_and(|at_us: u64| at_us <= first_us) && OWN.contains(&verb)
    };
    let story: Vec<&String> = report.trace.iter().filter(led_to_it).collect();
    for line in &story[story.len().saturating_sub(LINES)..] {
        println!("{line}");
    }
    for found in &report.violations {
        println!("{} at {} us: {}", found.checker, found.at_us, found.text);
    }
    println!(
        "BROKEN at seed {}: its story is told with --seed {0}",
        report.seed
    );
    ExitCode::FAILURE
}
