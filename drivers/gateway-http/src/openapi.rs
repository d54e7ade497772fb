//! The description of the interface, and pages that show it. Everything is in the binary; nothing loads from elsewhere.

use axum::Router;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::router::Gateway;
use crate::{items, members, metrics, peers, report, rows, settings, siblings, state, tables};

/// Every error is `{"error":{"code","message",...}}`; each route lists its codes by status.
#[derive(OpenApi)]
#[openapi(
    info(title = "Rumormill", description = "A gossip-replicated key-value store.\n\n\
        Errors are `{\"error\":{\"code\",\"message\",...}}`; each route lists its codes. On every route: \
        400 `bad_request`, 403 `cross_site` (a page of another site asks) and `unknown_host` (the request's `Host` is no IP address, not \
        `localhost` and no name of this node, where names are checked: `serve --http-host`), 404 `no_such_route`, 405 `method_not_allowed`, 408 `body_timeout`, 503 `unavailable`, `deadline_exceeded` and \
        `too_many_connections`. \
        A 503 may be tried again."),
    paths(
        rows::list, rows::read, rows::write, rows::remove,
        items::read, items::write, items::remove,
        tables::list, tables::create,
        members::list, members::me, members::evict, members::lost, members::resume, members::status, state::document,
        settings::list, settings::read, settings::write, settings::remove,
        peers::add,
        members::healthz, members::readyz, metrics::text,
    ),
    components(schemas(
        rows::Listing, rows::ListedRow, siblings::SiblingList, siblings::ListedSibling, items::Item, tables::Tables, tables::NewTable,
        members::Members, members::Evicted, members::Lost, members::Resumed, report::Member, report::Table, report::Status,
        report::EffectiveSettings, report::Setting, settings::NewValue, peers::NewPeer, peers::Joined,
    )),
    tags(
        (name = "rows", description = "Rows of users' tables, raw bytes"),
        (name = "items", description = "The simple form: rows of the table `default` in JSON"),
        (name = "tables", description = "Tables and their options"),
        (name = "cluster", description = "Members, settings, state"),
        (name = "operation", description = "Probes and metrics"),
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
