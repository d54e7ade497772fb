//! A stranger on the way between two nodes, with a recording.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rumormill_core::Config;
use rumormill_core::link::MAGIC;

const PATIENCE: Duration = Duration::from_secs(20);

/// Kinds of frames, as they are on the wire.
pub(crate) const HELLO: u8 = 0;
pub(crate) const REFUSAL: u8 = 1;
pub(crate) const PROOF: u8 = 6;

/// Listens in the place of a node, passes all connections on to it, and records what each side of them says.
pub(crate) struct Tap {
    /// Where to dial instead of the node.
    pub(crate) addr: SocketAddr,
    streams: Streams,
}

type Streams = Arc<Mutex<Vec<Vec<u8>>>>;

impl Tap {
    /// Its thread lives as long as the process.
    fn before(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let streams = Streams::default();
        let record = Arc::clone(&streams);
        thread::spawn(move || {
            while let Ok((dialler, _)) = listener.accept() {
                let Ok(node) = TcpStream::connect(node) else {
                    continue;
                };
                for (from, to) in [(&node, &dialler), (&dialler, &node)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let record = Arc::clone(&record);
                    thread::spawn(move || pass(from, to, &record));
                }
            }
        });
        Tap { addr, streams }
    }

    /// Has peers of a node dial a tap instead of it.
    pub(crate) fn of(config: &mut Config) -> Self {
        let tap = Tap::before(config.addr.parse().unwrap());
        config.addr = tap.addr.to_string();
        tap
    }

    /// A stream in which something was said.
    pub(crate) fn recorded(&self, said: &[u8]) -> Option<Vec<u8>> {
        let streams = self.streams.lock().unwrap();
        let has_it = |stream: &&Vec<u8>| stream.windows(said.len()).any(|bytes| bytes == said);
        streams.iter().find(has_it).cloned()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, streams: &Mutex<Vec<Vec<u8>>>) {
    let at = {
        let mut streams = streams.lock().unwrap();
        streams.push(Vec::new());
        streams.len() - 1
    };
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        streams.lock().unwrap()[at].extend_from_slice(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Either side may be gone by now.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Says the bytes to a node; returns what it answers until it closes the connection.
pub(crate) fn replay(node: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stranger = TcpStream::connect(node).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    // The node may close while there is more to say, which can make the close a reset.
    let _ = stranger.write_all(bytes);
    let mut answer = Vec::new();
    let end = stranger.read_to_end(&mut answer);
    assert!(
        end.is_ok_and(|n| n == answer.len()) || bytes.len() > handshake(bytes).len(),
        "it did not close in time"
    );
    answer
}

/// Listens like a node, and says the bytes to the first that dials.
pub(crate) fn impostor(bytes: Vec<u8>) -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let said = thread::spawn(move || {
        let (mut dialler, _) = listener.accept().unwrap();
        dialler.set_read_timeout(Some(PATIENCE)).unwrap();
        dialler.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        dialler.read_to_end(&mut answer).unwrap();
        answer
    });
    (addr, said)
}

/// The frames of a stream: of each its kind, and where it ends. A stream that was cut ends with its last whole frame.
fn frames(stream: &[u8]) -> Vec<(u8, usize)> {
    assert!(stream.starts_with(&MAGIC));
    let (mut at, mut frames) = (MAGIC.len(), Vec::new());
    while let Some([a, b, c, d, kind, ..]) = stream.get(at..) {
        at += 9 + u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if at > stream.len() {
            break;
        }
        frames.push((*kind, at));
    }
    frames
}

/// The kinds of a stream's frames.
pub(crate) fn kinds(stream: &[u8]) -> Vec<u8> {
    frames(stream).into_iter().map(|(kind, _)| kind).collect()
}

/// The stream up to the end of its proof.
pub(crate) fn handshake(stream: &[u8]) -> &[u8] {
    let frames = frames(stream);
    assert!(matches!(frames[..], [(HELLO, _), (PROOF, _), ..]));
    &stream[..frames[1].1]
}
