//! What takes too long, and what is too many.

use super::*;

#[test]
fn a_client_that_takes_no_replies_is_given_up() {
    let options = Options {
        client_stall_timeout: Duration::from_millis(50),
        ..Options::new(any())
    };
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
