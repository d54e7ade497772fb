//! The newest changes of one table, encoded once for all its watchers.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use rumormill_core::table::{Cursor, TableName};

use super::event::Event;

/// Bytes of events that a feed keeps for watchers that are a little behind; the newest event is kept whatever its size.
const KEPT_BYTES: usize = 256 << 10;

/// Events that a feed keeps.
const KEPT_EVENTS: usize = 4_096;

/// The newest changes of a table. A watcher further behind reads the node's log itself.
pub(super) struct Feed {
    /// By its name: a watch makes no table, and one may come to be meanwhile.
    pub(super) name: TableName,
    state: Mutex<State>,
}

struct State {
    /// All changes from `start` to `end` are in `events`.
    start: Cursor,
    end: Cursor,
    events: VecDeque<Event>,
    /// Where the event of a key is. A key that changes again has the newer one alone: the older one stays as an empty text.
    newest: BTreeMap<Bytes, Cursor>,
    bytes: usize,
    /// Whether the table may have changed since the last look at it began.
    dirty: bool,
    /// Whether a look at it is under way.
    looking: bool,
    /// Why there will be no more events.
    broken: bool,
    /// Watchers, and those of them that wait for news, by number.
    watchers: usize,
    last: u64,
    waiting: BTreeMap<u64, Waker>,
    /// The task that looks.
    task: Option<Waker>,
}

/// The next thing for a watcher.
pub(super) enum Next {
    /// A change.
    Event(Event),
    /// The feed begins later: the watcher has to read the node's log.
    Behind,
    /// Nothing has happened up to here.
    Nothing(Cursor),
    /// Nothing comes any more.
    Broken,
}

impl Feed {
    pub(super) fn new(name: TableName, at: Cursor) -> Feed {
        Feed {
            name,
            state: Mutex::new(State {
                start: at,
                end: at,
                events: VecDeque::new(),
                newest: BTreeMap::new(),
                bytes: 0,
                dirty: false,
                looking: false,
                broken: false,
                watchers: 0,
                last: 0,
                waiting: BTreeMap::new(),
                task: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more watcher, and returns its number.
    pub(super) fn join(&self) -> u64 {
        let mut state = self.state();
        state.watchers += 1;
        state.last += 1;
        state.last
    }

    /// Counts one watcher less; whether it was the last one.
    pub(super) fn leave(&self, number: u64) -> bool {
        let mut state = self.state();
        state.waiting.remove(&number);
        state.watchers -= 1;
        state.watchers == 0
    }

    /// Watchers.
    pub(super) fn watchers(&self) -> usize {
        self.state().watchers
    }

    /// Notes that the table has changed in the turn that began when the log ended at `before`. Called on the loop.
    pub(super) fn mark(&self, before: Cursor) {
        let mut state = self.state();
        state.advance(before);
        state.dirty = true;
        if !state.waiting.is_empty()
            && let Some(task) = state.task.take()
        {
            task.wake();
        }
    }

    /// Whether the table was marked since the last call.
    #[cfg(test)]
    pub(super) fn was_marked(&self) -> bool {
        std::mem::take(&mut self.state().dirty)
    }

    /// Notes that the log has reached `end` and every change of the table up to there was marked.
    pub(super) fn advance(&self, end: Cursor) {
        self.state().advance(end);
    }

    /// The first change after `at`.
    pub(super) fn after(&self, at: Cursor) -> Next {
        let state = self.state();
        if state.broken {
            return Next::Broken;
        }
        if at < state.start {
            return Next::Behind;
        }
        let place = state.events.partition_point(|event| event.after <= at);
        let mut later = state.events.range(place..);
        match later.find(|event| !event.text.is_empty()) {
            Some(event) => Next::Event(event.clone()),
            None => Next::Nothing(state.end.max(at)),
        }
    }

    /// Waits until there is something after `at`.
    pub(super) async fn news(&self, number: u64, at: Cursor) {
        poll_fn(|cx| {
            let mut state = self.state();
            let later = state.events.back().is_some_and(|event| event.after > at);
            if later || at < state.start || state.broken {
                state.waiting.remove(&number);
                return Poll::Ready(());
            }
            state.waiting.insert(number, cx.waker().clone());
            if state.dirty
                && let Some(task) = state.task.take()
            {
                task.wake();
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits until the table has changed and a watcher waits for that, and begins a look: where it begins; `None` when all watchers
    /// have gone.
    pub(super) async fn begin(&self) -> Option<Cursor> {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.watchers == 0 {
                return Poll::Ready(None);
            }
            if state.dirty && !state.waiting.is_empty() {
                state.dirty = false;
                state.looking = true;
                return Poll::Ready(Some(state.end));
            }
            state.task = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Ends a look that has found these events, in their order, and wakes the watchers. `more` says that it ended early.
    pub(super) fn found(&self, events: Vec<Event>, end: Cursor, more: bool) {
        let mut state = self.state();
        state.looking = false;
        state.dirty |= more;
        for event in events {
            state.push(event);
        }
        state.end = end;
        state.shorten(KEPT_BYTES, KEPT_EVENTS);
        state.wake();
    }

    /// Ends a look that failed and is to be repeated.
    pub(super) fn failed(&self) {
        let mut state = self.state();
        state.looking = false;
        state.dirty = true;
    }

    /// Ends a look for which the log no longer reached back: the feed begins anew at `at`.
    pub(super) fn restart(&self, at: Cursor) {
        let mut state = self.state();
        state.looking = false;
        state.dirty = true;
        state.events.clear();
        state.newest.clear();
        state.bytes = 0;
        (state.start, state.end) = (at, at);
        state.wake();
    }

    /// Ends all watches: the node does not answer.
    pub(super) fn break_off(&self) {
        let mut state = self.state();
        state.looking = false;
        state.broken = true;
        state.wake();
    }

    /// Forgets the events that it keeps: watchers find them in the log.
    pub(super) fn forget(&self) {
        self.state().shorten(0, 0);
    }

    /// Wakes the task, for example to end.
    pub(super) fn wake_task(&self) {
        if let Some(task) = self.state().task.take() {
            task.wake();
        }
    }
}

impl State {
    fn advance(&mut self, end: Cursor) {
        if !self.dirty && !self.looking {
            self.end = self.end.max(end);
        }
    }

    /// Adds an event, in the place of an older one of its key, or of all keys when it concerns every key.
    fn push(&mut self, event: Event) {
        match &event.key {
            Some(key) => {
                if let Some(older) = self.newest.insert(key.clone(), event.after)
                    && let Ok(place) = self.events.binary_search_by_key(&older, |old| old.after)
                {
                    let text = std::mem::take(&mut self.events[place].text);
                    self.bytes -= text.len();
                }
            }
            None => {
                self.newest.clear();
                for older in self.events.iter_mut().filter(|old| old.key.is_some()) {
                    let text = std::mem::take(&mut older.text);
                    self.bytes -= text.len();
                }
            }
        }
        self.bytes += event.text.len();
        self.events.push_back(event);
    }

    fn shorten(&mut self, bytes: usize, events: usize) {
        while self.events.len() > events || (self.bytes > bytes && self.events.len() > 1) {
            if let Some(event) = self.events.pop_front() {
                self.bytes -= event.text.len();
                self.start = event.after;
                if let Some(key) = &event.key
                    && self.newest.get(key) == Some(&event.after)
                {
                    self.newest.remove(key);
                }
            }
        }
    }

    fn wake(&mut self) {
        for waker in std::mem::take(&mut self.waiting).into_values() {
            waker.wake();
        }
    }
}
