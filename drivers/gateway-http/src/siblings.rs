//! Tables that keep siblings: their form in JSON, and the context that a writer hands back.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rumormill_core::{
    errors::{TokenError, WriteError},
    table::{CausalToken, Siblings},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{header_value, raw};
use crate::conditions::{quoted, tag_of_siblings, version_text};
use crate::error::ApiError;
use crate::text::Text;

/// Carries a causal token as text: out with a read, and back with the write that replaces what was read.
pub(crate) const CONTEXT: HeaderName = HeaderName::from_static("x-rumormill-context");

/// All values of a key in a table that keeps siblings.
#[derive(Serialize, ToSchema)]
pub(crate) struct SiblingList {
    /// In an order that all members share.
    pub(crate) siblings: Vec<ListedSibling>,
    /// The context that a write gives back in `X-Rumormill-Context` to replace them.
    pub(crate) context: String,
}

/// One of the values of a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListedSibling {
    /// The value.
    value: Text,
    /// Its version.
    version: String,
}

impl From<&Siblings> for SiblingList {
    fn from(siblings: &Siblings) -> Self {
        let values = siblings.values.iter();
        let values = values.map(|(value, version)| ListedSibling {
            value: Text::from(value),
            version: version_text(*version),
        });
        SiblingList {
            siblings: values.collect(),
            context: siblings.context.to_string(),
        }
    }
}

/// The answer to a read: a single sibling is the body, several are listed.
pub(crate) fn answer(siblings: Siblings) -> Response {
    let mut response = match siblings.values.as_slice() {
        [(value, version)] => raw(value.clone(), *version).into_response(),
        _ => {
            let list = Json(SiblingList::from(&siblings));
            let tag = quoted(&tag_of_siblings(&siblings));
            let tag = [(header::ETAG, header_value(&tag))];
            (StatusCode::MULTIPLE_CHOICES, tag, list).into_response()
        }
    };
    let context = header_value(&siblings.context.to_string());
    response.headers_mut().insert(CONTEXT, context);
    response
}

/// The context that came with a write.
///
/// # Errors
/// It is no token, or there are two.
pub(crate) fn context(headers: &HeaderMap) -> Result<Option<CausalToken>, ApiError> {
    let mut given = headers.get_all(CONTEXT).iter();
    let Some(context) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(ApiError::bad_parameter(
            "X-Rumormill-Context is given twice",
        ));
    }
    let context = context.to_str().map_err(|_| TokenError::Malformed);
    let token = context.and_then(str::parse);
    token
        .map(Some)
        .map_err(|error| WriteError::from(error).into())
}
