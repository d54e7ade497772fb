//! The feeds of all watched tables, and the tasks that fill them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rumormill_core::{
    Node, Now, TableId,
    errors::{ChangesError, TableError},
    table::{ChangeKind, Changes, Cursor, Namespace, TableName},
};
use smol::{Executor, Timer};

use super::budget::Budget;
use super::event::{Event, EventId};
use super::feed::Feed;
use crate::backend::Calls;
use crate::error::ApiError;
use crate::page::{Content, is_synced, load, user_table};

/// Changes fetched at once.
const BATCH: usize = 256;

/// How long a watcher or a feed may wait for room in the budget.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// How often a wait for room looks again, and a look that failed is repeated.
const AGAIN: Duration = Duration::from_millis(20);

/// Looks that may fail one after the other before all watches of a table end.
const FAILURES: u32 = 100;

/// Looks at the node for all watchers. The loop tells it once per turn which tables have changed.
pub(crate) struct Hub {
    pub(super) calls: Calls,
    desk: Arc<Desk>,
    pub(super) budget: Budget,
    /// Runs a task for each watched table.
    tasks: Executor<'static>,
    /// Whether the loop tells of changes.
    listening: AtomicBool,
}

/// The feeds that the loop and the gateway share.
#[derive(Default)]
struct Desk(Mutex<Feeds>);

#[derive(Default)]
struct Feeds {
    /// Every change before this was told of.
    told: Option<Cursor>,
    names: BTreeMap<String, Arc<Feed>>,
    tables: BTreeMap<TableId, Arc<Feed>>,
    /// Feeds of tables that are not there yet.
    unborn: Vec<Arc<Feed>>,
    /// How often all tables have changed at once.
    revision_of_all: u64,
}

/// A watcher's place at a feed, until it is dropped.
pub(super) struct Seat {
    pub(super) feed: Arc<Feed>,
    pub(super) number: u64,
    desk: Arc<Desk>,
}

/// Changes as the node has them, and how they may be shown.
pub(super) struct Read {
    pub(super) table: TableId,
    pub(super) changes: Result<Changes, ChangesError>,
    /// Whether they may be shown only after a sync.
    synced: bool,
}

impl Feeds {
    /// Finds the feed of a table. A name that was forgotten and has come back has another id than before.
    fn of(&mut self, node: &Node, now: Now, table: TableId) -> Option<Arc<Feed>> {
        let known = self.tables.get(&table);
        if known.is_some() || self.names.is_empty() {
            return known.map(Arc::clone);
        }
        let info = node.view(now).table_info(table)?;
        let users = info.namespace == Namespace::Usr;
        let feed = Arc::clone(self.names.get(info.name).filter(|_| users)?);
        self.tables.insert(table, Arc::clone(&feed));
        Some(feed)
    }

    /// Finds the feeds that a turn concerns, each once: a look may begin after a mark, and with a second mark the feed would stay behind the log until
    /// its next watcher waits.
    fn touched(&mut self, node: &Node, now: Now, tables: &[TableId]) -> Vec<Arc<Feed>> {
        let mut touched: Vec<Arc<Feed>> = Vec::new();
        let revision = node.view(now).revision_of_all();
        if std::mem::replace(&mut self.revision_of_all, revision) != revision {
            touched.extend(self.names.values().map(Arc::clone));
        }
        for feed in std::mem::take(&mut self.unborn) {
            match node.find_table(&feed.name) {
                Some(table) => {
                    touched.push(Arc::clone(&feed));
                    self.tables.insert(table, feed);
                }
                None => self.unborn.push(feed),
            }
        }
        touched.extend(tables.iter().filter_map(|table| self.of(node, now, *table)));
        touched.sort_unstable_by_key(Arc::as_ptr);
        touched.dedup_by(|one, other| Arc::ptr_eq(one, other));
        touched
    }
}

impl Desk {
    fn feeds(&self) -> MutexGuard<'_, Feeds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which tables have changed in a turn. On the loop: O(log tables) for each that changed, and for each that is watched and not there; O(tables that
    /// are watched) after a flush of all.
    fn turn(&self, node: &Node, now: Now, tables: &[TableId]) {
        let mut feeds = self.feeds();
        let end = node.view(now).cursor();
        let before = feeds.told.replace(end).unwrap_or(Cursor::START);
        for feed in feeds.touched(node, now, tables) {
            feed.mark(before);
        }
    }

    /// Takes a place at the feed of a table, which is made if there is none; whether it was made. On the loop.
    fn seat(self: &Arc<Self>, node: &Node, name: &TableName, end: Cursor) -> (Seat, bool) {
        let mut feeds = self.feeds();
        let known = feeds.names.get(&name.name).map(Arc::clone);
        let fresh = known.is_none();
        let feed = known.unwrap_or_else(|| {
            let feed = Arc::new(Feed::new(name.clone(), end));
            feeds.names.insert(name.name.clone(), Arc::clone(&feed));
            match node.find_table(name) {
                Some(table) => drop(feeds.tables.insert(table, Arc::clone(&feed))),
                None => feeds.unborn.push(Arc::clone(&feed)),
            }
            feed
        });
        let number = feed.join();
        let desk = Arc::clone(self);
        let seat = Seat { feed, number, desk };
        (seat, fresh)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut feeds = self.desk.feeds();
        if self.feed.leave(self.number) {
            let others = |feed: &Arc<Feed>| !Arc::ptr_eq(feed, &self.feed);
            feeds.names.retain(|_, feed| others(feed));
            feeds.tables.retain(|_, feed| others(feed));
            feeds.unborn.retain(others);
            self.feed.wake_task();
        }
    }
}

impl Seat {
    /// Where an idle watcher is: nothing has happened to its table up to the end of the log that was told last.
    pub(super) fn advance(&self) {
        if let Some(told) = self.desk.feeds().told {
            self.feed.advance(told);
        }
    }
}

impl Hub {
    pub(crate) fn new(calls: Calls, bytes: usize) -> Hub {
        Hub {
            calls,
            desk: Arc::default(),
            budget: Budget::new(bytes),
            tasks: Executor::new(),
            listening: AtomicBool::new(false),
        }
    }

    /// Fills the feeds, for ever.
    pub(crate) async fn work(&self) {
        self.tasks.run(std::future::pending::<()>()).await;
    }

    /// Watches, and the bytes that wait for them.
    pub(crate) fn load(&self) -> (usize, usize) {
        let feeds = self.desk.feeds();
        let watchers = feeds.names.values().map(|feed| feed.watchers());
        (watchers.sum(), self.budget.used())
    }

    /// Takes a place at a table's feed, and says where the log ends.
    ///
    /// # Errors
    /// The name is none, or the node does not answer.
    pub(super) async fn open(self: &Arc<Self>, table: String) -> Result<(Seat, EventId), ApiError> {
        self.listen()?;
        let desk = Arc::clone(&self.desk);
        let size = table.len();
        let name = user_table(table);
        let opened = self.calls.with(move |node, now| {
            // Records give a name one byte of length.
            let limit = node.config().limits.table_name_bytes;
            let limit = limit.min(usize::from(u8::MAX));
            if size == 0 || size > limit {
                return Err(ApiError::from(TableError::BadName { size, limit }));
            }
            let view = node.view(now);
            if let Some(table) = node.find_table(&name) {
                // A table that answers later is refused here.
                view.len(table)?;
            }
            let (cursor, boot) = (view.cursor(), node.actor().boot);
            Ok((desk.seat(node, &name, cursor), EventId { boot, cursor }))
        });
        let ((seat, fresh), end) = opened.await??;
        if fresh {
            let task = fill(
                self.calls.clone(),
                Arc::clone(&seat.feed),
                Shared::of(self),
                end.boot,
            );
            self.tasks.spawn(task).detach();
        }
        Ok((seat, end))
    }

    fn listen(&self) -> Result<(), ApiError> {
        if !self.listening.swap(true, Ordering::SeqCst) {
            let desk = Arc::clone(&self.desk);
            let listener = move |node: &Node, now: Now, tables: &[TableId]| {
                desk.turn(node, now, tables);
                true
            };
            let listens = self.calls.listen(Box::new(listener));
            self.listening.store(listens.is_ok(), Ordering::SeqCst);
            listens?;
        }
        Ok(())
    }

    /// Waits for room in the budget, and makes some: whether there is.
    pub(super) async fn room(&self) -> bool {
        Shared::of(self).room().await
    }
}

/// The state that the tasks share with the hub.
struct Shared {
    desk: Arc<Desk>,
    budget: Budget,
}

impl Shared {
    fn of(hub: &Hub) -> Shared {
        Shared {
            desk: Arc::clone(&hub.desk),
            budget: hub.budget.clone(),
        }
    }

    async fn room(&self) -> bool {
        let begin = Instant::now();
        while !self.budget.has_room() {
            // Changes that feeds keep are in the log too.
            for feed in self.desk.feeds().names.values() {
                feed.forget();
            }
            if self.budget.has_room() {
                break;
            }
            if begin.elapsed() > ROOM_PATIENCE {
                return false;
            }
            self.budget.cut_one();
            Timer::after(AGAIN).await;
        }
        true
    }
}

/// Fills a feed for as long as it has watchers.
async fn fill(calls: Calls, feed: Arc<Feed>, shared: Shared, boot: u64) {
    let mut failures = 0;
    while let Some(from) = feed.begin().await {
        if !shared.room().await {
            feed.failed();
            continue;
        }
        match look(
            &calls,
            &feed,
            &shared.budget,
            EventId { boot, cursor: from },
        )
        .await
        {
            Ok(()) => failures = 0,
            Err(_) if failures < FAILURES => {
                failures += 1;
                feed.failed();
                Timer::after(AGAIN).await;
            }
            Err(_) => return feed.break_off(),
        }
    }
}

/// Looks once for changes of a feed's table.
async fn look(calls: &Calls, feed: &Feed, budget: &Budget, from: EventId) -> Result<(), ApiError> {
    let (read, end) = read(calls, feed.name.clone(), from.cursor).await?;
    let Some(Read { table, changes, .. }) = read else {
        feed.found(Vec::new(), end, false);
        return Ok(());
    };
    let changes = match changes {
        Ok(changes) => changes,
        Err(ChangesError::AnswersLater(later)) => return Err(later.into()),
        Err(_) => {
            feed.restart(end);
            return Ok(());
        }
    };
    let mut events = Vec::with_capacity(changes.changes.len());
    for change in changes.changes {
        let id = EventId {
            boot: from.boot,
            cursor: change.cursor.next(),
        };
        if let Some(kind) = with_value(calls, table, change.kind).await? {
            events.push(Event::of(id, &kind, budget));
        }
    }
    feed.found(events, changes.next, changes.more);
    Ok(())
}

/// Changes of a table from a place on, once they may be shown; `None` when there is no such table. And the end of the log.
///
/// # Errors
/// The node does not answer.
pub(super) async fn read(
    calls: &Calls,
    name: TableName,
    from: Cursor,
) -> Result<(Option<Read>, Cursor), ApiError> {
    let (read, end) = calls
        .with(move |node, now| {
            let read = node.find_table(&name).map(|table| Read {
                table,
                changes: node.view(now).changes(table, from, BATCH),
                synced: is_synced(node, now, table),
            });
            (read, node.view(now).cursor())
        })
        .await?;
    let shows = |changes: &Changes| !changes.changes.is_empty();
    let gated = read
        .as_ref()
        .is_some_and(|read| read.synced && read.changes.as_ref().is_ok_and(shows));
    if gated {
        calls.sync().await?;
    }
    Ok((read, end))
}

/// A write whose value is only in the store, with the value as it is now; `None` when the row has gone since, which the log tells
/// later, and unchanged when it cannot be read.
pub(super) async fn with_value(
    calls: &Calls,
    table: TableId,
    kind: ChangeKind,
) -> Result<Option<ChangeKind>, ApiError> {
    let ChangeKind::Put {
        key, value: None, ..
    } = &kind
    else {
        return Ok(Some(kind));
    };
    let row = match load(calls, table, key.clone()).await {
        Err(error) if error.is_unreadable() => return Ok(Some(kind)),
        read => read?,
    };
    Ok(row.map(|row| match row.content {
        Content::Value { value, expires, .. } => ChangeKind::Put {
            key: row.key,
            value: Some(value),
            expires,
        },
        Content::Siblings(siblings) => ChangeKind::Siblings {
            key: row.key,
            siblings,
        },
    }))
}

#[cfg(test)]
mod tests {
    use rumormill_core::{
        Config, Instant, Recovery, Seed, Wall,
        io::{Input, Output},
        table::Write,
    };

    use super::*;

    /// A node in virtual time, and a desk that it tells of its changes.
    struct Lab {
        node: Node,
        now: Now,
        desk: Arc<Desk>,
    }

    impl Lab {
        fn new(change_log: usize) -> Lab {
            let mut config = Config::new("a", "here");
            config.limits.change_log = change_log;
            let now = Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000));
            let node = Recovery::new(config, Seed::from_u64(7)).finish(now);
            let node = node.expect("a new node");
            let desk = Arc::default();
            Lab { node, now, desk }
        }

        fn put(&mut self, table: &str, key: &str) {
            let table = self.node.table_to_write(table).expect("a name");
            let write = Write::Put {
                key: key.as_bytes(),
                value: "v".into(),
                expires: None,
            };
            self.node.write(self.now, table, write).expect("accepted");
        }

        /// Lets time pass, and ends a turn of which the desk is told.
        fn turn(&mut self, millis: u64) {
            let later = std::time::Duration::from_millis(millis);
            self.now = Now::new(self.now.mono + later, self.now.wall + later);
            self.node.handle(self.now, Input::Tick);
            let mut changed = Vec::new();
            while let Some(output) = self.node.poll_output() {
                if let Output::Changed { table } = output {
                    changed.push(table);
                }
            }
            self.desk.turn(&self.node, self.now, &changed);
        }

        fn watch(&self, table: &str) -> Seat {
            let end = self.node.view(self.now).cursor();
            let name = user_table(table.to_string());
            self.desk.seat(&self.node, &name, end).0
        }
    }

    #[test]
    fn a_flush_of_all_is_told_at_once_however_many_tables_there_are() {
        let mut lab = Lab::new(1 << 16);
        for n in 0..3_000 {
            lab.put(&format!("t{n}"), "k");
        }
        lab.turn(1_000);
        let seat = lab.watch("t2999");
        lab.node.flush(lab.now, None).expect("accepted");
        lab.turn(0);
        assert!(seat.feed.was_marked(), "in the turn of the flush");
    }

    #[test]
    fn a_feed_is_marked_once_in_a_turn() {
        let mut lab = Lab::new(1 << 16);
        lab.turn(1_000);
        let _unborn = lab.watch("t");
        lab.put("t", "k");
        lab.node.flush(lab.now, None).expect("accepted");
        let table = lab.node.user_table("t").expect("it has had a row");
        let mut feeds = lab.desk.feeds();
        let touched = feeds.touched(&lab.node, lab.now, &[table, table]);
        assert_eq!(touched.len(), 1, "it is born, changed and flushed");
    }

    #[test]
    fn a_name_that_was_forgotten_and_comes_back_is_told() {
        let mut lab = Lab::new(16);
        lab.put("h", "k");
        lab.turn(1_000);
        let table = lab.node.user_table("h").expect("it has a row");
        let seat = lab.watch("h");
        lab.node.flush(lab.now, Some(table)).expect("accepted");
        for n in 0..40 {
            lab.put("default", &n.to_string());
            lab.turn(1_000);
        }
        assert_eq!(lab.node.user_table("h"), None, "it was forgotten");
        assert!(seat.feed.was_marked());
        lab.put("h", "k");
        assert_ne!(lab.node.user_table("h"), Some(table));
        lab.turn(1_000);
        assert!(seat.feed.was_marked(), "under its new id");
    }
}
