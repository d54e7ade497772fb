//! Connections that take too long, and those that are too many.

use super::*;

#[test]
fn a_client_that_takes_no_replies_is_given_up() {
    let mut options = Options::new(any());
    options.client_stall_timeout = Duration::from_millis(50);
    let a = serve_lines(options, |_| {});
    let mut idle = TcpStream::connect(a.redis.unwrap()).unwrap();
    let mut echo = [0; 2];
    idle.write_all(b"x\n").unwrap();
    idle.read_exact(&mut echo).unwrap();
    let mut stuck = TcpStream::connect(a.redis.unwrap()).unwrap();
    stuck.write_all(b"flood 64000000\n").unwrap();
    wait("both", || count(&a.counters.clients_accepted) == 2);
    wait("the end of one", || count(&a.counters.clients) == 1);
    // The other owes nothing and waits for nothing.
    idle.write_all(b"y\n").unwrap();
    idle.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"y\n");
    a.end();
}

/// The kernel tells of the timers of its sockets.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_client_is_asked_whether_it_lives() {
    const KEEPALIVE: &str = "02";
    let a = serve_lines(Options::new(any()), |_| {});
    let mut client = TcpStream::connect(a.redis.unwrap()).unwrap();
    client.write_all(b"x\n").unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    let ends = [a.redis.unwrap(), client.local_addr().unwrap()];
    let ends = ends.map(|addr| format!("0100007F:{:04X}", addr.port()));
    wait("the timer", || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut sockets = sockets.lines().map(|line| line.split_whitespace());
        let timer = sockets.find_map(|mut words| {
            let is_it = words.nth(1) == Some(&ends[0]) && words.next() == Some(&ends[1]);
            is_it.then(|| words.nth(2)).flatten()
        });
        // In hundredths of a second.
        let (kind, left) = timer.unwrap().split_once(':').unwrap();
        let left = u64::from_str_radix(left, 16).unwrap();
        kind == KEEPALIVE && left <= 30_000
    });
    a.end();
}

#[test]
fn one_peer_too_many_is_closed() {
    let mut options = Options::new(any());
    options.max_accepted = 1;
    let a = start(options, NoClients, |_| {});
    let first = TcpStream::connect(a.peers).unwrap();
    wait("the first", || count(&a.counters.peer_connections) == 1);
    let mut heard = Vec::new();
    let mut second = TcpStream::connect(a.peers).unwrap();
    second.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"");
    assert_eq!(count(&a.counters.rejected_links), 1);
    drop(first);
    wait("room", || count(&a.counters.peer_connections) == 0);
    let mut third = TcpStream::connect(a.peers).unwrap();
    third.read_exact(&mut [0; 4]).unwrap();
    a.end();
}

#[test]
fn a_link_that_takes_nothing_is_given_up() {
    let mut options = Options::new(any());
    options.stall_timeout = Duration::from_millis(50);
    // No probe fails before the test does.
    let patient = |config: &mut Config| config.timing.probe_interval = 3 * PATIENCE;
    let a = start(options, NoClients, patient);
    let seed = a.peers.to_string();
    let b = start(Options::new(any()), NoClients, |config| {
        patient(config);
        config.seeds.push(seed);
    });
    let links = || a.handle.with(|node, now| node.status(now).links).unwrap();
    put(&b.handle, b"small", b"v".to_vec());
    wait("the link", || get(&a.handle, b"small").is_some());
    let (go_on, stuck) = std::sync::mpsc::channel::<()>();
    let wait_there = move |_: &mut Node, _: Now| assert!(stuck.recv().is_err());
    b.handle.call(wait_there).unwrap();
    wait("the end of the link", || {
        put(&a.handle, b"large", vec![b'x'; 900_000]);
        links() == 0
    });
    drop(go_on);
    wait("another link", || links() == 1);
    b.end();
    a.end();
}

#[test]
fn an_address_that_does_not_answer_is_given_up() {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

    let silent = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&silent, &any()).unwrap();
    listen(&silent, 0).unwrap();
    let silent = TcpListener::from(silent);
    let addr = silent.local_addr().unwrap();
    // No thread accepts, so that the system soon ignores further connections.
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        queued.push(stream);
        assert!(queued.len() < 1_000, "the queue is never full");
    }
    let mut options = Options::new(any());
    options.connect_timeout = Duration::from_millis(50);
    let a = start(options, NoClients, |_| {});
    let addr = addr.to_string();
    let joined = a.handle.request(Request::Join { addr }, Some(PATIENCE));
    assert!(matches!(joined, Err(RequestError::Join(_))), "{joined:?}");
    a.end();
}

#[test]
fn a_leave_that_takes_too_long_is_cut() {
    let a = start(Options::new(any()), NoClients, |_| {});
    let seed = a.peers.to_string();
    let mut options = Options::new(any());
    options.leave_timeout = Duration::ZERO;
    let b = start(options, NoClients, |config| config.seeds.push(seed));
    put(&a.handle, b"k", b"v".to_vec());
    wait("the row", || get(&b.handle, b"k").is_some());
    // It would ask the other member first.
    assert_eq!(b.handle.blocking().leave(), Err(Error::LeaveCut));
    assert!(matches!(b.thread.join().unwrap(), Exit::LeaveCut));
    a.end();
}
