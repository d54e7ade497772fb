//! Keyspace notifications, pulled from the log of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use rumormill_core::{
    Node, Now, TableId,
    table::{Change, ChangeKind, Cursor, Durability, View},
};
use rumormill_kit::client_session::{Flow, Replies};

use crate::encoder::{self, Proto};
use crate::glob::Pattern;
use crate::hold::hold_if_unsynced;
use crate::shared::Shared;
use crate::work::{self, Work};

/// Most channels and patterns of one client.
pub const SUBSCRIPTIONS: usize = 256;
/// Most elements of a client's patterns together; see [`PATTERN_ELEMENTS`](crate::glob::PATTERN_ELEMENTS).
pub const SUBSCRIPTION_ELEMENTS: usize = 4_096;
/// Most bytes that the channels and patterns of one client hold.
pub const SUBSCRIPTION_BYTES: usize = 1 << 20;
/// Most bytes that the channels and patterns of all clients hold.
pub const ALL_SUBSCRIPTION_BYTES: usize = 64 << 20;

const KEYSPACE: &[u8] = b"__keyspace@0__:";
const KEYEVENT: &[u8] = b"__keyevent@0__:";
/// Changes read at once.
const BATCH: usize = 256;

/// The subscriptions of a client, and how far it has been told.
#[derive(Debug)]
pub(crate) struct Watch {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeMap<Vec<u8>, Pattern>,
    cursor: Cursor,
    /// How far the change at the cursor was told, when that had to stop in the middle.
    told: Told,
    bytes: usize,
    shared: Arc<Shared>,
}

/// How far one change was told.
#[derive(Debug, Default)]
struct Told {
    /// Which of its messages is at hand.
    message: usize,
    /// The last pattern that this message was compared with; `None` before the channels.
    after: Option<Vec<u8>>,
}

impl Watch {
    pub(crate) fn new(cursor: Cursor, shared: Arc<Shared>) -> Self {
        Watch {
            channels: BTreeSet::new(),
            patterns: BTreeMap::new(),
            cursor,
            told: Told::default(),
            bytes: 0,
            shared,
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

    /// Checks that there is room for these channels and patterns as well.
    ///
    /// # Errors
    /// The text of the refusal, with the limit.
    pub(crate) fn check_room(
        &self,
        channels: &[&[u8]],
        patterns: &[(&[u8], Pattern)],
    ) -> Result<(), String> {
        if self.count() + channels.len() + patterns.len() > SUBSCRIPTIONS {
            return Err(format!(
                "TOOLARGE a client has at most {SUBSCRIPTIONS} channels and patterns"
            ));
        }
        let have: usize = self.patterns.values().map(Pattern::elements).sum();
        let more: usize = patterns.iter().map(|(_, new)| new.elements()).sum();
        if have + more > SUBSCRIPTION_ELEMENTS {
            return Err(format!(
                "TOOLARGE the patterns of a client have at most {SUBSCRIPTION_ELEMENTS} characters and classes behind wildcards"
            ));
        }
        let of_channels: usize = channels.iter().map(|name| size_of_channel(name)).sum();
        let of_patterns = patterns
            .iter()
            .map(|(name, new)| size_of_pattern(name, new));
        let more = of_channels + of_patterns.sum::<usize>();
        if self.bytes + more > SUBSCRIPTION_BYTES {
            return Err(format!(
                "TOOLARGE the channels and patterns of a client have at most {SUBSCRIPTION_BYTES} bytes"
            ));
        }
        if self.shared.subscriptions() + more > ALL_SUBSCRIPTION_BYTES {
            return Err(format!(
                "TOOLARGE the channels and patterns of all clients have at most {ALL_SUBSCRIPTION_BYTES} bytes"
            ));
        }
        Ok(())
    }

    pub(crate) fn add_channel(&mut self, name: &[u8]) {
        if self.channels.insert(name.to_vec()) {
            self.grow(size_of_channel(name));
        }
    }

    pub(crate) fn add_pattern(&mut self, name: &[u8], pattern: Pattern) {
        let size = size_of_pattern(name, &pattern);
        if self.patterns.insert(name.to_vec(), pattern).is_none() {
            self.grow(size);
        }
    }

    pub(crate) fn remove_channel(&mut self, name: &[u8]) {
        if self.channels.remove(name) {
            self.shrink(size_of_channel(name));
        }
    }

    pub(crate) fn remove_pattern(&mut self, name: &[u8]) {
        if let Some(pattern) = self.patterns.remove(name) {
            self.shrink(size_of_pattern(name, &pattern));
        }
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.channels.iter()
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.patterns.keys()
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.shared.subscribed(bytes);
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.shared.unsubscribed(bytes);
    }

    /// Whether changes were lost before they were told.
    pub(crate) fn has_lagged(&self, now: Now, node: &Node) -> bool {
        node.view(now).all_changes(self.cursor, 1).is_err()
    }

    /// Appends messages until there is nothing new, no room, or no work left for this call.
    pub(crate) fn pull(
        &mut self,
        now: Now,
        node: &Node,
        proto: Proto,
        work: &mut Work,
        replies: &mut Replies,
    ) -> Flow {
        let view = node.view(now);
        loop {
            if let Some(pause) = pause(work, replies) {
                return pause;
            }
            let Ok(batch) = view.all_changes(self.cursor, BATCH) else {
                let why = b"LAGGED this subscriber is too slow, changes were lost: subscribe and read again";
                encoder::error(replies.buf(), why);
                return Flow::Close;
            };
            for change in &batch.changes {
                if change.cursor != self.cursor {
                    // The change that was told in part has been replaced by a later one.
                    self.told = Told::default();
                }
                self.cursor = change.cursor;
                if let Some(pause) = pause(work, replies) {
                    return pause;
                }
                work.spend(work::ROW);
                if !self.publish(now, node, &view, change, proto, work, replies) {
                    return pause(work, replies).unwrap_or(Flow::Yield);
                }
                self.told = Told::default();
                self.cursor = change.cursor.next();
            }
            self.cursor = batch.next;
            if !batch.more {
                return Flow::Continue;
            }
        }
    }

    /// Tells of a change, from where that stopped; whether it was told to its end.
    #[allow(clippy::too_many_arguments, reason = "the parts of one call")]
    fn publish(
        &mut self,
        now: Now,
        node: &Node,
        view: &View<'_>,
        change: &Change,
        proto: Proto,
        work: &mut Work,
        replies: &mut Replies,
    ) -> bool {
        let Some(info) = view.table_info(change.table) else {
            return true;
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
            // As in Redis, keys that FLUSHALL removes are not told; there is no event for strings that go at once.
            ChangeKind::Flushed { all } if *all || is_string => return true,
            ChangeKind::Flushed { .. } => ("del", &[][..]),
        };
        let key = if is_string { row } else { info.name.as_bytes() };
        let event = event.as_bytes();
        while let Some((space, name, payload)) =
            [(KEYSPACE, key, event), (KEYEVENT, event, key)].get(self.told.message)
        {
            let channel = [*space, name].concat();
            if !self.message(&channel, payload, proto, work, replies) {
                return false;
            }
            self.told = Told {
                message: self.told.message + 1,
                after: None,
            };
        }
        true
    }

    /// Tells one message to the channel and the patterns it is for; whether all were compared.
    fn message(
        &mut self,
        channel: &[u8],
        payload: &[u8],
        proto: Proto,
        work: &mut Work,
        replies: &mut Replies,
    ) -> bool {
        if self.told.after.is_none() && self.channels.contains(channel) {
            let out = replies.buf();
            encoder::push(out, proto, 3);
            encoder::bulk(out, b"message");
            encoder::bulk(out, channel);
            encoder::bulk(out, payload);
        }
        let start = match &self.told.after {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Unbounded,
        };
        let mut last: Option<&Vec<u8>> = None;
        for (name, pattern) in self.patterns.range((start, Bound::Unbounded)) {
            if last.is_some() && (work.is_spent() || replies.is_full()) {
                self.told.after = last.cloned();
                return false;
            }
            let mut steps = 0;
            if pattern.matches(channel, &mut steps) {
                let out = replies.buf();
                encoder::push(out, proto, 4);
                encoder::bulk(out, b"pmessage");
                encoder::bulk(out, name);
                encoder::bulk(out, channel);
                encoder::bulk(out, payload);
            }
            work.spend(steps);
            last = Some(name);
        }
        true
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.unsubscribed(self.bytes);
    }
}

/// Tells why no more is done in this call.
pub(crate) fn pause(work: &Work, replies: &Replies) -> Option<Flow> {
    match (replies.is_full(), work.is_spent()) {
        (true, _) => Some(Flow::Full),
        (_, true) => Some(Flow::Yield),
        _ => None,
    }
}

fn size_of_channel(name: &[u8]) -> usize {
    size_of::<Vec<u8>>() + name.len()
}

fn size_of_pattern(name: &[u8], pattern: &Pattern) -> usize {
    size_of_channel(name) + pattern.memory()
}
