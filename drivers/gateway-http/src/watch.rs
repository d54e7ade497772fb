//! Changes of a table as server-sent events.

use std::io;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rumormill_core::{ChangeKind, Cursor, TableError, TableId, TableName, Wall};
use serde_json::json;
use smol::lock::Mutex;
use smol::stream;

use crate::backend::Calls;
use crate::error::ApiError;
use crate::page::{Content, is_synced, load, user_table};
use crate::query::Query;
use crate::router::Gateway;
use crate::siblings::SiblingList;
use crate::text;

/// How often the node is asked, once for all watchers, whether anything changed.
const PULSE: Duration = Duration::from_millis(20);

/// A comment is sent after so long without an event, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Changes fetched at once.
const BATCH: usize = 256;

/// The end of the node's log of changes as last seen: one look serves all watchers.
#[derive(Default)]
pub(crate) struct Pulse(Mutex<Option<(Instant, Cursor)>>);

impl Pulse {
    async fn end(&self, calls: &Calls) -> Result<Cursor, ApiError> {
        let mut seen = self.0.lock().await;
        if let Some((at, cursor)) = *seen
            && at.elapsed() < PULSE
        {
            return Ok(cursor);
        }
        let cursor = calls.with(|node, now| node.view(now).cursor()).await?;
        *seen = Some((Instant::now(), cursor));
        Ok(cursor)
    }
}

/// Where a watcher is: cursors are valid for one life of one node only, so an id names both.
#[derive(Clone, Copy, PartialEq)]
struct EventId {
    run: u64,
    cursor: Cursor,
}

impl EventId {
    fn parse(text: &str) -> Option<EventId> {
        let (run, cursor) = text.split_once('-')?;
        let run = u64::from_str_radix(run, 16).ok()?;
        Some(EventId {
            run,
            cursor: Cursor(cursor.parse().ok()?),
        })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.cursor.0)
    }
}

struct Watcher {
    gateway: Gateway,
    /// By its name: whoever watches makes no table, and one may come to be meanwhile.
    table: TableName,
    prefix: Vec<u8>,
    at: EventId,
    greeting: Option<&'static str>,
}

/// The answer to `?watch`.
pub(crate) async fn stream(
    gateway: Gateway,
    table: String,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    for name in ["after", "limit"] {
        if query.has(name) {
            return Err(ApiError::bad_parameter(format!(
                "{name} does not go with watch"
            )));
        }
    }
    let resume = resume_from(query, headers)?;
    let size = table.len();
    let (limit, end) = gateway
        .calls
        .with(|node, now| {
            let end = EventId {
                run: node.actor().run,
                cursor: node.view(now).cursor(),
            };
            // Records give a name one byte of length.
            let limit = node.config().limits.table_name_bytes;
            (limit.min(usize::from(u8::MAX)), end)
        })
        .await?;
    if size == 0 || size > limit {
        return Err(TableError::BadName { size, limit }.into());
    }
    let (at, greeting) = match resume {
        Some(id) if id.run == end.run => (id, "ready"),
        Some(_) => (end, "lagged"),
        None => (end, "ready"),
    };
    let prefix = query.bytes("prefix").unwrap_or(b"").to_vec();
    let watcher = Watcher {
        gateway,
        table: user_table(table),
        prefix,
        at,
        greeting: Some(greeting),
    };
    let events = stream::unfold(watcher, |mut watcher| async {
        match watcher.next().await {
            Ok(events) => Some((Ok::<_, io::Error>(events), watcher)),
            Err(_) => None,
        }
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
    let wrong = || ApiError::bad_parameter("a cursor is the id of an event of an earlier watch");
    Ok(Some(parsed.ok_or_else(wrong)?))
}

impl Watcher {
    /// The next events, or a comment when there are none for long.
    async fn next(&mut self) -> Result<Bytes, ApiError> {
        if let Some(greeting) = self.greeting.take() {
            let id = self.at;
            return Ok(Bytes::from(format!(
                "retry: 1000\n{}",
                event(id, greeting, "{}")
            )));
        }
        let calls = self.gateway.calls.clone();
        let begin = Instant::now();
        while begin.elapsed() < KEEP_ALIVE {
            let end = self.gateway.pulse.end(&calls).await?;
            if end > self.at.cursor {
                let events = self.fetch(&calls).await?;
                if !events.is_empty() {
                    return Ok(Bytes::from(events));
                }
                continue;
            }
            smol::Timer::after(PULSE).await;
        }
        Ok(Bytes::from_static(b": still here\n\n"))
    }

    async fn fetch(&mut self, calls: &Calls) -> Result<String, ApiError> {
        let (name, from) = (self.table.clone(), self.at.cursor);
        let (found, end) = calls
            .with(move |node, now| {
                let found = node.find_table(&name).map(|table| {
                    let changes = node.view(now).changes(table, from, BATCH);
                    (table, changes, is_synced(node, now, table))
                });
                (found, node.view(now).cursor())
            })
            .await?;
        let Some((table, changes, synced)) = found else {
            // What is not there has not changed.
            self.at.cursor = end;
            return Ok(String::new());
        };
        let changes = match changes {
            Ok(changes) => changes,
            Err(lagged) => {
                self.at.cursor = lagged.restart;
                return Ok(event(self.at, "lagged", "{}"));
            }
        };
        if synced && !changes.changes.is_empty() {
            calls.sync().await?;
        }
        let mut out = String::new();
        for change in changes.changes {
            // The id names the place after the change: a watch that begins there does not see it again.
            let id = EventId {
                run: self.at.run,
                cursor: Cursor(change.cursor.0 + 1),
            };
            let kind = self.with_value(calls, table, change.kind).await?;
            if let Some(text) = kind.and_then(|kind| self.describe(id, &kind)) {
                out.push_str(&text);
            }
        }
        self.at.cursor = changes.next;
        Ok(out)
    }

    /// A write whose value is only in the store, with the value as it is now; `None` when the row has gone since, which the
    /// log tells later, and unchanged when it cannot be read.
    async fn with_value(
        &self,
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
        if !key.starts_with(&self.prefix) {
            return Ok(None);
        }
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

    fn describe(&self, id: EventId, kind: &ChangeKind) -> Option<String> {
        let ours = |key: &Bytes| key.starts_with(&self.prefix);
        match kind {
            ChangeKind::Put {
                key,
                value: Some(value),
                expires,
            } => ours(key).then(|| {
                let mut data = json!({ "key": text::to_json(key), "value": text::to_json(value) });
                if let Some(expires) = expires {
                    data["expires_ms"] = Wall::as_millis(*expires).into();
                }
                event(id, "put", &data.to_string())
            }),
            ChangeKind::Put { key, .. } => ours(key).then(|| {
                let data = json!({ "key": text::to_json(key), "error": "unreadable" });
                event(id, "put", &data.to_string())
            }),
            ChangeKind::Siblings { key, siblings } => ours(key).then(|| {
                let mut data = json!(SiblingList::from(siblings));
                data["key"] = text::to_json(key);
                event(id, "put", &data.to_string())
            }),
            ChangeKind::Deleted { key } => ours(key).then(|| {
                event(
                    id,
                    "deleted",
                    &json!({ "key": text::to_json(key) }).to_string(),
                )
            }),
            ChangeKind::Expired { key } => ours(key).then(|| {
                event(
                    id,
                    "expired",
                    &json!({ "key": text::to_json(key) }).to_string(),
                )
            }),
            ChangeKind::Flushed { .. } => Some(event(id, "flushed", "{}")),
        }
    }
}

/// JSON never contains a line break, so the data is one line.
fn event(id: EventId, name: &str, data: &str) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}
