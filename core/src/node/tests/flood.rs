//! More writes than the store takes.

use super::*;

/// A lone node whose store has taken its first batch.
fn stored() -> (Node, Now) {
    let mut config = Config::new("a", "here");
    config.storage = Storage::Ordered;
    let now = Now::new(
        Instant::from_micros(5_000_000),
        Wall::from_millis(1_800_000_000_000),
    );
    let recovery = Recovery::new(config, Seed::from_u64(7));
    let mut node = recovery.finish(now).unwrap();
    node.handle(now, Input::Tick);
    while let Some(output) = node.poll_output() {
        if let Output::Store { seq, .. } = output {
            node.handle(now, Input::Stored { upto: seq });
        }
    }
    (node, now)
}

#[test]
fn a_flood_of_large_writes_is_synced_early_and_bounded_in_bytes() {
    let (mut node, now) = stored();
    let value = Bytes::from(std::vec![b'v'; 1 << 20]);
    let (mut accepted, mut asked, mut last) = (0, Vec::new(), Seq(0));
    let refused = loop {
        let key = std::format!("key{accepted}");
        let write = Write::Put {
            key: key.as_bytes(),
            value: value.clone(),
            expires: None,
        };
        match node.write(now, TableId::DEFAULT, write) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        node.handle(now, Input::Tick);
        while let Some(output) = node.poll_output() {
            if let Output::Store { seq, sync, .. } = output {
                last = seq;
                asked.extend(sync.then_some(accepted));
            }
        }
        assert_eq!(node.pressure(), accepted >= 32, "{accepted}");
    };
    let limit = 64 << 20;
    assert_eq!((refused, accepted), (WriteError::Busy { limit }, 64));
    // No second has passed: each sync is asked for because of the bytes that wait.
    assert_eq!(asked, [8, 16, 24, 32, 40, 48, 56, 64]);
    node.handle(now, Input::Stored { upto: last });
    assert!(!node.pressure());
    let delete = Write::Delete { key: b"key0" };
    assert!(node.write(now, TableId::DEFAULT, delete).is_ok());
}

#[test]
fn a_flood_of_small_turns_is_synced_early() {
    let (mut node, now) = stored();
    let mut asked = Vec::new();
    for n in 1..=1_024 {
        let write = Write::Put {
            key: b"key",
            value: Bytes::from_static(b"v"),
            expires: None,
        };
        node.write(now, TableId::DEFAULT, write).unwrap();
        node.handle(now, Input::Tick);
        while let Some(output) = node.poll_output() {
            if let Output::Store { sync: true, .. } = output {
                asked.push(n);
            }
        }
    }
    assert_eq!(asked, [512, 1_024]);
}
