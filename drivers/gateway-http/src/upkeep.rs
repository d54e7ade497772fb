//! Long work on the node's store, for operators: checkpoints, and verifying its files.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::SMALL_BODY;
use crate::error::ApiError;
use crate::gateway::Gateway;

/// The store behind a node, as far as operators have work for it. Each call returns at once; the work goes on behind.
pub trait Upkeep: Debug + Send + Sync {
    /// Begins a checkpoint in a directory of the node's machine, and returns its number.
    ///
    /// # Errors
    /// [`UpkeepError`]; nothing was begun.
    fn begin_checkpoint(&self, dir: &Path) -> Result<u64, UpkeepError>;

    /// Returns the checkpoint that is being made, and the last one.
    fn checkpoints(&self) -> UpkeepState;

    /// Begins to verify all files of the store at a rate in bytes per second, 0 for no limit, and returns the number of the pass. A pass that
    /// is under way goes on at that rate instead.
    ///
    /// # Errors
    /// [`UpkeepError`]; nothing was begun.
    fn begin_scrub(&self, rate: u64) -> Result<u64, UpkeepError>;

    /// Returns the pass that is under way, and the last one.
    fn scrubs(&self) -> UpkeepState;
}

/// Why work was not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The same is under way.
    #[error("another one is under way")]
    Busy,
    /// The system refuses.
    #[error("{0}")]
    Failed(String),
}

/// Work that is under way, and the last that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct UpkeepState {
    /// The work that is under way.
    pub running: Option<Running>,
    /// The last that has ended since the node was started.
    pub last: Option<Ended>,
}

/// Work that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Running {
    /// Its number: they count from 1 since the node was started.
    pub number: u64,
    /// The directory of the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Bytes that are done.
    pub done: u64,
    /// All bytes, as far as they are known.
    pub total: u64,
}

/// Work that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Ended {
    /// Its number.
    pub number: u64,
    /// The directory of the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The reason why it failed. An earlier checkpoint in the directory is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// The last batch of the store that it holds, or has read.
    pub watermark: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that an earlier checkpoint in the directory had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_bytes: Option<u64>,
    /// Rows that were verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Files that are not as they were written: each with what it held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// The place of a checkpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCheckpoint {
    /// An absolute path on the node's machine: absent, empty, or with an earlier checkpoint of this cluster.
    #[schema(value_type = String, example = "/var/backups/rumormill")]
    dir: PathBuf,
}

/// A pass over all files.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewScrub {
    /// Bytes per second at most; 0 or nothing for no limit.
    #[serde(default)]
    rate: u64,
}

/// Work that was begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct Begun {
    /// Its number.
    number: u64,
}

/// Begin a checkpoint: all that the node's store holds at one moment, in a directory on the node's machine, while writes go on. Where the directory
/// holds an earlier checkpoint, files that have not changed are kept. It does not wait for the end: ask again.
#[utoipa::path(post, path = "/v1/checkpoints", tag = "operation", operation_id = "begin_checkpoint",
    request_body = NewCheckpoint,
    responses((status = 202, description = "It is begun", body = Begun),
              (status = 400, description = "`bad_json`, `bad_parameter`: the path is not absolute"),
              (status = 409, description = "`in_progress`: another one is under way; `no_storage`: the node keeps its rows in memory"),
              (status = 413, description = "`value_too_large`: the body, with the limit"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn begin_checkpoint(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Begun>), ApiError> {
    let new: NewCheckpoint = gateway.read_json(&headers, body, SMALL_BODY).await?;
    if !new.dir.is_absolute() {
        return Err(ApiError::bad_parameter("dir has to be an absolute path"));
    }
    let upkeep = gateway.upkeep()?;
    let begun = smol::unblock(move || upkeep.begin_checkpoint(&new.dir)).await;
    let number = begun?;
    Ok((StatusCode::ACCEPTED, Json(Begun { number })))
}

/// The checkpoint that is being made, and the last one.
#[utoipa::path(get, path = "/v1/checkpoints", tag = "operation", operation_id = "read_checkpoints",
    responses((status = 200, description = "They are told", body = UpkeepState),
              (status = 409, description = "`no_storage`: the node keeps its rows in memory")))]
pub(crate) async fn checkpoints(
    State(gateway): State<Gateway>,
) -> Result<Json<UpkeepState>, ApiError> {
    Ok(Json(gateway.upkeep()?.checkpoints()))
}

/// Begin to verify all files of the node's store while it works: every checksum, every row through the index of its table, every record. It does
/// not wait for the end: ask again.
#[utoipa::path(post, path = "/v1/scrub", tag = "operation", operation_id = "begin_scrub",
    request_body = NewScrub,
    responses((status = 202, description = "It is begun, or the pass that is under way goes on at this rate", body = Begun),
              (status = 400, description = "`bad_json`"),
              (status = 409, description = "`no_storage`: the node keeps its rows in memory"),
              (status = 413, description = "`value_too_large`: the body, with the limit"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn begin_scrub(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Begun>), ApiError> {
    let new: NewScrub = gateway.read_json(&headers, body, SMALL_BODY).await?;
    let number = gateway.upkeep()?.begin_scrub(new.rate)?;
    Ok((StatusCode::ACCEPTED, Json(Begun { number })))
}

/// The pass over the store's files that is under way, and the last one, with the faults that it has found.
#[utoipa::path(get, path = "/v1/scrub", tag = "operation", operation_id = "read_scrub",
    responses((status = 200, description = "They are told", body = UpkeepState),
              (status = 409, description = "`no_storage`: the node keeps its rows in memory")))]
pub(crate) async fn scrubs(State(gateway): State<Gateway>) -> Result<Json<UpkeepState>, ApiError> {
    Ok(Json(gateway.upkeep()?.scrubs()))
}

impl Gateway {
    fn upkeep(&self) -> Result<std::sync::Arc<dyn Upkeep>, ApiError> {
        let none = || {
            let message = "the node keeps its rows in memory, and has no store";
            ApiError::new(StatusCode::CONFLICT, "no_storage", message)
        };
        self.settings.upkeep.clone().ok_or_else(none)
    }
}

impl From<UpkeepError> for ApiError {
    fn from(error: UpkeepError) -> Self {
        let message = error.to_string();
        match error {
            UpkeepError::Busy => ApiError::new(StatusCode::CONFLICT, "in_progress", message),
            UpkeepError::Failed(_) => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
            }
        }
    }
}
