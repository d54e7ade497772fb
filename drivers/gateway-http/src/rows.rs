//! Rows of users' tables: raw bytes in and out.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rumormill_core::{
    Node, Now, TableId,
    io::Response as Answer,
    table::{Accepted, Caller, CausalToken, Mode, TableOp, TableRequest, Write},
};

use crate::answer::{etag, header_value, raw, unmodified};
use crate::backend::Unavailable;
use crate::conditions::{self, Conditions, Failed};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::page::{Content, Page, Row, is_synced, load, user_table};
use crate::query::Query;
use crate::siblings::{self, SiblingList};
use crate::text::{self, Raw};

/// Longest time to live that is accepted: a thousand years.
const MAX_TTL_MS: u64 = 1_000 * 365 * 24 * 3600 * 1000;

/// Read a row: its value is the body, byte for byte.
///
/// In a table that keeps siblings, the answer also has the context that a write gives back to replace what was read; a key of
/// several values is answered with 300 and all of them, and they have one `ETag` together.
#[utoipa::path(get, path = "/v1/usr/{table}/{key}", tag = "rows", operation_id = "read_row",
    params(("table" = String, Path, description = "The table"),
           ("key" = String, Path, description = "The key, percent-encoded; slashes may stand for themselves"),
           ("If-Match" = Option<String>, Header, description = "Only if the row has one of these tags; `*`: any"),
           ("If-None-Match" = Option<String>, Header, description = "Only if the row has none of these tags; `*`: none")),
    responses((status = 200, description = "The value", body = Raw, content_type = "application/octet-stream",
               headers(("ETag" = String, description = "The tag of the row"),
                       ("Expires-Ms" = u64, description = "When the row expires, in milliseconds since the Unix epoch; absent if it does not"),
                       ("X-Rumormill-Context" = String, description = "In a table that keeps siblings"))),
              (status = 300, description = "The values, in a table that keeps siblings", body = SiblingList,
               headers(("ETag" = String, description = "The tag of all of them together"),
                       ("X-Rumormill-Context" = String, description = "What a write gives back to replace them"))),
              (status = 304, description = "`If-None-Match`: the row has one of these tags",
               headers(("ETag" = String, description = "Its tag"))),
              (status = 400, description = "`bad_parameter`, `bad_table_name`, `mode_not_built`, `bad_condition`"),
              (status = 404, description = "`not_found`: no such row"),
              (status = 412, description = "`precondition_failed`: `If-Match`: the row has another tag, that in `ETag`"),
              (status = 500, description = "`unreadable`: the stored value is damaged"),
              (status = 501, description = "`conditions_unsupported`: the table is of a mode that judges no conditions"),
              (status = 503, description = "`busy`, `unavailable`, `halted`: the node does not serve")))]
pub(crate) async fn read(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Query::parse(uri.query(), &[])?;
    let (table, key) = row_path(&uri)?;
    let conditions = Conditions::parse(&headers)?;
    let row = match gateway.read_row(table, key, conditions).await? {
        Read::Row(row) => row,
        Read::Unmodified(tag) => return Ok(unmodified(&tag)),
    };
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
///
/// `If-Match` and `If-None-Match` are judged by this member's copy, in one step with the write: another member may accept another write
/// at the same time. In a table that keeps siblings they are about all siblings of the key together. A write with `If-Match` may be
/// sent again when its answer was lost: it takes effect once at most.
#[utoipa::path(put, path = "/v1/usr/{table}/{key}", tag = "rows", operation_id = "write_row",
    params(("table" = String, Path, description = "The table; it comes into being with its first row"),
           ("key" = String, Path, description = "The key, percent-encoded"),
           ("ttl_ms" = Option<u64>, Query, description = "The row expires after so many milliseconds"),
           ("If-Match" = Option<String>, Header, description = "Only if the row has one of these tags; `*`: only if there is a row"),
           ("If-None-Match" = Option<String>, Header, description = "Only if the row has none of these tags; `*`: only if there is no row"),
           ("X-Rumormill-Context" = Option<String>, Header, description = "In a table that keeps siblings: the context of a read of this key")),
    request_body(content = Raw, content_type = "application/octet-stream", description = "The value"),
    responses((status = 201, description = "The row is new", headers(("ETag" = String, description = "Its tag"))),
              (status = 204, description = "There was a row: it was replaced, or has a sibling more",
               headers(("ETag" = String, description = "The tag of what was written"))),
              (status = 400, description = "`bad_parameter`, `bad_condition`, `empty_key`, `key_too_large`, `bad_table_name`, `mode_not_built`; `bad_context`, with a `reason`: \
               `malformed`, `damaged`, `unknown`, `other_key` or `unissued`; `context_unused`: the table keeps no siblings; \
               `expiry_unsupported`: rows with siblings do not expire"),
              (status = 413, description = "`value_too_large`, `siblings_too_large`, with the limit"),
              (status = 409, description = "`clock_ahead`, `last_clock`; `too_many_siblings`, with the limit"),
              (status = 412, description = "`precondition_failed`: nothing was written; the tag of what is there, if anything is, in `ETag`"),
              (status = 501, description = "`conditions_unsupported`: the table is of a mode that judges no conditions"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
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
    let conditions = Conditions::parse(&headers)?;
    if ttl.is_some() && context.is_some() {
        return Err(ApiError::bad_parameter(
            "ttl_ms does not go with X-Rumormill-Context: rows with siblings do not expire",
        ));
    }
    let (table, key) = row_path(&uri)?;
    let value = gateway.read_value(&headers, body).await?;
    let put = Put {
        value,
        ttl,
        context,
    };
    let accepted = gateway.write_row(table, key, put, conditions).await?;
    let status = status_of(&accepted, StatusCode::NO_CONTENT);
    Ok((status, [(header::ETAG, etag(accepted.version))]).into_response())
}

/// Delete a row.
///
/// In a table that keeps siblings, those that a read has shown: its context has to be given, and what others wrote since stays.
#[utoipa::path(delete, path = "/v1/usr/{table}/{key}", tag = "rows", operation_id = "delete_row",
    params(("table" = String, Path, description = "The table"),
           ("key" = String, Path, description = "The key, percent-encoded"),
           ("If-Match" = Option<String>, Header, description = "Only if the row has one of these tags; `*`: only if there is a row"),
           ("If-None-Match" = Option<String>, Header, description = "Only if the row has none of these tags; `*`: only if there is no row"),
           ("X-Rumormill-Context" = Option<String>, Header, description = "In a table that keeps siblings: the context of a read of this key")),
    responses((status = 204, description = "The row is deleted; with a context: what the read has shown is gone, now or before"),
              (status = 400, description = "`bad_parameter`, `bad_condition`, `empty_key`, `key_too_large`, `bad_table_name`, `mode_not_built`; `bad_context`, with a `reason` as for PUT; \
               `context_unused`: the table keeps no siblings"),
              (status = 404, description = "`not_found`: no such row"),
              (status = 409, description = "`clock_ahead`, `last_clock`"),
              (status = 412, description = "`precondition_failed`: nothing was deleted; the tag of what is there in `ETag`"),
              (status = 428, description = "`context_required`: the table keeps siblings"),
              (status = 501, description = "`conditions_unsupported`: the table is of a mode that judges no conditions"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    Query::parse(uri.query(), &[])?;
    let context = siblings::context(&headers)?;
    let (table, key) = row_path(&uri)?;
    let conditions = Conditions::parse(&headers)?;
    gateway.remove_row(table, key, context, conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The outcome of a conditional read.
pub(crate) enum Read {
    Row(Row),
    /// The row, whose tag this is, is what the reader has.
    Unmodified(String),
}

/// The content of a write. One with a context has no time to live.
pub(crate) struct Put {
    pub(crate) value: Bytes,
    pub(crate) ttl: Option<Duration>,
    pub(crate) context: Option<CausalToken>,
}

/// A condition does not hold.
struct Refused {
    failed: Failed,
    /// The tag of what is there.
    tag: Option<String>,
    /// Whether what is there may be shown only after a sync.
    gated: bool,
}

/// Why a write has changed nothing yet.
enum Unwritten {
    Refused(Refused),
    Error(ApiError),
    /// The table answers later: this has to be asked for.
    Later(Box<TableRequest>),
}

/// The answer of the loop to a reader.
enum Looked {
    Page(Option<Page>),
    /// The table answers later: the key has to be asked for.
    Later(TableId, Vec<u8>),
}

impl<E: Into<ApiError>> From<E> for Unwritten {
    fn from(error: E) -> Self {
        Unwritten::Error(error.into())
    }
}

impl From<Refused> for Unwritten {
    fn from(refused: Refused) -> Self {
        Unwritten::Refused(refused)
    }
}

/// Judges conditions against the live row of a key; whether there is one. On the loop, in the job that depends on it.
fn judge(
    node: &Node,
    now: Now,
    table: Option<TableId>,
    key: &[u8],
    conditions: &Conditions,
) -> Result<bool, Refused> {
    let found = table.and_then(|table| Some((table, node.view(now).get(table, key).row()?)));
    if conditions.is_empty() {
        return Ok(found.is_some());
    }
    let tag = found.as_ref().map(|(_, row)| conditions::tag_of_row(row));
    match conditions.judge(tag.as_deref()) {
        Ok(()) => Ok(found.is_some()),
        Err(failed) => Err(Refused {
            failed,
            tag,
            gated: found.is_some_and(|(table, row)| {
                row.seq() > node.durable() && is_synced(node, now, table)
            }),
        }),
    }
}

/// Returns whether a table answers later. Such a table judges no conditions.
///
/// # Errors
/// `conditions_unsupported`.
fn answers_later(
    node: &Node,
    now: Now,
    table: Option<TableId>,
    conditions: &Conditions,
) -> Result<bool, ApiError> {
    let view = node.view(now);
    let later = table.is_some_and(|table| view.answers_later(table));
    match later && !conditions.is_empty() {
        true => Err(conditions::unsupported()),
        false => Ok(later),
    }
}

/// The request of a client for an operation.
fn client_asks(table: TableId, op: TableOp) -> Unwritten {
    let caller = Caller::Client { name: "".into() };
    Unwritten::Later(Box::new(TableRequest::new(table, op).caller(caller)))
}

impl Gateway {
    /// The live row, or `not_found`.
    ///
    /// # Errors
    /// `precondition_failed` beside those of any read.
    pub(crate) async fn read_row(
        &self,
        table: String,
        key: Vec<u8>,
        conditions: Conditions,
    ) -> Result<Read, ApiError> {
        let found = self
            .calls
            .with(move |node, now| {
                let id = node.find_table(&user_table(table));
                if let Some(id) = id
                    && answers_later(node, now, Some(id), &conditions)?
                {
                    return Ok(Looked::Later(id, key));
                }
                judge(node, now, id, &key, &conditions)?;
                let page = id.and_then(|id| Page::of_key(node, now, id, &key));
                Ok(Looked::Page(page))
            })
            .await?;
        let absent = || ApiError::not_found("no such row");
        let page = match found {
            Ok(Looked::Page(page)) => page.ok_or_else(absent)?,
            Ok(Looked::Later(table, key)) => {
                let row = load(&self.calls, table, key.into()).await?;
                return row.map(Read::Row).ok_or_else(absent);
            }
            // Conditions are about a row that is there.
            Err(Unwritten::Refused(Refused { tag: None, .. })) => return Err(absent()),
            Err(Unwritten::Refused(refused)) => return self.unread(refused).await,
            Err(Unwritten::Error(error)) => return Err(error),
            Err(Unwritten::Later(_)) => return Err(absent()),
        };
        let rows = page.complete(&self.calls).await?;
        rows.into_iter().next().map(Read::Row).ok_or_else(absent)
    }

    /// The answer to a read whose condition does not hold.
    async fn unread(&self, refused: Refused) -> Result<Read, ApiError> {
        match (refused.failed, &refused.tag) {
            (Failed::NoneMatch, Some(tag)) => {
                if refused.gated {
                    self.calls.sync().await?;
                }
                Ok(Read::Unmodified(tag.clone()))
            }
            _ => Err(self.refuse(refused).await?),
        }
    }

    /// The error for a condition that does not hold, once what is there may be shown.
    async fn refuse(&self, refused: Refused) -> Result<ApiError, ApiError> {
        if refused.gated {
            self.calls.sync().await?;
        }
        Ok(conditions::refusal(refused.failed, refused.tag.as_deref()))
    }

    /// Writes a row if the conditions hold, and waits for the sync if the table promises it.
    pub(crate) async fn write_row(
        &self,
        table: String,
        key: Vec<u8>,
        put: Put,
        conditions: Conditions,
    ) -> Result<Accepted, ApiError> {
        let write = move |node: &mut Node, now: Now| {
            // A write that is refused makes no table.
            if !conditions.is_empty() {
                let known = node.find_table(&user_table(table.clone()));
                answers_later(node, now, known, &conditions)?;
                judge(node, now, known, &key, &conditions)?;
            }
            let id = node.table_to_write(&table)?;
            let value = put.value;
            if answers_later(node, now, Some(id), &conditions)? {
                return Err(client_asks(
                    id,
                    put_later(now, key, value, put.ttl, put.context),
                ));
            }
            let key = &key[..];
            let write = match &put.context {
                None => Write::Put {
                    key,
                    value,
                    expires: put.ttl.map(|ttl| now.wall + ttl),
                },
                Some(context) => Write::Replace {
                    key,
                    value,
                    context,
                },
            };
            Ok(node.write(now, id, write)?)
        };
        self.written(self.calls.with(write).await?).await
    }

    /// Deletes a row if the conditions hold, or says `not_found`. What a context has seen is gone afterwards, whether it had come here
    /// or not.
    pub(crate) async fn remove_row(
        &self,
        table: String,
        key: Vec<u8>,
        context: Option<CausalToken>,
        conditions: Conditions,
    ) -> Result<Accepted, ApiError> {
        let seen = context.is_some();
        let write = move |node: &mut Node, now: Now| {
            let absent = || ApiError::not_found("no such row");
            let id = node.find_table(&user_table(table));
            if let Some(id) = id
                && answers_later(node, now, Some(id), &conditions)?
            {
                let key = Bytes::from(key);
                let op = match context {
                    None => TableOp::Delete { key },
                    Some(context) => TableOp::Remove { key, context },
                };
                return Err(client_asks(id, op));
            }
            match judge(node, now, id, &key, &conditions) {
                // Without a row there is nothing that conditions could be about.
                Err(Refused { tag: None, .. }) if !seen => return Err(absent().into()),
                judged => judged?,
            };
            let id = id.ok_or_else(absent)?;
            let key = &key[..];
            let write = match &context {
                None => Write::Delete { key },
                Some(context) => Write::Remove { key, context },
            };
            Ok(node.write(now, id, write)?)
        };
        // A row that has expired here is not found, and is deleted all the same: it may show elsewhere.
        let accepted = self.written(self.calls.with(write).await?).await?;
        match accepted.existed || seen {
            true => Ok(accepted),
            false => Err(ApiError::not_found("no such row")),
        }
    }

    async fn written(&self, written: Result<Accepted, Unwritten>) -> Result<Accepted, ApiError> {
        match written {
            Ok(accepted) => self.promise(accepted).await,
            Err(Unwritten::Refused(refused)) => Err(self.refuse(refused).await?),
            Err(Unwritten::Error(error)) => Err(error),
            Err(Unwritten::Later(request)) => match self.calls.request((*request).into()).await? {
                Answer::Written(accepted) => Ok(accepted),
                _ => Err(Unavailable.into()),
            },
        }
    }

    async fn promise(&self, accepted: Accepted) -> Result<Accepted, ApiError> {
        if accepted.sync {
            self.calls.sync().await?;
        }
        Ok(accepted)
    }
}

/// The operation that writes a row to a table that answers later.
fn put_later(
    now: Now,
    key: Vec<u8>,
    value: Bytes,
    ttl: Option<Duration>,
    context: Option<CausalToken>,
) -> TableOp {
    let key = Bytes::from(key);
    match context {
        None => TableOp::Put {
            key,
            value,
            expires: ttl.map(|ttl| now.wall + ttl),
        },
        Some(context) => TableOp::Replace {
            key,
            value,
            context,
        },
    }
}

/// The status of an answer to a write: `replaced` when there was a row before.
pub(crate) fn status_of(accepted: &Accepted, replaced: StatusCode) -> StatusCode {
    match accepted.existed {
        true => replaced,
        false => StatusCode::CREATED,
    }
}

/// Returns the part of a path below that of all tables.
pub(crate) fn below_root(uri: &Uri) -> &str {
    uri.path().strip_prefix("/v1/usr/").unwrap_or("")
}

/// Table and key of a row's path.
fn row_path(uri: &Uri) -> Result<(String, Vec<u8>), ApiError> {
    let rest = below_root(uri);
    let (table, key) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((table_name(table)?, text::decode_percent(key)))
}

pub(crate) fn table_name(encoded: &str) -> Result<String, ApiError> {
    let name = String::from_utf8(text::decode_percent(encoded)).map_err(|_| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_table_name",
            "a table name is UTF-8",
        )
    })?;
    Mode::built(&name)?;
    Ok(name)
}
