//! The links of a node as the loop sees them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rumormill_core::link::{Connection, Frames, LinkLimits};
use rumormill_core::{
    DialId, LinkId, Node, Now,
    io::{HangupReason, Lane},
};
use rumormill_kit::channel::Channel;
use rumormill_kit::links::Accepted;

use crate::link::LinkTask;
use crate::runtime::Runtime;
use crate::shared::{Arrival, Ended, Shared};
use crate::shared_channel::SharedChannel;

/// The links and dials of a node, by link. Ids are never reused.
pub(crate) struct Links<R: Runtime> {
    shared: Arc<Shared<R>>,
    links: HashMap<LinkId, Arc<SharedChannel>, FixedState>,
    last: u64,
    accepted: Accepted,
    dials: Vec<(DialId, String)>,
    dirty: Vec<LinkId>,
}

impl<R: Runtime> Links<R> {
    pub(crate) fn new(shared: Arc<Shared<R>>) -> Self {
        let most = shared.options.max_accepted;
        Links {
            accepted: Accepted::new(most, Arc::clone(&shared.counters)),
            shared,
            links: HashMap::with_hasher(FixedState::default()),
            last: 0,
            dials: Vec::new(),
            dirty: Vec::new(),
        }
    }

    /// A peer connected.
    fn accept(&mut self, stream: R::Stream, conn: Connection) {
        if !self.accepted.take() {
            return;
        }
        let task = self.begin(None, conn);
        self.shared.runtime.spawn(task.accepted(stream));
    }

    /// Notes a dial for [`Links::connect`].
    pub(crate) fn dial(&mut self, dial: DialId, addr: String) {
        self.dials.push((dial, addr));
    }

    /// Begins the dials of a turn.
    pub(crate) fn connect(&mut self, mut conn: impl FnMut() -> Connection) {
        for (dial, addr) in std::mem::take(&mut self.dials) {
            let task = self.begin(Some(dial), conn());
            self.shared.runtime.spawn(task.dialled(addr));
        }
    }

    fn begin(&mut self, dial: Option<DialId>, conn: Connection) -> LinkTask<R> {
        self.last += 1;
        let link = LinkId(self.last);
        let channel = Channel::new(link, dial, conn, &self.shared.terms);
        let channel = Arc::new(SharedChannel::new(channel));
        self.links.insert(link, Arc::clone(&channel));
        self.accepted.are(self.links.len());
        LinkTask {
            link,
            is_dialled: dial.is_some(),
            channel,
            shared: Arc::clone(&self.shared),
            reported: AtomicBool::new(false),
        }
    }

    /// Whether the node may hear of a link: not after it has hung up.
    fn is_open(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|channel| !channel.lock().is_closing())
    }

    /// Forgets a link whose task has ended.
    pub(crate) fn ended(&mut self, ended: &Ended) {
        self.links.remove(&ended.link);
        self.accepted.ended(ended.is_dialled, self.links.len());
    }

    pub(crate) fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames) {
        if let Some(channel) = self.links.get(&link) {
            channel.lock().push(lane, frames);
            self.dirty.push(link);
        }
    }

    /// Closes a link once what it has is written.
    pub(crate) fn hangup(&mut self, link: LinkId, why: HangupReason) {
        if let Some(channel) = self.links.get(&link) {
            tracing::debug!(%link, ?why, "hangup");
            channel.lock().close(Instant::now());
            self.dirty.push(link);
        }
    }

    /// Has what the turn collected written.
    pub(crate) fn flush(&mut self) {
        for link in self.dirty.drain(..) {
            if let Some(channel) = self.links.get(&link) {
                channel.flush();
            }
        }
    }

    /// Closes all links once what they have is written.
    pub(crate) fn close(&self) {
        for channel in self.links.values() {
            channel.lock().close(Instant::now());
            channel.flush();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The node is told of what has happened on a link, but for one that it has closed.
    pub(crate) fn arrived(&mut self, arrival: Arrival<R::Stream>, node: &mut Node, now: Now) {
        match arrival {
            Arrival::Accepted(stream) => {
                self.accept(stream, node.connection(LinkLimits::default()))
            }
            Arrival::Inputs(link, inputs) if self.is_open(link) => {
                for input in inputs {
                    node.handle(now, input);
                }
            }
            Arrival::Inputs(..) => {}
            Arrival::Ended(ended) => {
                self.ended(&ended);
                if let Some(input) = ended.told {
                    node.handle(now, input);
                }
            }
        }
    }
}
