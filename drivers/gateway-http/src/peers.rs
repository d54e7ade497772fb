//! Adding a peer by the URL of its HTTP interface.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request as HttpRequest, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use rumormill_core::io::{Request, Response};
use serde::{Deserialize, Serialize};
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;
use utoipa::ToSchema;

use crate::body::SMALL_BODY;
use crate::error::ApiError;
use crate::gateway::Gateway;

/// A peer to join.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPeer {
    /// The URL of its HTTP interface, such as `http://127.0.0.1:7402`.
    peer_url: String,
}

/// A peer was joined.
#[derive(Serialize, ToSchema)]
pub(crate) struct Joined {
    /// The id of the member that answered.
    joined: String,
    /// The gossip endpoint that was dialled.
    addr: String,
}

/// Join the cluster of another node, named by the URL of its HTTP interface.
///
/// Its `/v1/members/self` is asked for its gossip endpoint. An unspecified host there (`0.0.0.0`, `[::]`) is replaced by the
/// URL's host, and an unspecified host in the URL by `127.0.0.1`.
#[utoipa::path(post, path = "/peers", tag = "cluster", operation_id = "add_peer", request_body = NewPeer,
    responses((status = 200, description = "Joined", body = Joined),
              (status = 400, description = "`bad_json`, `bad_url`, `bad_peer`: that URL is not another node's"),
              (status = 413, description = "`value_too_large`: the body, with the limit"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 503, description = "`peer_unreachable`, `join_failed`, `busy`, `halted`, `unavailable`")))]
pub(crate) async fn add(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Joined>, ApiError> {
    let peer: NewPeer = gateway.read_json(&headers, body, SMALL_BODY).await?;
    let url = PeerUrl::parse(&peer.peer_url)?;
    let member = url.ask(gateway.settings.peer_timeout).await?;
    let myself = gateway.calls.with(|node, _| node.id().to_string()).await?;
    if member.id == myself {
        return Err(bad_peer("that URL leads to this very node"));
    }
    let endpoint = member.protocols.gossip.or(member.addr).unwrap_or_default();
    let addr = url.reachable(&endpoint)?;
    match gateway
        .calls
        .request(Request::Join { addr: addr.clone() })
        .await?
    {
        Response::Joined(id) => Ok(Json(Joined {
            joined: id.to_string(),
            addr,
        })),
        _ => Err(ApiError::from_status(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

/// The needed part of a peer's answer. All else that it says is left alone.
#[derive(Deserialize)]
struct PeerMember {
    id: String,
    addr: Option<String>,
    #[serde(default)]
    protocols: PeerProtocols,
}

#[derive(Default, Deserialize)]
struct PeerProtocols {
    gossip: Option<String>,
}

/// Where a peer's HTTP interface is.
#[derive(Debug, PartialEq)]
pub(crate) struct PeerUrl {
    host: String,
    port: u16,
    root: String,
}

impl PeerUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = |why: &str| {
            let message = format!("peer_url {why}, such as http://127.0.0.1:7402");
            ApiError::new(StatusCode::BAD_REQUEST, "bad_url", message)
        };
        let uri: Uri = text.parse().map_err(|_| wrong("is a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("begins with http://"));
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| wrong("has a host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if is_unspecified(host) {
            Ipv4Addr::LOCALHOST.to_string()
        } else {
            host.into()
        };
        let root = uri.path().trim_end_matches('/').to_string();
        Ok(PeerUrl {
            host,
            port: uri.port_u16().unwrap_or(80),
            root,
        })
    }

    /// A gossip endpoint as this node can reach it.
    pub(crate) fn reachable(&self, endpoint: &str) -> Result<String, ApiError> {
        let (host, port) = endpoint
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0))
            .ok_or_else(|| bad_peer("the peer names no gossip endpoint"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if !bare.is_empty() && !is_unspecified(bare) {
            return Ok(endpoint.to_string());
        }
        match self.host.contains(':') {
            true => Ok(format!("[{}]:{port}", self.host)),
            false => Ok(format!("{}:{port}", self.host)),
        }
    }

    async fn ask(&self, patience: std::time::Duration) -> Result<PeerMember, ApiError> {
        let late = async {
            smol::Timer::after(patience).await;
            Err(self.unreachable("it did not answer in time"))
        };
        let bytes = smol::future::or(self.get("/v1/members/self"), late).await?;
        serde_json::from_slice(&bytes)
            .map_err(|_| bad_peer("what answers at that URL is no node of this kind"))
    }

    async fn get(&self, path: &str) -> Result<bytes::Bytes, ApiError> {
        let broken = |error: &dyn std::fmt::Display| self.unreachable(&error.to_string());
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| broken(&error))?;
        let (mut sender, connection) = http1::handshake(FuturesIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let authority = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        let request = HttpRequest::get(format!("{}{path}", self.root))
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| broken(&error))?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| broken(&error))?;
            if response.status() == StatusCode::FORBIDDEN {
                return Err(bad_peer(format!(
                    "that URL answers with 403: does the peer know the name {} (serve --http-host)?",
                    self.host
                )));
            }
            if response.status() != StatusCode::OK {
                return Err(bad_peer(format!(
                    "that URL answers with {}",
                    response.status()
                )));
            }
            let body = Limited::new(response.into_body(), SMALL_BODY)
                .collect()
                .await;
            Ok(body.map_err(|error| broken(&error))?.to_bytes())
        };
        let drive = async {
            // The exchange ends by itself, with an error if the connection did.
            let _ = connection.await;
            smol::future::pending().await
        };
        smol::future::or(exchange, drive).await
    }

    fn unreachable(&self, why: &str) -> ApiError {
        let message = format!("{}:{} could not be asked: {why}", self.host, self.port);
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "peer_unreachable", message)
    }
}

fn bad_peer(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_peer", message)
}

fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}
