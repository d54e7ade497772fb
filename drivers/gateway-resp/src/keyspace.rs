//! Keyspace notifications, pulled from the log of changes.

use std::collections::BTreeSet;

use rumormill_core::{Change, ChangeKind, Cursor, Durability, Node, Now, TableId, View};
use rumormill_kit::session::{Flow, Replies};

use crate::commands::hold_if_unsynced;
use crate::encoder::{self, Proto};
use crate::glob;

/// Most channels and patterns of one client.
pub const SUBSCRIPTIONS: usize = 256;

const KEYSPACE: &[u8] = b"__keyspace@0__:";
const KEYEVENT: &[u8] = b"__keyevent@0__:";
/// Changes read at once.
const BATCH: usize = 256;

/// What a client subscribed to, and how far it has been told.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) channels: BTreeSet<Vec<u8>>,
    pub(crate) patterns: BTreeSet<Vec<u8>>,
    cursor: Cursor,
}

impl Watch {
    pub(crate) fn new(cursor: Cursor) -> Self {
        Watch {
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            cursor,
        }
    }

    /// Channels and patterns.
    pub(crate) fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Whether any change could be of interest.
    pub(crate) fn is_active(&self) -> bool {
        self.count() > 0
    }

    /// Appends messages until there is nothing new, or no room.
    pub(crate) fn pull(
        &mut self,
        now: Now,
        node: &Node,
        proto: Proto,
        replies: &mut Replies,
    ) -> Flow {
        let view = node.view(now);
        loop {
            if replies.is_full() {
                return Flow::Full;
            }
            let Ok(batch) = view.all_changes(self.cursor, BATCH) else {
                let why = b"LAGGED this subscriber is too slow, changes were lost: subscribe and read again";
                encoder::error(replies.buf(), why);
                return Flow::Close;
            };
            for change in &batch.changes {
                if replies.is_full() {
                    self.cursor = change.cursor;
                    return Flow::Full;
                }
                self.publish(now, node, &view, change, proto, replies);
            }
            self.cursor = batch.next;
            if !batch.more {
                return Flow::Continue;
            }
        }
    }

    fn publish(
        &self,
        now: Now,
        node: &Node,
        view: &View<'_>,
        change: &Change,
        proto: Proto,
        replies: &mut Replies,
    ) {
        let Some(info) = view.table_info(change.table) else {
            return;
        };
        if info.options.durability == Durability::Sync
            && let ChangeKind::Put { key, .. } | ChangeKind::Siblings { key, .. } = &change.kind
            && let Some(row) = view.get(change.table, key).row()
        {
            hold_if_unsynced(node, now, change.table, row.seq(), replies);
        }
        let is_string = change.table == TableId::DEFAULT;
        let (event, row) = match &change.kind {
            ChangeKind::Put { key, .. } | ChangeKind::Siblings { key, .. } => {
                (if is_string { "set" } else { "hset" }, &key[..])
            }
            ChangeKind::Deleted { key } => (if is_string { "del" } else { "hdel" }, &key[..]),
            ChangeKind::Expired { key } if is_string => ("expired", &key[..]),
            ChangeKind::Expired { key } => ("hexpired", &key[..]),
            // As in Redis, nobody is told of the keys that FLUSHALL removes; there is no event for strings that go at once.
            ChangeKind::Flushed { all } if *all || is_string => return,
            ChangeKind::Flushed { .. } => ("del", &[][..]),
        };
        let key = if is_string { row } else { info.name.as_bytes() };
        let out = replies.buf();
        self.message(out, proto, &[KEYSPACE, key].concat(), event.as_bytes());
        self.message(out, proto, &[KEYEVENT, event.as_bytes()].concat(), key);
    }

    fn message(&self, out: &mut Vec<u8>, proto: Proto, channel: &[u8], payload: &[u8]) {
        if self.channels.contains(channel) {
            encoder::push(out, proto, 3);
            encoder::bulk(out, b"message");
            encoder::bulk(out, channel);
            encoder::bulk(out, payload);
        }
        for pattern in &self.patterns {
            if glob::matches(pattern, channel) {
                encoder::push(out, proto, 4);
                encoder::bulk(out, b"pmessage");
                encoder::bulk(out, pattern);
                encoder::bulk(out, channel);
                encoder::bulk(out, payload);
            }
        }
    }
}
