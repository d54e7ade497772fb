//! HTTP requests to a node: an answer to each, and never that of a broken server.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request as HttpRequest, StatusCode, header};
use rumormill_core::{
    Config, Node, Now, Recovery, Seed, Token,
    errors::RequestError,
    io::{Input, Output, Request, Response},
};
use rumormill_gateway_http::{Backend, Listener, Settings, Unavailable, router};
use tower_service::Service;

use super::start;

/// Requests as a client writes them, a line with a single `%` between them: method, path and query, headers, an empty line
/// and the body.
pub fn run(data: &[u8]) {
    let mut config = Config::new("fuzzed", "127.0.0.1:7400");
    (config.limits.key_bytes, config.limits.value_bytes) = (64, 64);
    let settings = Settings::new(&config.limits);
    let recovery = Recovery::new(config, Seed::from_u64(7));
    let node = Direct(Arc::new(Mutex::new(
        recovery.finish(start()).expect("a new node starts"),
    )));
    // No watch is read, so nothing has to work for it.
    let (mut service, _) = router(node.clone(), settings);
    for part in split(data).take(8) {
        if let Some(request) = parse(part) {
            smol::block_on(answer(&mut service, request));
        }
        node.lock().inspect().check();
    }
}

fn split(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = all.windows(3).position(|bytes| bytes == b"\n%\n");
        rest = end.map(|end| &all[end + 3..]);
        Some(&all[..end.unwrap_or(all.len())])
    })
}

/// `None` for what no HTTP library would hand on, and for `/peers`, which connects to the address that it is given.
fn parse(part: &[u8]) -> Option<HttpRequest<Body>> {
    let (head, body) = match part.windows(2).position(|bytes| bytes == b"\n\n") {
        Some(end) => (&part[..end], &part[end + 2..]),
        None => (part, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = HttpRequest::builder()
        .method(&first[..space])
        .uri(&first[space + 1..]);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let request = request.body(Body::from(body.to_vec())).ok()?;
    (!request.uri().path().contains("peers")).then_some(request)
}

async fn answer(service: &mut Router, request: HttpRequest<Body>) {
    let shown = format!("{} {}", request.method(), request.uri());
    let response = match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    assert_ne!(
        response.status(),
        StatusCode::INTERNAL_SERVER_ERROR,
        "{shown}"
    );
    let kind = response.headers().get(header::CONTENT_TYPE);
    // A stream of events has no end.
    let endless = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if !endless {
        let body = to_bytes(response.into_body(), 16 << 20).await;
        assert!(body.is_ok(), "{shown}: {body:?}");
    }
}

/// A node that is called where the request is answered.
#[derive(Clone)]
struct Direct(Arc<Mutex<Node>>);

impl Direct {
    fn lock(&self) -> std::sync::MutexGuard<'_, Node> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Direct {
    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        Ok(f(&mut self.lock(), start()))
    }

    fn listen(&self, _: Listener) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn request(&self, request: Request) -> Result<Response, RequestError> {
        let mut node = self.lock();
        let token = Token(1);
        let input = Input::Request {
            token,
            deadline: None,
            request,
        };
        node.handle(start(), input);
        node.handle(start(), Input::Tick);
        let mut answer = Err(RequestError::DeadlineExceeded);
        while let Some(output) = node.poll_output() {
            if let Output::Reply { result, .. } = output {
                answer = result;
            }
        }
        node.handle(start(), Input::Cancel { token });
        while node.poll_output().is_some() {}
        answer
    }
}
