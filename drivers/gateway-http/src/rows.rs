//! Rows of users' tables: raw bytes in and out, and listings in key order.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rumormill_core::{Accepted, CausalToken, ScanRange, Version, Wall, Write};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::page::{Content, Page, Row, user_table};
use crate::query::Query;
use crate::router::Gateway;
use crate::siblings::{self, ListedSibling, SiblingList};
use crate::text;
use crate::watch;

/// Longest time to live that is accepted: a thousand years.
const MAX_TTL_MS: u64 = 1_000 * 365 * 24 * 3600 * 1000;

/// Rows in one listing at most.
const MAX_ROWS: u64 = 1_000;

/// Row bytes in one listing, exceeded only by a single larger row.
const LIST_BYTES: usize = 1 << 20;

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
    /// The value, likewise; absent in a table that keeps siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    value: Option<Value>,
    /// When the row expires, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    /// The values of the key, one or more, in a table that keeps siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    siblings: Option<Vec<ListedSibling>>,
    /// What a write gives back in `X-Rumormill-Context` to replace the siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
}

impl From<&Row> for ListedRow {
    fn from(row: &Row) -> Self {
        let mut listed = ListedRow {
            key: text::to_json(&row.key),
            value: None,
            expires_ms: None,
            siblings: None,
            context: None,
        };
        match &row.content {
            Content::Value { value, expires, .. } => {
                listed.value = Some(text::to_json(value));
                listed.expires_ms = expires.map(Wall::as_millis);
            }
            Content::Siblings(siblings) => {
                let list = SiblingList::from(siblings);
                listed.siblings = Some(list.siblings);
                listed.context = Some(list.context);
            }
        }
        listed
    }
}

/// Read a row: its value is the body, byte for byte.
///
/// In a table that keeps siblings, the answer also has the context that a write gives back to replace what was read; a key of
/// several values is answered with 300 and all of them.
#[utoipa::path(get, path = "/v1/usr/{table}/{key}", tag = "rows",
    params(("table" = String, Path, description = "The table"),
           ("key" = String, Path, description = "The key, percent-encoded; slashes may stand for themselves")),
    responses((status = 200, description = "The value", content_type = "application/octet-stream",
               headers(("X-Rumormill-Context" = String, description = "In a table that keeps siblings"),
                       ("X-Rumormill-State" = String, description = "`joining` or `away`, while the node is no member: it may lack rows"))),
              (status = 300, description = "The values, in a table that keeps siblings", body = SiblingList,
               headers(("X-Rumormill-Context" = String, description = "What a write gives back to replace them"),
                       ("X-Rumormill-State" = String, description = "`joining` or `away`, while the node is no member: it may lack rows"))),
              (status = 400, description = "`bad_parameter`, `bad_table_name`"),
              (status = 404, description = "`not_found`: no such row",
               headers(("X-Rumormill-State" = String, description = "`joining` or `away`, while the node is no member: it may lack rows"))),
              (status = 500, description = "`unreadable`: the stored value is damaged"),
              (status = 503, description = "`busy`, `unavailable`, `halted`: the node does not serve")))]
pub(crate) async fn read(State(gateway): State<Gateway>, uri: Uri) -> Result<Response, ApiError> {
    Query::parse(uri.query(), &[])?;
    let (table, key) = row_path(&uri)?;
    let row = gateway.read_row(table, key).await?;
    let (value, expires, version) = match row.content {
        Content::Siblings(siblings) => return Ok(siblings::answer(siblings)),
        Content::Value {
            value,
            expires,
            version,
        } => (value, expires, version),
    };
    let mut response = raw(value, version).into_response();
    if let Some(expires) = expires {
        let expires = header_value(&expires.as_millis().to_string());
        response.headers_mut().insert("expires-ms", expires);
    }
    Ok(response)
}

/// Write a row: the body is the value, byte for byte.
///
/// In a table that keeps siblings, a write without a context adds a sibling; one with the context of a read replaces those that
/// the read has shown, and no others.
#[utoipa::path(put, path = "/v1/usr/{table}/{key}", tag = "rows",
    params(("table" = String, Path, description = "The table; it comes into being with its first row"),
           ("key" = String, Path, description = "The key, percent-encoded"),
           ("ttl_ms" = Option<u64>, Query, description = "The row expires after so many milliseconds"),
           ("X-Rumormill-Context" = Option<String>, Header, description = "In a table that keeps siblings: the context of a read of this key")),
    request_body(content = String, content_type = "application/octet-stream", description = "The value"),
    responses((status = 201, description = "The row is new"),
              (status = 204, description = "There was a row: it was replaced, or has a sibling more"),
              (status = 400, description = "`bad_parameter`, `key_too_large`, `bad_table_name`; `bad_context`, with a `reason`: \
               `malformed`, `damaged`, `unknown`, `other_key` or `unissued`; `context_unused`: the table keeps no siblings; \
               `expiry_unsupported`: rows with siblings do not expire"),
              (status = 413, description = "`value_too_large`, `siblings_too_large`, with the limit"),
              (status = 409, description = "`clock_ahead`, `last_clock`; `too_many_siblings`, with the limit"),
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
    let context = siblings::context(&headers)?;
    if ttl.is_some() && context.is_some() {
        return Err(ApiError::bad_parameter(
            "ttl_ms does not go with X-Rumormill-Context: rows with siblings do not expire",
        ));
    }
    let (table, key) = row_path(&uri)?;
    let value = gateway.read_value(&headers, body).await?;
    let accepted = gateway.write_row(table, key, value, ttl, context).await?;
    let status = status_of(&accepted, StatusCode::NO_CONTENT);
    Ok((status, [(header::ETAG, etag(accepted.version))]).into_response())
}

/// Delete a row.
///
/// In a table that keeps siblings, those that a read has shown: its context has to be given, and what others wrote since stays.
#[utoipa::path(delete, path = "/v1/usr/{table}/{key}", tag = "rows",
    params(("table" = String, Path, description = "The table"),
           ("key" = String, Path, description = "The key, percent-encoded"),
           ("X-Rumormill-Context" = Option<String>, Header, description = "In a table that keeps siblings: the context of a read of this key")),
    responses((status = 204, description = "The row is deleted; with a context: what the read has shown is gone, now or before"),
              (status = 400, description = "`bad_parameter`, `key_too_large`, `bad_table_name`; `bad_context`, with a `reason` as for PUT; \
               `context_unused`: the table keeps no siblings"),
              (status = 404, description = "`not_found`: no such row"),
              (status = 409, description = "`clock_ahead`, `last_clock`"),
              (status = 428, description = "`context_required`: the table keeps siblings"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `halted`, `unavailable`")))]
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    Query::parse(uri.query(), &[])?;
    let context = siblings::context(&headers)?;
    let (table, key) = row_path(&uri)?;
    gateway.remove_row(table, key, context).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List a table in key order, or watch it with `?watch`.
///
/// A watch is a stream of server-sent events: `ready`, then `put`, `deleted`, `expired` and `flushed` as they happen, and
/// `lagged` when events were missed, so that the table has to be read again. A `put` whose stored value is damaged carries
/// `"error":"unreadable"` instead, and one of a table that keeps siblings all of them and their context, as a listing does. Each carries an id; give the last one back as
/// `Last-Event-ID` or `?cursor=` to go on from there.
#[utoipa::path(get, path = "/v1/usr/{table}", tag = "rows",
    params(("table" = String, Path, description = "The table"),
           ("prefix" = Option<String>, Query, description = "Only keys that begin with this"),
           ("after" = Option<String>, Query, description = "Only keys after this one"),
           ("limit" = Option<u64>, Query, description = "At most so many rows, 1 to 1000; 100 if absent"),
           ("watch" = Option<String>, Query, description = "Stream changes instead"),
           ("cursor" = Option<String>, Query, description = "With watch: the id to go on from")),
    responses((status = 200, description = "The rows, or the stream", body = Listing,
               headers(("X-Rumormill-State" = String, description = "`joining` or `away`, while the node is no member: it may lack rows"))),
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
            let range = ScanRange {
                prefix: &scan_prefix,
                after: after.as_deref(),
                ..ScanRange::default()
            };
            let bounds = (limit as usize, LIST_BYTES);
            Some(Page::of_range(node, now, id, range, bounds))
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
    Ok(Json(Listing {
        rows: rows.iter().map(ListedRow::from).collect(),
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
                Page::of_key(node, now, id, &key)
            })
            .await?;
        let absent = || ApiError::not_found("no such row");
        let rows = found.ok_or_else(absent)?.complete(&self.calls).await?;
        rows.into_iter().next().ok_or_else(absent)
    }

    /// Writes a row and waits for the sync if the table promises it. A write with a context has no time to live.
    pub(crate) async fn write_row(
        &self,
        table: String,
        key: Vec<u8>,
        value: Bytes,
        ttl: Option<Duration>,
        context: Option<CausalToken>,
    ) -> Result<Accepted, ApiError> {
        let accepted = self
            .calls
            .with(move |node, now| {
                let id = node.table(&table)?;
                let key = &key[..];
                let write = match &context {
                    None => Write::Put {
                        key,
                        value,
                        expires: ttl.map(|ttl| now.wall + ttl),
                    },
                    Some(context) => Write::Replace {
                        key,
                        value,
                        context,
                    },
                };
                node.write(now, id, write).map_err(ApiError::from)
            })
            .await??;
        self.promise(accepted).await
    }

    /// Deletes a row, or says `not_found`. What a context has seen is gone afterwards, whether it had come here or not.
    pub(crate) async fn remove_row(
        &self,
        table: String,
        key: Vec<u8>,
        context: Option<CausalToken>,
    ) -> Result<Accepted, ApiError> {
        let seen = context.is_some();
        let accepted = self
            .calls
            .with(move |node, now| {
                let id = node
                    .find_table(&user_table(table))
                    .ok_or_else(|| ApiError::not_found("no such row"))?;
                let key = &key[..];
                let write = match &context {
                    None => Write::Delete { key },
                    Some(context) => Write::Remove { key, context },
                };
                node.write(now, id, write).map_err(ApiError::from)
            })
            .await??;
        match accepted.existed || seen {
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

/// A value as the body of an answer, byte for byte.
pub(crate) fn raw(value: Bytes, version: Version) -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        header_value("application/octet-stream"),
    );
    headers.insert(header::ETAG, header_value(&etag(version)));
    (headers, Body::from(value))
}

fn etag(version: Version) -> String {
    format!("\"{}\"", version_text(version))
}

/// A version as text.
pub(crate) fn version_text(version: Version) -> String {
    format!("{}-{}-{}", version.clock, version.actor, version.counter)
}

pub(crate) fn header_value(text: &str) -> axum::http::HeaderValue {
    axum::http::HeaderValue::from_str(text)
        .unwrap_or_else(|_| axum::http::HeaderValue::from_static(""))
}
