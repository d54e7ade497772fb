//! The description of the interface, and pages that show it. Everything is in the binary; nothing loads from elsewhere.

use axum::Router;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Content, Header, Object, Ref, RefOr, Response, Type};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::gateway::Gateway;
use crate::phase::READS;
use crate::{
    bulk, items, listing, members, metrics, peers, report, rows, settings, siblings, state, tables,
    text, upkeep, watch,
};

/// Every answer that is no success.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what ApiError writes")]
struct ErrorBody {
    error: ErrorDetail,
}

/// The fault. Some codes come with more members, such as `limit`, `size` or `reason`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what ApiError writes")]
struct ErrorDetail {
    /// For programs: each route lists its codes by status.
    #[schema(example = "not_found")]
    code: String,
    /// For people.
    message: String,
}

/// Gives every error its body, and every route the errors that any route may answer with.
struct Errors;

impl Modify for Errors {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in document.paths.paths.values_mut() {
            for operation in operations(path) {
                describe_errors(operation);
            }
        }
        for route in READS {
            let route = route.replace("{*key}", "{key}");
            let path = document.paths.paths.get_mut(&route);
            if let Some(read) = path.and_then(|path| path.get.as_mut()) {
                describe_state(read);
            }
        }
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let methods = [
        &mut path.get,
        &mut path.put,
        &mut path.post,
        &mut path.delete,
    ];
    methods.into_iter().flatten()
}

fn describe_errors(operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    let responses = &mut operation.responses.responses;
    let every = [
        ("400", "`bad_request`: no HTTP", true),
        ("403", "`cross_site`, `unknown_host`", true),
        ("408", "`body_timeout`", has_body),
        (
            "503",
            "`unavailable`, `deadline_exceeded`, `too_many_connections`: try again",
            true,
        ),
    ];
    for (status, description, applies) in every {
        if applies && !responses.contains_key(status) {
            responses.insert(status.into(), RefOr::T(Response::new(description)));
        }
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
        {
            let schema = Ref::from_schema_name("ErrorBody");
            let content = RefOr::T(Content::new(Some(schema)));
            response.content.insert("application/json".into(), content);
        }
    }
}

/// Names the header that a node which is no member adds to what it reads.
fn describe_state(operation: &mut Operation) {
    for status in ["200", "300", "404"] {
        let response = operation.responses.responses.get_mut(status);
        if let Some(RefOr::T(response)) = response {
            let text = Object::with_type(Type::String);
            let mut header = Header::new(text);
            header.description = Some(
                "`joining` or `rejoining`, while the node is no member: it may lack rows".into(),
            );
            response
                .headers
                .insert("X-Rumormill-State".into(), RefOr::T(header));
        }
    }
}

/// Every error is an [`ErrorBody`]; each route lists its codes by status.
#[derive(OpenApi)]
#[openapi(
    modifiers(&Errors),
    info(title = "Rumormill", description = "A gossip-replicated key-value store.\n\n\
        Errors are `{\"error\":{\"code\",\"message\",...}}`; each route lists its codes. On every route: \
        400 `bad_request`, 403 `cross_site` (a page of another site asks) and `unknown_host` (the request's `Host` is no IP address, not \
        `localhost` and no name of this node, where names are checked: `serve --http-host`), 404 `no_such_route`, 405 `method_not_allowed`, 408 `body_timeout`, 503 `unavailable`, `deadline_exceeded` and \
        `too_many_connections`. \
        A 503 may be tried again."),
    paths(
        listing::list, bulk::write_rows, rows::read, rows::write, rows::remove,
        items::read, items::write, items::remove,
        tables::list, tables::create,
        members::list, members::me, members::evict, members::lost, members::leave, members::resume, members::status, state::document,
        settings::list, settings::read, settings::write, settings::remove,
        peers::add, upkeep::begin_checkpoint, upkeep::checkpoints, upkeep::begin_scrub, upkeep::scrubs,
        members::healthz, members::readyz, metrics::text,
    ),
    components(schemas(
        ErrorBody, ErrorDetail, text::Text, text::Base64, text::Raw, watch::WatchEvent, listing::Listing, listing::ListedRow, siblings::SiblingList, siblings::ListedSibling, bulk::NewRows, bulk::NewRow, bulk::RowsWritten, bulk::RefusedRow, items::Item, tables::Tables, tables::NewTable,
        members::Members, members::Evicted, members::Lost, members::Left, members::LeaveBegun, members::Resumed, report::Member, report::Table, report::Status,
        report::EffectiveSettings, report::Setting, settings::NewValue, peers::NewPeer, peers::Joined,
        upkeep::NewCheckpoint, upkeep::NewScrub, upkeep::Begun, upkeep::UpkeepState, upkeep::Running, upkeep::Ended,
    )),
    tags(
        (name = "rows", description = "Rows of users' tables, raw bytes"),
        (name = "items", description = "The simple form: rows of the table `default` in JSON"),
        (name = "tables", description = "Tables and their options"),
        (name = "cluster", description = "Members, settings, state"),
        (name = "operation", description = "Probes, metrics and the care of the store"),
    )
)]
struct Description;

/// The OpenAPI document.
pub fn openapi_json() -> String {
    Description::openapi().to_json().unwrap_or_default()
}

/// `/openapi.json` and the pages below `/docs`.
pub(crate) fn docs() -> Router<Gateway> {
    // Without "none" the pages would send the description to a validator on the Internet.
    let config = Config::default()
        .validator_url("none")
        .try_it_out_enabled(true);
    SwaggerUi::new("/docs")
        .url("/openapi.json", Description::openapi())
        .config(config)
        .into()
}
