//! The cost of a command in a pipeline of 16, without sockets: `cargo bench -p rumormill-gateway-resp`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a program that only measures"
)]

use std::hint::black_box;
use std::time::Instant as Clock;

use rumormill_core::{Config, Instant, Node, Now, Recovery, Seed, Wall, io::Input};
use rumormill_gateway_resp::{Gateway, encoder};
use rumormill_kit::client_session::{ClientSession as _, Replies};

const PIPELINE: usize = 16;
const ROUNDS: usize = 100_000;
const KEYS: usize = 100_000;

fn now(turn: usize) -> Now {
    let micros = 1_000_000 + turn as u64;
    Now::new(
        Instant::from_micros(micros),
        Wall::from_millis(1_800_000_000_000 + micros / 1000),
    )
}

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    encoder::array(out, words.len());
    for word in words {
        encoder::bulk(out, word);
    }
}

fn measure(name: &str, node: &mut Node, gateway: &Gateway, words: impl Fn(&mut Vec<u8>, &[u8])) {
    let mut session = gateway.client(1);
    let mut replies = Replies::new();
    let pipelines: Vec<Vec<u8>> = (0..ROUNDS / 10)
        .map(|round| {
            let mut out = Vec::new();
            for n in 0..PIPELINE {
                let key = format!("key:{:012}", (round * PIPELINE + n) * 7919 % KEYS);
                words(&mut out, key.as_bytes());
            }
            out
        })
        .collect();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begun = Clock::now();
        for round in 0..ROUNDS {
            let input = &pipelines[round % pipelines.len()];
            black_box(session.receive(now(round), node, input, &mut replies));
            let ready = replies.ready().len();
            replies.advance(ready);
            node.handle(now(round), Input::Tick);
            while node.poll_output().is_some() {}
        }
        let nanos = begun.elapsed().as_nanos() as f64;
        best = best.min(nanos / (ROUNDS * PIPELINE) as f64);
    }
    println!("{name:<24}{best:>8.0} ns per command");
}

fn main() {
    let config = Config::new("bench", "here");
    let gateway = Gateway::new(&config.limits, |_, _, _, _| None);
    let recovery = Recovery::new(config, Seed::from_u64(1));
    let mut node = recovery.finish(now(0)).unwrap();
    let value = [b'v'; 100];
    measure("SET, 100 bytes", &mut node, &gateway, |out, key| {
        command(out, &[b"SET", key, &value]);
    });
    measure("GET, 100 bytes", &mut node, &gateway, |out, key| {
        command(out, &[b"GET", key]);
    });
    measure("GET, missing", &mut node, &gateway, |out, key| {
        command(out, &[b"GET", &key[1..]]);
    });
    measure("HSET, 100 bytes", &mut node, &gateway, |out, key| {
        command(out, &[b"HSET", b"users", key, &value]);
    });
    measure("HGET, 100 bytes", &mut node, &gateway, |out, key| {
        command(out, &[b"HGET", b"users", key]);
    });
    measure("PING", &mut node, &gateway, |out, _| {
        command(out, &[b"PING"])
    });
}
