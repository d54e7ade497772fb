//! The node with its store and its loop, from settings to running threads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use rumormill_core::{Config, Limits, Node, Now, Recovery, Seed, Storage};
use rumormill_gateway_http::{Upkeep, report};
use rumormill_gateway_resp::Gateway;
use rumormill_kit::random_seed;
use rumormill_kit::store::{StoreHandle, StoreWorker};
use rumormill_mio::{Driver, Exit, Handle, Options};
use rumormill_store::{Failure as Unrecovered, Options as StoreOptions};

use crate::backend::OnLoop;
use crate::descriptors::Connections;
use crate::events::Event;
use crate::failure::Failure;
use crate::keeper::{Keeper, Kept};
use crate::memory;
use crate::settings::{OnStop, Settings};

/// Where a running node listens.
#[derive(Clone, Debug)]
pub(crate) struct Listeners {
    pub(crate) name: String,
    pub(crate) peers: SocketAddr,
    pub(crate) redis: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
}

/// Returns the meaning of the loop's end for the process, and logs it for operators.
fn outcome(exit: Exit) -> Result<(), String> {
    match exit {
        Exit::Left(left) if left.is_complete() => tracing::info!("left the cluster: {left}"),
        Exit::Left(left) => tracing::warn!("left the cluster: {left}"),
        Exit::LeaveCut => tracing::warn!("ended before the leave was done"),
        Exit::Stopped(batches) => {
            tracing::info!(
                "stopped: all {batches} batches are synced; it comes back as the same member"
            );
        }
        Exit::StopCut => {
            tracing::warn!(
                "stopped at once: peers may not have heard of it, and the last sync is done"
            );
        }
        Exit::StoreFailed(why) => return Err(format!("the store failed: {why}")),
        Exit::System(error) => return Err(format!("the event loop failed: {error}")),
        _ => return Err("the loop ended".to_string()),
    }
    Ok(())
}

/// Tells how the node's thread ended, also when it panicked: the process must not go on without its node.
struct Ending {
    events: Sender<Event>,
    outcome: Result<(), String>,
}

impl Ending {
    fn new(events: Sender<Event>) -> Ending {
        Ending {
            events,
            outcome: Err("the node's thread panicked".to_string()),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(()));
        // No receiver is left when the process is about to end.
        let _ = self.events.send(Event::Ended(outcome));
    }
}

/// An operator's word on the data directory, for one start.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    /// It was replaced by an older copy.
    pub(crate) restored: bool,
    /// Its damage is accepted.
    pub(crate) accept_damage: bool,
    /// The planted bug of the store.
    pub(crate) store_mutant: Option<String>,
}

/// Plants a bug in the store.
#[cfg(feature = "mutants")]
fn plant(options: StoreOptions, name: &str) -> Result<StoreOptions, Failure> {
    use rumormill_store::Mutant;
    let all = Mutant::ALL.iter();
    let names: Vec<&str> = all.map(|mutant| mutant.name()).collect();
    let named = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
    let none = || Failure::Usage(format!("{name:?} is none of {}", names.join(", ")));
    named.map(|mutant| options.mutant(*mutant)).ok_or_else(none)
}

#[cfg(not(feature = "mutants"))]
fn plant(_: StoreOptions, name: &str) -> Result<StoreOptions, Failure> {
    Err(Failure::Usage(format!(
        "this program has no planted bug {name:?}: build it with `--features mutants`"
    )))
}

/// A node on its loop.
pub(crate) struct Engine {
    listeners: Listeners,
    limits: Limits,
    backend: OnLoop,
    keeper: Option<Arc<Keeper>>,
}

/// Returns the options of the loop.
fn options(settings: &Settings, most: &Connections) -> Options {
    let mut options = Options::new(settings.listen);
    options.redis = settings.redis;
    options.max_clients = most.redis;
    options.leave_timeout = LEAVE;
    options.stop_timeout = LEAVE;
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    options.client_output.client = bytes(settings.client_output);
    options.client_output.all = bytes(settings.clients_output);
    options.max_accepted = most.peers;
    options
}

impl Engine {
    /// Binds, recovers what is stored and starts the loop on a thread of its own, which reports its end to `events`.
    pub(crate) fn start(
        settings: &Settings,
        once: Once,
        http: Option<SocketAddr>,
        most: Connections,
        events: Sender<Event>,
    ) -> Result<Engine, Failure> {
        let driver = Driver::bind(options(settings, &most))
            .map_err(|error| Failure::Not(error.to_string()))?;
        let peers = driver.peers_addr();
        let listeners = Listeners {
            name: settings
                .name
                .clone()
                .unwrap_or_else(|| format!("node-{}", peers.port())),
            peers,
            redis: driver.redis_addr(),
            http,
        };
        let mut config = config(settings, &listeners);
        config.restored = once.restored;
        config.accept_damage = once.accept_damage;
        let limits = config.limits.clone();
        let handle = driver.handle();
        let begun = Instant::now();
        let dir = settings.store_dir();
        let now = driver.now();
        let (node, store, keeper) = match &dir {
            Some(dir) => {
                let options = StoreOptions::default().log_bytes(settings.store_log_bytes);
                let options = match &once.store_mutant {
                    Some(name) => plant(options, name)?,
                    None => options,
                };
                aside(|| recover(dir, options, config, &handle, now))?
            }
            None => (finish(Recovery::new(config, seed()?), now)?, None, None),
        };
        if let Some(keeper) = &keeper {
            let started = Arc::clone(keeper).scrub_for_ever(settings.store_scrub_rate);
            started.map_err(|error| Failure::Not(format!("no thread: {error}")))?;
        }
        let backend = OnLoop {
            handle: handle.clone(),
            counters: driver.counters(),
            events: events.clone(),
            leaves: Arc::default(),
            keeper: keeper.clone(),
        };
        log_start(&node, driver.now(), dir.as_deref(), begun.elapsed());
        let resp_limits = limits.clone();
        let run = move || {
            let mut ending = Ending::new(events);
            // A gateway's clients share state on one thread, so it is made there.
            let clients = gateway(&resp_limits, &driver);
            ending.outcome = outcome(driver.run(node, store, clients));
        };
        thread::Builder::new()
            .name("node".into())
            .spawn(run)
            .map_err(|error| Failure::Not(format!("no thread for the node: {error}")))?;
        Ok(Engine {
            listeners,
            limits,
            backend,
            keeper,
        })
    }

    /// Returns the care of the node's store; nothing where it has none.
    pub(crate) fn upkeep(&self) -> Option<Arc<dyn Upkeep>> {
        let keeper = self.keeper.clone()?;
        Some(Arc::new(Kept(keeper)))
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn backend(&self) -> OnLoop {
        self.backend.clone()
    }

    /// Stops or leaves, and ends the loop; a second call ends it at once.
    pub(crate) fn end(&self, how: OnStop) {
        let told = match how {
            OnStop::Stop => self.backend.handle.shutdown(),
            OnStop::Leave => self.backend.handle.leave(),
        };
        if let Err(error) = told {
            tracing::debug!(%error, "the loop takes no order to end");
        }
    }
}

/// Makes the gateway of Redis clients, and tells it of the process that it reports.
fn gateway(limits: &Limits, driver: &Driver) -> Gateway {
    let clients = Gateway::new(limits, report::describe);
    let stats = clients.stats();
    let started = driver.now().mono.as_micros();
    stats.started_micros.store(started, Ordering::Relaxed);
    let port = driver.redis_addr().map_or(0, |addr| addr.port());
    stats.tcp_port.store(u64::from(port), Ordering::Relaxed);
    let process = u64::from(std::process::id());
    stats.process_id.store(process, Ordering::Relaxed);
    // A gateway that was just made has none yet.
    let _ = stats.used_memory.set(memory::resident);
    clients
}

/// Logs the identity of the node and what it starts from.
fn log_start(node: &Node, now: Now, dir: Option<&Path>, took: Duration) {
    let config = node.config();
    let data_dir = match dir {
        Some(dir) => dir.display().to_string(),
        None => "none".to_string(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        name = %config.name,
        id = %node.id(),
        cluster = %config.cluster_name,
        %data_dir,
        rows = node.status(now).rows,
        seconds = %format_args!("{:.3}", took.as_secs_f64()),
        "started"
    );
}

/// How long the loop may take to leave or to stop; what remains of five seconds is for the last sync.
const LEAVE: Duration = Duration::from_millis(4_600);

fn config(settings: &Settings, listeners: &Listeners) -> Config {
    let addr = settings.advertise.clone();
    let addr = addr.unwrap_or_else(|| reachable(listeners.peers).to_string());
    let mut config = Config::new(&listeners.name, &addr);
    config.cluster_name = settings.cluster_name.clone();
    config.zone = settings.zone.clone();
    for (protocol, endpoint) in [("redis", listeners.redis), ("http", listeners.http)] {
        if let Some(endpoint) = endpoint {
            let endpoint = advertised(endpoint, settings.advertise.as_deref());
            config.protocols.insert(protocol.to_string(), endpoint);
        }
    }
    config.seeds = settings.join.clone();
    config.found = settings.found;
    config.storage = match settings.memory {
        true => Storage::None,
        false => Storage::Ordered,
    };
    config.resident_value = settings.resident_value;
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limits = &mut config.limits;
    limits.key_bytes = size(settings.key_bytes);
    limits.value_bytes = size(settings.value_bytes);
    limits.clock_drift = Duration::from_millis(settings.clock_drift_ms);
    let timing = &mut config.timing;
    timing.probe_interval = Duration::from_millis(settings.probe_interval_ms);
    timing.probe_timeout = Duration::from_millis(settings.probe_timeout_ms);
    timing.suspicion_mult = u32::try_from(settings.suspicion_mult).unwrap_or(u32::MAX);
    timing.sync_interval = Duration::from_millis(settings.sync_interval_ms);
    timing.leave_timeout = Duration::from_millis(settings.leave_timeout_ms);
    config
}

/// An address as this machine can dial it.
pub(crate) fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    addr
}

/// A client endpoint as others can reach it: one that listens everywhere is where the peers reach this node.
fn advertised(addr: SocketAddr, advertise: Option<&str>) -> String {
    let host = advertise
        .and_then(|text| text.rsplit_once(':'))
        .map(|(host, _)| host);
    match host {
        Some(host) if addr.ip().is_unspecified() => format!("{host}:{}", addr.port()),
        _ => reachable(addr).to_string(),
    }
}

/// Carries out `start` on a thread that gives way to the loop, and so does every thread that is started there, where the system knows that of
/// threads: of two that want a core the loop then has about three quarters. What a store does behind must not keep a client waiting
/// that the loop could serve.
fn aside<T: Send>(start: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    let start = || {
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(5) {
            tracing::debug!(%error, "the store's threads do not give way to the loop");
        }
        start()
    };
    thread::scope(|scope| {
        let named = thread::Builder::new().name("recovery".into());
        let started = named.spawn_scoped(scope, start);
        let thread = started.map_err(|error| Failure::Not(format!("no thread: {error}")))?;
        let panicked = |_| Err(Failure::Not("the recovery panicked".into()));
        thread.join().unwrap_or_else(panicked)
    })
}

type Recovered = (Node, Option<StoreHandle>, Option<Arc<Keeper>>);

fn recover(
    dir: &Path,
    options: StoreOptions,
    config: Config,
    handle: &Handle,
    now: Now,
) -> Result<Recovered, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Not(error.to_string());
    let backlog = config.limits.store_backlog.saturating_mul(2);
    let seed = seed()?;
    // The store's own thread sorts and compacts: it gives way to those that write and read, too.
    let recovered = aside(|| {
        let recovered = rumormill_store::recover(dir, options, config, seed, now);
        recovered.map_err(|error| match error {
            Unrecovered::Alone { .. } => failed(&format!("{error}. {ALONE}")),
            Unrecovered::Load(_) => failed(&format!("{}: {error}", dir.display())),
            error => failed(&error),
        })
    })?;
    if let Some(set_aside) = &recovered.set_aside {
        tracing::warn!("{set_aside}");
    }
    if let Some(cut) = &recovered.cut {
        tracing::warn!("{cut}");
    }
    let (checkpointer, scrubber) = (recovered.store.checkpointer(), recovered.store.scrubber());
    let keeper = Keeper::new(recovered.node.config().name.clone(), checkpointer, scrubber);
    let worker = StoreWorker::spawn(recovered.store, backlog, handle.notifier());
    let worker = worker.map_err(|error| failed(&format!("no thread for the store: {error}")))?;
    Ok((recovered.node, Some(worker), Some(keeper)))
}

/// Advice about a damaged store that no member can repair.
const ALONE: &str = "Start it with --join and the address of a member; or put back a copy of the directory and start it with \
    --restored; or go on with what can be read, without the rest, with --accept-damage";

fn finish(recovery: Recovery, now: Now) -> Result<Node, Failure> {
    recovery
        .finish(now)
        .map_err(|error| Failure::Not(error.to_string()))
}

fn seed() -> Result<Seed, Failure> {
    random_seed().map_err(|error| Failure::Not(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_end_of_a_thread_is_told_though_it_panics() {
        let (sender, inbox) = mpsc::channel();
        let events = sender.clone();
        let thread = thread::spawn(move || {
            let _ending = Ending::new(events);
            panic!("as a fault of the loop would");
        });
        assert!(thread.join().is_err());
        let Ok(Event::Ended(Err(why))) = inbox.try_recv() else {
            panic!("nothing was told");
        };
        assert_eq!(why, "the node's thread panicked");
        let mut ending = Ending::new(sender);
        ending.outcome = Ok(());
        drop(ending);
        assert_eq!(inbox.try_recv(), Ok(Event::Ended(Ok(()))));
    }

    #[test]
    fn an_endpoint_is_advertised_as_others_reach_it() {
        let everywhere: SocketAddr = "0.0.0.0:7401".parse().expect("an address");
        let local: SocketAddr = "127.0.0.1:7401".parse().expect("an address");
        assert_eq!(advertised(everywhere, None), "127.0.0.1:7401");
        assert_eq!(
            advertised(everywhere, Some("10.0.0.1:7400")),
            "10.0.0.1:7401"
        );
        assert_eq!(advertised(local, Some("10.0.0.1:7400")), "127.0.0.1:7401");
        assert_eq!(
            reachable("[::]:1".parse().expect("an address")).to_string(),
            "[::1]:1"
        );
    }
}
