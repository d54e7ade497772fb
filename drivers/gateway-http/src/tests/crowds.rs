//! More clients than there is room for, and clients that do not read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use axum::http::Method;
use rumormill_core::Storage;

use super::lab::Lab;
use super::wire::{connect, exchange, serve, serve_with};
use crate::{ServerOptions, Settings};

const CLOSE: &str = "host: localhost\r\nconnection: close\r\n\r\n";

fn get(addr: SocketAddr, path: &str) -> String {
    exchange(addr, format!("GET {path} HTTP/1.1\r\n{CLOSE}").as_bytes())
}

/// A watch whose first event has come.
fn watch(addr: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect(addr);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: {}\n\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it is served");
        seen.push(byte[0]);
    }
    stream
}

/// A number in `/metrics`.
fn number(metrics: &str, name: &str) -> u64 {
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix(name));
    line.map_or(0, |rest| rest.trim().parse().expect("a number"))
}

#[test]
fn probes_are_answered_when_watchers_have_all_connections() {
    let lab = Lab::new(Storage::None);
    let options = ServerOptions {
        max_connections: 4,
        probe_connections: 2,
        ..ServerOptions::default()
    };
    let server = serve(&lab, options);
    let addr = server.local_addr();
    let watches: Vec<TcpStream> = (0..4).map(|_| watch(addr, "/v1/usr/t?watch")).collect();
    let refused = get(addr, "/v1/status");
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("too_many_connections"),
        "{refused}"
    );
    // Connections that send nothing, or never the end of a request: more than are kept for probes.
    let silent: Vec<TcpStream> = (0..9)
        .map(|n| {
            let mut stream = connect(addr);
            if n % 2 == 0 {
                stream.write_all(b"GET /healthz HT").expect("sent");
            }
            stream
        })
        .collect();
    for path in ["/healthz", "/readyz", "/metrics", "/healthz"] {
        let answer = get(addr, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let metrics = get(addr, "/metrics");
    assert_eq!(
        number(&metrics, "rumormill_http_connections"),
        4,
        "{metrics}"
    );
    assert_eq!(number(&metrics, "rumormill_http_watchers"), 4, "{metrics}");
    let rejected = |reason: &str| {
        let name = format!("rumormill_http_rejected_total{{reason=\"{reason}\"}}");
        number(&metrics, &name)
    };
    assert_eq!(rejected("too_many_connections"), 1, "{metrics}");
    assert!(rejected("probe_reserve") > 0, "{metrics}");
    drop((watches, silent));
    server.stop();
}

#[test]
fn watchers_that_read_nothing_neither_fill_the_memory_nor_stop_others() {
    const ROWS: usize = 48;
    const LIMIT: usize = 1 << 20;
    let lab = Lab::new(Storage::None);
    let settings = Settings {
        watch_bytes: LIMIT,
        ..Settings::new(&rumormill_core::Limits::default())
    };
    let server = serve_with(&lab, settings, ServerOptions::default());
    let addr = server.local_addr();
    let stuck: Vec<TcpStream> = (0..8).map(|_| watch(addr, "/v1/usr/t?watch")).collect();
    let mut healthy = watch(addr, "/v1/usr/t?watch");
    let (came, events) = mpsc::channel();
    let reader = thread::spawn(move || {
        let (mut tail, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        let event = b"event: put";
        let mut count = 0;
        while count < ROWS {
            let length = healthy.read(&mut buffer).expect("it is not cut");
            assert_ne!(length, 0, "it is not ended");
            tail.extend_from_slice(&buffer[..length]);
            let found = tail.windows(event.len()).filter(|text| text == event);
            for _ in found {
                count += 1;
                came.send(count).expect("the test waits for it");
            }
            // An event may be cut in two.
            tail.drain(..tail.len().saturating_sub(event.len() - 1));
        }
        count
    });
    let mut most = 0;
    for n in 0..ROWS {
        let value = vec![b'x'; 1 << 20];
        lab.send(Method::PUT, &format!("/v1/usr/t/{n}"), value);
        let metrics = get(addr, "/metrics");
        most = most.max(number(&metrics, "rumormill_http_watch_bytes"));
        let seen = events.recv_timeout(Duration::from_secs(20));
        assert_eq!(seen, Ok(n + 1), "the healthy watcher is told");
    }
    assert_eq!(reader.join().expect("it read"), ROWS);
    // One event for each that is stuck comes on top at worst.
    assert!(most <= (LIMIT + (10 << 20)) as u64, "{most} bytes");
    let begin = Instant::now();
    let cut = |metrics: &str| {
        number(
            metrics,
            "rumormill_http_rejected_total{reason=\"slow_watcher\"}",
        )
    };
    while cut(&get(addr, "/metrics")) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "none was cut");
        lab.send(Method::PUT, "/v1/usr/t/more", vec![b'y'; 1 << 20]);
    }
    drop(stuck);
    server.stop();
}
