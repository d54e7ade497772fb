//! Memory and time that clients take from each other.

use super::*;

#[test]
fn clients_that_take_nothing_are_closed_when_the_memory_for_replies_is_used_up() {
    let mut options = Options::new(any());
    options.client_output.client = 64 << 10;
    options.client_output.all = 256 << 10;
    options.client_output.patience = Duration::from_millis(50);
    let a = serve_lines(options, |_| {});
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(a.redis.unwrap()).unwrap();
        client.write_all(b"flood 100000000\n").unwrap();
        stuck.push(client);
    }
    wait("room is made", || {
        let used = count(&a.counters.client_output_bytes);
        assert!(used < 2 << 20, "{used} bytes");
        count(&a.counters.clients_closed_for_memory) > 4
    });
    // One that reads is served all the while.
    let heard = talk(&a, b"one\nflood 3000000\nquit\n");
    assert_eq!(heard.len(), 4 + 3_000_000);
    drop(stuck);
    wait("the close", || count(&a.counters.clients) == 0);
    wait("the memory", || count(&a.counters.client_output_bytes) == 0);
    a.end();
}

/// The system says that there is room for more replies only when there is room for many: meanwhile the client does read.
#[test]
fn a_client_that_reads_slowly_is_not_closed_for_memory() {
    let mut options = Options::new(any());
    options.client_output.client = 64 << 10;
    options.client_output.all = 1;
    let a = serve_lines(options, |_| {});
    let mut client = TcpStream::connect(a.redis.unwrap()).unwrap();
    client.write_all(b"flood 100000000\n").unwrap();
    let mut piece = vec![0; 8 << 10];
    for _ in 0..300 {
        client.read_exact(&mut piece).unwrap();
        // The pace of the client, 1 MB/s, is the subject of this test: nothing waits for the sleep to be over.
        thread::sleep(Duration::from_millis(8));
    }
    assert_eq!(count(&a.counters.clients_closed_for_memory), 0);
    // It stops reading.
    wait("the close", || count(&a.counters.clients) == 0);
    assert_eq!(count(&a.counters.clients_closed_for_memory), 1);
    a.end();
}

#[test]
fn clients_that_end_no_command_are_closed_when_the_memory_is_used_up() {
    let mut options = Options::new(any());
    options.client_output.all = 1 << 20;
    options.client_output.patience = Duration::from_millis(50);
    let a = serve_lines(options, |_| {});
    let open = |bytes: usize| {
        let mut client = TcpStream::connect(a.redis.unwrap()).unwrap();
        client.write_all(&vec![b'x'; bytes]).unwrap();
        client
    };
    // A small one is left alone.
    let mut small = open(1_000);
    let large: Vec<_> = (0..20).map(|_| open(200_000)).collect();
    wait("room is made", || {
        count(&a.counters.clients_closed_for_memory) >= 15
            && count(&a.counters.client_output_bytes) < 1 << 20
    });
    small.write_all(b"\nquit\n").unwrap();
    let mut heard = Vec::new();
    small.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), 1_001);
    drop(large);
    wait("the close", || count(&a.counters.clients) == 0);
    a.end();
}

#[test]
fn a_client_is_answered_while_others_have_much_to_do() {
    let a = serve_lines(Options::new(any()), |_| {});
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let mut client = TcpStream::connect(a.redis.unwrap()).unwrap();
            client.write_all(b"spin 2000\nquit\n").unwrap();
            client
        })
        .collect();
    wait("their commands", || count(&a.counters.commands) >= 8);
    assert_eq!(talk(&a, b"one\nquit\n"), b"one\n");
    for mut client in busy {
        client.set_nonblocking(true).unwrap();
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    a.end();
}
