use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use rumormill_core::Storage;

use super::lab::Lab;
use crate::{Backend, Server, ServerOptions, Settings};

pub(super) fn serve(lab: &Lab, options: ServerOptions) -> Server {
    let settings = Settings::new(&rumormill_core::Limits::default());
    serve_with(lab, settings, options)
}

pub(super) fn serve_with(lab: &Lab, settings: Settings, options: ServerOptions) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    Server::start(listener, lab.backend.clone(), settings, options).expect("a thread")
}

pub(super) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    stream
}

/// Sends bytes and reads until the server closes.
pub(super) fn exchange(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(addr);
    stream.write_all(bytes).expect("sent");
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_server_answers_over_tcp_and_stops() {
    let lab = Lab::new(Storage::None);
    let server = serve(&lab, ServerOptions::default());
    let addr = server.local_addr();
    let request = b"PUT /items/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        content-length: 13\r\nconnection: close\r\n\r\n{\"value\":\"b\"}";
    let answer = exchange(addr, request);
    assert!(
        answer.starts_with("HTTP/1.1 201 Created") && answer.ends_with("{\"value\":\"b\"}"),
        "{answer}"
    );
    assert!(exchange(addr, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    server.stop();
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn slow_clients_are_cut_off() {
    let lab = Lab::new(Storage::None);
    let options = ServerOptions {
        header_timeout: Duration::from_millis(50),
        ..ServerOptions::default()
    };
    let settings = Settings {
        body_timeout: Duration::from_millis(50),
        ..Settings::new(&rumormill_core::Limits::default())
    };
    let server = serve_with(&lab, settings, options);
    let addr = server.local_addr();
    assert_eq!(exchange(addr, b"GET /healthz HTTP/1.1\r\nhost:"), "");
    let late = exchange(
        addr,
        b"PUT /v1/usr/t/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nab",
    );
    assert!(
        late.starts_with("HTTP/1.1 408") && late.contains("body_timeout"),
        "{late}"
    );
    let announced =
        b"PUT /v1/usr/t/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999\r\n\r\n";
    let large = exchange(addr, announced);
    assert!(
        large.starts_with("HTTP/1.1 413") && large.contains("1048576"),
        "{large}"
    );
    server.stop();
}

#[test]
fn a_peer_that_is_none_is_refused() {
    let lab = Lab::new(Storage::None);
    let server = serve(&lab, ServerOptions::default());
    let add = |url: &str| {
        lab.send_json(
            Method::POST,
            "/peers",
            &format!(r#"{{"peer_url":"{url}"}}"#),
        )
    };
    let myself = add(&format!("http://{}", server.local_addr()));
    assert_eq!(
        (myself.status, myself.code().as_str()),
        (StatusCode::BAD_REQUEST, "bad_peer")
    );
    assert!(
        myself.json()["error"]["message"]
            .as_str()
            .expect("text")
            .contains("this very node")
    );
    let wrong_place = add(&format!("http://{}/docs", server.local_addr()));
    assert_eq!(wrong_place.code(), "bad_peer");
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("bound");
    let nobody = add(&format!("http://{free}"));
    assert_eq!(
        (nobody.status, nobody.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "peer_unreachable")
    );
    server.stop();
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let lab = Lab::new(Storage::None);
    let filled = lab.backend.with(|node, now| {
        let value = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        for n in 0..64_u8 {
            let (key, value) = (&[n][..], value.clone());
            let write = rumormill_core::table::Write::Put {
                key,
                value,
                expires: None,
            };
            node.write(now, rumormill_core::TableId::DEFAULT, write)
                .expect("accepted");
        }
    });
    smol::block_on(filled).expect("the node runs");
    let options = ServerOptions {
        max_connections: 1,
        write_timeout: Duration::from_millis(50),
        ..ServerOptions::default()
    };
    let server = serve(&lab, options);
    let mut stuck = connect(server.local_addr());
    stuck
        .write_all(b"GET /v1/state HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .expect("sent");
    let mut begun = [0; 12];
    stuck.read_exact(&mut begun).expect("served");
    let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let begin = std::time::Instant::now();
    while !exchange(server.local_addr(), ask).starts_with("HTTP/1.1 200") {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "its place is never free"
        );
    }
    server.stop();
}
