//! Values that are only in the store.

use super::*;

/// A value longer than the nodes of [`cold_lab`] keep.
const LARGE: &str = "a value that does not stay in memory";

/// Members that keep values of at most 8 bytes in memory.
fn cold_lab(count: usize) -> Lab {
    let mut lab = Lab::configured(count, |_, config| {
        config.resident_value = Some(8);
    });
    lab.run(3_000);
    lab
}

impl Lab {
    fn ask(&mut self, i: usize, token: u64, request: Request) {
        let (now, deadline) = (self.now, None);
        let token = Token(token);
        let input = Input::Request {
            token,
            deadline,
            request,
        };
        self.node(i).handle(now, input);
    }

    fn ask_get(&mut self, i: usize, token: u64, key: &str) {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let table = TableId::DEFAULT;
        let request = TableRequest::new(table, TableOp::Get { key });
        self.ask(i, token, request.into());
    }

    fn ask_put(&mut self, i: usize, token: u64, key: &str, text: &str) {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let op = match value(text) {
            Some(value) => TableOp::Put {
                key,
                value,
                expires: None,
            },
            None => TableOp::Delete { key },
        };
        let request = TableRequest::new(TableId::DEFAULT, op);
        self.ask(i, token, request.into());
    }

    /// Returns the answer of a read with a load.
    fn read(&mut self, i: usize, key: &str) -> Option<Bytes> {
        self.ask_get(i, 99, key);
        self.quiesce();
        answer(&self.replies.remove(&Token(99)).unwrap())
    }

    fn phase(&self, i: usize) -> &'static str {
        self.nodes[i]
            .as_ref()
            .unwrap()
            .status(self.now)
            .phase
            .name()
    }

    fn is_cold(&self, i: usize, key: &str) -> bool {
        let node = self.nodes[i].as_ref().unwrap();
        let found = node.view(self.now).get(TableId::DEFAULT, key.as_bytes());
        matches!(found, Found::Cold(_))
    }

    /// Answers a load that was held, from the disk as it is now.
    fn answer_load(&mut self) {
        let (i, load, query) = self.loads.remove(0);
        let result = Ok(self.disks[i].get(&query).cloned());
        let now = self.now;
        self.node(i).handle(now, Input::Loaded { load, result });
    }
}

fn answer(reply: &Result<Response, RequestError>) -> Option<Bytes> {
    match reply {
        Ok(Response::Row(row)) => row.as_ref().map(|row| row.value.clone()),
        other => panic!("no row: {other:?}"),
    }
}

#[test]
fn a_large_value_leaves_memory_once_it_is_durable_and_is_read_from_the_store() {
    let mut lab = cold_lab(1);
    lab.put(0, "small", "v");
    let cursor = lab.nodes[0].as_ref().unwrap().view(lab.now).cursor();
    lab.put(0, "large", LARGE);
    assert_eq!(
        lab.get(0, "large"),
        value(LARGE),
        "resident until it is stored"
    );
    lab.quiesce();
    assert!(!lab.is_cold(0, "large"), "and until that is durable");
    lab.run(2_000);
    assert!(lab.is_cold(0, "large") && !lab.is_cold(0, "small"));
    let view = lab.nodes[0].as_ref().unwrap().view(lab.now);
    let lens: Vec<_> = view
        .scan(TableId::DEFAULT, ScanRange::default())
        .unwrap()
        .map(|row| (row.value().is_some(), row.value_len()))
        .collect();
    assert_eq!(
        lens,
        [(false, LARGE.len()), (true, 1)],
        "a scan tells the length"
    );
    let changes = view.changes(TableId::DEFAULT, cursor, 9).unwrap();
    let put = ChangeKind::Put {
        key: "large".into(),
        value: None,
        expires: None,
    };
    assert_eq!(changes.changes[0].kind, put);
    assert_eq!(lab.read(0, "large"), value(LARGE));
    assert!(lab.is_cold(0, "large"), "a read keeps nothing");
    assert_eq!(lab.read(0, "small"), value("v"));
    assert_eq!(lab.read(0, "none"), None);
}

#[test]
fn a_value_stays_until_its_own_batch_is_durable() {
    let mut lab = cold_lab(1);
    lab.put(0, "earlier", "v");
    lab.quiesce();
    let now = lab.now;
    let write = Write::Put {
        key: b"k",
        value: value(LARGE).unwrap(),
        expires: None,
    };
    let accepted = lab.node(0).write(now, TableId::DEFAULT, write).unwrap();
    lab.quiesce();
    for (upto, cold) in [(accepted.seq.0 - 1, false), (accepted.seq.0, true)] {
        let upto = Seq(upto);
        lab.node(0).handle(now, Input::Stored { upto });
        assert_eq!(lab.is_cold(0, "k"), cold, "stored up to {upto}");
    }
}

#[test]
fn values_are_cold_from_the_start_of_a_boot_and_stay_where_nothing_is_stored() {
    let mut lab = cold_lab(1);
    lab.put(0, "large", LARGE);
    lab.run(2_000);
    lab.stop(0);
    lab.start(0);
    assert!(lab.is_cold(0, "large"));
    assert_eq!(lab.read(0, "large"), value(LARGE));
    let now = lab.now;
    let options = TableOptions {
        durability: Durability::Memory,
        ..TableOptions::default()
    };
    let (table, _) = lab.node(0).create_table(now, "m", options).unwrap();
    let write = Write::Put {
        key: b"k",
        value: value(LARGE).unwrap(),
        expires: None,
    };
    lab.node(0).write(now, table, write).unwrap();
    lab.run(3_000);
    let found = lab.nodes[0]
        .as_ref()
        .unwrap()
        .view(lab.now)
        .get(table, b"k");
    assert!(
        matches!(found, Found::Row(_)),
        "a memory table has no other copy"
    );
}

#[test]
fn readers_share_a_load_and_a_write_behind_them_keeps_its_place() {
    let mut lab = cold_lab(1);
    lab.put(0, "k", LARGE);
    lab.run(2_000);
    lab.holds_loads = true;
    lab.ask_get(0, 1, "k");
    lab.ask_get(0, 2, "k");
    lab.ask_put(0, 3, "k", "new");
    lab.ask_get(0, 4, "k");
    lab.quiesce();
    assert_eq!(lab.loads.len(), 1, "one load for all");
    assert!(lab.replies.is_empty());
    lab.answer_load();
    lab.quiesce();
    for (token, shown) in [(1, LARGE), (2, LARGE), (4, "new")] {
        assert_eq!(answer(&lab.replies[&Token(token)]), value(shown), "{token}");
    }
    assert!(matches!(lab.replies[&Token(3)], Ok(Response::Written(_))));
    assert_eq!(lab.get(0, "k"), value("new"));
}

#[test]
fn a_row_that_is_replaced_during_a_load_is_read_as_it_is_now() {
    let newer = "another value that does not stay";
    let mut lab = cold_lab(1);
    lab.put(0, "k", LARGE);
    lab.put(0, "gone", LARGE);
    lab.run(2_000);
    lab.holds_loads = true;
    lab.ask_get(0, 1, "k");
    lab.ask_get(0, 2, "gone");
    lab.quiesce();
    let old = lab.disks[0].clone();
    lab.put(0, "k", newer);
    lab.delete(0, "gone");
    lab.run(2_000);
    assert!(lab.is_cold(0, "k"), "the newer value has left memory too");
    // The store read both before the newer batch: the first answer is of the wrong version.
    let new = core::mem::replace(&mut lab.disks[0], old);
    lab.answer_load();
    lab.answer_load();
    lab.disks[0] = new;
    lab.quiesce();
    assert_eq!(answer(&lab.replies[&Token(2)]), None, "deleted meanwhile");
    assert!(!lab.replies.contains_key(&Token(1)), "asked for again");
    lab.answer_load();
    lab.quiesce();
    assert_eq!(answer(&lab.replies[&Token(1)]), value(newer));
}

#[test]
fn a_damaged_missing_or_foreign_record_is_an_error_and_an_event() {
    let mut lab = cold_lab(1);
    lab.put(0, "k", LARGE);
    lab.run(2_000);
    let record = |lab: &Lab| {
        let is_row = |key: &&Bytes| key.starts_with(b"r\x01");
        lab.disks[0].keys().find(is_row).unwrap().clone()
    };
    let key = record(&lab);
    let good = lab.disks[0][&key].clone();
    let mut bad = good.to_vec();
    bad[60] ^= 1;
    let damaged = |why| RequestError::Read(ReadError::Damaged { why });
    let store = RequestError::Read(ReadError::Store("no".to_string()));
    let cases = [
        (Ok(Some(Bytes::from(bad))), damaged("checksum or form")),
        (Ok(Some(Bytes::new())), damaged("checksum or form")),
        (Ok(None), RequestError::Read(ReadError::Missing)),
        (Err("no".to_string()), store),
    ];
    lab.holds_loads = true;
    for (result, error) in cases {
        lab.ask_get(0, 1, "k");
        lab.quiesce();
        let (_, load, query) = lab.loads.remove(0);
        assert_eq!(query, key);
        let now = lab.now;
        lab.node(0).handle(now, Input::Loaded { load, result });
        lab.quiesce();
        assert_eq!(lab.replies.remove(&Token(1)), Some(Err(error)));
        assert!(matches!(
            lab.events.pop(),
            Some((0, Event::Unreadable { .. }))
        ));
    }
    lab.holds_loads = false;
    assert_eq!(lab.read(0, "k"), value(LARGE), "the next read tries again");
    lab.disks[0].insert(key.clone(), good);
    let older = lab.disks[0][&key].clone();
    lab.put(0, "k", "another value that does not stay");
    lab.run(2_000);
    lab.disks[0].insert(key, older);
    lab.ask_get(0, 2, "k");
    lab.quiesce();
    let rolled_back = damaged("another version than the row's");
    assert_eq!(lab.replies[&Token(2)], Err(rolled_back));
}

#[test]
fn loads_and_their_waiters_are_bounded_and_can_be_given_up() {
    let mut lab = cold_lab(1);
    let limits = &mut lab.configs[0].limits;
    (limits.loads, limits.load_queue) = (2, 3);
    for i in 0..6 {
        lab.put(0, &std::format!("k{i}"), LARGE);
    }
    lab.run(2_000);
    lab.stop(0);
    lab.start(0);
    lab.holds_loads = true;
    for i in 0..6 {
        lab.ask_get(0, i, &std::format!("k{i}"));
    }
    lab.quiesce();
    let busy = Err(RequestError::Read(ReadError::Busy { limit: 3 }));
    assert_eq!(lab.loads.len(), 2, "in flight");
    assert_eq!(
        lab.replies.remove(&Token(5)),
        Some(busy.clone()),
        "2 in flight, 3 wait"
    );
    lab.ask_get(0, 10, "k0");
    lab.ask_get(0, 11, "k0");
    lab.ask_get(0, 12, "k0");
    lab.quiesce();
    assert_eq!(lab.replies.remove(&Token(12)), Some(busy));
    let now = lab.now;
    lab.node(0).handle(now, Input::Cancel { token: Token(10) });
    let late = Input::Request {
        token: Token(13),
        deadline: Some(now.mono + Duration::from_millis(50)),
        request: TableRequest::new(TableId::DEFAULT, TableOp::Get { key: "k1".into() }).into(),
    };
    lab.node(0).handle(now, late);
    lab.run(100);
    assert_eq!(
        lab.replies.remove(&Token(10)),
        Some(Err(RequestError::Cancelled))
    );
    assert_eq!(
        lab.replies.remove(&Token(13)),
        Some(Err(RequestError::DeadlineExceeded))
    );
    for _ in 0..5 {
        lab.answer_load();
        lab.quiesce();
    }
    let shown: Vec<u64> = lab.replies.keys().map(|token| token.0).collect();
    assert_eq!(shown, [0, 1, 2, 3, 4, 11], "the others are answered once");
    assert!(
        lab.replies
            .values()
            .all(|reply| answer(reply) == value(LARGE))
    );
    lab.answer_load_that_none_asked_for();
}

impl Lab {
    /// A load that was never asked for changes nothing.
    fn answer_load_that_none_asked_for(&mut self) {
        let (now, load) = (self.now, LoadId(1_000));
        let result = Ok(None);
        self.node(0).handle(now, Input::Loaded { load, result });
        self.quiesce();
        assert!(self.loads.is_empty());
    }
}

#[test]
fn a_late_joiner_gets_cold_rows_and_what_replaced_them() {
    let mut lab = cold_lab(1);
    for i in 0..40 {
        lab.put(0, &std::format!("k{i}"), LARGE);
    }
    lab.run(2_000);
    lab.configs[0].limits.rows_per_message = 7;
    lab.stop(0);
    lab.start(0);
    lab.holds_loads = true;
    let mut config = Config::new("late", "1");
    config.seeds = std::vec!["0".to_string()];
    lab.join(config);
    lab.quiesce();
    assert_eq!(lab.loads.len(), 7, "one page is prepared at a time");
    assert_eq!(lab.get(1, "k0"), None);
    lab.put(0, "k0", "newer");
    lab.put(0, "k39", "newer");
    lab.delete(0, "k1");
    lab.quiesce();
    while !lab.loads.is_empty() {
        lab.answer_load();
        lab.quiesce();
    }
    lab.run(1_000);
    assert_eq!(lab.phase(1), "member");
    for i in 2..39 {
        assert_eq!(lab.get(1, &std::format!("k{i}")), value(LARGE), "{i}");
    }
    assert_eq!(
        (lab.get(1, "k0"), lab.get(1, "k39")),
        (value("newer"), value("newer"))
    );
    assert_eq!(lab.get(1, "k1"), None);
}

#[test]
fn a_session_with_an_unreadable_value_is_refused_and_nothing_is_adopted() {
    let mut lab = cold_lab(1);
    for key in ["a", "b"] {
        lab.put(0, key, LARGE);
    }
    lab.run(2_000);
    let broken = lab.disks[0].keys().find(|key| key.ends_with(b"b")).cloned();
    let record = lab.disks[0].remove(&broken.clone().unwrap()).unwrap();
    let mut config = Config::new("late", "1");
    config.seeds = std::vec!["0".to_string()];
    lab.join(config);
    lab.run(5_000);
    assert_eq!(lab.phase(1), "joining");
    assert!(
        lab.events
            .iter()
            .any(|(_, event)| matches!(event, Event::Unreadable { .. }))
    );
    lab.disks[0].insert(broken.unwrap(), record);
    lab.run(5_000);
    assert_eq!(lab.phase(1), "member");
    assert_eq!(lab.get(1, "b"), value(LARGE));
}

#[test]
fn a_rejoin_loads_what_it_proposes() {
    let mut lab = cold_lab(2);
    lab.put(0, "old", LARGE);
    lab.run(3_000);
    lab.ask(1, 1, Request::Leave);
    lab.run(6_000);
    lab.stop(1);
    lab.start(1);
    // While it is rejoining it takes writes, and meets the other only when they are cold.
    let second = lab.disks.len() - 1;
    lab.cut = Box::new(|_, _, _| true);
    for i in 0..5 {
        lab.put(second, &std::format!("mine{i}"), LARGE);
    }
    lab.run(3_000);
    assert!(lab.is_cold(second, "mine0"));
    lab.cut = Box::new(|_, _, _| false);
    lab.holds_loads = true;
    for _ in 0..60 {
        lab.run(250);
        // The member's pages wait for loads as well; those of the one that rejoins stay open.
        match lab.loads.first() {
            Some((0, ..)) => lab.answer_load(),
            Some(_) => break,
            None => {}
        }
    }
    let asked: Vec<usize> = lab.loads.iter().map(|(i, ..)| *i).collect();
    assert_eq!(asked, [second; 5], "{:?}", lab.events);
    lab.put(second, "mine1", "changed while it loads");
    for _ in 0..200 {
        while !lab.loads.is_empty() {
            lab.answer_load();
            lab.quiesce();
        }
        lab.run(50);
    }
    lab.holds_loads = false;
    assert_eq!(lab.phase(second), "member");
    for i in [0, 2, 3, 4] {
        assert_eq!(lab.read(0, &std::format!("mine{i}")), value(LARGE), "{i}");
    }
    assert_eq!(lab.read(0, "mine1"), value("changed while it loads"));
    assert_eq!(lab.read(second, "old"), value(LARGE));
}
