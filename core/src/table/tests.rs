//! Properties of coverage and of merging, over generated data.

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec::Vec;

use arbitrary::Unstructured;
use arbtest::arbtest;
use bytes::Bytes;

use super::*;
use crate::testing::*;
use crate::wire;

fn runs(u: &mut Unstructured<'_>) -> arbitrary::Result<(Runs, BTreeSet<u64>)> {
    let mut runs = Runs::new();
    let mut set = BTreeSet::new();
    for _ in 0..u.int_in_range(0..=12)? {
        let low: u64 = u.int_in_range(1..=60)?;
        let high = low + u.int_in_range(0..=6)?;
        if u.arbitrary()? {
            runs.insert_run(low, high);
            set.extend(low..=high);
        } else {
            assert_eq!(runs.insert(low), set.insert(low));
        }
    }
    Ok((runs, set))
}

fn members(runs: &Runs) -> BTreeSet<u64> {
    runs.as_slice()
        .iter()
        .flat_map(|(low, high)| *low..=*high)
        .collect()
}

#[test]
fn runs_are_a_set_of_counters() {
    arbtest(|u| {
        let (a, a_set) = runs(u)?;
        let (b, b_set) = runs(u)?;
        assert_eq!(members(&a), a_set);
        assert_eq!(
            Runs::from_wire(a.as_slice()),
            Some(a.clone()),
            "runs are ascending and apart"
        );
        assert_eq!(a.is_subset(&b), a_set.is_subset(&b_set));
        assert_eq!(members(&a.minus(&b)), &a_set - &b_set);
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.union(&b);
        ba.union(&a);
        assert_eq!(ab, ba);
        assert_eq!(members(&ab), &a_set | &b_set);
        for counter in 0..70 {
            assert_eq!(a.contains(counter), a_set.contains(&counter));
        }
        Ok(())
    });
}

#[test]
fn runs_from_outside_are_checked() {
    for bad in [
        [(0, 1), (3, 4)],
        [(1, 2), (3, 4)],
        [(5, 6), (1, 2)],
        [(2, 1), (4, 4)],
        [(1, 1), (3, u64::MAX)],
    ] {
        assert_eq!(Runs::from_wire(&bad), None, "{bad:?}");
    }
}

/// Rows of two actors over few keys, as one member after the other might send them.
fn rows(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<wire::Row>> {
    let mut rows = Vec::new();
    for actor in 0..2 {
        for counter in 1..=u.int_in_range(0..=5)? {
            rows.push(wire::Row {
                table: 0,
                actor,
                counter,
                clock: u.int_in_range(1..=8)?,
                expires: 0,
                key: Bytes::from(std::vec![u.int_in_range(b'a'..=b'c')?]),
                value: u
                    .arbitrary::<bool>()?
                    .then(|| Bytes::from(std::vec![actor as u8, counter as u8])),
            });
        }
    }
    Ok(rows)
}

fn now() -> Now {
    Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000))
}

/// The contents of a node after rows arrived in the given batches.
fn merged(batches: &[&[wire::Row]]) -> Vec<(Bytes, Bytes)> {
    let mut node = Recovery::new(Config::new("m", "m"), Seed::from_u64(1))
        .finish(now())
        .unwrap();
    let actors = std::vec![
        Actor {
            node: NodeId(1),
            boot: 1
        },
        Actor {
            node: NodeId(2),
            boot: 2
        }
    ];
    let tables = std::vec![wire::TableRef {
        class: 1,
        name: "default".into()
    }];
    for rows in batches {
        let batch = wire::RowBatch {
            actors: actors.clone(),
            tables: tables.clone(),
            rows: rows.to_vec(),
        };
        let replica = node.modes.gossip.replica_mut();
        let mut env = node.shared.rows(&mut node.fx);
        for arrival in replica.intern_batch(env.catalog, batch).unwrap() {
            replica.merge(&mut env, arrival);
        }
        node.inspect().check();
    }
    let view = node.view(now());
    view.scan(TableId::DEFAULT, ScanRange::default())
        .unwrap()
        .map(|row| (row.key().clone(), row.value().cloned().unwrap_or_default()))
        .collect()
}

#[test]
fn merging_is_commutative_associative_and_idempotent() {
    arbtest(|u| {
        let rows = rows(u)?;
        let mut shuffled = rows.clone();
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, u.int_in_range(0..=i)?);
        }
        let cut = u.int_in_range(0..=rows.len())?;
        let once = merged(&[&rows]);
        assert_eq!(merged(&[&shuffled]), once, "order does not matter");
        assert_eq!(
            merged(&[&rows[cut..], &rows[..cut]]),
            once,
            "grouping does not matter"
        );
        assert_eq!(
            merged(&[&rows, &shuffled]),
            once,
            "repetition does not matter"
        );
        Ok(())
    });
}

#[test]
fn limits_are_named_and_nothing_is_changed() {
    let mut node = Recovery::new(Config::new("m", "m"), Seed::from_u64(1))
        .finish(now())
        .unwrap();
    let value = Bytes::from(std::vec![0; (1 << 20) + 1]);
    let long = std::vec![b'k'; (64 << 10) + 1];
    let mut put = |key: &[u8], value: &Bytes| {
        node.write(
            now(),
            TableId::DEFAULT,
            Write::Put {
                key,
                value: value.clone(),
                expires: None,
            },
        )
    };
    let small = Bytes::from_static(b"v");
    assert_eq!(put(b"", &small), Err(WriteError::EmptyKey));
    assert_eq!(
        put(&long, &small),
        Err(WriteError::KeyTooLarge {
            size: long.len(),
            limit: 64 << 10
        })
    );
    assert_eq!(
        put(b"k", &value),
        Err(WriteError::ValueTooLarge {
            size: value.len(),
            limit: 1 << 20
        })
    );
    assert_eq!(node.view(now()).len(TableId::DEFAULT).unwrap(), 0);
}

#[test]
fn no_limit_allows_a_name_that_a_record_cannot_hold() {
    let mut config = Config::new("m", "m");
    config.limits.table_name_bytes = 1_000;
    let mut node = Recovery::new(config, Seed::from_u64(1))
        .finish(now())
        .unwrap();
    let refused = TableError::BadName {
        size: 256,
        limit: 255,
    };
    assert_eq!(node.table(&"t".repeat(256)), Err(refused));
    assert!(node.table(&"t".repeat(255)).is_ok());
}

#[test]
fn changes_are_pulled_in_order_of_arrival_and_a_laggard_is_told() {
    let mut config = Config::new("m", "m");
    config.limits.change_log = 4;
    let mut node = Recovery::new(config, Seed::from_u64(1))
        .finish(now())
        .unwrap();
    let cursor = node.view(now()).cursor();
    let put = |node: &mut Node, key: &[u8]| {
        let write = Write::Put {
            key,
            value: Bytes::from_static(b"v"),
            expires: None,
        };
        node.write(now(), TableId::DEFAULT, write).unwrap();
    };
    put(&mut node, b"a");
    put(&mut node, b"b");
    put(&mut node, b"a");
    node.write(now(), TableId::DEFAULT, Write::Delete { key: b"b" })
        .unwrap();
    let changes = node
        .view(now())
        .changes(TableId::DEFAULT, cursor, 10)
        .unwrap();
    let kinds: Vec<ChangeKind> = changes
        .changes
        .into_iter()
        .map(|change| change.kind)
        .collect();
    let put_a = ChangeKind::Put {
        key: "a".into(),
        value: Some("v".into()),
        expires: None,
    };
    assert_eq!(
        kinds,
        [put_a, ChangeKind::Deleted { key: "b".into() }],
        "each key once, at its newest"
    );
    let next = changes.next;
    node.handle(now(), Input::Tick);
    assert_eq!(
        node.status(now()).tombstones,
        0,
        "a lone node frees at once"
    );
    let again = node
        .view(now())
        .changes(TableId::DEFAULT, cursor, 10)
        .unwrap();
    assert_eq!(
        again.changes.len(),
        2,
        "a delete is told after its tombstone has gone"
    );
    let rest = node
        .view(now())
        .changes(TableId::DEFAULT, next, 10)
        .unwrap();
    assert_eq!(rest.changes, [], "and not twice");
    put(&mut node, b"c");
    let lagged = node
        .view(now())
        .changes(TableId::DEFAULT, cursor, 10)
        .unwrap_err();
    let restart = node.view(now()).cursor();
    assert_eq!(lagged, Lagged { restart }.into());
}

#[test]
fn counts_lists_and_draws_need_no_walk_over_rows_or_tables() {
    arbtest(|u| {
        let config = Config::new("m", "m");
        let recovery = Recovery::new(config, Seed::from_u64(1));
        let mut node = recovery.finish(now()).unwrap();
        let mut model: BTreeMap<String, BTreeSet<u8>> = BTreeMap::new();
        let options = TableOptions {
            durability: Durability::Memory,
            ..TableOptions::default()
        };
        node.create_table(now(), "empty", options).unwrap();
        model.insert("empty".into(), BTreeSet::new());
        for _ in 0..u.int_in_range(0..=60)? {
            let name = *u.choose(&["default", "a", "b", "c"])?;
            let (table, key) = (node.table(name).unwrap(), u.int_in_range(b'a'..=b'e')?);
            let keys = model.entry(name.into()).or_default();
            match u.int_in_range(0..=9)? {
                0 => {
                    node.flush(now(), Some(table)).unwrap();
                    keys.clear();
                }
                1..=5 => {
                    let write = Write::Put {
                        key: &[key],
                        value: Bytes::from_static(b"v"),
                        expires: None,
                    };
                    node.write(now(), table, write).unwrap();
                    keys.insert(key);
                }
                _ => {
                    let write = Write::Delete { key: &[key] };
                    node.write(now(), table, write).unwrap();
                    keys.remove(&key);
                }
            }
            if u.ratio(1, 4)? {
                node.handle(now(), Input::Tick);
            }
        }
        node.inspect().check();
        let view = node.view(now());
        let listed = |after| -> Vec<(String, u64)> {
            let tables = view.user_tables(after);
            tables
                .map(|info| (info.name.into(), info.rows.unwrap()))
                .collect()
        };
        let expected = |after: &str| -> Vec<(String, u64)> {
            let tables = model.iter().filter(|(name, keys)| {
                name.as_str() > after && (!keys.is_empty() || *name == "empty")
            });
            tables
                .map(|(name, keys)| (name.clone(), keys.len() as u64))
                .collect()
        };
        assert_eq!(listed(None), expected(""));
        assert_eq!(listed(Some("b")), expected("b"));
        assert_eq!(node.status(now()).tables, expected("").len());
        let rows: usize = model.values().map(BTreeSet::len).sum();
        assert_eq!(view.user_rows(), rows as u64);
        let filled: BTreeSet<&str> = model
            .iter()
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(name, _)| &**name)
            .collect();
        assert_eq!(view.populated_tables(), filled.len());
        let drawn = |but| -> BTreeSet<&str> {
            let draws = (0..60).filter_map(|random| view.sample_table(random, but));
            draws.map(|info| info.name).collect()
        };
        assert_eq!(drawn(None), filled);
        let others = filled.iter().copied().filter(|name| *name != "default");
        assert_eq!(drawn(Some(TableId::DEFAULT)), others.collect());
        for (name, keys) in &model {
            let Some(table) = node.user_table(name) else {
                continue;
            };
            let draws = (0..60).filter_map(|random| view.sample(table, random).unwrap());
            let drawn: BTreeSet<u8> = draws.map(|row| row.key()[0]).collect();
            assert_eq!(drawn, *keys, "each row of {name} is drawn");
        }
        Ok(())
    });
}

#[test]
fn an_answer_about_changes_is_bounded_in_bytes() {
    let recovery = Recovery::new(Config::new("m", "m"), Seed::from_u64(1));
    let mut node = recovery.finish(now()).unwrap();
    let cursor = node.view(now()).cursor();
    for n in 0..8_u8 {
        let write = Write::Put {
            key: &[n],
            value: [n].repeat(400 << 10).into(),
            expires: None,
        };
        node.write(now(), TableId::DEFAULT, write).unwrap();
    }
    let (mut from, mut lengths) = (cursor, Vec::new());
    loop {
        let changes = node
            .view(now())
            .changes(TableId::DEFAULT, from, 256)
            .unwrap();
        lengths.push(changes.changes.len());
        from = changes.next;
        if !changes.more {
            break;
        }
    }
    assert_eq!(lengths, [3, 3, 2]);
}
