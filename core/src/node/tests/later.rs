//! Operations on tables that answer later: deadlines, cancellation, and the costs of waiting.

use super::*;

const DELAY: Duration = Duration::from_secs(1);

fn put(table: TableId, key: &str, value: &str) -> TableRequest {
    let op = TableOp::Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expires: None,
    };
    TableRequest::new(table, op)
}

fn get(table: TableId, key: &str) -> TableRequest {
    let key = Bytes::copy_from_slice(key.as_bytes());
    TableRequest::new(table, TableOp::Get { key })
}

/// A node with a table that answers a second later.
fn delayed() -> (Lab, TableId) {
    let mut lab = Lab::new(1, Storage::None, true);
    lab.run(10);
    let table = lab.node(0).table("slow").unwrap();
    lab.node(0).delay_table(table, DELAY);
    (lab, table)
}

impl Lab {
    fn ask_within(&mut self, token: u64, request: TableRequest, patience: Option<Duration>) {
        let now = self.now;
        let input = Input::Request {
            token: Token(token),
            deadline: patience.map(|patience| now.mono + patience),
            request: request.into(),
        };
        self.node(0).handle(now, input);
    }

    fn answer_to(&mut self, token: u64) -> Option<Result<Response, RequestError>> {
        self.replies.remove(&Token(token))
    }
}

fn value_in(answer: Option<Result<Response, RequestError>>) -> Option<Bytes> {
    match answer {
        Some(Ok(Response::Row(row))) => row.map(|row| row.value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_table_that_answers_later_answers_requests_alone() {
    let (mut lab, table) = delayed();
    lab.ask_within(1, put(table, "k", "v"), None);
    lab.ask_within(2, get(table, "k"), None);
    lab.run(900);
    assert!(lab.replies.is_empty(), "both wait");
    lab.run(200);
    let written = lab.answer_to(1).unwrap();
    assert!(matches!(written, Ok(Response::Written(_))), "{written:?}");
    assert_eq!(value_in(lab.answer_to(2)), Some(Bytes::from("v")));
    let now = lab.now;
    let found = lab.node(0).view(now);
    assert!(found.answers_later(table) && !found.answers_later(TableId::DEFAULT));
    assert!(matches!(found.get(table, b"k"), Found::Later));
    let write = Write::Delete { key: b"k" };
    let refused = Err(WriteError::AnsweredLater);
    assert_eq!(lab.node(0).write(now, table, write), refused);
    assert!(lab.node(0).flush(now, Some(table)).is_err());
    lab.ask_within(3, TableRequest::new(table, TableOp::Flush), None);
    lab.run(1_100);
    assert!(lab.answer_to(3).unwrap().is_ok());
    lab.ask_within(4, get(table, "k"), None);
    lab.run(1_100);
    assert_eq!(value_in(lab.answer_to(4)), None);
}

#[test]
fn a_view_of_a_table_that_answers_later_tells_none_of_its_rows() {
    let (mut lab, table) = delayed();
    let now = lab.now;
    let begin = lab.node(0).view(now).cursor();
    lab.ask_within(1, put(table, "k", "v"), None);
    lab.run(1_100);
    assert!(lab.answer_to(1).unwrap().is_ok());
    lab.put(0, "k", "v");
    let now = lab.now;
    let view = lab.node(0).view(now);
    let later = AnswersLater { table };
    let range = ScanRange::default;
    assert_eq!(view.scan(table, range()).map(|_| ()), Err(later));
    assert_eq!(view.len(table), Err(later));
    assert_eq!(view.sample(table, 7).map(|_| ()), Err(later));
    let changes = view.changes(table, begin, 9);
    assert_eq!(changes.err(), Some(ChangesError::AnswersLater(later)));
    let of_all = view.all_changes(begin, 9).unwrap().changes;
    assert!(!of_all.is_empty() && of_all.iter().all(|change| change.table != table));
    let info = view.table_info(table).unwrap();
    assert_eq!((info.name, info.rows), ("slow", None));
    let mut listed = view.user_tables(None);
    assert!(listed.all(|info| info.rows.is_none() == (info.id == table)));
    let drawn: Vec<_> = (0..99)
        .filter_map(|random| view.sample_table(random, None))
        .map(|info| info.id)
        .collect();
    assert!(drawn.contains(&TableId::DEFAULT) && !drawn.contains(&table));
    assert_eq!(view.scan(TableId::DEFAULT, range()).unwrap().count(), 1);
}

#[test]
fn gossip_forgets_no_name_of_a_table_of_another_mode() {
    let mut lab = Lab::new(1, Storage::None, true);
    lab.configs[0].limits.change_log = 4;
    lab.start(0);
    lab.run(10);
    let slow = lab.node(0).table_to_write("slow").unwrap();
    lab.node(0).delay_table(slow, DELAY);
    lab.node(0).table_to_write("gone").unwrap();
    for n in 0..30 {
        lab.put(0, &n.to_string(), "v");
        lab.run(1_000);
    }
    assert_eq!(lab.node(0).user_table("gone"), None, "it was used no more");
    assert_eq!(lab.node(0).user_table("slow"), Some(slow));
}

#[test]
fn an_operation_that_waits_is_cancelled_or_given_up_at_its_deadline() {
    let (mut lab, table) = delayed();
    lab.ask_within(1, put(table, "a", "1"), Some(DELAY / 2));
    lab.ask_within(2, put(table, "b", "2"), None);
    lab.ask_within(3, put(table, "c", "3"), Some(DELAY * 2));
    let now = lab.now;
    lab.node(0).handle(now, Input::Cancel { token: Token(2) });
    lab.run(600);
    assert_eq!(lab.answer_to(1), Some(Err(RequestError::DeadlineExceeded)));
    assert_eq!(lab.answer_to(2), Some(Err(RequestError::Cancelled)));
    lab.run(600);
    assert!(lab.answer_to(3).unwrap().is_ok());
    for (token, key) in [(4, "a"), (5, "b"), (6, "c")] {
        lab.ask_within(token, get(table, key), None);
    }
    lab.run(1_100);
    assert_eq!(value_in(lab.answer_to(4)), None);
    assert_eq!(value_in(lab.answer_to(5)), None);
    assert_eq!(value_in(lab.answer_to(6)), Some(Bytes::from("3")));
}

#[test]
fn ten_thousand_requests_that_wait_cost_nothing_per_tick() {
    const MANY: u64 = 10_000;
    let mut lab = Lab::new(1, Storage::None, true);
    lab.configs[0].limits.requests = 20_000;
    lab.start(0);
    lab.run(10);
    let table = lab.node(0).table("slow").unwrap();
    lab.node(0).delay_table(table, DELAY * 3_600);
    for token in 0..MANY {
        lab.ask_within(token, get(table, "k"), Some(DELAY * 1_800));
    }
    let looked_at = |lab: &mut Lab| {
        let node = lab.node(0);
        node.modes.looked_at() + node.requests.looked_at()
    };
    let before = looked_at(&mut lab);
    for _ in 0..100 {
        let now = lab.now;
        lab.node(0).handle(now, Input::Tick);
    }
    let looks = looked_at(&mut lab) - before;
    assert!(looks <= 200, "{looks} of {MANY} were looked at");
    assert!(lab.replies.is_empty(), "all of them wait");
    lab.run(1_801_000);
    assert_eq!(lab.replies.len() as u64, MANY);
}

#[test]
fn a_gossip_table_remembers_no_idempotency_key() {
    let (mut lab, _) = delayed();
    let key = || IdempotencyKey::new("once").unwrap();
    let request = put(TableId::DEFAULT, "k", "v").idempotency(key());
    lab.ask_within(1, request.caller(Caller::Operator), None);
    assert_eq!(lab.node(0).fx.queued(), 1);
    lab.quiesce();
    let refused = Some(Err(RequestError::IdempotencyUnsupported));
    assert_eq!(lab.answer_to(1), refused);
    lab.ask_within(2, get(TableId::DEFAULT, "k").idempotency(key()), None);
    lab.quiesce();
    assert_eq!(value_in(lab.answer_to(2)), None);
}
