//! Rows of users' tables: raw bytes in and out, and listings in key order.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rumormill_core::{
    Accepted, Durability, Namespace, Node, Now, Request, Response as Answer, RowRef, ScanRange,
    TableId, TableName, Version, Wall, Write,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::backend::Calls;
use crate::error::ApiError;
use crate::query::Query;
use crate::router::Gateway;
use crate::text;
use crate::watch;

/// Longest time to live that is accepted: a thousand years.
const MAX_TTL_MS: u64 = 1_000 * 365 * 24 * 3600 * 1000;

/// Rows in one listing at most.
const MAX_ROWS: u64 = 1_000;

/// Row bytes in one listing, exceeded only by a single larger row.
const LIST_BYTES: usize = 1 << 20;

/// A row as a reader on another thread gets it.
pub(crate) struct Row {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) expires: Option<Wall>,
    pub(crate) version: Version,
}

/// Some rows of a table, in key order, as the node has them in memory.
pub(crate) struct Page {
    table: TableId,
    /// The keys, and the rows but for those whose values are only in the store.
    rows: Vec<(Bytes, Option<Row>)>,
    more: bool,
    /// Whether the rows may be shown only after a sync.
    gated: bool,
}

impl Page {
    fn push(&mut self, row: &RowRef<'_>) {
        let known = row.value().map(|value| Row {
            key: row.key().clone(),
            value: value.clone(),
            expires: row.expires(),
            version: row.version(),
        });
        self.rows.push((row.key().clone(), known));
    }

    /// The key after which the next page begins, if there is one.
    pub(crate) fn next(&self) -> Option<Bytes> {
        let last = self.rows.last().filter(|_| self.more);
        last.map(|(key, _)| key.clone())
    }

    /// The rows once they may be shown, with values from the store. A row that is loaded is shown as it is then, and left out
    /// when it has gone.
    ///
    /// # Errors
    /// A value cannot be read, or the node does not serve.
    pub(crate) async fn complete(self, calls: &Calls) -> Result<Vec<Row>, ApiError> {
        if self.gated {
            calls.sync().await?;
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for (key, row) in self.rows {
            match row {
                Some(row) => rows.push(row),
                None => rows.extend(load(calls, self.table, key).await?),
            }
        }
        Ok(rows)
    }
}

/// Reads a row through the store; `None` when it has gone.
pub(crate) async fn load(
    calls: &Calls,
    table: TableId,
    key: Bytes,
) -> Result<Option<Row>, ApiError> {
    let request = Request::Get {
        table,
        key: key.clone(),
    };
    let read = match calls.request(request).await? {
        Answer::Row(read) => read,
        Answer::Siblings(_) => return Err(ApiError::siblings()),
        _ => None,
    };
    Ok(read.map(|read| Row {
        key,
        value: read.value,
        expires: read.expires,
        version: read.version,
    }))
}

/// Rows in key order, and where to go on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Listing {
    rows: Vec<ListedRow>,
    /// The path and query of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One row of a listing.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListedRow {
    /// The key: a string, or `{"base64":"..."}` if it is no UTF-8.
    #[schema(value_type = Object)]
    key: Value,
    /// The value, likewise.
    #[schema(value_type = Object)]
    value: Value,
    /// When the row expires, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

/// Read a row: its value is the body, byte for byte.
#[utoipa::path(get, path = "/v1/usr/{table}/{key}", tag = "rows",
    params(("table" = String, Path, description = "The table"),
           ("key" = String, Path, description = "The key, percent-encoded; slashes may stand for themselves")),
    responses((status = 200, description = "The value", content_type = "application/octet-stream"),
              (status = 400, description = "`bad_parameter`, `bad_table_name`"),
              (status = 404, description = "`not_found`: no such row"),
              (status = 500, description = "`unreadable`: the stored value is damaged"),
              (status = 503, description = "`busy`, `unavailable`, `halted`: the node does not serve")))]
pub(crate) async fn read(
    State(gateway): State<Gateway>,
    uri: Uri,
) -> Result<impl IntoResponse, ApiError> {
    Query::parse(uri.query(), &[])?;
    let (table, key) = row_path(&uri)?;
    let row = gateway.read_row(table, key).await?;
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        header_value("application/octet-stream"),
    );
    headers.insert(header::ETAG, header_value(&etag(row.version)));
    if let Some(expires) = row.expires {
        headers.insert("expires-ms", header_value(&expires.as_millis().to_string()));
    }
    Ok((headers, Body::from(row.value)))
}

/// Write a row: the body is the value, byte for byte.
#[utoipa::path(put, path = "/v1/usr/{table}/{key}", tag = "rows",
    params(("table" = String, Path, description = "The table; it comes into being with its first row"),
           ("key" = String, Path, description = "The key, percent-encoded"),
           ("ttl_ms" = Option<u64>, Query, description = "The row expires after so many milliseconds")),
    request_body(content = String, content_type = "application/octet-stream", description = "The value"),
    responses((status = 201, description = "The row is new"),
              (status = 204, description = "The row was replaced"),
              (status = 400, description = "`bad_parameter`, `key_too_large`, `bad_table_name`"),
              (status = 413, description = "`value_too_large`, with the limit"),
              (status = 409, description = "`clock_ahead`"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `halted`, `unavailable`")))]
pub(crate) async fn write(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let query = Query::parse(uri.query(), &["ttl_ms"])?;
    let ttl = query
        .number("ttl_ms", 1, MAX_TTL_MS)?
        .map(Duration::from_millis);
    let (table, key) = row_path(&uri)?;
    let value = gateway.read_value(&headers, body).await?;
    let accepted = gateway.write_row(table, key, value, ttl).await?;
    let status = status_of(&accepted, StatusCode::NO_CONTENT);
    Ok((status, [(header::ETAG, etag(accepted.version))]).into_response())
}

/// Delete a row.
#[utoipa::path(delete, path = "/v1/usr/{table}/{key}", tag = "rows",
    params(("table" = String, Path, description = "The table"),
           ("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 204, description = "The row is deleted"),
              (status = 400, description = "`bad_parameter`, `key_too_large`, `bad_table_name`"),
              (status = 404, description = "`not_found`: no such row"),
              (status = 409, description = "`clock_ahead`"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `halted`, `unavailable`")))]
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    Query::parse(uri.query(), &[])?;
    let (table, key) = row_path(&uri)?;
    gateway.remove_row(table, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List a table in key order, or watch it with `?watch`.
///
/// A watch is a stream of server-sent events: `ready`, then `put`, `deleted`, `expired` and `flushed` as they happen, and
/// `lagged` when events were missed, so that the table has to be read again. A `put` whose stored value is damaged carries
/// `"error":"unreadable"` instead. Each carries an id; give the last one back as
/// `Last-Event-ID` or `?cursor=` to go on from there.
#[utoipa::path(get, path = "/v1/usr/{table}", tag = "rows",
    params(("table" = String, Path, description = "The table"),
           ("prefix" = Option<String>, Query, description = "Only keys that begin with this"),
           ("after" = Option<String>, Query, description = "Only keys after this one"),
           ("limit" = Option<u64>, Query, description = "At most so many rows, 1 to 1000; 100 if absent"),
           ("watch" = Option<String>, Query, description = "Stream changes instead"),
           ("cursor" = Option<String>, Query, description = "With watch: the id to go on from")),
    responses((status = 200, description = "The rows, or the stream", body = Listing),
              (status = 400, description = "`bad_parameter`, `bad_table_name`"),
              (status = 500, description = "`unreadable`: a stored value is damaged"),
              (status = 503, description = "`busy`, `unavailable`, `halted`: the node does not serve")))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Query::parse(
        uri.query(),
        &["prefix", "after", "limit", "watch", "cursor"],
    )?;
    let table = table_name(below_root(&uri))?;
    if query.has("watch") {
        return watch::stream(gateway, table, &query, &headers).await;
    }
    let limit = query.number("limit", 1, MAX_ROWS)?.unwrap_or(100);
    let prefix = query.bytes("prefix").unwrap_or(b"").to_vec();
    let after = query.bytes("after").map(<[u8]>::to_vec);
    let next_path = format!("/v1/usr/{}", text::encode_percent(table.as_bytes()));
    let scan_prefix = prefix.clone();
    let page = gateway
        .calls
        .with(move |node, now| {
            let id = node.find_table(&user_table(table))?;
            Some(page(
                node,
                now,
                id,
                &scan_prefix,
                after.as_deref(),
                limit as usize,
                LIST_BYTES,
            ))
        })
        .await?;
    let Some(page) = page else {
        return Ok(Json(Listing {
            rows: Vec::new(),
            next: None,
        })
        .into_response());
    };
    let next = page.next().map(|last| {
        let prefix = text::encode_percent(&prefix);
        let after = text::encode_percent(&last);
        format!("{next_path}?prefix={prefix}&after={after}&limit={limit}")
    });
    let rows = page.complete(&gateway.calls).await?;
    let rows = rows.iter().map(|row| ListedRow {
        key: text::to_json(&row.key),
        value: text::to_json(&row.value),
        expires_ms: row.expires.map(Wall::as_millis),
    });
    Ok(Json(Listing {
        rows: rows.collect(),
        next,
    })
    .into_response())
}

impl Gateway {
    /// The live row, or `not_found`.
    pub(crate) async fn read_row(&self, table: String, key: Vec<u8>) -> Result<Row, ApiError> {
        let found = self
            .calls
            .with(move |node, now| {
                let id = node.find_table(&user_table(table))?;
                let row = node.view(now).get(id, &key).row()?;
                let mut page = Page {
                    table: id,
                    rows: Vec::new(),
                    more: false,
                    gated: row.seq() > node.durable() && is_synced(node, now, id),
                };
                page.push(&row);
                Some(page)
            })
            .await?;
        let absent = || ApiError::not_found("no such row");
        let rows = found.ok_or_else(absent)?.complete(&self.calls).await?;
        rows.into_iter().next().ok_or_else(absent)
    }

    /// Writes a row and waits for the sync if the table promises it.
    pub(crate) async fn write_row(
        &self,
        table: String,
        key: Vec<u8>,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Accepted, ApiError> {
        let accepted = self
            .calls
            .with(move |node, now| {
                let id = node.table(&table)?;
                let expires = ttl.map(|ttl| now.wall + ttl);
                let write = Write::Put {
                    key: &key,
                    value,
                    expires,
                };
                node.write(now, id, write).map_err(ApiError::from)
            })
            .await??;
        self.promise(accepted).await
    }

    /// Deletes a row, or says `not_found`.
    pub(crate) async fn remove_row(
        &self,
        table: String,
        key: Vec<u8>,
    ) -> Result<Accepted, ApiError> {
        let accepted = self
            .calls
            .with(move |node, now| {
                let id = node
                    .find_table(&user_table(table))
                    .ok_or_else(|| ApiError::not_found("no such row"))?;
                node.write(now, id, Write::Delete { key: &key })
                    .map_err(ApiError::from)
            })
            .await??;
        match accepted.existed {
            true => self.promise(accepted).await,
            false => Err(ApiError::not_found("no such row")),
        }
    }

    async fn promise(&self, accepted: Accepted) -> Result<Accepted, ApiError> {
        if accepted.sync {
            self.calls.sync().await?;
        }
        Ok(accepted)
    }
}

/// At most `limit` rows and about `bytes` bytes after `after`.
pub(crate) fn page(
    node: &Node,
    now: Now,
    table: TableId,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    bytes: usize,
) -> Page {
    let synced = is_synced(node, now, table);
    let mut page = Page {
        table,
        rows: Vec::new(),
        more: false,
        gated: false,
    };
    let mut size = 0;
    for row in node.view(now).scan(table, ScanRange { prefix, after }) {
        size += row.key().len() + row.value_len();
        if page.rows.len() == limit || (size > bytes && !page.rows.is_empty()) {
            page.more = true;
            break;
        }
        page.gated |= synced && row.seq() > node.durable();
        page.push(&row);
    }
    page
}

/// Whether what the table shows must be durable.
pub(crate) fn is_synced(node: &Node, now: Now, table: TableId) -> bool {
    let info = node.view(now).table_info(table);
    info.is_some_and(|info| info.options.durability == Durability::Sync)
}

pub(crate) fn user_table(name: String) -> TableName {
    TableName {
        namespace: Namespace::Usr,
        name,
    }
}

/// The status of an answer to a write: `replaced` when there was a row before.
pub(crate) fn status_of(accepted: &Accepted, replaced: StatusCode) -> StatusCode {
    match accepted.existed {
        true => replaced,
        false => StatusCode::CREATED,
    }
}

/// What a path says below that of all tables.
fn below_root(uri: &Uri) -> &str {
    uri.path().strip_prefix("/v1/usr/").unwrap_or("")
}

/// Table and key of a row's path.
fn row_path(uri: &Uri) -> Result<(String, Vec<u8>), ApiError> {
    let rest = below_root(uri);
    let (table, key) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((table_name(table)?, text::decode_percent(key)))
}

fn table_name(encoded: &str) -> Result<String, ApiError> {
    String::from_utf8(text::decode_percent(encoded)).map_err(|_| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_table_name",
            "a table name is UTF-8",
        )
    })
}

fn etag(version: Version) -> String {
    format!(
        "\"{}-{}-{}\"",
        version.clock, version.actor, version.counter
    )
}

fn header_value(text: &str) -> axum::http::HeaderValue {
    axum::http::HeaderValue::from_str(text)
        .unwrap_or_else(|_| axum::http::HeaderValue::from_static(""))
}
