//! An application of one's own: what it is told, what it may do, and where it is stopped.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    TableId, Token,
    errors::RequestError,
    io::{Request, Response},
    table::{Durability, TableOp, TableOptions, TableRequest, Write},
};

use crate::Scenario;
use crate::app::{Application, Context, Deployment, MAX_IN_FLIGHT, MAX_MESSAGE, MAX_TIMERS};
use crate::checkers::Violation;
use crate::faults::{FaultKind, FaultSet};
use crate::plan::{FaultWhat, Plan, Shape};
use crate::recording::Outcome;
use crate::report::Report;
use crate::run::report;
use crate::trace::Keep;
use crate::world::World;

type Log = Rc<RefCell<Vec<String>>>;
type Started = fn(&mut Context<'_>);
type Timer = fn(&mut Context<'_>, u64);

/// The script of one test's application: its acts at the start and at events; all do the same otherwise.
#[derive(Clone)]
struct Script {
    log: Log,
    started: Started,
    timer: Timer,
}

impl Script {
    fn new(started: Started, timer: Timer) -> Self {
        Script {
            log: Log::default(),
            started,
            timer,
        }
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.log.borrow_mut())
    }
}

struct Actor(Script);

impl Actor {
    fn log(&self, context: &Context<'_>, what: &str) {
        let line = format!("n{} {what}", context.machine());
        self.0.log.borrow_mut().push(line);
    }
}

impl Application for Actor {
    fn started(&mut self, context: &mut Context<'_>) {
        (self.0.started)(context);
    }

    fn message(&mut self, context: &mut Context<'_>, from: usize, message: &Bytes) {
        self.log(
            context,
            &format!("got {} from n{from}", message.escape_ascii()),
        );
    }

    fn timer(&mut self, context: &mut Context<'_>, timer: u64) {
        self.log(context, &format!("timer {timer}"));
        (self.0.timer)(context, timer);
    }

    fn changed(&mut self, context: &mut Context<'_>, table: TableId) {
        let view = context.view();
        let rows = view.len(table).unwrap();
        self.log(context, &format!("sees {rows} rows"));
    }

    fn replied(
        &mut self,
        context: &mut Context<'_>,
        _: Token,
        result: Result<Response, RequestError>,
    ) {
        let word = if result.is_ok() { "done" } else { "refused" };
        self.log(context, word);
    }
}

impl Deployment for Script {
    fn start(&mut self, _: usize) -> Box<dyn Application> {
        Box::new(Actor(self.clone()))
    }
}

fn sync_table(context: &mut Context<'_>) -> TableId {
    let options = TableOptions::default().durability(Durability::Sync);
    context.table("own", options).unwrap()
}

/// Machine 0 tells machine 1 the time every half second.
fn tells_the_time() -> Script {
    let tell = |context: &mut Context<'_>, timer: u64| {
        if context.machine() == 0 {
            context.send(1, format!("{timer}"));
            context.set_timer(timer + 1, Duration::from_millis(500));
        }
    };
    Script::new(
        |context| context.set_timer(0, Duration::from_millis(500)),
        tell,
    )
}

fn got(script: &Script) -> Vec<String> {
    let lines = script.lines().into_iter();
    lines.filter(|line| line.contains("got")).collect()
}

#[test]
fn messages_meet_the_faults_of_the_network() {
    let script = tells_the_time();
    let mut story = Scenario::new(2);
    story.deploy(script.clone()).record(10_000);
    story.at(1_200);
    assert_eq!(got(&script), ["n1 got 0 from n0", "n1 got 1 from n0"]);
    story.partition(&[0], &[1]).at(2_200);
    assert_eq!(got(&script), [""; 0]);
    let twice = story.heal().begin(&FaultWhat::Dup { ppm: 1_000_000 });
    story.at(2_700).end(twice);
    assert_eq!(got(&script), ["n1 got 4 from n0", "n1 got 4 from n0"]);
    story.crash(1).at(3_200);
    let paused = story.restart(1).begin(&FaultWhat::Pause { node: 1 });
    story.at(4_200);
    assert_eq!(got(&script), [""; 0]);
    story.end(paused).wait(1);
    assert_eq!(got(&script), ["n1 got 6 from n0", "n1 got 7 from n0"]);
    let recording = story.world().trace().recording().unwrap();
    let own = recording
        .flights()
        .iter()
        .filter(|flight| flight.kind == "app");
    let outcomes: Vec<Outcome> = own.map(|flight| flight.outcome).collect();
    let (arrived, swallowed) = (Outcome::Arrived, Outcome::Swallowed);
    let expected = [
        arrived, arrived, swallowed, swallowed, arrived, swallowed, arrived, arrived,
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn messages_keep_their_order_unless_a_fault_reorders_them() {
    let burst = |context: &mut Context<'_>, timer: u64| {
        for number in 0..100 {
            context.send(1, format!("{}", timer * 1_000 + number));
        }
    };
    let started = |context: &mut Context<'_>| {
        if context.machine() == 0 {
            context.set_timer(1, Duration::from_millis(500));
            context.set_timer(2, Duration::from_millis(1_500));
        }
    };
    let script = Script::new(started, burst);
    let mut story = Scenario::new(2);
    story.deploy(script.clone()).at(1_000);
    let first = got(&script);
    assert_eq!(first.len(), 100);
    assert!(first.is_sorted());
    let what = FaultWhat::Reorder {
        ppm: 300_000,
        by_us: 50_000,
    };
    story.begin(&what);
    story.at(2_000);
    let second = got(&script);
    assert_eq!(second.len(), 100);
    assert!(!second.is_sorted());
}

#[test]
fn a_slow_machine_takes_its_time_over_each_message() {
    let started = |context: &mut Context<'_>| context.set_timer(1, Duration::from_millis(500));
    let burst = |context: &mut Context<'_>, _: u64| {
        if context.machine() == 0 {
            (0..20).for_each(|_| context.send(1, "work"));
        }
    };
    let script = Script::new(started, burst);
    let mut story = Scenario::with_starts(&[0, 0]);
    story.deploy(script.clone()).at(490);
    let by_us = 20_000;
    story.begin(&FaultWhat::Slow { node: 1, by_us });
    story.at(600);
    let first = got(&script).len();
    assert!((1..=6).contains(&first), "{first} in 100 ms");
    story.at(2_000);
    assert_eq!(got(&script).len(), 20 - first);
}

#[test]
fn timers_go_by_the_machines_own_clock_and_end_with_the_process() {
    let started = |context: &mut Context<'_>| {
        context.set_timer(1, Duration::from_secs(2));
        context.set_timer(2, Duration::from_secs(4));
        context.set_timer(3, Duration::from_secs(3));
        context.cancel_timer(3);
    };
    let script = Script::new(started, |_, _| {});
    let mut story = Scenario::with_starts(&[0, 0]);
    story.deploy(script.clone()).at(1_000);
    story.begin(&FaultWhat::Skew {
        node: 1,
        by_ms: 0,
        ppm: 500_000,
    });
    story.at(1_700);
    assert_eq!(script.lines(), ["n1 timer 1"]);
    story.at(2_100).crash(0).at(3_100);
    assert_eq!(script.lines(), ["n0 timer 1", "n1 timer 2"]);
    story.at(6_000);
    assert_eq!(script.lines(), [""; 0]);
}

#[test]
fn what_was_answered_is_there_in_the_next_boot_and_nothing_else() {
    let started = |context: &mut Context<'_>| {
        let own = sync_table(context);
        if context.view().len(own) != Ok(0) {
            return context.send(0, "found");
        }
        let op = TableOp::Put {
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(b"safe"),
            expires: None,
        };
        context.request(TableRequest::new(own, op).into());
    };
    let script = Script::new(started, |_, _| {});
    let mut story = Scenario::new(1);
    story.deploy(script.clone()).at(100);
    let heard = script.lines();
    assert!(heard.contains(&"n0 done".to_string()), "{heard:?}");
    assert!(heard.contains(&"n0 sees 1 rows".to_string()), "{heard:?}");
    assert!(story.world().application::<Actor>(0).is_some());
    story.crash(0);
    assert!(story.world().application::<Actor>(0).is_none());
    story.restart(0).wait(100);
    assert_eq!(script.lines(), ["n0 got found from n0"]);
    story.expect_converged();
}

#[test]
fn a_write_reaches_the_applications_of_all_machines() {
    let opens = |context: &mut Context<'_>| {
        sync_table(context);
        context.set_timer(1, Duration::from_secs(3));
    };
    let writes = |context: &mut Context<'_>, _: u64| {
        let own = sync_table(context);
        let write = Write::Put {
            key: b"key",
            value: Bytes::from_static(b"value"),
            expires: None,
        };
        if context.machine() == 1 {
            context.write(own, write).unwrap();
        }
    };
    let script = Script::new(opens, writes);
    let mut story = Scenario::new(3);
    story.deploy(script.clone()).at(2_900);
    script.lines();
    story.at(3_200);
    let seen = script.lines();
    for node in 0..3 {
        assert!(seen.contains(&format!("n{node} sees 1 rows")), "{seen:?}");
    }
}

/// Returns the report of the run of a world with such an application.
fn ends(started: Started, timer: Timer) -> Report {
    let shape = Shape {
        seed: 1,
        nodes: 2,
        active_us: 500_000,
        faults: FaultSet::NONE,
        ops_per_s: Some(0),
    };
    let mut world = World::new(Plan::from_seed(&shape), Keep::Nothing);
    world.deploy(Box::new(Script::new(started, timer)));
    report(world, 1, FaultSet::NONE)
}

fn wake(context: &mut Context<'_>) {
    context.set_timer(0, Duration::ZERO);
}

#[test]
fn an_application_that_goes_too_far_is_a_finding() {
    let fine = ends(|_| {}, |_, _| {});
    assert!(fine.held(), "{fine}");
    let too_far: [(&str, Started); 5] = [
        ("never rests", wake),
        ("too long", |context| {
            context.send(0, vec![0; MAX_MESSAGE + 1]);
        }),
        ("no machine n9", |context| context.send(9, "hello")),
        ("timers", |context| {
            (0..=MAX_TIMERS as u64).for_each(|n| context.set_timer(n, Duration::from_secs(9)));
        }),
        ("belong into the plan", |context| {
            context.request(Request::Leave);
        }),
    ];
    for (words, started) in too_far {
        let report = ends(started, |context, _| wake(context));
        let found = report.violations.first().map(|found| &found.text);
        assert!(
            found.is_some_and(|text| text.contains(words)),
            "{words}: {report}"
        );
    }
}

#[test]
fn the_network_drops_what_goes_beyond_its_bound() {
    let started = |context: &mut Context<'_>| context.set_timer(1, Duration::from_millis(100));
    let floods = |context: &mut Context<'_>, _: u64| {
        if context.machine() == 0 {
            (0..MAX_IN_FLIGHT + 7).for_each(|_| context.send(1, "flood"));
        }
    };
    let flooding = Script::new(started, floods);
    let mut story = Scenario::with_starts(&[0, 0]);
    story.deploy(flooding.clone()).at(200);
    assert_eq!(got(&flooding).len(), MAX_IN_FLIGHT);
    assert_eq!(story.world().tally.counts.get("crowded_out"), Some(&7));
}

/// Says 200 words by chance in each boot, and finds fault with every run. Then it is silent: rows that a disk lost without an error
/// are compared only while two members have seen the same and synced it.
#[derive(Default)]
struct Chatter(Option<TableId>, usize);

impl Application for Chatter {
    fn started(&mut self, context: &mut Context<'_>) {
        self.0 = Some(sync_table(context));
        context.set_timer(0, Duration::from_millis(20));
    }

    fn timer(&mut self, context: &mut Context<'_>, _: u64) {
        let Some(own) = self.0.filter(|_| self.1 < 200) else {
            return;
        };
        self.1 += 1;
        let to = context.random_below(context.machines() as u64) as usize;
        let word = context.random().to_string();
        context.note("chatters", &word);
        let write = Write::Put {
            key: b"word",
            value: Bytes::from(word.clone()),
            expires: None,
        };
        if let Err(error) = context.write(own, write) {
            context.note("refused", &error.to_string());
        }
        context.send(to, word);
        let pause = Duration::from_millis(100 + context.random_below(100));
        context.set_timer(0, pause);
    }
}

struct Chatters;

impl Deployment for Chatters {
    fn start(&mut self, _: usize) -> Box<dyn Application> {
        Box::new(Chatter::default())
    }

    fn judge(&mut self, world: &World) -> Vec<Violation> {
        let chats =
            (0..world.machines()).filter(|node| world.application::<Chatter>(*node).is_some());
        vec![Violation {
            checker: "chatter",
            at_us: world.now_us(),
            text: format!("{} of them chatter", chats.count()),
        }]
    }
}

#[test]
fn one_seed_is_one_run_with_an_application_too() {
    let run = |seed| {
        let shape = Shape {
            seed,
            nodes: 3,
            active_us: 8_000_000,
            faults: FaultSet::ALL,
            ops_per_s: Some(5),
        };
        let mut plan = Plan::from_seed(&shape);
        plan.codec = true;
        let mut world = World::new(plan, Keep::Nothing);
        world.deploy(Box::new(Chatters));
        report(world, seed, FaultSet::ALL)
    };
    for seed in 0..4 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.to_json(), second.to_json());
        assert!(first.counts["app_messages"] > 100);
        assert!(first.faults[FaultKind::Crash.name()] > 0);
        // Its own judge is heard, and the store's find nothing.
        let texts: Vec<&str> = first.violations.iter().map(|one| &one.text[..]).collect();
        assert_eq!(texts, ["3 of them chatter"], "{first}");
    }
    assert_ne!(run(0).hash, run(1).hash);
}

#[test]
fn an_application_is_there_from_the_beginning() {
    let mut story = Scenario::new(1);
    story.at(10);
    let late = catch_unwind(AssertUnwindSafe(|| {
        story.deploy(Chatters);
    }));
    assert!(late.is_err());
}
