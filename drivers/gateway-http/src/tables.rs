//! Tables: which there are, and creating one with options.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rumormill_core::{
    io::Request,
    table::{Conflict, Durability, TableOptions},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::SMALL_BODY;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::report::{self, Table};

/// The tables.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tables {
    tables: Vec<Table>,
}

/// A table to create. Options are fixed at creation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTable {
    /// Its name, 1 to 255 bytes.
    name: String,
    /// When a write is safe; `periodic` if absent.
    durability: Option<Safety>,
    /// The rule for two writes of one key; `last_writer_wins` if absent.
    conflict: Option<Rule>,
}

/// When a write is safe on the member that accepted it.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Safety {
    /// A restart forgets it, and other members bring it back.
    Memory,
    /// Synced about once a second.
    Periodic,
    /// Synced before it is acknowledged.
    Sync,
}

/// The rule for two writes of one key.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// The later write wins, by hybrid logical clocks.
    LastWriterWins,
    /// All writes that did not know of each other stay, until one replaces them whose author has read them.
    Siblings,
}

/// All tables that have rows or explicit options.
#[utoipa::path(get, path = "/v1/tables", tag = "tables", operation_id = "list_tables",
    responses((status = 200, description = "The tables", body = Tables),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Json<Tables>, ApiError> {
    let tables = gateway
        .calls
        .with(|node, now| report::tables(node, now))
        .await?;
    Ok(Json(Tables { tables }))
}

/// Create a table with options; succeeds if it exists with the same ones.
#[utoipa::path(post, path = "/v1/tables", tag = "tables", operation_id = "create_table", request_body = NewTable,
    responses((status = 201, description = "The table exists", body = Table),
              (status = 400, description = "`bad_json`, `bad_table_name`; `mode_not_built`: `strong:` and `quorum:` begin the names of tables of modes that do not exist yet"),
              (status = 409, description = "`options_differ`: it exists with other options; `clock_ahead`"),
              (status = 413, description = "`value_too_large`: the body, with the limit"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let new: NewTable = gateway.read_json(&headers, body, SMALL_BODY).await?;
    let options = TableOptions::default()
        .durability(match new.durability.unwrap_or(Safety::Periodic) {
            Safety::Memory => Durability::Memory,
            Safety::Periodic => Durability::Periodic,
            Safety::Sync => Durability::Sync,
        })
        .conflict(match new.conflict.unwrap_or(Rule::LastWriterWins) {
            Rule::LastWriterWins => Conflict::LastWriterWins,
            Rule::Siblings => Conflict::Siblings,
        });
    let name = new.name.clone();
    gateway
        .calls
        .request(Request::CreateTable { name, options })
        .await?;
    let tables = gateway
        .calls
        .with(|node, now| report::tables(node, now))
        .await?;
    let table = tables
        .into_iter()
        .find(|t| t.namespace == "usr" && t.name == new.name);
    let missing = || ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE);
    Ok((StatusCode::CREATED, Json(table.ok_or_else(missing)?)).into_response())
}
