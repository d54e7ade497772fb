//! Listings of a table in key order.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rumormill_core::{
    Wall,
    errors::AnswersLater,
    table::{ScanRange, TableName},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::page::{Content, Page, Row, user_table};
use crate::patience::Flow;
use crate::place::{Place, Rest};
use crate::query::Query;
use crate::rows::{below_root, table_name};
use crate::siblings::{ListedSibling, SiblingList};
use crate::text::{self, Text};
use crate::watch::{self, EventId};

/// Rows in one listing at most.
const MAX_ROWS: u64 = 1_000;

/// Row bytes in one listing, exceeded only by a single larger row.
const LIST_BYTES: usize = 1 << 20;

/// Characters of a prefix in a URL: the next page repeats it.
const MAX_PREFIX: usize = 48 << 10;

/// Rows in key order, and where to go on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Listing {
    rows: Vec<ListedRow>,
    /// The path and query of the next page; absent on the last one. It is good on any member, for as long as the table is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Where to watch from, after the last page, so that no change is missed: the place where the listing began. Absent when another
    /// member, or another boot of this one, has given an earlier page: list again to watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// One row of a listing.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListedRow {
    /// The key.
    key: Text,
    /// The value; absent in a table that keeps siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Text>,
    /// When the row expires, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    /// The values of the key, one or more, in a table that keeps siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    siblings: Option<Vec<ListedSibling>>,
    /// The context that a write gives back in `X-Rumormill-Context` to replace the siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
}

impl From<&Row> for ListedRow {
    fn from(row: &Row) -> Self {
        let mut listed = ListedRow {
            key: Text::from(&row.key),
            value: None,
            expires_ms: None,
            siblings: None,
            context: None,
        };
        match &row.content {
            Content::Value { value, expires, .. } => {
                listed.value = Some(Text::from(value));
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

/// List a table in key order, or watch it with `?watch`.
///
/// A watch is a stream of server-sent events, whose data are JSON: `ready`, then `put`, `deleted`, `expired` and `flushed` as they
/// happen, and `lagged` when events were missed, so that the table has to be read again. A `put` whose stored value is damaged carries
/// `"error":"unreadable"` instead, and one of a table that keeps siblings all of them and their context, as a listing does. `end` is the last
/// event of a watch that this member ends, with a `reason`: `busy` or `unavailable`. Each event, and each comment that is
/// sent while nothing happens, has an id: give the last one back as `Last-Event-ID` or `?cursor=` to go on from there. Take an id
/// as it is: any other text, and the id of an event of a table of another mode, is a bad parameter. A client that
/// reads nothing for 30 s, or for a second while the bytes that wait for it are needed elsewhere, is cut off.
#[utoipa::path(get, path = "/v1/usr/{table}", tag = "rows", operation_id = "list_rows",
    params(("table" = String, Path, description = "The table"),
           ("prefix" = Option<String>, Query, description = "Only keys that begin with this"),
           ("after" = Option<String>, Query, description = "Only keys after this one"),
           ("page" = Option<String>, Query, description = "Where an earlier page ended, from its `next`"),
           ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "At most so many rows, 1 to 1000; 100 if absent"),
           ("watch" = Option<String>, Query, description = "Stream changes instead; needs no value"),
           ("cursor" = Option<String>, Query, description = "With watch: the id of an event, or the cursor of a listing, to go on from"),
           ("Last-Event-ID" = Option<String>, Header, description = "With watch: as `cursor`, which it overrides")),
    responses((status = 200, description = "The rows, or the stream",
               content((Listing = "application/json"), (watch::WatchEvent = "text/event-stream"))),
              (status = 400, description = "`bad_parameter`, `bad_table_name`, `mode_not_built`"),
              (status = 500, description = "`unreadable`: a stored value is damaged"),
              (status = 501, description = "`answers_later`: the rows of this table are read and written one by one, and neither listed nor watched"),
              (status = 503, description = "`busy`, `unavailable`, `halted`: the node does not serve")))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
    flow: Option<Extension<Arc<Flow>>>,
) -> Result<Response, ApiError> {
    let known = ["prefix", "after", "page", "limit", "watch", "cursor"];
    let query = Query::parse(uri.query(), &known)?;
    let table = table_name(below_root(&uri))?;
    if query.has("watch") {
        let flow = flow.map(|Extension(flow)| flow);
        let (hub, keep_alive) = (gateway.hub, gateway.settings.watch_keep_alive);
        return watch::stream(hub, keep_alive, table, &query, &headers, flow).await;
    }
    if query.has("cursor") {
        return Err(ApiError::bad_parameter("cursor goes with watch"));
    }
    let limit = query.number("limit", 1, MAX_ROWS)?.unwrap_or(100);
    let prefix = query.bytes("prefix").unwrap_or(b"").to_vec();
    let shown_prefix = text::encode_percent(&prefix);
    if shown_prefix.len() > MAX_PREFIX {
        return Err(ApiError::bad_parameter(format!(
            "a prefix has {MAX_PREFIX} characters at most, percent-encoded"
        )));
    }
    let path = format!("/v1/usr/{}", text::encode_percent(table.as_bytes()));
    let table = user_table(table);
    let (rest, begun) = match (query.bytes("page"), query.bytes("after")) {
        (Some(_), Some(_)) => return Err(ApiError::bad_parameter("page does not go with after")),
        (Some(page), None) => {
            let place = Place::parse(page)?;
            let rest = place.rest(&gateway.calls, &table).await?;
            (Some(rest), Some(place.begun))
        }
        (None, Some(after)) => (Some(Rest::After(Bytes::copy_from_slice(after))), None),
        (None, None) => (None, None),
    };
    let bounds = (limit as usize, LIST_BYTES);
    let (page, end) = page(&gateway, table, (prefix, rest), bounds).await?;
    let page = page.transpose()?;
    let begun = begun.unwrap_or(end);
    let next = page.as_ref().and_then(Page::next).map(|last| {
        let page = Place::new(begun, &last).encode();
        format!("{path}?prefix={shown_prefix}&limit={limit}&page={page}")
    });
    let rows = match page {
        Some(page) => page.complete(&gateway.calls).await?,
        None => Vec::new(),
    };
    let listing = Listing {
        rows: rows.iter().map(ListedRow::from).collect(),
        next,
        cursor: (begun.boot == end.boot).then(|| begun.to_string()),
    };
    Ok(Json(listing).into_response())
}

/// Some rows of a table, if there is one, and the end of the log at that moment.
async fn page(
    gateway: &Gateway,
    table: TableName,
    (prefix, rest): (Vec<u8>, Option<Rest>),
    bounds: (usize, usize),
) -> Result<(Option<Result<Page, AnswersLater>>, EventId), ApiError> {
    gateway
        .calls
        .with(move |node, now| {
            let end = EventId {
                boot: node.actor().boot,
                cursor: node.view(now).cursor(),
            };
            let mut range = ScanRange {
                prefix: &prefix,
                ..ScanRange::default()
            };
            match &rest {
                Some(Rest::After(key)) => range.after = Some(key),
                Some(Rest::From(key)) => range.from = key,
                None => {}
            }
            let id = node.find_table(&table);
            (
                id.map(|id| Page::of_range(node, now, id, range, bounds)),
                end,
            )
        })
        .await
}
