//! The worker against a store whose every call waits for the test.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::*;
use crate::store::conformance::{contents, delete, put};
use crate::store::{LoadError, MemoryStore, StoreReader};
use rumormill_core::io::Record;

/// How long the worker may take before a test fails; far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq)]
enum Call {
    Apply(Vec<StoreOp>),
    Sync,
}

/// Tells the test of each call and waits for what it is to answer.
struct Gated {
    calls: SyncSender<Call>,
    answers: Receiver<Result<(), StoreError>>,
    short: Arc<Mutex<Option<String>>>,
}

impl Gated {
    fn call(&mut self, call: Call) -> Result<(), StoreError> {
        if self.calls.send(call).is_err() {
            return Err(StoreError::Failed("the test is over".into()));
        }
        self.answers.recv().unwrap()
    }
}

/// Reads without asking anybody; a few keys have a value, and one cannot be read.
struct Free;

impl StoreReader for Free {
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match key {
            b"bad" => Err(StoreError::Failed("unreadable".into())),
            b"none" => Ok(None),
            _ => Ok(Some(Bytes::copy_from_slice(key))),
        }
    }
}

impl Store for Gated {
    type Reader = Free;

    fn reader(&self) -> Free {
        Free
    }

    fn load<E>(&mut self, _: &mut dyn FnMut(Record) -> Result<(), E>) -> Result<(), LoadError<E>> {
        Ok(())
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError> {
        self.call(Call::Apply(batch.to_vec()))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.call(Call::Sync)
    }

    fn short(&mut self, _: bool) -> Option<String> {
        self.short.lock().unwrap().clone()
    }
}

struct Bench {
    handle: StoreHandle,
    calls: Receiver<Call>,
    answers: SyncSender<Result<(), StoreError>>,
    notified: Receiver<()>,
    short: Arc<Mutex<Option<String>>>,
}

fn bench(backlog: usize) -> Bench {
    let (calls_in, calls) = sync_channel(0);
    let (answers, answers_out) = sync_channel(0);
    let (notify, notified) = mpsc::channel();
    let store = Gated {
        calls: calls_in,
        answers: answers_out,
        short: Arc::default(),
    };
    let short = Arc::clone(&store.short);
    let handle = StoreWorker::spawn(store, backlog, move || notify.send(()).unwrap_or(())).unwrap();
    Bench {
        handle,
        calls,
        answers,
        notified,
        short,
    }
}

impl Bench {
    fn push(&self, seq: u64, sync: bool) {
        self.handle.push(Seq(seq), batch(seq), sync).unwrap();
    }

    fn expect(&self, call: Call) {
        assert_eq!(self.calls.recv_timeout(PATIENCE), Ok(call));
    }

    fn answer(&self, answer: Result<(), StoreError>) {
        self.answers.send(answer).unwrap();
    }

    fn serve(&self, call: Call) {
        self.expect(call);
        self.answer(Ok(()));
    }

    /// Pushes a batch and lets the store apply it.
    fn apply(&self, seq: u64, sync: bool) {
        self.push(seq, sync);
        self.serve(applies(seq));
    }

    fn report(&mut self) -> StoreReport {
        self.notified.recv_timeout(PATIENCE).unwrap();
        self.handle.poll().unwrap()
    }

    fn assert_stored(&mut self, upto: u64) {
        let upto = Seq(upto);
        assert_eq!(self.report(), StoreReport::Stored { upto });
    }

    fn assert_stalled(&mut self) {
        let why = "no space".into();
        assert_eq!(self.report(), StoreReport::Stalled { why });
    }

    fn assert_failed(&mut self, error: &str) {
        let error = error.into();
        assert_eq!(self.report(), StoreReport::Failed { error });
    }

    /// The worker has ended and said nothing more.
    fn assert_silent(&mut self) {
        assert_ended(&self.notified);
        assert_eq!(self.handle.poll(), None);
    }
}

/// Nothing more comes: the other end has gone.
fn assert_ended<T>(from: &Receiver<T>) {
    let end = from.recv_timeout(PATIENCE).err();
    assert_eq!(end, Some(RecvTimeoutError::Disconnected));
}

fn batch(seq: u64) -> Vec<StoreOp> {
    vec![put("last", &seq.to_string()), delete(&seq.to_string())]
}

fn applies(seq: u64) -> Call {
    Call::Apply(batch(seq))
}

fn closed(stored: Option<u64>, error: Option<&str>) -> Closed {
    Closed {
        stored: stored.map(Seq),
        error: error.map(str::to_owned),
    }
}

fn full() -> Result<(), StoreError> {
    Err(StoreError::Full("no space".into()))
}

fn broken() -> Result<(), StoreError> {
    Err(StoreError::Failed("broken".into()))
}

#[test]
fn what_piles_up_is_covered_by_one_sync() {
    let mut bench = bench(100);
    bench.push(1, true);
    bench.expect(applies(1));
    for seq in 2..=5 {
        bench.push(seq, true);
    }
    bench.answer(Ok(()));
    bench.serve(Call::Sync);
    bench.assert_stored(1);
    for seq in 2..=5 {
        bench.serve(applies(seq));
    }
    bench.serve(Call::Sync);
    bench.assert_stored(5);
    assert_eq!(bench.handle.close(), closed(Some(5), None));
}

#[test]
fn nothing_is_reported_before_its_sync() {
    let mut bench = bench(100);
    bench.apply(1, false);
    bench.apply(2, true);
    bench.expect(Call::Sync);
    assert_eq!(bench.handle.poll(), None);
    assert!(bench.notified.try_recv().is_err());
    bench.answer(Ok(()));
    bench.assert_stored(2);
}

#[test]
fn closing_writes_and_syncs_what_is_queued() {
    let store = MemoryStore::new();
    let handle = StoreWorker::spawn(store.clone(), 10, || ()).unwrap();
    for seq in 1..=3 {
        handle.push(Seq(seq), batch(seq), false).unwrap();
    }
    assert_eq!(handle.close(), closed(Some(3), None));
    store.crash();
    assert_eq!(
        contents(&mut store.clone()).get("last".as_bytes()).unwrap(),
        "3"
    );
    let unused = StoreWorker::spawn(MemoryStore::new(), 10, || ()).unwrap();
    assert_eq!(unused.close(), Closed::default());
}

#[test]
fn dropping_the_handle_still_syncs() {
    let bench = bench(100);
    bench.push(1, false);
    let Bench {
        handle,
        calls,
        answers,
        notified,
        short: _,
    } = bench;
    drop(handle);
    assert_eq!(calls.recv_timeout(PATIENCE), Ok(applies(1)));
    answers.send(Ok(())).unwrap();
    assert_eq!(calls.recv_timeout(PATIENCE), Ok(Call::Sync));
    answers.send(Ok(())).unwrap();
    notified.recv_timeout(PATIENCE).unwrap();
    assert_ended(&notified);
}

#[test]
fn a_failed_sync_ends_everything() {
    let mut bench = bench(100);
    bench.apply(1, true);
    bench.expect(Call::Sync);
    bench.push(2, true);
    bench.answer(broken());
    bench.assert_failed("broken");
    assert_eq!(
        bench.handle.push(Seq(3), batch(3), true),
        Err(PushError::Stopped)
    );
    bench.assert_silent();
    assert_ended(&bench.calls);
    assert_eq!(bench.handle.close(), closed(None, Some("broken")));
}

#[test]
fn a_failed_batch_ends_everything() {
    let mut bench = bench(100);
    bench.push(1, true);
    bench.expect(applies(1));
    bench.answer(broken());
    bench.assert_failed("broken");
    bench.assert_silent();
}

#[test]
fn out_of_space_stalls_until_there_is_some() {
    let mut bench = bench(100);
    bench.apply(1, false);
    bench.push(2, true);
    bench.expect(applies(2));
    bench.push(3, false);
    bench.answer(full());
    bench.assert_stalled();
    let unsynced = Call::Apply([batch(1), batch(2)].concat());
    bench.expect(unsynced);
    bench.answer(full());
    bench.serve(Call::Apply([batch(1), batch(2)].concat()));
    bench.expect(Call::Sync);
    assert_eq!(bench.handle.poll(), None);
    bench.answer(Ok(()));
    bench.assert_stored(2);
    bench.serve(applies(3));
    bench.apply(4, true);
    bench.serve(Call::Sync);
    bench.assert_stored(4);
}

#[test]
fn a_store_that_is_short_of_space_says_so_once_and_goes_on() {
    let mut bench = bench(100);
    let say = |bench: &Bench, why: Option<&str>| {
        *bench.short.lock().unwrap() = why.map(str::to_string);
    };
    say(&bench, Some("little is left"));
    for seq in 1..4 {
        bench.apply(seq, true);
        bench.serve(Call::Sync);
        bench.assert_stored(seq);
        if seq == 1 {
            let why = Some("little is left".to_string());
            assert_eq!(bench.report(), StoreReport::Short { why });
        }
    }
    // It is asked again although there is nothing to write.
    say(&bench, None);
    assert_eq!(bench.report(), StoreReport::Short { why: None });
}

#[test]
fn a_sync_out_of_space_repeats_its_batches() {
    let mut bench = bench(100);
    bench.apply(1, true);
    bench.expect(Call::Sync);
    bench.answer(full());
    bench.assert_stalled();
    bench.serve(applies(1));
    bench.expect(Call::Sync);
    bench.answer(broken());
    bench.assert_failed("broken");
    bench.assert_silent();
}

#[test]
fn closing_while_out_of_space_tries_once_more() {
    let mut bench = bench(100);
    bench.push(1, true);
    bench.expect(applies(1));
    bench.handle.shared.close();
    bench.answer(full());
    bench.assert_stalled();
    bench.expect(applies(1));
    bench.answer(full());
    assert_eq!(bench.handle.close(), closed(None, Some("no space")));
}

#[test]
fn the_backlog_counts_all_that_is_not_durable() {
    let mut bench = bench(2);
    bench.apply(1, false);
    bench.push(2, true);
    assert_eq!(
        bench.handle.push(Seq(3), batch(3), true),
        Err(PushError::Backlog)
    );
    bench.serve(applies(2));
    bench.serve(Call::Sync);
    bench.assert_stored(2);
    bench.apply(3, false);
}

#[test]
fn a_panic_of_the_store_is_a_failure() {
    let mut bench = bench(100);
    bench.push(1, true);
    bench.expect(applies(1));
    // The store's unwrap of the answer panics.
    bench.answers = sync_channel(0).0;
    bench.assert_failed("the store's thread panicked");
    bench.assert_silent();
    assert!(bench.handle.close().error.is_some());
}

#[test]
fn a_load_does_not_wait_behind_a_sync() {
    let mut bench = bench(3);
    bench.apply(1, true);
    bench.expect(Call::Sync);
    for (number, key) in [(1, "value"), (2, "none"), (3, "bad")] {
        let query = Bytes::from_static(key.as_bytes());
        bench.handle.load(LoadId(number), query).unwrap();
        let result = match key {
            "bad" => Err("the store failed: unreadable".to_string()),
            "none" => Ok(None),
            _ => Ok(Some(Bytes::from_static(b"value"))),
        };
        let load = LoadId(number);
        assert_eq!(bench.report(), StoreReport::Loaded { load, result });
    }
    bench.answer(Ok(()));
    bench.assert_stored(1);
}

#[test]
fn a_store_that_has_failed_takes_no_loads() {
    let mut bench = bench(3);
    bench.push(1, true);
    bench.expect(applies(1));
    bench.answer(broken());
    bench.assert_failed("broken");
    let refused = bench.handle.load(LoadId(1), Bytes::new());
    assert_eq!(refused, Err(PushError::Stopped));
    bench.assert_silent();
}
