//! The mio driver: peers, clients of the Redis protocol, and the handle of other threads.

mod memory;
mod patience;
mod stop;
mod turns;

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumormill_core::link::{Connection, LinkEvent, LinkLimits, MAGIC, Nonce};
use rumormill_core::{
    Config, Node, Now, Recovery, Seed, Storage, TableId,
    errors::{RequestError, WriteError},
    io::{LinkError, Request, Response},
    table::{ChangeKind, Durability, Found, ScanRange, TableOp, TableOptions, TableRequest, Write},
};
use rumormill_kit::store::{MemoryStore, Store, StoreWorker};

use rumormill_mio::*;

use super::tap::{self, Tap, handshake, replay};

const ANY: &str = "127.0.0.1:0";
const PATIENCE: Duration = Duration::from_secs(20);

fn any() -> SocketAddr {
    ANY.parse().unwrap()
}

struct Running {
    handle: Handle,
    counters: std::sync::Arc<Counters>,
    peers: SocketAddr,
    redis: Option<SocketAddr>,
    thread: JoinHandle<Exit>,
}

impl Running {
    fn end(self) -> Exit {
        // A driver that has ended already takes no command.
        let _ = self.handle.shutdown();
        self.thread.join().unwrap()
    }
}

fn start<C: Clients + Send + 'static>(
    options: Options,
    clients: C,
    configure: impl FnOnce(&mut Config),
) -> Running {
    start_on(MemoryStore::new(), options, clients, configure)
}

/// The same with a store of the caller's, if rows are stored.
fn start_on<C: Clients + Send + 'static>(
    mut store: MemoryStore,
    options: Options,
    clients: C,
    configure: impl FnOnce(&mut Config),
) -> Running {
    let driver = Driver::bind(options).unwrap();
    let (handle, counters) = (driver.handle(), driver.counters());
    let (peers, redis) = (driver.peers_addr(), driver.redis_addr());
    let mut config = crate::config(&peers.to_string(), &peers.to_string());
    configure(&mut config);
    let seed = Seed::from_u64(u64::from(peers.port()));
    let stores = config.storage == Storage::Ordered;
    let mut recovery = Recovery::new(config, seed);
    store.load(&mut |record| recovery.record(record)).unwrap();
    let store = stores.then(|| StoreWorker::spawn(store, 10_000, handle.notifier()).unwrap());
    let node = recovery.finish(driver.now()).unwrap();
    let thread = thread::spawn(move || driver.run(node, store, clients));
    Running {
        handle,
        counters,
        peers,
        redis,
        thread,
    }
}

/// Asks again and again until the answer is yes.
fn wait(what: &str, mut ask: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        thread::yield_now();
    }
}

fn get(handle: &Handle, key: &'static [u8]) -> Option<Bytes> {
    let read = move |node: &mut Node, now: Now| {
        node.view(now)
            .get(TableId::DEFAULT, key)
            .row()
            .and_then(|row| row.value().cloned())
    };
    handle.with(read).unwrap()
}

fn put(handle: &Handle, key: &'static [u8], value: Vec<u8>) {
    let write = move |node: &mut Node, now: Now| {
        node.write(
            now,
            TableId::DEFAULT,
            Write::Put {
                key,
                value: value.into(),
                expires: None,
            },
        )
    };
    handle.with(write).unwrap().unwrap();
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind(any()).unwrap();
    let addr = taken.local_addr().unwrap();
    let mut options = Options::new(any());
    options.redis = Some(addr);
    let Err(error) = Driver::bind(options) else {
        panic!("bound twice");
    };
    assert!(matches!(&error, BindError::Listen { listener: "redis", addr: a, .. } if *a == addr));
    assert_eq!(
        error.to_string(),
        format!("cannot listen for redis on {addr}: the address is taken")
    );
}

#[test]
fn members_join_exchange_rows_and_leave() {
    let a = start(Options::new(any()), NoClients, |_| {});
    let seed = format!("localhost:{}", a.peers.port());
    let b = start(Options::new(any()), NoClients, |config| {
        config.seeds.push(seed)
    });
    put(&a.handle, b"small", b"from a".to_vec());
    put(&a.handle, b"large", vec![b'x'; 900_000]);
    put(&b.handle, b"other", b"from b".to_vec());
    wait("rows of a on b", || {
        get(&b.handle, b"small").is_some() && get(&b.handle, b"large").is_some()
    });
    wait("rows of b on a", || get(&a.handle, b"other").is_some());
    assert_eq!(get(&b.handle, b"large").unwrap(), vec![b'x'; 900_000]);
    assert!(count(&a.counters.peer_bytes_out) > 900_000);
    b.handle.leave().unwrap();
    let left = b.thread.join().unwrap();
    let Exit::Left(left) = left else {
        panic!("{left:?}");
    };
    assert!(left.is_complete() && left.holders == 1, "{left}");
    assert!(matches!(a.end(), Exit::Stopped(_)));
}

#[test]
fn a_peer_that_sends_garbage_is_closed_and_counted() {
    let a = start(Options::new(any()), NoClients, |_| {});
    let mut stranger = TcpStream::connect(a.peers).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    // The unread rest of the request may make the close a reset.
    let _ = stranger.read_to_end(&mut heard);
    wait("the refusal", || count(&a.counters.refused_links) == 1);
    let mut liar = TcpStream::connect(a.peers).unwrap();
    liar.write_all(&MAGIC).unwrap();
    liar.write_all(&[0xff; 9]).unwrap();
    let _ = liar.read_to_end(&mut heard);
    wait("the fault", || count(&a.counters.malformed_frames) == 1);
    wait("the close", || count(&a.counters.peer_connections) == 0);
    a.end();
}

#[test]
fn a_refused_peer_hears_the_reason() {
    let a = start(Options::new(any()), NoClients, |_| {});
    let mut hello = a.handle.with(|node, _| node.hello()).unwrap();
    // It would take the other cluster, so it learns of the refusal from the other side.
    let mut content = Connection::new(hello.clone(), Nonce::new([1, 1]), LinkLimits::default());
    hello.cluster_name = "other".to_owned();
    let mut peer = TcpStream::connect(a.peers).unwrap();
    peer.write_all(&Connection::new(hello, Nonce::new([2, 2]), LinkLimits::default()).opening())
        .unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    let mut events = Vec::new();
    let refused = content.receive(&heard, &mut events).unwrap_err();
    assert!(matches!(events[..], [LinkEvent::Write(_)]));
    assert!(matches!(refused, LinkError::Refused(_)), "{refused:?}");
    a.end();
}

/// Returns the view that users and operators have of a node.
fn seen(handle: &Handle) -> String {
    let look = |node: &mut Node, now: Now| {
        let rows: Vec<_> = node
            .view(now)
            .scan(TableId::DEFAULT, ScanRange::default())
            .unwrap()
            .map(|row| (row.key().clone(), row.value().cloned()))
            .collect();
        let links = node.status(now).links;
        format!("{links} links, {rows:?}, {:?}", node.members())
    };
    handle.with(look).unwrap()
}

#[test]
fn a_link_that_was_recorded_is_worth_nothing_once_its_peer_is_dead() {
    let mut taps = Vec::new();
    let mut quick_and_tapped = |config: &mut Config| {
        config.timing.probe_interval = Duration::from_millis(50);
        taps.push(Tap::of(config));
        taps[0].addr.to_string()
    };
    let a = start(Options::new(any()), NoClients, |config| {
        quick_and_tapped(config);
    });
    let b = start(Options::new(any()), NoClients, |config| {
        let seed = quick_and_tapped(config);
        config.seeds.push(seed);
    });
    put(&b.handle, b"key", b"said by b".to_vec());
    wait("the row of b on a", || get(&a.handle, b"key").is_some());
    b.end();
    let others = |handle: &Handle| {
        handle
            .with(|node, _| node.live_members().len() - 1)
            .unwrap()
    };
    wait("the death of b", || others(&a.handle) == 0);
    put(&a.handle, b"key", b"said by a".to_vec());

    let said = b"said by b";
    let recorded = taps.iter().find_map(|tap| tap.recorded(said)).unwrap();
    let before = seen(&a.handle);
    let answer = replay(a.peers, handshake(&recorded));
    assert_eq!(tap::kinds(&answer), [tap::HELLO, tap::PROOF, tap::REFUSAL]);
    wait("the refusal", || count(&a.counters.refused_links) == 1);
    // Bytes after the proof are not read, and may cost us the answer.
    replay(a.peers, &recorded);
    wait("the other", || count(&a.counters.refused_links) == 2);

    // The node that dials believes it no more.
    let (addr, impostor) = tap::impostor(handshake(&recorded).to_vec());
    let addr = addr.to_string();
    let joined = a.handle.request(Request::Join { addr }, Some(PATIENCE));
    assert!(matches!(joined, Err(RequestError::Join(_))), "{joined:?}");
    let answer = impostor.join().unwrap();
    assert_eq!(tap::kinds(&answer), [tap::HELLO, tap::PROOF, tap::REFUSAL]);
    assert_eq!(count(&a.counters.refused_links), 3);
    assert_eq!(seen(&a.handle), before);
    a.end();
}

#[test]
fn dials_that_fail_are_answered() {
    let a = start(Options::new(any()), NoClients, |_| {});
    let closed = TcpListener::bind(any()).unwrap().local_addr().unwrap();
    for addr in [closed.to_string(), "no port".to_owned()] {
        let joined = a.handle.request(Request::Join { addr }, Some(PATIENCE));
        assert!(matches!(joined, Err(RequestError::Join(_))), "{joined:?}");
    }
    a.end();
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up() {
    let mut options = Options::new(any());
    options.handshake_timeout = Duration::from_millis(50);
    let a = start(options, NoClients, |_| {});
    let mut silent = TcpStream::connect(a.peers).unwrap();
    let mut heard = Vec::new();
    silent.read_to_end(&mut heard).unwrap();
    assert!(heard.starts_with(&MAGIC));
    a.end();
}

/// A protocol of lines: `put K` writes to the table `safe` and is answered when that is durable, `set K` writes to the default
/// table, `get K` reads from it, `flood N` answers with N bytes, `spin N` takes N turns of a millisecond, `watch` asks to be told of changes,
/// `quit` closes, anything else is echoed.
struct Lines {
    partial: Vec<u8>,
    flood: usize,
    spin: usize,
    awaits: Option<Slot>,
    watches: bool,
}

struct LineClients;

impl Clients for LineClients {
    type ClientSession = Lines;

    fn accept(&mut self, _: u64, _: SocketAddr, _: usize) -> Lines {
        Lines {
            partial: Vec::new(),
            flood: 0,
            spin: 0,
            awaits: None,
            watches: false,
        }
    }
}

impl ClientSession for Lines {
    fn receive(&mut self, now: Now, node: &mut Node, input: &[u8], replies: &mut Replies) -> Flow {
        self.partial.extend_from_slice(input);
        self.resume(now, node, replies)
    }

    fn answered(
        &mut self,
        now: Now,
        node: &mut Node,
        ticket: Ticket,
        answer: Result<Response, RequestError>,
        replies: &mut Replies,
    ) -> Flow {
        assert_eq!(ticket, Ticket(7));
        let slot = self.awaits.take().unwrap();
        let said = match answer.unwrap() {
            Response::Row(row) => row.map_or_else(Bytes::new, |row| row.value),
            other => panic!("{other:?}"),
        };
        replies.fill(slot, |replies| {
            replies.buf().extend_from_slice(&said);
            replies.buf().push(b'\n');
            true
        });
        self.resume(now, node, replies)
    }

    fn watches(&self) -> bool {
        self.watches
    }

    fn footprint(&self) -> usize {
        self.partial.capacity()
    }

    fn changed(&mut self, _: Now, _: &mut Node, replies: &mut Replies) -> Flow {
        replies.buf().extend_from_slice(b"changed\n");
        Flow::Continue
    }

    fn resume(&mut self, now: Now, node: &mut Node, replies: &mut Replies) -> Flow {
        loop {
            if self.spin > 0 {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(1) {
                    std::hint::spin_loop();
                }
                self.spin -= 1;
                return Flow::Yield;
            }
            while self.flood > 0 {
                if replies.is_full() {
                    return Flow::Full;
                }
                let n = self.flood.min(100_000);
                let size = replies.buf().len() + n;
                replies.buf().resize(size, b'.');
                self.flood -= n;
            }
            let is_get = |slot: &Self| slot.partial.starts_with(b"get ");
            if self.awaits.is_some() && (is_get(self) || self.partial.starts_with(b"quit")) {
                return Flow::Wait;
            }
            let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') else {
                return Flow::Continue;
            };
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            replies.count_commands(1);
            match text.split_once(' ') {
                Some(("flood", n)) => self.flood = n.parse().unwrap(),
                Some(("spin", n)) => self.spin = n.parse().unwrap(),
                Some(("put", key)) => {
                    let options = TableOptions::default().durability(Durability::Sync);
                    let (table, _) = node.create_table(now, "safe", options).unwrap();
                    let write = Write::Put {
                        key: key.as_bytes(),
                        value: Bytes::new(),
                        expires: None,
                    };
                    let accepted = node.write(now, table, write).unwrap();
                    assert!(accepted.sync && accepted.seq > node.durable());
                    replies.hold(accepted.seq);
                    replies.buf().extend_from_slice(b"stored\n");
                }
                Some(("get", key)) => {
                    self.awaits = Some(replies.slot());
                    let key = Bytes::copy_from_slice(key.as_bytes());
                    replies.ask(Ask {
                        ticket: Ticket(7),
                        request: TableRequest::new(TableId::DEFAULT, TableOp::Get { key }),
                    });
                }
                Some(("set", key)) => {
                    let write = Write::Put {
                        key: key.as_bytes(),
                        value: Bytes::new(),
                        expires: None,
                    };
                    match node.write(now, TableId::DEFAULT, write) {
                        Ok(_) => replies.buf().extend_from_slice(&line),
                        Err(WriteError::Stopping) => replies.buf().extend_from_slice(b"stops\n"),
                        Err(error) => panic!("{error}"),
                    }
                }
                _ if text == "watch" => self.watches = true,
                _ if text == "quit" => return Flow::Close,
                _ => replies.buf().extend_from_slice(&line),
            }
        }
    }
}

fn serve_lines(mut options: Options, configure: impl FnOnce(&mut Config)) -> Running {
    options.redis = Some(any());
    start(options, LineClients, configure)
}

/// The same with rows that are stored.
fn serve_lines_on(store: MemoryStore, configure: impl FnOnce(&mut Config)) -> Running {
    let mut options = Options::new(any());
    options.redis = Some(any());
    let configure = |config: &mut Config| {
        stored(config);
        configure(config);
    };
    start_on(store, options, LineClients, configure)
}

fn stored(config: &mut Config) {
    config.storage = Storage::Ordered;
}

fn talk(running: &Running, said: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(running.redis.unwrap()).unwrap();
    client.write_all(said).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    heard
}

#[test]
fn clients_are_served_in_order_and_slow_readers_hold_back_their_session() {
    let a = serve_lines(Options::new(any()), |_| {});
    let heard = talk(&a, b"one\nflood 20000000\ntwo\nflood 3\nquit\nnever\n");
    assert_eq!(heard.len(), 4 + 20_000_000 + 4 + 3);
    assert!(heard.starts_with(b"one\n..") && heard.ends_with(b"..two\n..."));
    wait("the close", || count(&a.counters.clients) == 0);
    assert_eq!(count(&a.counters.commands), 5);
    assert_eq!(count(&a.counters.client_bytes_out), heard.len() as u64);
    a.end();
}

#[test]
fn a_client_that_ends_its_side_is_answered_all_that_it_asked() {
    let a = serve_lines(Options::new(any()), |_| {});
    let mut client = TcpStream::connect(a.redis.unwrap()).unwrap();
    client.write_all(b"one\nflood 20000000\ntwo\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), 8 + 20_000_000);
    a.end();
}

#[test]
fn replies_wait_for_the_store() {
    let a = serve_lines(Options::new(any()), stored);
    assert_eq!(
        talk(&a, b"before\nput k\nafter\nput l\nquit\n"),
        b"before\nstored\nafter\nstored\n"
    );
    assert_eq!(
        a.handle.request(Request::Sync, Some(PATIENCE)),
        Ok(Response::Synced)
    );
    a.end();
}

#[test]
fn clients_wait_for_values_that_are_only_in_the_store() {
    let a = serve_lines(Options::new(any()), |config| {
        stored(config);
        config.resident_value = Some(4);
    });
    put(&a.handle, b"large", b"a large value".to_vec());
    put(&a.handle, b"small", b"tiny".to_vec());
    let synced = a.handle.request(Request::Sync, Some(PATIENCE));
    assert_eq!(synced, Ok(Response::Synced));
    let found = a.handle.with(|node, now| {
        let found = node.view(now).get(TableId::DEFAULT, b"large");
        matches!(found, Found::Cold(_))
    });
    assert_eq!(found, Ok(true));
    let said = b"before\nget large\nget small\nget none\nafter\nquit\n";
    let heard = b"before\na large value\ntiny\n\nafter\n";
    assert_eq!(talk(&a, said), heard);
    // A client that goes away while it waits is no harm.
    for _ in 0..20 {
        let mut client = TcpStream::connect(a.redis.unwrap()).unwrap();
        client.write_all(b"get large\n").unwrap();
    }
    assert_eq!(talk(&a, said), heard);
    wait("the close", || count(&a.counters.clients) == 0);
    a.end();
}

#[test]
fn one_client_too_many_is_told_so() {
    let mut options = Options::new(any());
    options.max_clients = 1;
    let a = serve_lines(options, |_| {});
    let mut first = TcpStream::connect(a.redis.unwrap()).unwrap();
    let mut echo = [0; 2];
    first.write_all(b"x\n").unwrap();
    first.read_exact(&mut echo).unwrap();
    let mut second = TcpStream::connect(a.redis.unwrap()).unwrap();
    let mut heard = Vec::new();
    second.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"-ERR max number of clients reached\r\n");
    drop(first);
    wait("room", || count(&a.counters.clients) == 0);
    assert_eq!(talk(&a, b"y\nquit\n"), b"y\n");
    a.end();
}

#[test]
fn a_handle_to_an_ended_loop_says_so() {
    let a = start(Options::new(any()), NoClients, |_| {});
    let handle = a.handle.clone();
    assert!(matches!(a.end(), Exit::Stopped(_)));
    assert_eq!(handle.with(|_, _| ()), Err(Unavailable::Ended));
    assert_eq!(
        handle.request(Request::Sync, None),
        Err(RequestError::Halted)
    );
}

#[test]
fn plain_threads_have_the_calls_of_an_embedder() {
    let a = start(Options::new(any()), NoClients, stored);
    let blocking = a.handle.blocking();
    let words = blocking.table("words").unwrap();
    let mut changes = blocking.watch(words).unwrap();
    blocking.put(words, "k", "v").unwrap();
    let first = changes.next().unwrap().unwrap();
    assert!(matches!(first.kind, ChangeKind::Put { key, .. } if key == "k"));
    let watching = thread::spawn(move || changes.next());
    let row = blocking.get(words, "k").unwrap().unwrap();
    assert_eq!(row.value, "v");
    assert_eq!(blocking.scan(words, "", None).unwrap().rows.len(), 1);
    assert_eq!(blocking.members().unwrap().len(), 1);
    assert_eq!(blocking.sync(), Ok(()));
    assert_eq!(
        blocking.with(|node, now| node.view(now).len(TableId::DEFAULT)),
        Ok(Ok(0))
    );
    let left = blocking.leave().unwrap();
    let Exit::Left(said) = a.thread.join().unwrap() else {
        panic!("the loop ended otherwise");
    };
    assert_eq!(said, left);
    assert!(watching.join().unwrap().is_none());
    assert_eq!(blocking.put(words, "k", "v"), Err(Error::Closed));
}
