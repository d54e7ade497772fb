//! What a command costs between two buffers, without sockets: `cargo bench -p rumormill-gateway-resp --bench commands`.
//! Pipelines of 16, 100,000 keys, 100 B values; medians of five passes in nanoseconds per command.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::time::Instant as Stopwatch;

use rumormill_core::{Config, Input, Instant, Now, Recovery, Seed, Wall};
use rumormill_gateway_resp::Gateway;
use rumormill_kit::session::{Clients, Replies, Session};

const COMMANDS: u64 = 1_600_000;

fn main() {
    let mut at = 0;
    let mut now = || {
        at += 1;
        Now::new(
            Instant::from_micros(at),
            Wall::from_millis(1_700_000_000_000 + at / 1_000),
        )
    };
    let mut node = Recovery::new(Config::new("b", "b"), Seed::from_u64(1))
        .finish(now())
        .unwrap();
    let mut gateway = Gateway::new(&node.config().limits, |_, _, _| None);
    let mut client = gateway.accept(1, SocketAddr::from(([127, 0, 0, 1], 1)), 1);
    let value = "x".repeat(100);
    for (name, set) in [("SET", true), ("GET", false)] {
        let pipelines: Vec<Vec<u8>> = (0..COMMANDS / 16)
            .map(|p| {
                let mut out = Vec::new();
                for n in p * 16..p * 16 + 16 {
                    let key = format!("key:{:012}", n.wrapping_mul(7_919) % 100_000);
                    out.extend(match set {
                        true => format!(
                            "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$100\r\n{value}\r\n",
                            key.len()
                        )
                        .into_bytes(),
                        false => {
                            format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into_bytes()
                        }
                    });
                }
                out
            })
            .collect();
        let mut passes: Vec<f64> = (0..5)
            .map(|_| {
                let start = Stopwatch::now();
                let mut replies = Replies::new();
                for pipeline in &pipelines {
                    let moment = now();
                    client.receive(moment, &mut node, pipeline, &mut replies);
                    node.handle(moment, Input::Tick);
                    while node.poll_output().is_some() {}
                    let ready = replies.ready().len();
                    replies.advance(ready);
                }
                start.elapsed().as_nanos() as f64 / COMMANDS as f64
            })
            .collect();
        passes.sort_by(f64::total_cmp);
        println!("{name:<4} {:>6.0} ns", passes[2]);
    }
}
