//! Changes of a table as server-sent events.
//!
//! A watcher reads the *feed* of its table, where each change is encoded once for all; one that is further behind reads the node's log of
//! changes by itself. The next event is made when the system has taken the last one, so that a client which reads nothing
//! keeps one event in memory. All bytes count in one budget.

mod budget;
mod event;
mod feed;
mod hub;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rumormill_core::{
    TableId,
    errors::ChangesError,
    table::{Change, Cursor},
};
use smol::{Timer, stream};
use utoipa::ToSchema;

use self::budget::{Charge, Enrolled};
use self::event::{Event, bare, key};
use self::feed::Next;
use self::hub::{Seat, read, with_value};
use crate::error::ApiError;
use crate::patience::Flow;
use crate::query::Query;
use crate::siblings::ListedSibling;
use crate::text::Text;

pub(crate) use self::event::EventId;
pub(crate) use self::hub::Hub;

/// Events that are sent together have so many bytes at most; a larger one is sent alone, from where all its watchers have it.
const TOGETHER: usize = 16 << 10;

/// One event of a watch, as the lines `id: `, `event: ` and `data: ` and an empty one; `data` is JSON in one line.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is sent")]
pub(crate) struct WatchEvent {
    /// The place after the event: what `Last-Event-ID` or `cursor` give back to go on from there.
    id: String,
    event: EventName,
    data: EventData,
}

/// The kind of an event.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes what is sent")]
enum EventName {
    /// The watch has begun.
    Ready,
    /// A row was written.
    Put,
    /// A row was deleted.
    Deleted,
    /// A row has expired.
    Expired,
    /// Everything in the table was removed.
    Flushed,
    /// Events were missed: read the table again. The watch goes on from here.
    Lagged,
    /// The last event: this member ends the watch.
    End,
}

/// The data of an event: `{}` for `ready`, `flushed` and `lagged`, the key for `deleted` and `expired`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is sent")]
struct EventData {
    /// The key.
    key: Option<Text>,
    /// With `put`: the value; absent in a table that keeps siblings.
    value: Option<Text>,
    /// With `put`: when the row expires, in milliseconds since the Unix epoch.
    expires_ms: Option<u64>,
    /// With `put`, in a table that keeps siblings: all of them.
    siblings: Option<Vec<ListedSibling>>,
    /// With `put`, in a table that keeps siblings: what a write gives back in `X-Rumormill-Context`.
    context: Option<String>,
    /// With `put`: `unreadable`, when the stored value is damaged.
    error: Option<String>,
    /// With `end`: `busy`, when too much waits for clients that watch, or `unavailable`, when the node does not answer.
    reason: Option<String>,
}

/// The answer to `?watch`.
pub(crate) async fn stream(
    hub: Arc<Hub>,
    keep_alive: Duration,
    table: String,
    query: &Query,
    headers: &HeaderMap,
    flow: Option<Arc<Flow>>,
) -> Result<Response, ApiError> {
    for name in ["after", "limit", "page"] {
        if query.has(name) {
            return Err(ApiError::bad_parameter(format!(
                "{name} does not go with watch"
            )));
        }
    }
    let resume = resume_from(query, headers)?;
    let (seat, end) = hub.open(table).await?;
    let (at, greeting) = match resume {
        Some(id) if id.boot == end.boot => (id, "ready"),
        Some(_) => (end, "lagged"),
        None => (end, "ready"),
    };
    let budget = hub.budget.clone();
    let watcher = Watcher {
        _enrolled: flow.as_ref().map(|flow| budget.enrol(flow)),
        hub,
        keep_alive,
        seat,
        prefix: query.bytes("prefix").unwrap_or(b"").to_vec(),
        at,
        greeting: Some(greeting),
        own: Own::none(),
        flow,
    };
    let events = stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        let (events, goes_on) = match watcher.next().await {
            Ok(events) => (events, true),
            Err(why) => (watcher.farewell(why), false),
        };
        if let Some(flow) = &watcher.flow {
            flow.owe(events.len());
        }
        Some((Ok::<_, io::Error>(events), goes_on.then_some(watcher)))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn resume_from(query: &Query, headers: &HeaderMap) -> Result<Option<EventId>, ApiError> {
    let given = match (query.bytes("cursor"), headers.get("last-event-id")) {
        (_, Some(value)) => value.as_bytes(),
        (Some(value), None) => value,
        (None, None) => return Ok(None),
    };
    let parsed = std::str::from_utf8(given).ok().and_then(EventId::parse);
    let wrong = || {
        ApiError::bad_parameter("a cursor is that of a listing, or the id of an event of a watch")
    };
    Ok(Some(parsed.ok_or_else(wrong)?))
}

/// One watch.
struct Watcher {
    hub: Arc<Hub>,
    /// After so long without an event it is sent a comment.
    keep_alive: Duration,
    seat: Seat,
    prefix: Vec<u8>,
    at: EventId,
    greeting: Option<&'static str>,
    own: Own,
    /// Its connection; absent where the interface is called without sockets.
    flow: Option<Arc<Flow>>,
    _enrolled: Option<Enrolled>,
}

/// Changes that a watcher has read by itself, since it is behind its feed.
struct Own {
    table: TableId,
    changes: VecDeque<Change>,
    /// Where to go on after them.
    next: Option<Cursor>,
    /// Bytes that they keep in memory.
    _charge: Option<Charge>,
}

impl Own {
    fn none() -> Own {
        Own {
            table: TableId::DEFAULT,
            changes: VecDeque::new(),
            next: None,
            _charge: None,
        }
    }
}

/// Why a watch ends while its connection could go on.
#[derive(Clone, Copy)]
enum Farewell {
    /// Too many bytes wait for watchers.
    Busy,
    /// The node does not answer.
    Unavailable,
}

impl From<ApiError> for Farewell {
    fn from(_: ApiError) -> Self {
        Farewell::Unavailable
    }
}

impl Watcher {
    /// The next events, or a comment when there are none for long.
    async fn next(&mut self) -> Result<Bytes, Farewell> {
        if let Some(flow) = &self.flow {
            flow.drained().await;
        }
        if let Some(greeting) = self.greeting.take() {
            let mut text = b"retry: 1000\n".to_vec();
            text.extend(bare(self.at, greeting, "{}"));
            return Ok(self.hub.budget.hold(text));
        }
        // A comment now and then, so that both ends notice a dead connection.
        let mut late = Timer::after(self.keep_alive);
        loop {
            if let Some(events) = self.ready().await? {
                return Ok(events);
            }
            let (feed, at) = (&self.seat.feed, self.at.cursor);
            let news = async {
                feed.news(self.seat.number, at).await;
                false
            };
            let is_late = smol::future::or(news, async {
                (&mut late).await;
                true
            });
            if is_late.await {
                return Ok(self.heartbeat());
            }
        }
    }

    /// A comment with the place up to which the client has seen all there was.
    fn heartbeat(&mut self) -> Bytes {
        self.seat.advance();
        if let Next::Nothing(end) = self.seat.feed.after(self.at.cursor) {
            self.at.cursor = end;
        }
        Bytes::from(format!(": still here\nid: {}\n\n", self.at))
    }

    /// The last event of a watch that is ended from this side.
    fn farewell(&self, why: Farewell) -> Bytes {
        let reason = match why {
            Farewell::Busy => r#"{"reason":"busy"}"#,
            Farewell::Unavailable => r#"{"reason":"unavailable"}"#,
        };
        Bytes::from(bare(self.at, "end", reason))
    }

    /// Events that are there, if there are any: several small ones, or a single large one.
    async fn ready(&mut self) -> Result<Option<Bytes>, Farewell> {
        let mut together = Vec::new();
        loop {
            let event = match self.own_event().await? {
                Some(event) => event,
                None => match self.seat.feed.after(self.at.cursor) {
                    Next::Event(event) => event,
                    Next::Behind if together.is_empty() => match self.catch_up().await? {
                        Some(lagged) => return Ok(Some(lagged)),
                        None => continue,
                    },
                    Next::Broken if together.is_empty() => return Err(Farewell::Unavailable),
                    Next::Behind | Next::Broken => break,
                    Next::Nothing(end) => {
                        self.at.cursor = end;
                        break;
                    }
                },
            };
            if !event.concerns(&self.prefix) {
                self.passed(&event);
            } else if together.is_empty() && event.text.len() >= TOGETHER {
                self.passed(&event);
                return Ok(Some(event.text));
            } else if together.len() + event.text.len() <= TOGETHER {
                self.passed(&event);
                together.extend_from_slice(&event.text);
            } else {
                break;
            }
        }
        let together = (!together.is_empty()).then_some(together);
        Ok(together.map(|text| self.hub.budget.hold(text)))
    }

    /// Moves on behind an event.
    fn passed(&mut self, event: &Event) {
        self.at.cursor = event.after;
        self.own.changes.pop_front();
    }

    /// The first change that the watcher has read by itself, encoded.
    async fn own_event(&mut self) -> Result<Option<Event>, Farewell> {
        let hub = &self.hub;
        while let Some(change) = self.own.changes.front() {
            let id = EventId {
                boot: self.at.boot,
                cursor: change.cursor.next(),
            };
            let ours = key(&change.kind).is_none_or(|key| key.starts_with(&self.prefix));
            let kind = match ours {
                true => {
                    let kind = change.kind.clone();
                    with_value(&self.hub.calls, self.own.table, kind).await?
                }
                false => None,
            };
            match kind {
                Some(kind) => return Ok(Some(Event::of(id, &kind, &hub.budget))),
                None => {
                    self.at.cursor = id.cursor;
                    self.own.changes.pop_front();
                }
            }
        }
        if let Some(next) = self.own.next.take() {
            self.at.cursor = next;
            self.own._charge = None;
        }
        Ok(None)
    }

    /// Reads the log from where the watcher is; the event `lagged` when the log no longer reaches back to there.
    async fn catch_up(&mut self) -> Result<Option<Bytes>, Farewell> {
        let hub = &self.hub;
        if !hub.room().await {
            return Err(Farewell::Busy);
        }
        let name = self.seat.feed.name.clone();
        let (read, end) = read(&self.hub.calls, name, self.at.cursor).await?;
        let Some(read) = read else {
            // A table that is not there has not changed.
            self.at.cursor = end;
            return Ok(None);
        };
        match read.changes {
            Ok(changes) => {
                let bytes = changes.changes.iter().map(|change| change.kind.bytes());
                self.own = Own {
                    table: read.table,
                    _charge: Some(hub.budget.charge(bytes.sum())),
                    next: Some(changes.next),
                    changes: changes.changes.into(),
                };
                Ok(None)
            }
            Err(ChangesError::AnswersLater(_)) => Err(Farewell::Unavailable),
            Err(_) => {
                self.at.cursor = end;
                Ok(Some(Bytes::from(bare(self.at, "lagged", "{}"))))
            }
        }
    }
}
