use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use rumormill_core::link::{LinkLimits, Refusal, encode};
use rumormill_core::wire::{GossipMessage, Message, Row, RowBatch};
use rumormill_core::{Config, Now, Recovery, Seed};

use super::*;

const HANDSHAKE: Duration = Duration::from_secs(5);
const STALL: Duration = Duration::from_secs(30);
const LATE: Duration = Duration::from_millis(1);

/// Bytes of the header of a frame, of which four are its length.
const HEADER_BYTES: usize = 9;

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A socket that takes so many bytes and then would block.
struct Socket {
    taken: Vec<u8>,
    room: usize,
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.taken.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A channel, what its node was told, and the time.
struct End {
    channel: Channel,
    inputs: Vec<Input>,
    counters: Arc<Counters>,
    now: Instant,
}

impl End {
    fn new(cluster_name: &str, dial: Option<u64>) -> End {
        let mut config = Config::new("a", "a");
        config.cluster_name = cluster_name.to_owned();
        let seed = Seed::from_u64(dial.unwrap_or(7));
        let node = Recovery::new(config, seed).finish(Now::default());
        let conn = node.unwrap().connection(LinkLimits::default());
        let counters = Arc::<Counters>::default();
        let terms = Terms {
            patience: Patience {
                handshake: HANDSHAKE,
                stall: STALL,
            },
            queue: QueueLimits {
                high: 50_000,
                low: 5_000,
                max: 80_000,
            },
            counters: Arc::clone(&counters),
        };
        let now = Instant::now();
        let mut channel = Channel::new(LinkId(1), dial.map(DialId), conn, &terms);
        assert!(!channel.reads());
        channel.open(now);
        End {
            channel,
            inputs: Vec::new(),
            counters,
            now,
        }
    }

    /// Writes what a socket with so much room takes.
    fn write(&mut self, room: usize) -> Vec<u8> {
        let taken = Vec::new();
        let mut socket = Socket { taken, room };
        let written = self
            .channel
            .write_to(self.now, &mut socket, &mut self.inputs);
        written.unwrap();
        socket.taken
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.channel.receive(bytes, &mut self.inputs)
    }

    fn push(&mut self, lane: Lane, size: usize) {
        let frames = encode(&message(size), lane).unwrap();
        self.channel.push(lane, &frames);
    }

    fn told(&mut self) -> Vec<&'static str> {
        let word = |input| match input {
            Input::LinkUp { .. } => "up",
            Input::Message { .. } => "message",
            Input::Congested { .. } => "congested",
            Input::Drained { .. } => "drained",
            _ => "other",
        };
        self.inputs.drain(..).map(word).collect()
    }

    /// Returns the word for the last input of the node, and its reason.
    fn end(self, why: LinkError) -> Option<(&'static str, LinkError)> {
        match self.channel.end(why, &"a test")? {
            Input::LinkDown { why, .. } => Some(("down", why)),
            Input::DialFailed { why, .. } => Some(("dial failed", why)),
            _ => Some(("other", LinkError::Closed)),
        }
    }
}

fn message(size: usize) -> Message {
    let row = Row {
        table: 0,
        actor: 0,
        counter: 1,
        clock: 1,
        expires: 0,
        key: "k".into(),
        value: Some(vec![7; size].into()),
    };
    Message::Gossip(GossipMessage::Push(RowBatch {
        actors: vec![],
        tables: vec![],
        rows: vec![row],
    }))
}

/// Two ends that are up; the first has dialled.
fn linked() -> (End, End) {
    let (mut a, mut b) = (End::new("c", Some(1)), End::new("c", None));
    for _ in 0..2 {
        let (to_b, to_a) = (a.write(usize::MAX), b.write(usize::MAX));
        a.receive(&to_a).unwrap();
        b.receive(&to_b).unwrap();
    }
    assert_eq!((a.told(), b.told()), (vec!["up"], vec!["up"]));
    (a, b)
}

#[test]
fn a_handshake_that_comes_byte_by_byte_brings_the_link_up_once_and_messages_follow() {
    let (mut a, mut b) = (End::new("c", Some(1)), End::new("c", None));
    for _ in 0..2_000 {
        let (to_b, to_a) = (a.write(1), b.write(1));
        a.receive(&to_a).unwrap();
        b.receive(&to_b).unwrap();
    }
    assert_eq!((a.told(), b.told()), (vec!["up"], vec!["up"]));
    assert_eq!(a.channel.next_deadline(), None);
    a.push(Lane::Bulk, 30_000);
    let bytes = a.write(usize::MAX);
    let (head, tail) = bytes.split_at(20_000);
    b.receive(head).unwrap();
    assert_eq!(b.channel.ended(), LinkError::Malformed);
    b.receive(tail).unwrap();
    assert_eq!(b.told(), ["message"]);
    assert_eq!(b.channel.ended(), LinkError::Closed);
    let (sent, got) = (&a.counters.peer_bytes_out, &b.counters.peer_bytes_in);
    assert_eq!(count(sent), count(got));
}

#[test]
fn a_peer_that_never_ends_its_handshake_is_given_up() {
    for dial in [Some(1), None] {
        let mut a = End::new("c", dial);
        let opening = End::new("c", Some(2)).write(usize::MAX);
        a.receive(&opening).unwrap();
        // No message goes out before the proof of the peer has come, and no write puts the end off.
        a.push(Lane::Control, 10);
        a.now += HANDSHAKE - LATE;
        a.write(10);
        assert_eq!(a.channel.expire(a.now), Ok(()));
        a.now += LATE;
        assert_eq!(a.channel.next_deadline(), Some(a.now));
        let why = a.channel.expire(a.now).unwrap_err();
        assert_eq!(why, LinkError::TimedOut);
        let told = dial.map(|_| ("dial failed", why.clone()));
        assert_eq!(a.end(why), told);
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_and_one_that_is_slow_is_not() {
    let (mut a, _) = linked();
    for _ in 0..5 {
        a.push(Lane::Bulk, 20_000);
    }
    assert_eq!(count(&a.counters.dropped_messages), 2);
    a.write(0);
    assert_eq!(a.told(), ["congested"]);
    assert_eq!(a.channel.next_deadline(), Some(a.now + STALL));
    for _ in 0..3 {
        a.now += STALL - LATE;
        assert_eq!(a.write(10).len(), 10);
        assert_eq!(a.channel.next_deadline(), Some(a.now + STALL));
    }
    a.write(usize::MAX);
    assert_eq!(a.told(), ["drained"]);
    assert_eq!(a.channel.next_deadline(), None);
    a.push(Lane::Control, 10);
    a.write(0);
    a.now += STALL - LATE;
    a.write(0);
    assert_eq!(a.channel.expire(a.now), Ok(()));
    a.now += LATE;
    let why = a.channel.expire(a.now).unwrap_err();
    assert_eq!(why, LinkError::TimedOut);
    assert_eq!(a.end(why.clone()), Some(("down", why)));
}

#[test]
fn a_frame_that_is_too_large_ends_the_link_after_what_came_before_it() {
    let (mut a, mut b) = linked();
    a.push(Lane::Control, 10);
    let mut bytes = a.write(usize::MAX);
    let mut large = bytes[..HEADER_BYTES].to_vec();
    large[..4].copy_from_slice(&((64_u32 << 10) + 1).to_le_bytes());
    bytes.extend(large);
    b.push(Lane::Control, 10);
    assert_eq!(b.receive(&bytes), Err(LinkError::Malformed));
    assert_eq!(b.told(), ["message"]);
    // Nothing goes out any more, and nothing comes in.
    assert!(!b.channel.has_output() && !b.channel.reads());
    b.push(Lane::Control, 10);
    assert!(!b.channel.has_output());
    let counters = Arc::clone(&b.counters);
    let why = LinkError::Malformed;
    assert_eq!(b.end(why.clone()), Some(("down", why)));
    assert_eq!(count(&counters.malformed_frames), 1);
}

#[test]
fn what_waits_when_a_link_is_hung_up_is_still_written() {
    let (mut a, mut b) = linked();
    a.push(Lane::Bulk, 100);
    b.push(Lane::Bulk, 100);
    a.receive(&b.write(usize::MAX)[..10]).unwrap();
    a.channel.close(a.now);
    // Nothing more is taken from either side, and nothing that was under way counts as cut.
    a.push(Lane::Bulk, 100);
    assert_eq!(a.receive(b"no frame"), Ok(()));
    assert_eq!(a.channel.ended(), LinkError::Closed);
    assert!(!a.channel.reads() && !a.channel.is_done());
    let mut bytes = a.write(10);
    a.now += PARTING - LATE;
    a.channel.close(a.now);
    assert_eq!(a.channel.expire(a.now), Ok(()));
    assert_eq!(a.channel.expire(a.now + LATE), Err(LinkError::Closed));
    bytes.extend(a.write(usize::MAX));
    assert!(a.channel.is_done());
    b.receive(&bytes).unwrap();
    assert_eq!(b.told(), ["message"]);
    let why = LinkError::Closed;
    assert_eq!(a.end(why.clone()), Some(("down", why)));
}

#[test]
fn a_refused_peer_reads_the_reason_after_the_opening() {
    let (mut a, mut b) = (End::new("c", Some(1)), End::new("another", None));
    let opening = a.write(usize::MAX);
    let why = b.receive(&opening).unwrap_err();
    assert!(matches!(why, LinkError::Refused(_)), "{why:?}");
    let words = b.write(usize::MAX);
    assert!(!b.channel.has_output() && !b.channel.is_done());
    assert_eq!(b.end(why), None);
    let theirs = "another".to_owned();
    let why = LinkError::Refused(Refusal::ClusterName { theirs });
    assert_eq!(a.receive(&words), Err(why.clone()));
    let counters = Arc::clone(&a.counters);
    assert_eq!(a.end(why.clone()), Some(("dial failed", why)));
    assert_eq!(count(&counters.refused_links), 1);
}
