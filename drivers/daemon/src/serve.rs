//! `serve`: one node, from its settings to its end.

use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rumormill_gateway_http::{Server, ServerOptions, Settings as HttpSettings};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::cli::Serve;
use crate::descriptors;
use crate::engine::{Engine, Listeners, Once, reachable};
use crate::events::{self, Event};
use crate::failure::Failure;
use crate::output::print_line;
use crate::settings::{OnStop, Settings};

/// How long everything may take from the signal on: leaving or stopping, the last sync, and the end. The last answers over HTTP may take half a second
/// more, and five seconds are promised.
const END: Duration = Duration::from_millis(4_400);

pub(crate) fn run(args: &Serve) -> Result<(), Failure> {
    let look_up = |name: &str| std::env::var(name).ok();
    let settings = Settings::resolve(args.config.as_deref(), &look_up, &args.flags())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    if args.print_config {
        return print_line(settings.to_toml().trim_end());
    }
    log_to_stderr(&settings.log);
    let (sender, inbox) = mpsc::channel();
    events::on_signal(sender.clone())?;
    let http = settings
        .http
        .map(|addr| bind_http(addr).map(|listener| (addr, listener)));
    let http = http.transpose()?.map(|(_, listener)| listener);
    let http_addr = http
        .as_ref()
        .and_then(|listener| listener.local_addr().ok());
    let most = descriptors::make_room();
    let once = Once {
        restored: args.restored,
        accept_damage: args.accept_damage,
        store_mutant: args.store_mutant.clone(),
    };
    let start = {
        let (settings, sender) = (settings.clone(), sender.clone());
        move || Engine::start(&settings, once, http_addr, most, sender)
    };
    let Some(engine) = unless_stopped(start, &sender, &inbox)? else {
        tracing::info!("stopped before it had started");
        return Ok(());
    };
    let gateway = http.map(|listener| {
        let settings = HttpSettings {
            hosts: settings.http_names(),
            ready_early: settings.ready_early,
            upkeep: engine.upkeep(),
            ..HttpSettings::new(engine.limits())
        };
        Server::start(
            listener,
            engine.backend(),
            settings,
            ServerOptions {
                max_connections: most.http,
                ..ServerOptions::default()
            },
        )
        .map_err(|error| Failure::Not(format!("cannot serve HTTP: {error}")))
    });
    let gateway = gateway.transpose()?;
    if let Err(failure) = announce(engine.listeners(), args.start.json) {
        // A node whose output no process reads serves all the same.
        tracing::warn!(%failure, "the listeners could not be printed");
    }
    if args.stop_on_eof {
        events::on_end_of_input(sender)?;
    }
    let outcome = wait(&engine, settings.on_stop(), &inbox);
    if let Some(gateway) = gateway {
        gateway.stop();
    }
    outcome
}

/// Starts the node on a thread of its own, and returns nothing if the process is told to end before that is done: a start only reads, and what it
/// writes it may be cut off from at any time.
fn unless_stopped(
    start: impl FnOnce() -> Result<Engine, Failure> + Send + 'static,
    events: &Sender<Event>,
    inbox: &Receiver<Event>,
) -> Result<Option<Engine>, Failure> {
    let (done, started) = mpsc::channel();
    let told = Told(events.clone());
    let starting = move || {
        // Said at the end, also where the start panics.
        let _told = told;
        // No receiver is left when the process is about to end.
        let _ = done.send(start());
    };
    let named = thread::Builder::new().name("start".into());
    let spawned = named.spawn(starting);
    spawned.map_err(|error| Failure::Not(format!("no thread: {error}")))?;
    let mut ended = None;
    loop {
        match inbox.recv() {
            Ok(Event::Started) => break,
            // The loop of a node that was just started.
            Ok(event @ Event::Ended(_)) => ended = Some(event),
            Ok(Event::Signal | Event::EndOfInput) | Err(_) => return Ok(None),
            Ok(Event::Leaves) => {}
        }
    }
    if let Some(event) = ended {
        let _ = events.send(event);
    }
    let panicked = || Failure::Not("the start panicked".into());
    started.recv().map_err(|_| panicked())?.map(Some)
}

/// Says that the start is over, when it is dropped.
struct Told(Sender<Event>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Started);
    }
}

/// Waits for the end. The first signal or the end of the input asks the node to stop or to leave, the second signal ends it at once.
fn wait(engine: &Engine, mut how: OnStop, inbox: &Receiver<Event>) -> Result<(), Failure> {
    let mut asked = Asked::default();
    let mut deadline: Option<Instant> = None;
    loop {
        let event = match deadline {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        let step = match event {
            Ok(Event::Ended(outcome)) => return outcome.map_err(Failure::Not),
            Ok(Event::Signal) => asked.by_signal(),
            Ok(Event::EndOfInput) => asked.by_input(),
            Ok(Event::Leaves) => {
                asked.by_client();
                // It is a leave that the second signal cuts.
                how = OnStop::Leave;
                deadline.get_or_insert(Instant::now() + END);
                Step::Wait
            }
            Ok(Event::Started) => Step::Wait,
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Not("the node did not end in time".into()));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        match step {
            Step::Wait => (),
            Step::Begin => {
                match how {
                    OnStop::Stop => tracing::info!("stopping"),
                    OnStop::Leave => tracing::info!("leaving the cluster"),
                }
                engine.end(how);
                deadline = Some(Instant::now() + END);
            }
            Step::End => engine.end(how),
            Step::GiveUp => return Err(Failure::Not("ended by a third signal".into())),
        }
    }
}

/// The requests so far that the node end. A ctrl-c that goes to a whole group of processes may come after the end of their input, and is no
/// sign of impatience.
#[derive(Default)]
struct Asked {
    signals: u32,
    ends: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The stop or the leave begins.
    Begin,
    Wait,
    /// At once: the stop or the leave is cut.
    End,
    /// Without the node.
    GiveUp,
}

impl Asked {
    fn by_input(&mut self) -> Step {
        match std::mem::replace(&mut self.ends, true) {
            false => Step::Begin,
            true => Step::Wait,
        }
    }

    /// A client has begun a leave: the first signal lets it go on.
    fn by_client(&mut self) {
        self.ends = true;
    }

    fn by_signal(&mut self) -> Step {
        self.signals += 1;
        match self.signals {
            1 => self.by_input(),
            2 => Step::End,
            _ => Step::GiveUp,
        }
    }
}

fn bind_http(addr: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(addr).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => "the address is taken".to_string(),
            _ => error.to_string(),
        };
        Failure::Not(format!("cannot listen for http on {addr}: {why}"))
    })
}

/// Says where the node listens, with a line to try for each.
fn announce(listeners: &Listeners, json: bool) -> Result<(), Failure> {
    let Listeners {
        name,
        peers,
        redis,
        http,
    } = listeners;
    if json {
        let text = json!({
            "name": name,
            "peers": peers.to_string(),
            "redis": redis.map(|addr| addr.to_string()),
            "http": http.map(|addr| addr.to_string()),
        });
        return print_line(&text.to_string());
    }
    let peers_try = reachable(*peers);
    print_line(&format!("{name} is ready"))?;
    print_line(&format!(
        "  peers  {peers:<21}  try: rumormill serve --join {peers_try} --listen 0 --redis 0 --http 0 --name another"
    ))?;
    if let Some(addr) = redis {
        let (host, port) = (reachable(*addr).ip(), addr.port());
        print_line(&format!(
            "  redis  {addr:<21}  try: redis-cli -h {host} -p {port} SET greeting hello"
        ))?;
    }
    if let Some(addr) = http {
        let http = reachable(*addr);
        print_line(&format!(
            "  http   {addr:<21}  try: curl http://{http}/items/greeting"
        ))?;
    }
    Ok(())
}

fn log_to_stderr(directives: &str) {
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    // A second subscriber cannot be set, which happens in tests only.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_a_start_that_is_not_done() {
        let (events, inbox) = mpsc::channel();
        let (go_on, held) = mpsc::channel::<()>();
        let start = move || {
            let _ = held.recv();
            Err(Failure::Not("it went on".into()))
        };
        events.send(Event::Signal).expect("a receiver");
        let started = unless_stopped(start, &events, &inbox);
        assert!(matches!(started, Ok(None)));
        drop(go_on);
    }

    #[test]
    fn the_failure_of_a_start_is_told_and_so_is_a_panic() {
        let (events, inbox) = mpsc::channel();
        let fails = || Err(Failure::Not("the port is taken".into()));
        let failure = unless_stopped(fails, &events, &inbox).err();
        assert_eq!(
            failure.map(|it| it.to_string()).as_deref(),
            Some("the port is taken")
        );
        let panics = || panic!("as a fault of a start would");
        let failure = unless_stopped(panics, &events, &inbox).err();
        assert_eq!(
            failure.map(|it| it.to_string()).as_deref(),
            Some("the start panicked")
        );
    }

    #[test]
    fn an_end_is_cut_by_the_second_signal_and_by_nothing_else() {
        let mut asked = Asked::default();
        assert_eq!(asked.by_signal(), Step::Begin);
        assert_eq!(asked.by_input(), Step::Wait);
        assert_eq!(asked.by_signal(), Step::End);
        assert_eq!(asked.by_signal(), Step::GiveUp);
        let mut asked = Asked::default();
        asked.by_client();
        assert_eq!(asked.by_signal(), Step::Wait);
        assert_eq!(asked.by_signal(), Step::End);
        let mut asked = Asked::default();
        assert_eq!(asked.by_input(), Step::Begin);
        assert_eq!(asked.by_signal(), Step::Wait);
        assert_eq!(asked.by_signal(), Step::End);
    }
}
