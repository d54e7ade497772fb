//! Links between nodes, and to strangers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_lite::future;
use rumormill_async::{Driver, Error, Exit, Handle, Options, Runtime};
use rumormill_core::link::{Connection, LinkEvent, LinkLimits, MAGIC, Nonce};
use rumormill_core::{
    Config, Node, Now, Recovery, Seed, TableId, errors::RequestError, io::LinkError,
    table::Write as Put,
};
use rumormill_smol::Smol;

use super::super::tap::{self, Tap, handshake};
use super::lab::{PATIENCE, any, count, on_every_runtime, start, value, wait};

on_every_runtime! {
    a_taken_port_is_named
    members_join_exchange_rows_and_leave
    a_link_that_breaks_is_noticed
    a_peer_that_sends_garbage_is_closed_and_counted
    a_refused_peer_hears_the_reason
    a_link_that_was_recorded_is_worth_nothing_once_its_peer_is_dead
    dials_that_fail_are_answered
    a_handshake_that_takes_too_long_is_given_up
    one_peer_too_many_is_closed
}

async fn a_taken_port_is_named<R: Runtime>(runtime: R) {
    let taken = TcpListener::bind(any()).unwrap();
    let addr = taken.local_addr().unwrap();
    let Err(error) = Driver::bind(runtime, Options::new(addr)).await else {
        panic!("bound twice");
    };
    assert_eq!(
        error.to_string(),
        format!("cannot listen for peers on {addr}: the address is taken")
    );
}

async fn members_join_exchange_rows_and_leave<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let seed = format!("localhost:{}", a.peers.port());
    let b = start(&runtime, Options::new(any()), |config| {
        config.seeds.push(seed)
    })
    .await;
    let (table, large) = (TableId::DEFAULT, vec![b'x'; 900_000]);
    a.handle.put(table, "small", "from a").await.unwrap();
    a.handle.put(table, "large", large.clone()).await.unwrap();
    b.handle.put(table, "other", "from b").await.unwrap();
    wait("rows", async || {
        value(&b.handle, "small").await.unwrap().is_some()
            && value(&b.handle, "large").await.unwrap().is_some()
            && value(&a.handle, "other").await.unwrap().is_some()
    })
    .await;
    assert!(value(&b.handle, "large").await.unwrap().unwrap() == large);
    assert!(count(&a.counters.peer_bytes_out) > 900_000);
    let left = b.handle.leave().await.unwrap();
    assert!(left.is_complete() && left.holders == 1, "{left}");
    let Some(Exit::Left(said)) = b.exit.await else {
        panic!("the loop ended otherwise");
    };
    assert_eq!(said, left);
    assert!(matches!(a.end().await, Exit::Stopped(_)));
}

async fn a_link_that_breaks_is_noticed<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let seed = a.peers.to_string();
    let b = start(&runtime, Options::new(any()), |config| {
        config.seeds.push(seed)
    })
    .await;
    let links = async |handle: &Handle| handle.status().await.unwrap().links;
    wait("the link", async || {
        links(&a.handle).await == 1 && links(&b.handle).await == 1
    })
    .await;
    b.end().await;
    wait("its end", async || links(&a.handle).await == 0).await;
    a.end().await;
}

/// The tasks of an executor end when it is dropped, here as soon as the loop has returned.
#[test]
fn last_words_are_written_before_the_loop_returns() {
    let global = Smol::global();
    let a = smol::block_on(start(&global, Options::new(any()), |_| {}));
    let executor = Arc::new(smol::Executor::new());
    let runtime = Smol::on(Arc::clone(&executor));
    let driver = Driver::bind(runtime, Options::new(any()));
    let driver = future::block_on(executor.run(driver)).unwrap();
    let mut config = crate::config("b", &driver.peers_addr().to_string());
    config.seeds.push(a.peers.to_string());
    let node = Recovery::new(config, Seed::from_u64(1));
    let node = node.finish(driver.now()).unwrap();
    let b = driver.handle();
    let speaker = a.handle.clone();
    let talk = thread::spawn(move || {
        future::block_on(async {
            speaker.put(TableId::DEFAULT, "k", "v").await.unwrap();
            wait("the row", async || value(&b, "k").await.unwrap().is_some()).await;
            b.call(write_last_words).unwrap();
            b.shutdown().await.unwrap();
        });
    });
    let exit = future::block_on(executor.run(driver.run(node, None)));
    drop(executor);
    assert!(matches!(exit, Exit::Stopped(_)));
    talk.join().unwrap();
    smol::block_on(async {
        wait("the last words", async || {
            value(&a.handle, "last words").await.unwrap().is_some()
        })
        .await;
        a.end().await;
    });
}

fn write_last_words(node: &mut Node, now: Now) {
    let put = Put::Put {
        key: b"last words",
        value: "v".into(),
        expires: None,
    };
    node.write(now, TableId::DEFAULT, put).unwrap();
}

async fn a_peer_that_sends_garbage_is_closed_and_counted<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let mut stranger = TcpStream::connect(a.peers).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wait("the refusal", async || {
        count(&a.counters.refused_links) == 1
    })
    .await;
    let mut liar = TcpStream::connect(a.peers).unwrap();
    liar.write_all(&MAGIC).unwrap();
    liar.write_all(&[0xff; 9]).unwrap();
    wait("the fault", async || {
        count(&a.counters.malformed_frames) == 1
    })
    .await;
    wait("the close", async || {
        count(&a.counters.peer_connections) == 0
    })
    .await;
    a.end().await;
}

async fn a_refused_peer_hears_the_reason<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let mut hello = a.handle.with(|node, _| node.hello()).await.unwrap();
    // It would take the other cluster, so it learns of the refusal from the other side.
    let mut content = Connection::new(hello.clone(), Nonce::new([1, 1]), LinkLimits::default());
    hello.cluster_name = "other".to_owned();
    let mut peer = TcpStream::connect(a.peers).unwrap();
    peer.write_all(&Connection::new(hello, Nonce::new([2, 2]), LinkLimits::default()).opening())
        .unwrap();
    let heard = read_to_end(peer).await;
    let mut events = Vec::new();
    let refused = content.receive(&heard, &mut events).unwrap_err();
    assert!(matches!(events[..], [LinkEvent::Write(_)]));
    assert!(matches!(refused, LinkError::Refused(_)), "{refused:?}");
    a.end().await;
}

async fn a_link_that_was_recorded_is_worth_nothing_once_its_peer_is_dead<R: Runtime>(runtime: R) {
    let mut taps = Vec::new();
    let mut quick_and_tapped = |config: &mut Config| {
        config.timing.probe_interval = Duration::from_millis(50);
        taps.push(Tap::of(config));
        taps[0].addr.to_string()
    };
    let a = start(&runtime, Options::new(any()), |config| {
        quick_and_tapped(config);
    })
    .await;
    let b = start(&runtime, Options::new(any()), |config| {
        let seed = quick_and_tapped(config);
        config.seeds.push(seed);
    })
    .await;
    let table = TableId::DEFAULT;
    b.handle.put(table, "key", "said by b").await.unwrap();
    wait("the row of b on a", async || {
        value(&a.handle, "key").await.unwrap().is_some()
    })
    .await;
    b.end().await;
    wait("the death of b", async || {
        a.handle.live_members().await.unwrap().len() == 1
    })
    .await;
    a.handle.put(table, "key", "said by a").await.unwrap();

    let said = b"said by b";
    let recorded = taps.iter().find_map(|tap| tap.recorded(said)).unwrap();
    let members = format!("{:?}", a.handle.members().await.unwrap());
    let (said, heard) = rumormill_kit::answer::answer();
    let (peers, opening) = (a.peers, handshake(&recorded).to_vec());
    thread::spawn(move || said.send(tap::replay(peers, &opening)));
    let answer = heard.await.unwrap();
    assert_eq!(tap::kinds(&answer), [tap::HELLO, tap::PROOF, tap::REFUSAL]);
    wait("the refusal", async || {
        count(&a.counters.refused_links) == 1
    })
    .await;

    // The node that dials believes it no more.
    let (addr, impostor) = tap::impostor(handshake(&recorded).to_vec());
    let joined = a.handle.join(addr.to_string(), PATIENCE).await;
    let refused = matches!(joined, Err(Error::Node(RequestError::Join(_))));
    assert!(refused, "{joined:?}");
    let answer = impostor.join().unwrap();
    assert_eq!(tap::kinds(&answer), [tap::HELLO, tap::PROOF, tap::REFUSAL]);
    assert_eq!(count(&a.counters.refused_links), 2);
    let after = format!("{:?}", a.handle.members().await.unwrap());
    assert_eq!(after, members);
    let shown = value(&a.handle, "key").await.unwrap();
    assert_eq!(shown.as_deref(), Some(&b"said by a"[..]));
    a.end().await;
}

/// Returns the bytes of the node until it closes the connection.
async fn read_to_end(mut peer: TcpStream) -> Vec<u8> {
    let (said, heard) = rumormill_kit::answer::answer();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Unread bytes of the peer may make the close a reset.
        let _ = peer.read_to_end(&mut bytes);
        said.send(bytes);
    });
    heard.await.unwrap()
}

async fn dials_that_fail_are_answered<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let closed = TcpListener::bind(any()).unwrap().local_addr().unwrap();
    for addr in [closed.to_string(), "no port".to_owned()] {
        let joined = a.handle.join(addr, PATIENCE).await;
        let refused = matches!(joined, Err(Error::Node(RequestError::Join(_))));
        assert!(refused, "{joined:?}");
    }
    a.end().await;
}

async fn a_handshake_that_takes_too_long_is_given_up<R: Runtime>(runtime: R) {
    let mut options = Options::new(any());
    options.handshake_timeout = Duration::from_millis(50);
    let a = start(&runtime, options, |_| {}).await;
    let silent = TcpStream::connect(a.peers).unwrap();
    assert!(read_to_end(silent).await.starts_with(&MAGIC));
    a.end().await;
}

async fn one_peer_too_many_is_closed<R: Runtime>(runtime: R) {
    let mut options = Options::new(any());
    options.max_accepted = 1;
    let a = start(&runtime, options, |_| {}).await;
    let first = TcpStream::connect(a.peers).unwrap();
    wait("the first", async || {
        count(&a.counters.peer_connections) == 1
    })
    .await;
    let second = TcpStream::connect(a.peers).unwrap();
    assert_eq!(read_to_end(second).await, b"");
    assert_eq!(count(&a.counters.rejected_links), 1);
    drop(first);
    wait("room", async || count(&a.counters.peer_connections) == 0).await;
    a.end().await;
}
