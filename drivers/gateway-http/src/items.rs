//! The simple form: rows of the table `default` as `{"value":"..."}`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body;
use crate::error::ApiError;
use crate::page::Content;
use crate::query::Query;
use crate::router::Gateway;
use crate::rows::status_of;
use crate::siblings;
use crate::text;

/// A value in JSON.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// A string, or `{"base64":"..."}` for bytes that are no UTF-8.
    #[schema(value_type = Object)]
    value: Value,
}

/// JSON may spend six bytes (`\u0000`) on one byte of a value.
const JSON_FACTOR: usize = 6;

/// Read an item.
#[utoipa::path(get, path = "/items/{key}", tag = "items",
    params(("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 200, description = "The item", body = Item,
               headers(("X-Rumormill-State" = String, description = "`joining` or `away`, while the node is no member: it may lack rows"))),
              (status = 400, description = "`bad_parameter`"),
              (status = 404, description = "`not_found`: no such item",
               headers(("X-Rumormill-State" = String, description = "`joining` or `away`, while the node is no member: it may lack rows"))),
              (status = 500, description = "`unreadable`: the stored value is damaged"),
              (status = 503, description = "`busy`, `unavailable`, `halted`: the node does not serve")))]
pub(crate) async fn read(State(gateway): State<Gateway>, uri: Uri) -> Result<Json<Item>, ApiError> {
    let row = gateway.read_row(TABLE.to_string(), item_key(&uri)?).await?;
    match row.content {
        Content::Value { value, .. } => Ok(Json(Item {
            value: text::to_json(&value),
        })),
        Content::Siblings(_) => Err(ApiError::siblings()),
    }
}

/// Write an item; the answer repeats it.
#[utoipa::path(put, path = "/items/{key}", tag = "items",
    params(("key" = String, Path, description = "The key, percent-encoded")),
    request_body = Item,
    responses((status = 200, description = "The item was replaced", body = Item),
              (status = 201, description = "The item is new", body = Item),
              (status = 400, description = "`bad_json`, `bad_parameter`, `key_too_large`; `bad_context`, `context_unused`: items have no siblings"),
              (status = 413, description = "`value_too_large`, with the limit"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 409, description = "`clock_ahead`, `last_clock`"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `halted`, `unavailable`")))]
pub(crate) async fn write(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let key = item_key(&uri)?;
    let context = siblings::context(&headers)?;
    let value_bytes = gateway.value_bytes(&headers).await?;
    let limit = value_bytes
        .saturating_mul(JSON_FACTOR)
        .saturating_add(body::SMALL_BODY);
    let item: Item = gateway.read_json(&headers, body, limit).await?;
    let value: Bytes = text::from_json(&item.value).map_err(ApiError::bad_json)?;
    let accepted = gateway
        .write_row(TABLE.to_string(), key, value, None, context)
        .await?;
    let status = status_of(&accepted, StatusCode::OK);
    Ok((status, Json(item)).into_response())
}

/// Delete an item.
#[utoipa::path(delete, path = "/items/{key}", tag = "items",
    params(("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 204, description = "The item is deleted"),
              (status = 400, description = "`bad_parameter`, `key_too_large`; `bad_context`, `context_unused`: items have no siblings"),
              (status = 404, description = "`not_found`: no such item"),
              (status = 409, description = "`clock_ahead`, `last_clock`"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `halted`, `unavailable`")))]
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let key = item_key(&uri)?;
    let context = siblings::context(&headers)?;
    gateway.remove_row(TABLE.to_string(), key, context).await?;
    Ok(StatusCode::NO_CONTENT)
}

const TABLE: &str = "default";

fn item_key(uri: &Uri) -> Result<Vec<u8>, ApiError> {
    Query::parse(uri.query(), &[])?;
    Ok(text::decode_percent(
        uri.path().strip_prefix("/items/").unwrap_or(""),
    ))
}
