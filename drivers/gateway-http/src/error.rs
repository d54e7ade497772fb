//! Errors as clients see them: a status, a code that programs can match, and a sentence.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rumormill_core::errors::{
    AnswersLater, EvictError, LostError, ReadError, RequestError, ResumeError, TableError,
    TokenError, WriteError,
};
use serde_json::{Map, Value, json};

/// An answer that is no success: `{"error":{"code","message",...}}`.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Map<String, Value>,
    /// The tag of what is there instead.
    etag: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError {
            status,
            code,
            message: message.into(),
            details: Map::new(),
            etag: None,
        }
    }

    pub(crate) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_parameter", message)
    }

    pub(crate) fn bad_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_json", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "value_too_large",
            format!("the body is larger than the limit of {limit} bytes"),
        )
        .with("limit", limit)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_string(), value.into());
        self
    }

    /// Adds the tag of what is there instead, as it stands in a header.
    pub(crate) fn with_etag(mut self, tag: String) -> Self {
        self.etag = Some(tag);
        self
    }

    /// The error for an answer that some layer gave without words of ours.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => ("no_such_route", "nothing is served here; see /docs"),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                "this route does not serve this method; see Allow",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => ("value_too_large", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "unsupported_media_type",
                "this route takes application/json",
            ),
            status if status.is_client_error() => ("bad_request", "the request is malformed"),
            _ => ("unavailable", "the request could not be served"),
        };
        Self::new(status, code, message)
    }

    /// A key has siblings where the answer has room for one value only.
    pub(crate) fn siblings() -> Self {
        ApiError::new(
            StatusCode::CONFLICT,
            "siblings",
            "the key has siblings: read it at /v1/usr",
        )
    }

    /// Whether a stored value is damaged: another try will not help.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.code == UNREADABLE
    }

    /// For programs.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// For people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = self.details;
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.into());
        let body = json!({ "error": error }).to_string();
        let mut response = (
            self.status,
            [(header::CONTENT_TYPE, "application/json")],
            body,
        )
            .into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(tag) = self.etag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

const UNREADABLE: &str = "unreadable";

const ANSWERS_LATER: &str = "answers_later";

pub(crate) const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        let message = error.to_string();
        match error {
            WriteError::AnsweredLater => {
                ApiError::new(StatusCode::NOT_IMPLEMENTED, ANSWERS_LATER, message)
            }
            WriteError::EmptyKey => ApiError::new(StatusCode::BAD_REQUEST, "empty_key", message),
            WriteError::KeyTooLarge { size, limit } => {
                ApiError::new(StatusCode::BAD_REQUEST, "key_too_large", message)
                    .with("size", size)
                    .with("limit", limit)
            }
            WriteError::ValueTooLarge { size, limit } => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "value_too_large", message)
                    .with("size", size)
                    .with("limit", limit)
            }
            WriteError::ReadOnlyTable => {
                ApiError::new(StatusCode::BAD_REQUEST, "read_only_table", message)
            }
            WriteError::Busy { limit } => {
                ApiError::new(UNAVAILABLE, "busy", message).with("limit", limit)
            }
            WriteError::StoreStalled => ApiError::new(UNAVAILABLE, "store_stalled", message),
            WriteError::LastClock => ApiError::new(StatusCode::CONFLICT, "last_clock", message),
            WriteError::ClockAhead { ahead_ms, limit_ms } => {
                ApiError::new(StatusCode::CONFLICT, "clock_ahead", message)
                    .with("ahead_ms", ahead_ms)
                    .with("limit_ms", limit_ms)
            }
            WriteError::Leaving => ApiError::new(UNAVAILABLE, "leaving", message),
            WriteError::Stopping => ApiError::new(UNAVAILABLE, "stopping", message),
            WriteError::TooManySiblings { limit } => {
                ApiError::new(StatusCode::CONFLICT, "too_many_siblings", message)
                    .with("limit", limit)
            }
            WriteError::SiblingsTooLarge { size, limit } => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "siblings_too_large", message)
                    .with("size", size)
                    .with("limit", limit)
            }
            WriteError::ContextRequired => ApiError::new(
                StatusCode::PRECONDITION_REQUIRED,
                "context_required",
                message,
            ),
            WriteError::ContextUnused => {
                ApiError::new(StatusCode::BAD_REQUEST, "context_unused", message)
            }
            WriteError::Context(error) => {
                ApiError::new(StatusCode::BAD_REQUEST, "bad_context", message)
                    .with("reason", reason_of(error))
            }
            WriteError::ExpiryUnsupported => {
                ApiError::new(StatusCode::BAD_REQUEST, "expiry_unsupported", message)
            }
            _ => ApiError::new(UNAVAILABLE, "unavailable", message),
        }
    }
}

impl From<AnswersLater> for ApiError {
    fn from(error: AnswersLater) -> Self {
        ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            ANSWERS_LATER,
            error.to_string(),
        )
    }
}

fn reason_of(error: TokenError) -> &'static str {
    match error {
        TokenError::Malformed => "malformed",
        TokenError::Damaged => "damaged",
        TokenError::OtherKey => "other_key",
        TokenError::Unissued => "unissued",
        _ => "unknown",
    }
}

impl From<TableError> for ApiError {
    fn from(error: TableError) -> Self {
        let message = error.to_string();
        match error {
            TableError::BadName { size, limit } => {
                ApiError::new(StatusCode::BAD_REQUEST, "bad_table_name", message)
                    .with("size", size)
                    .with("limit", limit)
            }
            TableError::ModeNotBuilt { mode } => {
                ApiError::new(StatusCode::BAD_REQUEST, "mode_not_built", message)
                    .with("mode", mode.as_str())
            }
            TableError::OptionsDiffer => {
                ApiError::new(StatusCode::CONFLICT, "options_differ", message)
            }
            TableError::Write(error) => error.into(),
            _ => ApiError::new(UNAVAILABLE, "unavailable", message),
        }
    }
}

fn evict_error(error: &EvictError, message: String) -> ApiError {
    let conflict = |code| ApiError::new(StatusCode::CONFLICT, code, message.clone());
    match error {
        EvictError::NoMajority {
            acks,
            needed,
            members,
        } => conflict("no_majority")
            .with("acks", *acks)
            .with("needed", *needed)
            .with("members", *members),
        EvictError::Ambiguous(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            conflict("ambiguous").with("ids", ids)
        }
        EvictError::Answers => conflict("answers"),
        EvictError::NotAMember => ApiError::new(StatusCode::NOT_FOUND, "not_a_member", message),
        EvictError::Myself => ApiError::new(StatusCode::BAD_REQUEST, "myself", message),
        _ => ApiError::new(UNAVAILABLE, "no_member", message),
    }
}

fn lost_error(error: &LostError, message: String) -> ApiError {
    match error {
        LostError::Ambiguous(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ApiError::new(StatusCode::CONFLICT, "ambiguous", message).with("ids", ids)
        }
        LostError::NotKnown => ApiError::new(StatusCode::NOT_FOUND, "not_known", message),
        _ => ApiError::new(UNAVAILABLE, "no_member", message),
    }
}

fn resume_error(error: ResumeError, message: String) -> ApiError {
    match error {
        ResumeError::MemberAnswers(id) => {
            ApiError::new(StatusCode::CONFLICT, "member_answers", message)
                .with("id", id.to_string())
        }
        _ => ApiError::new(StatusCode::CONFLICT, "not_rejoining", message),
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::DeadlineExceeded => ApiError::new(
                UNAVAILABLE,
                "deadline_exceeded",
                format!("{message}; the operation may still take effect"),
            ),
            RequestError::Busy { limit } => {
                ApiError::new(UNAVAILABLE, "busy", message).with("limit", limit)
            }
            RequestError::Read(ReadError::Busy { limit }) => {
                ApiError::new(UNAVAILABLE, "busy", message).with("limit", limit)
            }
            RequestError::Read(_) => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, UNREADABLE, message)
            }
            RequestError::Write(error) => error.into(),
            RequestError::Table(error) => error.into(),
            RequestError::Setting(error) => error.into(),
            RequestError::Join(_) => ApiError::new(UNAVAILABLE, "join_failed", message),
            RequestError::Evict(error) => evict_error(&error, message),
            RequestError::Lost(error) => lost_error(&error, message),
            RequestError::Resume(error) => resume_error(error, message),
            RequestError::Halted => ApiError::new(UNAVAILABLE, "halted", message),
            _ => ApiError::new(UNAVAILABLE, "unavailable", message),
        }
    }
}
