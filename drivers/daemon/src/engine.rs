//! stub
use crate::events::Event;
use crate::failure::Failure;
use crate::settings::Settings;
use rumormill_core::{Limits, Node, Now, Request, RequestError, Response};
use rumormill_gateway_http::{Backend, Unavailable};
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
#[derive(Clone, Debug)]
pub(crate) struct Listeners {
    pub(crate) name: String,
    pub(crate) peers: SocketAddr,
    pub(crate) redis: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
}
impl Listeners {
    pub(crate) fn reachable(&self, addr: SocketAddr) -> SocketAddr {
        addr
    }
}
pub(crate) struct Engine {
    listeners: Listeners,
    limits: Limits,
}
#[derive(Clone)]
pub(crate) struct Fake;
impl Backend for Fake {
    async fn with<T: Send + 'static>(
        &self,
        _f: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        Err(Unavailable)
    }
    async fn request(&self, _r: Request) -> Result<Response, RequestError> {
        Err(RequestError::Halted)
    }
}
impl Engine {
    pub(crate) fn start(
        _s: &Settings,
        _http: Option<SocketAddr>,
        _e: Sender<Event>,
    ) -> Result<Engine, Failure> {
        Err(Failure::Not("stub".into()))
    }
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }
    pub(crate) fn backend(&self) -> Fake {
        Fake
    }
    pub(crate) fn leave(&self) {}
}
