//! How messages and events become lines of the trace.

mod hash;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rumormill_core::wire::{DetectorMessage, GossipMessage, Message};
use rumormill_core::{
    NodeId,
    io::{Event, LinkError, Timer},
};

use self::line::Line;
use crate::trace::{Field, Trace, WORLD, Weight};

/// Node ids as indexes, for people.
pub(crate) type Ids = BTreeMap<NodeId, usize>;

fn index(ids: &Ids, id: NodeId) -> usize {
    ids.get(&id).copied().unwrap_or(WORLD)
}

pub(crate) fn weight(msg: &Message) -> Weight {
    match msg {
        Message::Detector(
            DetectorMessage::Probe { rumors, .. }
            | DetectorMessage::Ack { rumors, .. }
            | DetectorMessage::IndirectAck { rumors, .. },
        ) if rumors.is_empty() => Weight::Detail,
        Message::Gossip(GossipMessage::PageAck { .. } | GossipMessage::IHave(_)) => Weight::Detail,
        _ => Weight::Story,
    }
}

/// A message reached a node.
pub(crate) fn received(
    trace: &mut Trace,
    ids: &Ids,
    at_us: u64,
    from: usize,
    to: usize,
    msg: &Message,
) {
    let mut line = Line::new(ids, from);
    match msg {
        Message::Cluster(msg) => line.cluster(msg),
        Message::Detector(msg) => line.detector(msg),
        Message::Gossip(msg) => line.gossip(msg),
        _ => &mut line,
    };
    trace.event(at_us, to, weight(msg), msg.kind(), line.fields());
}

pub(crate) fn link_error(why: &LinkError) -> &'static str {
    match why {
        LinkError::Closed => "closed",
        LinkError::Unreachable => "unreachable",
        LinkError::Broken => "broken",
        LinkError::Malformed => "malformed",
        LinkError::Refused(_) => "refused",
        LinkError::TimedOut => "timeout",
        _ => "other",
    }
}

pub(crate) fn timer(why: Timer) -> &'static str {
    match why {
        Timer::Flush => "flush",
        Timer::Detector => "detector",
        Timer::Dial => "dial",
        Timer::Gossip => "gossip",
        Timer::Sync => "sync",
        Timer::Expiry => "expiry",
        Timer::Request => "request",
        Timer::Leave => "leave",
        Timer::Evict => "evict",
        _ => "other",
    }
}

/// A node told something to its operator. Returns the name it is counted under.
pub(crate) fn event(
    trace: &mut Trace,
    ids: &Ids,
    at_us: u64,
    node: usize,
    event: &Event,
) -> &'static str {
    let mut emit = |verb: &'static str, fields: &[Field<'_>]| {
        trace.event(at_us, node, Weight::Story, verb, fields);
        verb
    };
    of_members(ids, event, &mut emit).unwrap_or_else(|| of_node(ids, event, &mut emit))
}

/// Writes a line and returns its verb.
type Emit<'a> = dyn FnMut(&'static str, &[Field<'_>]) -> &'static str + 'a;

/// Tells an event about members; `None` for another.
fn of_members(ids: &Ids, event: &Event, emit: &mut Emit<'_>) -> Option<&'static str> {
    let who = |id: &NodeId| Field::Node("who", index(ids, *id));
    let verb = match event {
        Event::MemberUp(id) => emit("member_up", &[who(id)]),
        Event::MemberSuspect(id) => emit("member_suspect", &[who(id)]),
        Event::MemberDown(id) => emit("member_down", &[who(id)]),
        Event::MemberLeft(id) => emit("member_left", &[who(id)]),
        Event::MemberEvicted {
            node,
            acks,
            members,
            ..
        } => emit(
            "member_evicted",
            &[
                who(node),
                Field::Num("acks", *acks as u64),
                Field::Num("members", *members as u64),
            ],
        ),
        Event::OlderCopy { by } => emit("older_copy", &[who(by)]),
        Event::Evicted { by } => emit("evicted", &[who(by)]),
        Event::EvictionOutranked { by } => emit("eviction_outranked", &[who(by)]),
        Event::DeclaredLost(id) => emit("declared_lost", &[who(id)]),
        Event::Resumed { without } => {
            emit("resumed", &[Field::Num("without", without.len() as u64)])
        }
        Event::DuplicateName { later, .. } => emit("duplicate_name", &[who(later)]),
        Event::Waits { phase, secs, .. } => emit(
            "waits",
            &[
                Field::Word("phase", phase.name()),
                Field::Num("secs", *secs),
            ],
        ),
        Event::Founded => emit("founded", &[]),
        Event::Joined { through } => emit("joined", &[who(through)]),
        Event::Rejoined {
            with,
            dropped,
            proposed,
        } => emit(
            "rejoined",
            &[
                who(with),
                Field::Num("dropped", *dropped),
                Field::Num("proposed", *proposed),
            ],
        ),
        Event::Refused { node, .. } => emit("refused_peer", &[who(node)]),
        Event::Denied { by, .. } => emit("denied_by", &[who(by)]),
        Event::Protocol { node, why } => emit("protocol", &[who(node), Field::Word("why", why)]),
        _ => return None,
    };
    Some(verb)
}

/// Tells an event about the node itself: its clocks, rows, settings and store.
fn of_node(ids: &Ids, event: &Event, emit: &mut Emit<'_>) -> &'static str {
    let who = |id: &NodeId| Field::Node("who", index(ids, *id));
    match event {
        Event::WallStepped { by_ms } => emit(
            "wall_stepped",
            &[
                Field::Word("ahead", if *by_ms < 0 { "no" } else { "yes" }),
                Field::Num("by_ms", by_ms.unsigned_abs()),
            ],
        ),
        Event::ClockDrift { ahead_ms } => emit("clock_drift", &[Field::Num("ahead_ms", *ahead_ms)]),
        Event::ClockWrong(clock) => emit(
            "clock_wrong",
            &[
                who(&clock.node),
                Field::Num("ahead", u64::from(clock.by_ms > 0)),
                Field::Num("by_ms", clock.by_ms.unsigned_abs()),
            ],
        ),
        Event::ClockRight { node, .. } => emit("clock_right", &[who(node)]),
        Event::Repaired { with, rows } => emit("repaired", &[who(with), Field::Num("rows", *rows)]),
        Event::CaughtUp { with, rows } => {
            emit("caught_up", &[who(with), Field::Num("rows", *rows)])
        }
        Event::Unreadable { key, .. } => emit("unreadable", &[Field::Bytes("key", key)]),
        Event::SettingChanged { name, value } => emit(
            "setting_changed",
            &[
                Field::Word("name", name),
                Field::Bytes("value", value.as_bytes()),
            ],
        ),
        Event::SettingIgnored { name, .. } => emit("setting_ignored", &[Field::Word("name", name)]),
        Event::StoreStalled(_) => emit("store_stalled", &[]),
        Event::Damaged { records } => emit("damaged", &[Field::Num("records", *records)]),
        Event::StoreRecovered => emit("store_recovered", &[]),
        _ => emit("event", &[]),
    }
}
