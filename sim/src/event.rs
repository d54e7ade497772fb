//! Events to come, and their queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rumormill_core::link::Hello;
use rumormill_core::wire::Message;
use rumormill_core::{
    DialId, LinkId,
    io::{Lane, LinkError},
};

use crate::app::AppEvent;
use crate::loads::FromDisk;

/// An event to come.
pub(crate) enum Event {
    Start {
        node: usize,
    },
    Wake {
        node: usize,
    },
    Deliver {
        node: u32,
        lane: Lane,
        link: LinkId,
        number: u64,
        msg: Arc<Message>,
    },
    Up {
        link: LinkId,
        hello: Box<Hello>,
    },
    Down {
        link: LinkId,
        why: Why,
    },
    DialArrives {
        call: Box<Call>,
    },
    DialFails {
        node: usize,
        boot: u32,
        dial: DialId,
        why: Why,
    },
    Synced {
        node: usize,
        boot: u32,
    },
    /// A machine that is slow has done what it was doing.
    Ready {
        node: usize,
    },
    StoreFails {
        node: usize,
        boot: u32,
    },
    StoreStalls {
        node: usize,
        boot: u32,
    },
    StoreIsShort {
        node: usize,
        boot: u32,
    },
    Flip {
        number: usize,
        every_us: u64,
    },
    /// A fault that found nothing to strike begins now, if it can.
    Again {
        number: usize,
    },
    Loaded {
        node: usize,
        boot: u32,
        answer: Box<FromDisk>,
    },
    FaultEnds {
        number: usize,
    },
    /// An operator looks whether nodes wait in vain.
    Operator,
    /// Something happens to the application of a machine.
    Application(Box<AppEvent>),
}

/// A dial on its way.
pub(crate) struct Call {
    pub(crate) from: usize,
    pub(crate) boot: u32,
    pub(crate) to: usize,
    pub(crate) dial: DialId,
    pub(crate) hello: Hello,
}

impl Event {
    /// The node that it is for, where that is plain.
    pub(crate) fn node(&self) -> Option<usize> {
        match self {
            Event::Deliver { node, .. } => Some(*node as usize),
            Event::Wake { node }
            | Event::Synced { node, .. }
            | Event::Loaded { node, .. }
            | Event::DialFails { node, .. }
            | Event::StoreFails { node, .. }
            | Event::StoreStalls { node, .. }
            | Event::StoreIsShort { node, .. } => Some(*node),
            Event::Application(event) => Some(event.node()),
            Event::Start { .. }
            | Event::Up { .. }
            | Event::Down { .. }
            | Event::DialArrives { .. }
            | Event::Ready { .. }
            | Event::Flip { .. }
            | Event::Again { .. }
            | Event::FaultEnds { .. }
            | Event::Operator => None,
        }
    }
}

/// Why a link ends, as the queue keeps it.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    Closed,
    Broken,
    Malformed,
    TimedOut,
    Unreachable,
}

impl Why {
    pub(crate) fn error(self) -> LinkError {
        match self {
            Why::Closed => LinkError::Closed,
            Why::Broken => LinkError::Broken,
            Why::Malformed => LinkError::Malformed,
            Why::TimedOut => LinkError::TimedOut,
            Why::Unreachable => LinkError::Unreachable,
        }
    }
}

/// Events to come, in order of time, and among equals in the order they were queued.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Queued>>,
    pushed: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at_us: u64, event: Event) {
        self.pushed += 1;
        let seq = self.pushed;
        self.heap.push(Reverse(Queued { at_us, seq, event }));
    }

    /// When the next event is due, and the event.
    pub(crate) fn peek(&self) -> Option<(u64, &Event)> {
        let next = self.heap.peek();
        next.map(|Reverse(queued)| (queued.at_us, &queued.event))
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.heap.pop().map(|Reverse(queued)| queued.event)
    }
}

struct Queued {
    at_us: u64,
    seq: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.seq).cmp(&(other.at_us, other.seq))
    }
}
