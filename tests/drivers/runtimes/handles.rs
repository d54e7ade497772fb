//! Handles: what they are told, and when.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::ops::Bound;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use rumormill_async::{Driver, Error, Exit, Handle, MemberWatch, Options, Runtime};
use rumormill_core::{
    Config, Recovery, Seed, TableId,
    errors::{RequestError, WriteError},
    io::StoreOp,
    members::{MemberInfo, MemberState, NodePhase},
    table::{ChangeKind, Conflict, TableOp, TableOptions, TableRequest},
};
use rumormill_kit::answer::answer;
use rumormill_kit::store::{MemoryStore, Store};

use super::lab::{PATIENCE, any, on_every_runtime, start, start_stored, value, wait};

const TABLE: TableId = TableId::DEFAULT;

on_every_runtime! {
    a_handle_reads_what_it_wrote
    siblings_are_read_and_replaced
    the_nodes_own_errors_come_through
    a_page_of_rows_ends_and_the_next_begins
    a_watch_tells_every_change_and_goes_on_after_it_lagged
    a_watch_of_the_members_tells_who_comes_and_serves_and_goes
    watches_of_the_members_count_among_the_watches
    settings_change
    calls_wait_for_room_and_all_are_answered
    nobody_waits_for_a_loop_that_has_ended
    a_loop_that_is_dropped_closes_its_handles
    a_second_leave_ends_the_first
    requests_of_those_who_went_away_are_taken_back
    a_copy_of_a_node_is_refused_and_told_so
    many_calls_wait_for_a_table_that_answers_later
}

async fn a_handle_reads_what_it_wrote<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let handle = a.handle.clone();
    assert_eq!(value(&handle, "k").await, Ok(None));
    assert!(!handle.put(TABLE, "k", "one").await.unwrap().existed);
    assert!(handle.put(TABLE, "k", "two").await.unwrap().existed);
    assert_eq!(value(&handle, "k").await, Ok(Some("two".into())));
    assert!(handle.delete(TABLE, "k").await.unwrap().existed);
    assert_eq!(value(&handle, "k").await, Ok(None));
    let other = handle.table("other").await.unwrap();
    let now = handle.with(|_, now| now.wall).await.unwrap();
    let late = rumormill_core::Wall::from_millis(now.as_millis() + 3_600_000);
    handle.put_until(other, "k", "three", late).await.unwrap();
    let row = handle.get(other, "k").await.unwrap().unwrap();
    assert_eq!((row.value, row.expires), ("three".into(), Some(late)));
    assert_eq!(handle.status().await.unwrap().rows, 1);
    a.end().await;
}

async fn many_calls_wait_for_a_table_that_answers_later<R: Runtime>(runtime: R) {
    const MANY: u32 = 200;
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let handle = a.handle.clone();
    let slow = handle.table("slow").await.unwrap();
    let delay = Duration::from_millis(200);
    let delayed = handle.with(move |node, _| node.delay_table(slow, delay));
    delayed.await.unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    for n in 0..MANY {
        let tell = tell.clone();
        let op = TableOp::Put {
            key: n.to_string().into(),
            value: "v".into(),
            expires: None,
        };
        let done = move |answer| tell.send(answer).unwrap();
        let request = TableRequest::new(slow, op).into();
        handle.ask(request, None, done).unwrap();
    }
    // Another table answers meanwhile.
    handle.put(TABLE, "k", "v").await.unwrap();
    assert!(told.try_recv().is_err(), "all of them wait");
    let request = TableRequest::new(slow, TableOp::Get { key: "0".into() });
    let patience = Some(Duration::from_millis(20));
    let late = handle.request(request.into(), patience).await;
    assert_eq!(late, Err(Error::Node(RequestError::DeadlineExceeded)));
    assert!(handle.get(slow, "199").await.unwrap().is_some());
    let answers: Vec<_> = told.try_iter().collect();
    assert_eq!(answers.len() as u32, MANY);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // Its rows are there, and no scan or watch takes them for all of the table.
    let refused = |answer| assert!(matches!(answer, Err(Error::AnswersLater(_))), "{answer:?}");
    refused(handle.scan(slow, "", None).await);
    refused(handle.scan_range(slow, Bytes::new().., None).await);
    let mut watch = handle.watch(slow).await.unwrap();
    let told = watch.next().await.unwrap();
    assert!(matches!(told, Err(Error::AnswersLater(_))), "{told:?}");
    a.end().await;
}

async fn siblings_are_read_and_replaced<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let handle = a.handle.clone();
    let options = TableOptions::default().conflict(Conflict::Siblings);
    let carts = handle.create_table("carts", options).await.unwrap();
    assert_eq!(handle.siblings(carts, "k").await, Ok(None));
    handle.put(carts, "k", "one").await.unwrap();
    let one = handle.get(carts, "k").await.unwrap();
    assert_eq!(one.map(|row| row.value), Some("one".into()));
    handle.put(carts, "k", "two").await.unwrap();
    assert_eq!(handle.get(carts, "k").await, Err(Error::Siblings));
    assert_eq!(handle.scan(carts, "", None).await, Err(Error::Siblings));
    let seen = handle.siblings(carts, "k").await.unwrap().unwrap();
    assert_eq!(seen.values.len(), 2);
    let both = Some("both".into());
    handle
        .replace(carts, "k", both, seen.context)
        .await
        .unwrap();
    let rows = handle.scan(carts, "", None).await.unwrap().rows;
    assert_eq!((rows.len(), &rows[0].1.value[..]), (1, &b"both"[..]));
    let seen = handle.siblings(carts, "k").await.unwrap().unwrap();
    handle
        .replace(carts, "k", None, seen.context)
        .await
        .unwrap();
    assert_eq!(handle.get(carts, "k").await, Ok(None));
    handle.put(TABLE, "k", "v").await.unwrap();
    let none = handle.siblings(TABLE, "k").await;
    assert_eq!(none, Err(Error::NoSiblings));
    a.end().await;
}

async fn the_nodes_own_errors_come_through<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let refused = a.handle.put(TABLE, "", "v").await.unwrap_err();
    let empty = RequestError::Write(WriteError::EmptyKey);
    assert_eq!(refused, Error::Node(empty));
    assert_eq!(refused.to_string(), "a key has at least one byte");
    assert!(matches!(a.handle.table("").await, Err(Error::Node(_))));
    a.end().await;
}

async fn a_page_of_rows_ends_and_the_next_begins<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    for n in 0..1_500 {
        a.handle.put(TABLE, format!("k{n:04}"), "v").await.unwrap();
    }
    a.handle.put(TABLE, "other", "v").await.unwrap();
    let first = a.handle.scan(TABLE, "k", None).await.unwrap();
    assert_eq!(
        (first.rows.len(), &first.next),
        (1_000, &Some("k0999".into()))
    );
    let second = a.handle.scan(TABLE, "k", first.next).await.unwrap();
    let ends = second.rows.first().zip(second.rows.last());
    let ends = ends.map(|(first, last)| (&first.0[..], &last.0[..]));
    assert_eq!(ends, Some((&b"k1000"[..], &b"k1499"[..])));
    assert_eq!(second.next, None);
    let range = Bytes::from("k0998")..=Bytes::from("k1001");
    let keys = async |after: Option<&'static str>| {
        let after = after.map(Bytes::from);
        let page = a.handle.scan_range(TABLE, range.clone(), after).await;
        let page = page.unwrap();
        assert_eq!(page.next, None);
        let keys = page.rows.iter().map(|(key, _)| key.clone());
        keys.collect::<Vec<Bytes>>()
    };
    assert_eq!(keys(None).await, ["k0998", "k0999", "k1000", "k1001"]);
    assert_eq!(keys(Some("k0999")).await, ["k1000", "k1001"]);
    assert_eq!(keys(Some("k0")).await.len(), 4);
    let ends = (
        Bound::Excluded(Bytes::from("k1498")),
        Bound::Excluded(Bytes::from("o")),
    );
    let rows = a.handle.scan_range(TABLE, ends, None).await.unwrap().rows;
    assert_eq!((rows.len(), &rows[0].0[..]), (1, &b"k1499"[..]));
    let all = a.handle.scan_range(TABLE, .., None).await.unwrap();
    assert_eq!((all.rows.len(), all.next), (1_000, Some("k0999".into())));
    a.end().await;
}

async fn a_watch_tells_every_change_and_goes_on_after_it_lagged<R: Runtime>(runtime: R) {
    let log = |config: &mut Config| config.limits.change_log = 64;
    let a = start(&runtime, Options::new(any()), log).await;
    let quiet = a.handle.table("quiet").await.unwrap();
    let mut still = a.handle.watch(quiet).await.unwrap();
    let mut changes = a.handle.watch(TABLE).await.unwrap();
    // It waits at the loop while the log goes round several times, and misses nothing of its table.
    assert!(future::poll_once(still.next()).await.is_none());
    a.handle.put(TABLE, "k", "v").await.unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert!(matches!(change.kind, ChangeKind::Put { key, .. } if key == "k"));
    a.handle.delete(TABLE, "k").await.unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert!(matches!(change.kind, ChangeKind::Deleted { key } if key == "k"));
    for n in 0..1_000 {
        a.handle.put(TABLE, format!("{n}"), "v").await.unwrap();
    }
    let lagged = changes.next().await.unwrap();
    assert!(matches!(lagged, Err(Error::Lagged { .. })), "{lagged:?}");
    a.handle.put(TABLE, "last", "v").await.unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert!(matches!(change.kind, ChangeKind::Put { key, .. } if key == "last"));
    a.handle.put(quiet, "loud", "v").await.unwrap();
    let change = still.next().await.unwrap().unwrap();
    assert!(matches!(change.kind, ChangeKind::Put { key, .. } if key == "loud"));
    a.end().await;
}

/// Reads lists of members until one is right.
async fn members_until<R: Runtime>(
    runtime: &R,
    watch: &mut MemberWatch,
    right: impl Fn(&[MemberInfo]) -> bool,
) {
    let told = async { while !right(&watch.next().await.unwrap().unwrap()) {} };
    let late = async {
        runtime.sleep(PATIENCE).await;
        panic!("waited in vain for other members");
    };
    future::or(told, late).await;
}

/// Whether the member of this name is in this state.
fn is_in(name: &str) -> impl Fn(&[MemberInfo], MemberState) -> bool {
    move |members, state| {
        let mut members = members.iter();
        members.any(|member| member.name == name && member.state == state)
    }
}

async fn a_watch_of_the_members_tells_who_comes_and_serves_and_goes<R: Runtime>(runtime: R) {
    let quick = |config: &mut Config| config.timing.probe_interval = Duration::from_millis(50);
    let a = start(&runtime, Options::new(any()), quick).await;
    let seed = a.peers.to_string();
    let mut watch = a.handle.watch_members();
    let alone = watch.next().await.unwrap().unwrap();
    assert_eq!((alone.len(), alone[0].me), (1, true));
    // Nothing changes, so nothing is told.
    assert!(future::poll_once(watch.next()).await.is_none());
    a.handle.with(|_, _| ()).await.unwrap();
    assert!(future::poll_once(watch.next()).await.is_none());
    let join = |config: &mut Config| {
        quick(config);
        config.seeds.push(seed.clone());
    };
    let b = start(&runtime, Options::new(any()), join).await;
    let name = b.peers.to_string();
    let is = is_in(&name);
    members_until(&runtime, &mut watch, |members| {
        is(members, MemberState::Alive)
    })
    .await;
    let web = BTreeMap::from([("web".to_owned(), "10.0.0.7:80".to_owned())]);
    b.handle.set_protocols(web).await.unwrap();
    members_until(&runtime, &mut watch, |members| {
        let web = |member: &MemberInfo| member.protocols.get("web").cloned();
        members
            .iter()
            .any(|m| web(m).as_deref() == Some("10.0.0.7:80"))
    })
    .await;
    b.end().await;
    members_until(&runtime, &mut watch, |members| {
        is(members, MemberState::Down)
    })
    .await;
    let c = start(&runtime, Options::new(any()), join).await;
    let name = c.peers.to_string();
    let is = is_in(&name);
    members_until(&runtime, &mut watch, |members| {
        is(members, MemberState::Alive)
    })
    .await;
    // Only a node that knows the others tells them that it leaves.
    let joined = c.handle.join(a.peers.to_string(), PATIENCE).await;
    assert_eq!(joined, Ok(()));
    c.handle.leave().await.unwrap();
    members_until(&runtime, &mut watch, |members| {
        is(members, MemberState::Left)
    })
    .await;
    a.end().await;
    assert!(watch.next().await.is_none());
}

async fn watches_of_the_members_count_among_the_watches<R: Runtime>(runtime: R) {
    let mut options = Options::new(any());
    options.watches = 1;
    let a = start(&runtime, options, |_| {}).await;
    let mut first = a.handle.watch_members();
    let mut second = a.handle.watch_members();
    assert!(first.next().await.unwrap().is_ok() && second.next().await.unwrap().is_ok());
    {
        let mut waiting = pin!(first.next());
        assert!(future::poll_once(waiting.as_mut()).await.is_none());
        let refused = second.next().await.unwrap();
        assert_eq!(refused, Err(Error::Busy { limit: 1 }));
        let web = BTreeMap::from([("web".to_owned(), "10.0.0.7:80".to_owned())]);
        a.handle.set_protocols(web).await.unwrap();
        assert!(waiting.await.unwrap().is_ok());
    }
    // A watch that went away has left its place.
    drop(first);
    assert!(second.next().await.unwrap().is_ok());
    assert!(future::poll_once(second.next()).await.is_none());
    a.end().await;
}

async fn settings_change<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let name = "limits.value_bytes";
    let change = |value: &str| vec![(name.to_owned(), Some(value.to_owned()))];
    a.handle.change_settings(change("2KiB")).await.unwrap();
    let settings = a.handle.settings().await.unwrap();
    assert!(settings.iter().any(|setting| setting.name == name));
    let large = a.handle.put(TABLE, "k", vec![0; 3_000]).await;
    assert!(matches!(large, Err(Error::Node(RequestError::Write(_)))));
    let refused = a.handle.change_settings(change("much")).await;
    assert!(matches!(
        refused,
        Err(Error::Node(RequestError::Setting(_)))
    ));
    a.end().await;
}

async fn calls_wait_for_room_and_all_are_answered<R: Runtime>(runtime: R) {
    let mut options = Options::new(any());
    options.commands = 2;
    let driver = Driver::bind(runtime.clone(), options).await.unwrap();
    let handle = driver.handle();
    let mut first = pin!(handle.put(TABLE, "a", "1"));
    let mut second = pin!(handle.put(TABLE, "b", "2"));
    let mut third = pin!(handle.put(TABLE, "c", "3"));
    let mut idle = Context::from_waker(Waker::noop());
    for put in [first.as_mut(), second.as_mut(), third.as_mut()] {
        assert!(put.poll(&mut idle).is_pending());
    }
    let full = handle.call(|_, _| {});
    assert_eq!(full, Err(Error::Busy { limit: 2 }));
    let config = crate::config("a", &driver.peers_addr().to_string());
    let node = Recovery::new(config, Seed::from_u64(1));
    let node = node.finish(driver.now()).unwrap();
    let (done, exit) = answer();
    runtime.spawn(async move { done.send(driver.run(node, None).await) });
    for put in [first.as_mut(), second.as_mut(), third.as_mut()] {
        put.await.unwrap();
    }
    handle.shutdown().await.unwrap();
    assert!(matches!(exit.await, Some(Exit::Stopped(_))));
}

async fn nobody_waits_for_a_loop_that_has_ended<R: Runtime>(runtime: R) {
    let silent = TcpListener::bind(any()).unwrap();
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let (handle, addr) = (a.handle.clone(), silent.local_addr().unwrap().to_string());
    let mut changes = handle.watch(TABLE).await.unwrap();
    let told = {
        let mut watching = pin!(changes.next());
        let mut joining = pin!(handle.join(addr, PATIENCE));
        assert!(future::poll_once(watching.as_mut()).await.is_none());
        assert!(future::poll_once(joining.as_mut()).await.is_none());
        // Both have reached the loop before the order to end.
        handle.with(|_, _| ()).await.unwrap();
        assert!(matches!(a.end().await, Exit::Stopped(_)));
        (watching.await, joining.await)
    };
    assert!(matches!(told, (None, Err(Error::Closed))), "{told:?}");
    assert!(changes.next().await.is_none());
    assert_eq!(value(&handle, "k").await, Err(Error::Closed));
    assert_eq!(handle.put(TABLE, "k", "v").await, Err(Error::Closed));
    assert_eq!(handle.call(|_, _| {}), Err(Error::Closed));
    assert_eq!(handle.sync().await, Err(Error::Closed));
    assert_eq!(handle.leave().await, Err(Error::Closed));
    assert_eq!(handle.shutdown().await, Err(Error::Closed));
    assert!(matches!(handle.watch(TABLE).await, Err(Error::Closed)));
}

async fn a_loop_that_is_dropped_closes_its_handles<R: Runtime>(runtime: R) {
    let driver = Driver::bind(runtime, Options::new(any())).await.unwrap();
    let handle = driver.handle();
    let config = crate::config("a", &driver.peers_addr().to_string());
    let node = Recovery::new(config, Seed::from_u64(1));
    let node = node.finish(driver.now()).unwrap();
    let mut put = pin!(handle.put(TABLE, "k", "v"));
    assert!(future::poll_once(put.as_mut()).await.is_none());
    let mut waiting = pin!(handle.watch(TABLE));
    {
        let mut running = Box::pin(driver.run(node, None));
        assert!(future::poll_once(&mut running).await.is_none());
        assert!(put.await.is_ok());
        assert!(future::poll_once(waiting.as_mut()).await.is_none());
    }
    assert!(matches!(waiting.await, Err(Error::Closed)));
    assert_eq!(value(&handle, "k").await, Err(Error::Closed));
}

async fn a_second_leave_ends_the_first<R: Runtime>(runtime: R) {
    let a = start(&runtime, Options::new(any()), |_| {}).await;
    let seed = a.peers.to_string();
    let b = start(&runtime, Options::new(any()), |config| {
        config.seeds.push(seed)
    })
    .await;
    wait("each other", async || {
        a.handle.status().await.unwrap().members == 2
    })
    .await;
    // Its peer vanishes, so no member takes over what it holds.
    b.vanish().await;
    a.handle.put(TABLE, "k", "v").await.unwrap();
    let mut first = pin!(a.handle.leave());
    assert!(future::poll_once(first.as_mut()).await.is_none());
    wait("the leave", async || {
        let status = a.handle.status().await;
        status.is_ok_and(|status| status.phase == NodePhase::Leaving)
    })
    .await;
    assert_eq!(a.handle.leave().await, Err(Error::LeaveCut));
    assert_eq!(first.await, Err(Error::LeaveCut));
    assert!(matches!(a.exit.await, Some(Exit::LeaveCut)));
}

async fn requests_of_those_who_went_away_are_taken_back<R: Runtime>(runtime: R) {
    let silent = TcpListener::bind(any()).unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let few = |config: &mut Config| config.limits.requests = 20;
    let a = start(&runtime, Options::new(any()), few).await;
    for _ in 0..20 {
        let mut joining = pin!(a.handle.join(addr.clone(), PATIENCE));
        let polled = future::poll_once(joining.as_mut()).await;
        assert!(matches!(polled, None | Some(Err(_))), "{polled:?}");
        a.handle.with(|_, _| ()).await.unwrap();
    }
    a.handle.sync().await.unwrap();
    let last = future::poll_once(a.handle.join(addr, PATIENCE)).await;
    assert_eq!(last, None);
    a.end().await;
}

async fn a_copy_of_a_node_is_refused_and_told_so<R: Runtime>(runtime: R) {
    let disk = MemoryStore::new();
    let a = start_stored(&runtime, disk.clone(), |_| {}).await;
    a.handle.sync().await.unwrap();
    let mut copied = MemoryStore::new();
    let mut copy = |record| copied.apply(&[StoreOp::Put(record)]);
    disk.clone().load(&mut copy).unwrap();
    let seed = a.peers.to_string();
    let b = start(&runtime, Options::new(any()), |config| {
        config.seeds.push(seed)
    })
    .await;
    wait("two members", async || {
        b.handle.status().await.unwrap().members == 2
    })
    .await;
    let copy = start_stored(&runtime, copied, |_| {}).await;
    let id = async |handle: &Handle| handle.with(|node, _| node.id()).await;
    assert_eq!(id(&a.handle).await, id(&copy.handle).await);
    let joined = copy.handle.join(b.peers.to_string(), PATIENCE).await;
    let Err(Error::Node(RequestError::Join(why))) = joined else {
        panic!("{joined:?}");
    };
    assert!(
        why.contains("another node with this node's id answers"),
        "{why}"
    );
    // The original goes on.
    a.handle.put(TABLE, "k", "v").await.unwrap();
    wait("the row", async || {
        value(&b.handle, "k").await.unwrap().is_some()
    })
    .await;
    for node in [copy, a, b] {
        node.end().await;
    }
}

/// Shows the order on an executor of one thread.
#[test]
fn a_watch_is_told_in_the_turn_of_the_write() {
    let executor = std::sync::Arc::new(smol::Executor::new());
    let runtime = rumormill_smol::Smol::on(executor.clone());
    future::block_on(executor.run(async {
        let a = start(&runtime, Options::new(any()), |_| {}).await;
        let mut changes = a.handle.watch(TABLE).await.unwrap();
        for n in 0..100 {
            let mut next = pin!(changes.next());
            assert!(future::poll_once(next.as_mut()).await.is_none());
            a.handle.put(TABLE, "k", format!("{n}")).await.unwrap();
            let told = future::poll_once(next).await;
            let told = matches!(told, Some(Some(Ok(_))));
            assert!(told, "write {n} was not told in its turn");
        }
        a.end().await;
    }));
}
