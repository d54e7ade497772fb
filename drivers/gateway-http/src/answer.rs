//! Values and tags as answers carry them.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rumormill_core::table::Version;

use crate::conditions::{quoted, version_text};

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

/// The answer to a reader that has the row already.
pub(crate) fn unmodified(tag: &str) -> Response {
    let tag = header_value(&quoted(tag));
    (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response()
}

/// The tag of a row with this version, as it stands in a header.
pub(crate) fn etag(version: Version) -> String {
    quoted(&version_text(version))
}

/// Returns text as the value of a header, empty where it cannot be one.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
