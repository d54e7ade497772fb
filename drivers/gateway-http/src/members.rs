//! The node's own report of itself and of the cluster.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use rumormill_core::io::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::query::Query;
use crate::report::{self, Member, Status};

/// The members of the cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct Members {
    members: Vec<Member>,
}

/// All members that this node ever heard of, itself first, those included that have left or were evicted.
#[utoipa::path(get, path = "/v1/members", tag = "cluster", operation_id = "list_members",
    params(("live" = Option<bool>, Query, description = "Only those that answer, as far as is known")),
    responses((status = 200, description = "The members", body = Members),
              (status = 400, description = "`bad_parameter`"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
) -> Result<Json<Members>, ApiError> {
    let query = Query::parse(query.as_deref(), &["live"])?;
    let read = match flag(&query, "live")? {
        true => report::live_members,
        false => report::members,
    };
    let members = gateway.calls.with(move |node, _| read(node)).await?;
    Ok(Json(Members { members }))
}

/// A parameter that is true or false, and false when it is absent.
fn flag(query: &Query, name: &str) -> Result<bool, ApiError> {
    match query.bytes(name) {
        None | Some(b"false") => Ok(false),
        Some(b"" | b"true") => Ok(true),
        Some(_) => Err(ApiError::bad_parameter(format!("{name} is true or false"))),
    }
}

/// The node that answers.
#[utoipa::path(get, path = "/v1/members/self", tag = "cluster", operation_id = "read_self",
    responses((status = 200, description = "This member", body = Member),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn me(State(gateway): State<Gateway>) -> Result<Json<Member>, ApiError> {
    let members = gateway.calls.with(|node, _| report::members(node)).await?;
    let me = members.into_iter().find(|member| member.me);
    let missing = || ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE);
    Ok(Json(me.ok_or_else(missing)?))
}

/// A member was evicted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Evicted {
    /// Its id.
    evicted: String,
    /// Members that agreed, this one included.
    acks: usize,
    /// All members, the evicted one included.
    members: usize,
}

/// Evict a member: its generation ends, no member waits for it any more, and it comes back by comparing its rows with a member's.
#[utoipa::path(post, path = "/v1/members/{id}/evict", tag = "cluster", operation_id = "evict_member",
    params(("id" = String, Path, description = "Its id or its name"),
           ("force" = Option<bool>, Query, description = "Do without a majority, and evict one that answers")),
    responses((status = 200, description = "It is evicted, durably", body = Evicted),
              (status = 400, description = "`bad_parameter`, `myself`"),
              (status = 404, description = "`not_a_member`"),
              (status = 409, description = "`answers`, `ambiguous` with `ids`, `no_majority` with `acks`, `needed` and `members`"),
              (status = 503, description = "`no_member`: this node is none itself; `busy`, `halted`")))]
pub(crate) async fn evict(
    State(gateway): State<Gateway>,
    Path(member): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Evicted>, ApiError> {
    let query = Query::parse(query.as_deref(), &["force"])?;
    let force = flag(&query, "force")?;
    match gateway
        .calls
        .request(Request::Evict { member, force })
        .await?
    {
        Response::Evicted {
            node,
            acks,
            members,
        } => Ok(Json(Evicted {
            evicted: node.to_string(),
            acks,
            members,
        })),
        _ => Err(ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

/// A node was declared lost.
#[derive(Serialize, ToSchema)]
pub(crate) struct Lost {
    /// Its id.
    lost: String,
}

/// Declare that writes of earlier boots of a node that have not come by now are lost. Deletes in tables that keep siblings no longer
/// wait for them. Should a node that holds such writes come back all the same, those that the deletes replaced come back with it.
#[utoipa::path(post, path = "/v1/members/{id}/lost", tag = "cluster", operation_id = "declare_lost",
    params(("id" = String, Path, description = "Its id, or the name by which it is or was a member")),
    responses((status = 200, description = "It is declared lost, durably here; other members hear of it", body = Lost),
              (status = 404, description = "`not_known`"),
              (status = 409, description = "`ambiguous` with `ids`"),
              (status = 503, description = "`no_member`: this node is none itself; `busy`, `halted`")))]
pub(crate) async fn lost(
    State(gateway): State<Gateway>,
    Path(node): Path<String>,
) -> Result<Json<Lost>, ApiError> {
    match gateway.calls.request(Request::DeclareLost { node }).await? {
        Response::DeclaredLost(node) => Ok(Json(Lost {
            lost: node.to_string(),
        })),
        _ => Err(ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

/// This node is a full member again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Resumed {
    /// Ids of the members that it waited for and that are not here.
    without: Vec<String>,
}

/// Let this node, which is `rejoining`, go on without the members it waits for, because they will not come back. What they had deleted may
/// come back, and what they alone had is lost. All other nodes compare their rows with this node's.
#[utoipa::path(post, path = "/v1/members/self/resume", tag = "cluster", operation_id = "resume",
    responses((status = 200, description = "It is a full member, durably", body = Resumed),
              (status = 409, description = "`not_rejoining`; `member_answers` with `id`: it rejoins through that one"),
              (status = 503, description = "`busy`, `halted`")))]
pub(crate) async fn resume(State(gateway): State<Gateway>) -> Result<Json<Resumed>, ApiError> {
    match gateway.calls.request(Request::Resume).await? {
        Response::Resumed { without } => Ok(Json(Resumed {
            without: without.iter().map(ToString::to_string).collect(),
        })),
        _ => Err(ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

/// The node has left.
#[derive(Serialize, ToSchema)]
pub(crate) struct Left {
    /// Whether as many members as it waited for have everything and know that it has left. If not, its data directory may hold the only copy of
    /// something.
    complete: bool,
    /// Other members that answered when it left.
    others: usize,
    /// Others among them that durably hold all that it held.
    holders: usize,
    /// How many of these it waited for.
    wanted: usize,
    /// Others that know of the leave; the rest hear it from them.
    told: usize,
    /// The same in words.
    outcome: String,
}

/// A leave that has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeaveBegun {
    /// True.
    leaving: bool,
}

/// How long the answer to a leave waits for its outcome.
const LEAVE_PATIENCE: Duration = Duration::from_secs(8);

/// Take this node out of the cluster. It takes no more writes, hands over to two members that stay, answers, and ends its process; no member
/// waits for it any more. When it comes back it compares its rows with a member's. A node that is to come back is stopped by SIGTERM instead.
#[utoipa::path(post, path = "/v1/members/self/leave", tag = "cluster", operation_id = "leave",
    responses((status = 200, description = "It has left, and this is what it leaves behind", body = Left),
              (status = 202, description = "It is leaving; the outcome will be in its log", body = LeaveBegun),
              (status = 503, description = "`busy`: nothing was changed; `halted`: the node ended before the leave was done")))]
pub(crate) async fn leave(
    State(gateway): State<Gateway>,
) -> Result<(StatusCode, axum::response::Response), ApiError> {
    let left = async { Some(gateway.calls.request(Request::Leave).await) };
    let late = async {
        smol::Timer::after(LEAVE_PATIENCE).await;
        None
    };
    match smol::future::or(left, late).await {
        Some(Ok(Response::Left(handover))) => {
            let left = Left {
                complete: handover.is_complete(),
                others: handover.others,
                holders: handover.holders,
                wanted: handover.wanted,
                told: handover.told,
                outcome: handover.to_string(),
            };
            Ok((StatusCode::OK, Json(left).into_response()))
        }
        Some(Ok(_)) => Err(ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE)),
        Some(Err(error)) => Err(error),
        None => {
            let begun = LeaveBegun { leaving: true };
            Ok((StatusCode::ACCEPTED, Json(begun).into_response()))
        }
    }
}

/// The status of this node.
#[utoipa::path(get, path = "/v1/status", tag = "cluster", operation_id = "read_status",
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
#[utoipa::path(get, path = "/healthz", tag = "operation", operation_id = "healthz",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn healthz(State(gateway): State<Gateway>) -> Result<&'static str, ApiError> {
    gateway.calls.with_patience(|_, _| ()).await?;
    Ok("ok\n")
}

/// Whether clients should be sent to this node: it is a member that takes reads and writes, and its clock is right.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "readyz",
    responses((status = 200, description = "They should", body = String, content_type = "text/plain"),
              (status = 503, description = "`not_ready`, with the reason: joining or rejoining (unless `serve --ready-early`), leaving, stopping or halted, \
                  a wall clock that is wrong, a store that is out of space or lags behind; or `unavailable`")))]
pub(crate) async fn readyz(State(gateway): State<Gateway>) -> Result<&'static str, ApiError> {
    let early = gateway.settings.ready_early;
    let why = gateway
        .calls
        .with_patience(move |node, now| report::not_ready(node, now, early))
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
