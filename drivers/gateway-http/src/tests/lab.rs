//! A real node on a thread, and requests to the router without sockets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request as HttpRequest, StatusCode};
use http_body_util::BodyExt;
use rumormill_core::{
    Config, Instant, Node, Now, Recovery, Seed, Seq, Storage, Token, Wall,
    errors::RequestError,
    io::{Input, Output, Request, Response},
};
use serde_json::Value;
use smol::channel;
use tower_service::Service;

use super::described::assert_listed;
use crate::{Backend, Listener, Settings, Unavailable, router};

type Job = Box<dyn FnOnce(&mut Node, Now) + Send>;

enum Call {
    Run(Job),
    Listen(Listener),
    Ask(Request, channel::Sender<Result<Response, RequestError>>),
}

/// A handle to a node on a thread that ends when all handles are gone.
#[derive(Clone)]
pub(crate) struct Threaded(mpsc::Sender<Call>);

impl Backend for Threaded {
    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = channel::bounded(1);
        let job: Job = Box::new(move |node, now| drop(reply.try_send(f(node, now))));
        self.0.send(Call::Run(job)).map_err(|_| Unavailable)?;
        answer.recv().await.map_err(|_| Unavailable)
    }

    async fn request(&self, request: Request) -> Result<Response, RequestError> {
        let (reply, answer) = channel::bounded(1);
        self.0
            .send(Call::Ask(request, reply))
            .map_err(|_| RequestError::Halted)?;
        answer.recv().await.unwrap_or(Err(RequestError::Halted))
    }

    fn listen(&self, listener: Listener) -> Result<(), Unavailable> {
        self.0.send(Call::Listen(listener)).map_err(|_| Unavailable)
    }

    fn counters(&self) -> Vec<(String, u64)> {
        vec![("turns".to_string(), 7)]
    }
}

/// A disk that syncs at once, unless it is held.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) held: Arc<AtomicBool>,
    /// Whether records that are loaded lack their ends.
    pub(crate) rotten: Arc<AtomicBool>,
    pub(crate) asked: channel::Receiver<Seq>,
}

pub(crate) struct Lab {
    pub(crate) router: Router,
    pub(crate) backend: Threaded,
    pub(crate) disk: Disk,
    /// Ends the thread that works for watches.
    _work: channel::Sender<()>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .expect("a code")
            .to_string()
    }
}

impl Lab {
    /// Lets the disk have no space any more: it syncs nothing, since the end of a sync would say that it has some.
    pub(crate) fn fill_disk(&self) {
        self.disk.held.store(true, Ordering::SeqCst);
        let stalled = self.backend.with(|node, now| {
            let why = "full".into();
            node.handle(now, Input::StoreStalled { why });
        });
        smol::block_on(stalled).expect("the node runs");
    }

    pub(crate) fn new(storage: Storage) -> Lab {
        Lab::with(storage, |_| ())
    }

    pub(crate) fn with(storage: Storage, change: impl FnOnce(&mut Config)) -> Lab {
        Lab::with_settings(storage, change, |_| ())
    }

    /// A node that is ready before it is a member.
    pub(crate) fn early(storage: Storage, change: impl FnOnce(&mut Config)) -> Lab {
        Lab::with_settings(storage, change, |settings| settings.ready_early = true)
    }

    pub(crate) fn with_settings(
        storage: Storage,
        change: impl FnOnce(&mut Config),
        set: impl FnOnce(&mut Settings),
    ) -> Lab {
        let mut config = Config::new("alpha", "127.0.0.1:7400");
        config.protocols = BTreeMap::from([("http".into(), "127.0.0.1:7402".into())]);
        config.storage = storage;
        change(&mut config);
        let mut settings = Settings {
            peer_timeout: Duration::from_secs(2),
            ..Settings::new(&config.limits)
        };
        set(&mut settings);
        let (calls, inbox) = mpsc::channel();
        let (ask, asked) = channel::unbounded();
        let held = Arc::new(AtomicBool::new(false));
        let rotten = Arc::new(AtomicBool::new(false));
        let disk = Disk {
            held,
            rotten,
            asked,
        };
        let behind = disk.clone();
        std::thread::spawn(move || run(config, &inbox, &behind, &ask));
        let backend = Threaded(calls);
        let (router, work) = router(backend.clone(), settings);
        let (end, ended) = channel::bounded::<()>(1);
        std::thread::spawn(move || {
            let end = async {
                let _ = ended.recv().await;
            };
            smol::block_on(smol::future::or(work.run(), end));
        });
        Lab {
            router,
            backend,
            disk,
            _work: end,
        }
    }

    pub(crate) fn call(&self, request: HttpRequest<Body>) -> Answer {
        smol::block_on(self.answer(request))
    }

    pub(crate) async fn answer(&self, request: HttpRequest<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().call(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .expect("a whole body")
            .to_bytes()
            .to_vec();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        };
        assert_listed(&method, &path, &answer);
        answer
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "")
    }

    pub(crate) fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.call(request(method, path, body))
    }

    pub(crate) fn send_json(&self, method: Method, path: &str, body: &str) -> Answer {
        let mut request = request(method, path, body.to_string());
        request
            .headers_mut()
            .insert("content-type", "application/json".parse().expect("valid"));
        self.call(request)
    }
}

pub(crate) fn request(method: Method, path: &str, body: impl Into<Body>) -> HttpRequest<Body> {
    HttpRequest::builder()
        .method(method)
        .uri(path)
        .body(body.into())
        .expect("a request")
}

fn run(config: Config, inbox: &mpsc::Receiver<Call>, disk: &Disk, asked: &channel::Sender<Seq>) {
    let begin = std::time::Instant::now();
    let now = || {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        Now::new(
            Instant::from_micros(begin.elapsed().as_micros() as u64),
            Wall::from_millis(wall.as_millis() as u64),
        )
    };
    // All labs begin at one instant: of one seed their nodes have one boot's name.
    let first = Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000));
    let mut node = Recovery::new(config, Seed::from_u64(7))
        .finish(first)
        .expect("a new node");
    let mut waiting = BTreeMap::new();
    let (mut tokens, mut unsynced) = (0, None);
    let (mut listeners, mut changed) = (Vec::<Listener>::new(), Vec::new());
    let mut records = BTreeMap::new();
    loop {
        let wait = match node.next_deadline() {
            Some(deadline) => deadline.at.since(now().mono),
            None => Duration::from_secs(1),
        };
        // While the disk is held, it is looked at now and then whether it is let go.
        match inbox.recv_timeout(wait.min(Duration::from_millis(5))) {
            Ok(Call::Run(job)) => job(&mut node, now()),
            Ok(Call::Listen(listener)) => listeners.push(listener),
            Ok(Call::Ask(request, reply)) => {
                tokens += 1;
                waiting.insert(Token(tokens), reply);
                let input = Input::Request {
                    token: Token(tokens),
                    deadline: None,
                    request,
                };
                node.handle(now(), input);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => (),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        if let Some(upto) = unsynced.filter(|_| !disk.held.load(Ordering::SeqCst)) {
            unsynced = None;
            node.handle(now(), Input::Stored { upto });
        }
        node.handle(now(), Input::Tick);
        while let Some(output) = node.poll_output() {
            match output {
                Output::Store { seq, batch, sync } => {
                    for op in batch {
                        op.apply(&mut records);
                    }
                    if sync {
                        unsynced = Some(seq);
                        let _ = asked.try_send(seq);
                    }
                }
                Output::Load { load, query } => {
                    let mut record = records.get(&query).cloned();
                    if disk.rotten.load(Ordering::SeqCst) {
                        record = record.map(|value: bytes::Bytes| value.slice(1..));
                    }
                    let result = Ok(record);
                    node.handle(now(), Input::Loaded { load, result });
                }
                Output::Reply { token, result } => {
                    if let Some(reply) = waiting.remove(&token) {
                        let _ = reply.try_send(result);
                    }
                }
                Output::Dial { dial, .. } => {
                    let why = rumormill_core::io::LinkError::Unreachable;
                    node.handle(now(), Input::DialFailed { dial, why });
                }
                Output::Changed { table } => changed.push(table),
                _ => (),
            }
        }
        let changed = std::mem::take(&mut changed);
        if !changed.is_empty() {
            listeners.retain_mut(|listener| listener(&node, now(), &changed));
        }
    }
}
