//! Answers that are given before a body was read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rumormill_core::Storage;

use super::lab::Lab;
use super::wire::{connect, exchange, serve};
use crate::ServerOptions;

/// Sends a head and a body as a simple client does: all of it, and only then reads.
fn upload(addr: SocketAddr, head: &str, body: &[u8], chunked: bool) -> String {
    let mut stream = connect(addr);
    let length = match chunked {
        true => "transfer-encoding: chunked".to_string(),
        false => format!("content-length: {}", body.len()),
    };
    write!(stream, "{head}host: localhost\r\n{length}\r\n\r\n").expect("sent");
    for part in body.chunks(64 << 10) {
        if chunked {
            write!(stream, "{:x}\r\n", part.len()).expect("the pipe holds");
        }
        stream.write_all(part).expect("the pipe holds");
        if chunked {
            stream.write_all(b"\r\n").expect("the pipe holds");
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").expect("the pipe holds");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("no reset");
    answer
}

#[test]
fn a_body_that_is_refused_unread_breaks_no_pipe() {
    let lab = Lab::new(Storage::None);
    let server = serve(&lab, ServerOptions::default());
    let body = vec![b'x'; 6 << 20];
    for head in [
        ("PUT /v1/usr/t/k HTTP/1.1\r\n", "413", "value_too_large"),
        ("PUT /items/k HTTP/1.1\r\n", "415", "unsupported_media_type"),
        ("PUT /nowhere HTTP/1.1\r\n", "404", "no_such_route"),
        ("PUT /v1/usr/t HTTP/1.1\r\n", "405", "method_not_allowed"),
        ("PUT /v1/usr/t/k?x HTTP/1.1\r\n", "400", "bad_parameter"),
    ] {
        for chunked in [false, true, false, true] {
            let (head, status, code) = head;
            let answer = upload(server.local_addr(), head, &body, chunked);
            let begin = format!("HTTP/1.1 {status}");
            assert!(
                answer.starts_with(&begin) && answer.contains(code),
                "{answer}"
            );
        }
    }
    server.stop();
}

#[test]
fn a_small_body_that_is_refused_unread_ends_no_connection() {
    let lab = Lab::new(Storage::None);
    let server = serve(&lab, ServerOptions::default());
    let requests = b"PUT /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello\
        GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answers = exchange(server.local_addr(), requests);
    assert!(answers.starts_with("HTTP/1.1 404"), "{answers}");
    assert!(
        answers.contains("HTTP/1.1 200") && answers.ends_with("ok\n"),
        "{answers}"
    );
    server.stop();
}

#[test]
fn a_client_that_asks_before_sending_a_body_is_told_what_becomes_of_it() {
    let lab = Lab::new(Storage::None);
    let server = serve(&lab, ServerOptions::default());
    let ask = |length: usize| {
        let mut stream = connect(server.local_addr());
        let head = "PUT /v1/usr/t/k HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n";
        write!(stream, "{head}content-length: {length}\r\n\r\n").expect("sent");
        BufReader::new(stream)
    };
    let line = |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).expect("an answer");
        line
    };
    let mut refused = ask(20 << 20);
    assert!(line(&mut refused).starts_with("HTTP/1.1 413"));
    let mut welcome = ask(5);
    assert!(line(&mut welcome).starts_with("HTTP/1.1 100"));
    assert_eq!(line(&mut welcome), "\r\n");
    welcome.get_mut().write_all(b"hello").expect("sent");
    assert!(line(&mut welcome).starts_with("HTTP/1.1 201"));
    server.stop();
}
