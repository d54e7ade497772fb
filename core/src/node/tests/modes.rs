//! Names of tables of modes that this program does not keep yet.

use super::*;
use crate::error::{RecoverError, TableError};
use crate::store::batch::Batch;
use crate::table::gossip;
use crate::table::gossip::{ActorIx, Arrival};
use crate::table::{Hlc, Mode, RowClass, TableOptions, catalog, sys};

const NAMES: [(&str, Mode); 2] = [("strong:t", Mode::Strong), ("quorum:t", Mode::Quorum)];

#[test]
fn a_name_alone_decides_the_mode() {
    let gossip = [
        "t",
        "default",
        "strong",
        "quorum",
        "Strong:t",
        "x:strong:t",
        "",
    ];
    assert!(gossip.iter().all(|name| Mode::of(name) == Mode::Gossip));
    for (name, mode) in NAMES {
        assert_eq!(Mode::of(name), mode);
        assert_eq!(Mode::of(mode.prefix()), mode);
    }
}

#[test]
fn a_table_of_a_mode_that_is_not_built_is_refused_by_every_call() {
    let mut lab = Lab::new(1, Storage::Ordered, true);
    let now = lab.now;
    let node = lab.node(0);
    let before = node.view(now).tables().len();
    for (name, mode) in NAMES {
        let refused = Err(TableError::ModeNotBuilt { mode });
        assert_eq!(node.table(name), refused);
        assert_eq!(node.table_to_write(name), refused);
        let created = node.create_table(now, name, TableOptions::default());
        assert_eq!(created.map(|(id, _)| id), refused);
        assert_eq!(node.user_table(name), None);
    }
    assert_eq!(node.view(now).tables().len(), before);
}

#[test]
fn a_definition_of_another_mode_that_comes_from_a_peer_makes_no_table() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    for (name, _) in NAMES {
        let node = lab.node(0);
        let options = catalog::encode_options(TableOptions::default());
        node.modes.gossip.replica_mut().write_sys(
            &mut node.shared.rows(&mut node.fx),
            sys::TABLES,
            name.as_bytes(),
            options,
        );
    }
    lab.run(3_000);
    for restarted in [false, true] {
        for i in 0..2 {
            if restarted {
                lab.quiesce();
                lab.stop(i);
                lab.start(i);
            }
            let now = lab.now;
            let node = lab.node(i);
            for (name, mode) in NAMES {
                let row = node.view(now).get(sys::TABLES, name.as_bytes());
                assert!(row.row().is_some(), "the row itself goes to all members");
                assert_eq!(node.user_table(name), None);
                assert_eq!(node.table(name), Err(TableError::ModeNotBuilt { mode }));
            }
            node.inspect().check();
        }
        lab.run(3_000);
    }
    lab.put(0, "k", "v");
    lab.run(1_000);
    assert_eq!(lab.get(1, "k"), Some(Bytes::from_static(b"v")));
}

#[test]
fn a_store_with_rows_of_a_gossip_table_under_such_a_name_is_refused() {
    let lab = Lab::new(1, Storage::Ordered, true);
    let actor = lab.nodes[0].as_ref().unwrap().actor();
    for (name, mode) in NAMES {
        let row = Arrival {
            table: TableId::DEFAULT,
            actor: ActorIx(0),
            counter: 1,
            clock: Hlc(1),
            expires: 0,
            key: Bytes::from_static(b"k"),
            value: Some(Bytes::from_static(b"v")),
            siblings: None,
        };
        let mut batch = Batch::default();
        gossip::record::put_row(&mut batch, RowClass::UsrDurable, name, actor, &row);
        let Some(StoreOp::Put(row)) = batch.take().pop() else {
            panic!("a row is put");
        };
        let mut recovery = Recovery::new(lab.configs[0].clone(), Seed::from_u64(1));
        let table = name.to_string();
        let refused = Err(RecoverError::ModeNotBuilt { table, mode });
        assert_eq!(recovery.record(row), refused);
    }
}

/// Returns a record with this key, whole.
fn sealed(key: &[u8]) -> crate::io::Record {
    let mut value = crate::store::bytes::Writer::default();
    value.u64(7);
    let op = crate::store::seal::seal(Bytes::copy_from_slice(key), value);
    let StoreOp::Put(record) = op else {
        panic!("a record is put");
    };
    record
}

#[test]
fn a_record_of_a_newer_program_is_refused_and_not_deleted() {
    let mut lab = Lab::new(1, Storage::Ordered, true);
    lab.put(0, "k", "v");
    lab.quiesce();
    let keys: [(&[u8], Option<Mode>); 4] = [
        (b"s\0\x07log", Some(Mode::Strong)),
        (b"qrow", Some(Mode::Quorum)),
        (b"xrow", None),
        (b"mgroups", None),
    ];
    for (key, of) in keys {
        let record = sealed(key);
        let found = crate::store::inspect(&record);
        assert!(!found.whole, "this program cannot read it");
        let mut recovery = Recovery::new(lab.configs[0].clone(), Seed::from_u64(1));
        let stored = lab.disks[0].iter().map(|(key, value)| crate::io::Record {
            key: key.clone(),
            value: value.clone(),
        });
        let stored: Vec<_> = stored.collect();
        for known in stored {
            recovery.record(known).unwrap();
        }
        let refused = recovery.record(record);
        let told = crate::store::seal::hex(key);
        assert!(
            matches!(&refused, Err(RecoverError::UnknownRecord { key, mode }) if *key == told && *mode == of),
            "{refused:?}"
        );
    }
}

#[test]
fn a_broken_record_is_damage_whatever_its_key_says() {
    for key in [&b"s\0\x07log"[..], b"q", b"x", b"mgroups"] {
        let mut record = sealed(key);
        let mut value = record.value.to_vec();
        value[0] ^= 1;
        record.value = value.into();
        let lab = Lab::new(1, Storage::Ordered, true);
        let mut recovery = Recovery::new(lab.configs[0].clone(), Seed::from_u64(1));
        assert_eq!(recovery.record(record), Ok(()));
        let outcome = recovery.finish(lab.now).map(|_| ());
        assert!(
            matches!(
                outcome,
                Err(RecoverError::Damaged { .. } | RecoverError::Incomplete { .. })
            ),
            "{outcome:?}"
        );
    }
}
