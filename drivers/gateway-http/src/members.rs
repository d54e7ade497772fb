//! What the node says of itself and of the cluster.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::report::{self, Member, Status};
use crate::router::Gateway;

/// The members of the cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct Members {
    members: Vec<Member>,
}

/// All members that this node knows, itself first.
#[utoipa::path(get, path = "/v1/members", tag = "cluster",
    responses((status = 200, description = "The members", body = Members),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Json<Members>, ApiError> {
    let members = gateway.calls.with(|node, _| report::members(node)).await?;
    Ok(Json(Members { members }))
}

/// The node that answers.
#[utoipa::path(get, path = "/v1/members/self", tag = "cluster",
    responses((status = 200, description = "This member", body = Member),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn me(State(gateway): State<Gateway>) -> Result<Json<Member>, ApiError> {
    let members = gateway.calls.with(|node, _| report::members(node)).await?;
    let me = members.into_iter().find(|member| member.me);
    let missing = || ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE);
    Ok(Json(me.ok_or_else(missing)?))
}

/// The status of this node.
#[utoipa::path(get, path = "/v1/status", tag = "cluster",
    responses((status = 200, description = "The status", body = Status),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn status(State(gateway): State<Gateway>) -> Result<Json<Status>, ApiError> {
    Ok(Json(
        gateway
            .calls
            .with(|node, now| report::status(node, now))
            .await?,
    ))
}

/// Whether the process lives: its loop answers.
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "It does", content_type = "text/plain"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn healthz(State(gateway): State<Gateway>) -> Result<&'static str, ApiError> {
    gateway.calls.with(|_, _| ()).await?;
    Ok("ok\n")
}

/// Whether the node takes reads and writes now.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, description = "It does", content_type = "text/plain"),
              (status = 503, description = "`not_ready`, with the reason, or `unavailable`")))]
pub(crate) async fn readyz(State(gateway): State<Gateway>) -> Result<&'static str, ApiError> {
    let why = gateway
        .calls
        .with(|node, now| {
            let status = node.status(now);
            if status.stalled {
                Some("the store is out of space".to_string())
            } else if matches!(status.standing, "leaving" | "halted") {
                Some(format!("the node is {}", status.standing))
            } else if node.pressure() {
                Some("the store lags behind".to_string())
            } else {
                None
            }
        })
        .await?;
    match why {
        None => Ok("ready\n"),
        Some(why) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            why,
        )),
    }
}
