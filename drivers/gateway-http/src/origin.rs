//! Refuses requests of other sites' pages: such a page in a user's browser may not ask, under whatever name it reaches this node.
//!
//! A browser sends some requests for any page, with effect though the page never sees the answer, and a page whose own name
//! is made to lead here passes for one of this node. The first says so in `Sec-Fetch-Site` or `Origin`, the second in `Host`.

use std::net::Ipv6Addr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::gateway::Gateway;

/// Serves what no other site has sent.
pub(crate) async fn guard(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    match check(request.headers(), gateway.settings.hosts.as_deref()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(headers: &HeaderMap, names: Option<&[String]>) -> Result<(), ApiError> {
    let host = match headers.get(header::HOST) {
        Some(host) => Some(authority(host.as_bytes()).ok_or_else(|| unknown_host("that is none"))?),
        // Every browser sends one.
        None => None,
    };
    if let (Some(host), Some(names)) = (&host, names)
        && !is_served(host.host(), names)
    {
        return Err(unknown_host(host.host()));
    }
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site")) {
        return Err(cross_site());
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if host.is_none() || origin_authority(origin.as_bytes()) != host => {
            Err(cross_site())
        }
        _ => Ok(()),
    }
}

fn authority(bytes: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(bytes).ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

/// `null` and what is no URL have none.
fn origin_authority(origin: &[u8]) -> Option<Authority> {
    let origin = Uri::try_from(origin).ok()?;
    origin.scheme().and(origin.authority()).cloned()
}

/// Whether a browser that was told this host has not been told another's address: an IP address, this machine, or a name of
/// this node.
fn is_served(host: &str, names: &[String]) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => {
            let host = host.strip_suffix('.').unwrap_or(host);
            host.parse::<std::net::Ipv4Addr>().is_ok()
                || host.eq_ignore_ascii_case("localhost")
                || names.iter().any(|name| host.eq_ignore_ascii_case(name))
        }
    }
}

fn cross_site() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "a page of another site may not ask this node",
    )
}

fn unknown_host(host: &str) -> ApiError {
    let message = format!("this node does not answer for the host {host:?}: see serve --http-host");
    ApiError::new(StatusCode::FORBIDDEN, "unknown_host", message)
}
