//! The simple form: rows of the table `default` as `{"value":"..."}`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{etag, unmodified};
use crate::body;
use crate::conditions::Conditions;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::page::Content;
use crate::query::Query;
use crate::rows::{Put, Read, status_of};
use crate::siblings;
use crate::text::{self, Text};

/// A value in JSON.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// The value.
    value: Text,
}

/// JSON may spend six bytes (`\u0000`) on one byte of a value.
const JSON_FACTOR: usize = 6;

/// Read an item.
#[utoipa::path(get, path = "/items/{key}", tag = "items", operation_id = "read_item",
    params(("key" = String, Path, description = "The key, percent-encoded"),
           ("If-Match" = Option<String>, Header, description = "Only if the item has one of these tags; `*`: any"),
           ("If-None-Match" = Option<String>, Header, description = "Only if the item has none of these tags; `*`: none")),
    responses((status = 200, description = "The item", body = Item, headers(("ETag" = String, description = "Its tag"))),
              (status = 304, description = "`If-None-Match`: the item has one of these tags", headers(("ETag" = String, description = "Its tag"))),
              (status = 400, description = "`bad_parameter`, `bad_condition`"),
              (status = 404, description = "`not_found`: no such item"),
              (status = 409, description = "`siblings`: the table `default` keeps siblings and the key has several: read it at /v1/usr"),
              (status = 412, description = "`precondition_failed`: `If-Match`: the item has another tag, that in `ETag`"),
              (status = 500, description = "`unreadable`: the stored value is damaged"),
              (status = 503, description = "`busy`, `unavailable`, `halted`: the node does not serve")))]
pub(crate) async fn read(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (key, conditions) = (item_key(&uri)?, Conditions::parse(&headers)?);
    let row = match gateway.read_row(TABLE.to_string(), key, conditions).await? {
        Read::Row(row) => row,
        Read::Unmodified(tag) => return Ok(unmodified(&tag)),
    };
    let (value, version) = match row.content {
        Content::Value { value, version, .. } => (value, version),
        Content::Siblings(siblings) => match siblings.values.as_slice() {
            [(value, version)] => (value.clone(), *version),
            _ => return Err(ApiError::siblings()),
        },
    };
    let item = Item {
        value: Text::from(value),
    };
    Ok(([(header::ETAG, etag(version))], Json(item)).into_response())
}

/// Write an item; the answer repeats it.
#[utoipa::path(put, path = "/items/{key}", tag = "items", operation_id = "write_item",
    params(("key" = String, Path, description = "The key, percent-encoded"),
           ("If-Match" = Option<String>, Header, description = "Only if the item has one of these tags; `*`: only if there is an item"),
           ("If-None-Match" = Option<String>, Header, description = "Only if the item has none of these tags; `*`: only if there is no item")),
    request_body = Item,
    responses((status = 200, description = "The item was replaced", body = Item, headers(("ETag" = String, description = "Its tag"))),
              (status = 201, description = "The item is new", body = Item, headers(("ETag" = String, description = "Its tag"))),
              (status = 400, description = "`bad_json`, `bad_parameter`, `bad_condition`, `empty_key`, `key_too_large`; `bad_context`, `context_unused`: items have no siblings"),
              (status = 413, description = "`value_too_large`, with the limit"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 409, description = "`clock_ahead`, `last_clock`; `too_many_siblings`, with the limit"),
              (status = 412, description = "`precondition_failed`: nothing was written; the tag of what is there, if anything is, in `ETag`"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
pub(crate) async fn write(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let key = item_key(&uri)?;
    let context = siblings::context(&headers)?;
    let conditions = Conditions::parse(&headers)?;
    let value_bytes = gateway.value_bytes(&headers).await?;
    let limit = value_bytes
        .saturating_mul(JSON_FACTOR)
        .saturating_add(body::SMALL_BODY);
    let item: Item = gateway.read_json(&headers, body, limit).await?;
    let put = Put {
        value: item.value.to_bytes().map_err(ApiError::bad_json)?,
        ttl: None,
        context,
    };
    let accepted = gateway
        .write_row(TABLE.to_string(), key, put, conditions)
        .await?;
    let status = status_of(&accepted, StatusCode::OK);
    let tag = [(header::ETAG, etag(accepted.version))];
    Ok((status, tag, Json(item)).into_response())
}

/// Delete an item.
#[utoipa::path(delete, path = "/items/{key}", tag = "items", operation_id = "delete_item",
    params(("key" = String, Path, description = "The key, percent-encoded"),
           ("If-Match" = Option<String>, Header, description = "Only if the item has one of these tags; `*`: any"),
           ("If-None-Match" = Option<String>, Header, description = "Only if the item has none of these tags; `*`: none")),
    responses((status = 204, description = "The item is deleted"),
              (status = 400, description = "`bad_parameter`, `bad_condition`, `empty_key`, `key_too_large`; `bad_context`, `context_unused`: items have no siblings"),
              (status = 404, description = "`not_found`: no such item"),
              (status = 409, description = "`clock_ahead`, `last_clock`"),
              (status = 412, description = "`precondition_failed`: nothing was deleted; the tag of what is there in `ETag`"),
              (status = 428, description = "`context_required`: the table `default` keeps siblings"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let key = item_key(&uri)?;
    let context = siblings::context(&headers)?;
    let conditions = Conditions::parse(&headers)?;
    gateway
        .remove_row(TABLE.to_string(), key, context, conditions)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

const TABLE: &str = "default";

fn item_key(uri: &Uri) -> Result<Vec<u8>, ApiError> {
    Query::parse(uri.query(), &[])?;
    Ok(text::decode_percent(
        uri.path().strip_prefix("/items/").unwrap_or(""),
    ))
}
