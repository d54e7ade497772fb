//! Events between the parts of a turn: changes, rows that were awaited, and the last turn.

use std::io::ErrorKind;

use futures_lite::future;
use rumormill_core::io::Record;
use rumormill_kit::store::Store;

use super::*;

fn connect(a: &Running) -> TcpStream {
    let client = TcpStream::connect(a.redis.unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

#[test]
fn a_change_does_not_make_a_session_go_on_that_has_more_to_say() {
    const FLOOD: usize = 64_000_000;
    let a = serve_lines(Options::new(any()), |_| {});
    let mut client = connect(&a);
    let said = format!("watch\nflood {FLOOD}\ntwo\nquit\n");
    client.write_all(said.as_bytes()).unwrap();
    wait("the flood", || count(&a.counters.commands) == 2);
    put(&a.handle, b"k", b"v".to_vec());
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), FLOOD + 4);
    assert!(heard.ends_with(b"..two\n"));
    a.end();
}

#[test]
fn what_a_client_writes_after_a_row_it_awaited_is_told_to_a_watch_that_waits() {
    let a = serve_lines(Options::new(any()), |config| {
        stored(config);
        config.resident_value = Some(4);
    });
    put(&a.handle, b"large", b"a large value".to_vec());
    let synced = a.handle.request(Request::Sync, Some(PATIENCE));
    assert_eq!(synced, Ok(Response::Synced));
    future::block_on(async {
        let mut changes = a.handle.calls().watch(TableId::DEFAULT).await.unwrap();
        let mut next = Box::pin(changes.next());
        assert!(future::poll_once(&mut next).await.is_none());
        // The watch waits when the loop has come to what was asked after it.
        a.handle.with(|_, _| ()).unwrap();
        let heard = talk(&a, b"get large\nset k\nquit\n");
        assert_eq!(heard, b"a large value\nset k\n");
        let late = async {
            smol::Timer::after(PATIENCE).await;
            None
        };
        let change = future::or(next, late).await.unwrap().unwrap();
        assert!(matches!(change.kind, ChangeKind::Put { key, .. } if key == "k"));
    });
    a.end();
}

/// A row that a client awaits and that is in memory is there within the turn: so this client goes on once a turn, up to the
/// last one.
#[test]
fn what_was_answered_in_the_last_turn_is_stored() {
    const PAIRS: usize = 200_000;
    let kept = MemoryStore::new();
    let a = serve_lines_on(kept.clone(), |_| {});
    put(&a.handle, b"row", b"v".to_vec());
    let mut client = connect(&a);
    let mut writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || {
        for n in 0..PAIRS {
            // The loop ends before it has read all.
            if writer
                .write_all(format!("get row\nset k{n}\n").as_bytes())
                .is_err()
            {
                return;
            }
        }
    });
    let mut heard = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    while heard.len() < 1_000 {
        let n = client.read(&mut chunk).unwrap();
        heard.extend_from_slice(&chunk[..n]);
    }
    assert!(matches!(a.end(), Exit::Stopped(_)));
    loop {
        match client.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => heard.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    writing.join().unwrap();
    let heard = String::from_utf8(heard).unwrap();
    let answered = heard.matches("set k").count();
    assert!((1..PAIRS).contains(&answered), "{answered}");
    let records = records(kept);
    let stored = |n: usize| {
        let key = format!("k{n}");
        let holds = |record: &Record| {
            record
                .key
                .windows(key.len())
                .any(|part| part == key.as_bytes())
        };
        records.iter().any(holds)
    };
    for n in answered.saturating_sub(3)..answered {
        assert!(stored(n), "k{n} of {answered} was answered and is lost");
    }
}

fn records(mut store: MemoryStore) -> Vec<Record> {
    let mut records = Vec::new();
    let read = store.load(&mut |record| {
        records.push(record);
        Ok::<_, ()>(())
    });
    read.unwrap();
    records
}

#[test]
fn last_words_are_written_before_the_loop_returns() {
    const ROWS: u64 = 4;
    let a = start(Options::new(any()), NoClients, |_| {});
    let seed = a.peers.to_string();
    let b = start(Options::new(any()), NoClients, |config| {
        config.seeds.push(seed)
    });
    put(&a.handle, b"k", b"v".to_vec());
    wait("the row", || get(&b.handle, b"k").is_some());
    let last_words = |node: &mut Node, now: Now| {
        for n in 0..ROWS {
            let key = format!("last {n}");
            let write = Write::Put {
                key: key.as_bytes(),
                value: vec![b'x'; 900_000].into(),
                expires: None,
            };
            node.write(now, TableId::DEFAULT, write).unwrap();
        }
    };
    b.handle.call(last_words).unwrap();
    assert!(matches!(b.end(), Exit::Stopped(_)));
    wait("the last words", || {
        let all = |node: &mut Node, now: Now| node.view(now).len(TableId::DEFAULT);
        a.handle.with(all).unwrap() == Ok(ROWS + 1)
    });
    a.end();
}
