//! Request bodies: bounded in size and time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rumormill_core::Node;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::gateway::Gateway;

/// Longest body of a request that carries no value.
pub(crate) const SMALL_BODY: usize = 64 << 10;

/// Reads a whole body of at most `limit` bytes. The answer owns its memory and is no slice of a receive buffer.
async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, ApiError> {
    if length(headers).is_some_and(|n| n > limit as u64) {
        return Err(ApiError::too_large(limit));
    }
    let collect = async {
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(Bytes::copy_from_slice(&body.to_bytes())),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
                Err(ApiError::too_large(limit))
            }
            Err(error) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                error.to_string(),
            )),
        }
    };
    let late = async {
        smol::Timer::after(patience).await;
        Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!("the body did not arrive within {} s", patience.as_secs()),
        ))
    };
    smol::future::or(collect, late).await
}

impl Gateway {
    /// Reads a body that is a value.
    pub(crate) async fn read_value(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Bytes, ApiError> {
        let limit = self.value_bytes(headers).await?;
        read(headers, body, limit, self.settings.body_timeout).await
    }

    /// The longest value, which a setting may have changed: the node is asked before a body counts as too long.
    pub(crate) async fn value_bytes(&self, headers: &HeaderMap) -> Result<usize, ApiError> {
        let known = self.value_bytes.load(Ordering::Relaxed);
        if length(headers).is_some_and(|n| n <= known as u64) {
            return Ok(known);
        }
        let ask = |node: &mut Node, _| node.config().limits.value_bytes;
        let limit = self.calls.with(ask).await?;
        self.value_bytes.store(limit, Ordering::Relaxed);
        Ok(limit)
    }

    /// Reads a JSON body of at most `limit` bytes. The content type must say so: a browser then asks before it sends such a
    /// request elsewhere.
    pub(crate) async fn read_json<T: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Result<T, ApiError> {
        let kind = text(headers, header::CONTENT_TYPE).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let bytes = read(headers, body, limit, self.settings.body_timeout).await?;
        serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_json(error.to_string()))
    }
}

/// The length that the client has announced.
fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// A header that is there and is text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
