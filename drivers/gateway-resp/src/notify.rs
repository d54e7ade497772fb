//! Keyspace notifications: subscriptions, and changes pulled from the node's log.

use std::collections::BTreeSet;

use rumormill_core::{Change, ChangeKind, Cursor, Namespace, Node, Now, TableId};
use rumormill_kit::session::{Flow, Replies};

use crate::encoder::Encoder;
use crate::glob;
use crate::session::State;

/// Changes read from the log at once.
const PAGE: usize = 256;

/// What a client listens to.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub(crate) channels: BTreeSet<Vec<u8>>,
    pub(crate) patterns: BTreeSet<Vec<u8>>,
    /// Where to read on; set with the first subscription.
    pub(crate) cursor: Option<Cursor>,
}

impl Subscriptions {
    pub(crate) fn any(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}

/// The key and the event that a change is notified as.
fn event(node: &Node, now: Now, change: &Change) -> Option<(Vec<u8>, &'static str)> {
    if change.table == TableId::DEFAULT {
        return match &change.kind {
            ChangeKind::Put { key, .. } => Some((key.to_vec(), "set")),
            ChangeKind::Deleted { key } => Some((key.to_vec(), "del")),
            ChangeKind::Expired { key } => Some((key.to_vec(), "expired")),
            ChangeKind::Flushed => None,
        };
    }
    let info = node.view(now).table_info(change.table)?;
    let event = match change.kind {
        _ if info.namespace == Namespace::Sys => return None,
        ChangeKind::Put { .. } => "hset",
        ChangeKind::Deleted { .. } => "hdel",
        ChangeKind::Expired { .. } => "hexpired",
        ChangeKind::Flushed => "del",
    };
    Some((info.name.as_bytes().to_vec(), event))
}

impl State {
    /// Tells the client what has changed since the last call.
    pub(crate) fn notify(&mut self, now: Now, node: &Node, replies: &mut Replies) -> Flow {
        while self.subscriptions.any() && !replies.is_full() {
            let Some(cursor) = self.subscriptions.cursor else {
                break;
            };
            let Ok(read) = node.view(now).all_changes(cursor, PAGE) else {
                let text =
                    "ERR notifications were lost: the subscriber fell behind the log of changes";
                Encoder::new(replies.buf(), self.version).error(text);
                return Flow::Close;
            };
            for change in &read.changes {
                if let Some((key, event)) = event(node, now, change) {
                    let key_channel = [b"__keyspace@0__:", key.as_slice()].concat();
                    self.publish(replies, &key_channel, event.as_bytes());
                    let event_channel = [b"__keyevent@0__:", event.as_bytes()].concat();
                    self.publish(replies, &event_channel, &key);
                }
            }
            self.subscriptions.cursor = Some(read.next);
            if !read.more {
                break;
            }
        }
        Flow::Continue
    }

    fn publish(&self, replies: &mut Replies, channel: &[u8], message: &[u8]) {
        let mut out = Encoder::new(replies.buf(), self.version);
        if self.subscriptions.channels.contains(channel) {
            out.push(3);
            out.bulk(b"message");
            out.bulk(channel);
            out.bulk(message);
        }
        for pattern in &self.subscriptions.patterns {
            if glob::matches(pattern, channel) {
                out.push(4);
                out.bulk(b"pmessage");
                out.bulk(pattern);
                out.bulk(channel);
                out.bulk(message);
            }
        }
    }
}
