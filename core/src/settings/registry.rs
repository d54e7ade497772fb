//! The registry: every setting, once. A name begins with the machine that it is about: `cluster`, `detector`, `gossip`, `link`, `store`; limits of
//! all of them with `limits`. `strong` and `quorum` are kept for modes to come.
//!
//! Documents, the command line and the interfaces are fed from it: a field of `Timing` or `Limits`
//! becomes a setting by one line here, if `Node::retune` tells every part that keeps a copy of it.
//!
//! Not here, and so fixed for a boot of a node: its names, addresses, seeds and storage, which are its own;
//! `resident_value`, which is about its own memory; `found_patience`, which counts before a node knows any cluster;
//! `store_backlog` and `loads`, by which drivers size their queues at the start.

use core::time::Duration;

use super::SettingKind;
use crate::config::{Limits, Timing};

/// The values that settings change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tunables {
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
}

/// One setting. Values are in microseconds, bytes or pieces.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: SettingKind,
    /// The unit of a count.
    pub(crate) unit: &'static str,
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// The part of a node that it changes.
    pub(crate) affects: &'static str,
    pub(crate) help: &'static str,
    pub(crate) get: fn(&Tunables) -> u64,
    pub(crate) set: fn(&mut Tunables, u64),
}

/// Two settings of which one bounds the other, where the cluster has set both.
pub(crate) struct Rule {
    pub(crate) low: &'static str,
    pub(crate) high: &'static str,
}

/// The first of each pair is smaller than the second, or neither is in force.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        low: "detector.probe_timeout",
        high: "detector.probe_interval",
    },
    Rule {
        low: "link.dial_backoff",
        high: "link.dial_backoff_max",
    },
];

/// Settings that began with `gossip.` and are not gossip's.
const MOVED: &[&str] = &[
    "cluster.evict_memory_after",
    "cluster.evict_patience",
    "cluster.leave_acks",
    "cluster.leave_timeout",
    "detector.indirect_probes",
    "detector.probe_interval",
    "detector.probe_timeout",
    "detector.suspicion_mult",
    "link.dial_backoff",
    "link.dial_backoff_max",
    "store.sync_interval",
];

/// The name that a setting has instead of an older one.
pub(crate) fn renamed(name: &str) -> Option<&'static str> {
    let old = name.strip_prefix("gossip.")?;
    let new = |new: &&&str| new.split_once('.').is_some_and(|(_, field)| field == old);
    MOVED.iter().find(new).copied()
}

pub(crate) fn find(name: &str) -> Option<usize> {
    REGISTRY
        .binary_search_by(|setting| setting.name.cmp(name))
        .ok()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const MS: u64 = 1_000;
const S: u64 = 1_000 * MS;
const M: u64 = 60 * S;
const H: u64 = 60 * M;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

macro_rules! setting {
    ($name:literal, $part:ident.$field:ident: $kind:ident in $unit:literal, $min:expr, $max:expr, $affects:literal, $help:literal) => {
        Setting {
            name: $name,
            kind: setting!(@kind $kind),
            unit: $unit,
            min: $min,
            max: $max,
            affects: $affects,
            help: $help,
            get: |tunables| setting!(@get $kind tunables.$part.$field),
            set: |tunables, value| tunables.$part.$field = setting!(@set $kind value),
        }
    };
    (@kind time) => { SettingKind::Duration };
    (@kind pause) => { SettingKind::Duration };
    (@kind size) => { SettingKind::Bytes };
    (@kind count) => { SettingKind::Count };
    (@kind small) => { SettingKind::Count };
    (@get time $value:expr) => { micros($value) };
    (@get pause $value:expr) => { $value.map_or(0, micros) };
    (@get small $value:expr) => { u64::from($value) };
    (@get $kind:ident $value:expr) => { $value as u64 };
    (@set time $value:ident) => { Duration::from_micros($value) };
    (@set pause $value:ident) => { ($value != 0).then(|| Duration::from_micros($value)) };
    (@set small $value:ident) => { u32::try_from($value).unwrap_or(u32::MAX) };
    (@set $kind:ident $value:ident) => { usize::try_from($value).unwrap_or(usize::MAX) };
}

/// By name.
#[rustfmt::skip]
pub(crate) static REGISTRY: &[Setting] = &[
    setting!("cluster.evict_memory_after", timing.evict_memory_after: pause in "time", 0, 720 * H, "eviction",
        "a member that keeps nothing on disk is evicted when it has been down for so long; 0ms for never"),
    setting!("cluster.evict_patience", timing.evict_patience: time in "time", 100 * MS, 8 * S, "eviction",
        "how long an eviction waits for the agreement of a majority"),
    setting!("cluster.leave_acks", timing.leave_acks: count in "members", 1, 64, "leave",
        "a leave waits for so many members that durably hold everything the leaver has"),
    setting!("cluster.leave_timeout", timing.leave_timeout: time in "time", 100 * MS, 3 * S, "leave",
        "how long the next leave waits for others to hold everything"),
    setting!("detector.indirect_probes", timing.indirect_probes: count in "members", 0, 32, "failure detector",
        "members asked to probe on our behalf"),
    setting!("detector.probe_interval", timing.probe_interval: time in "time", 10 * MS, M, "failure detector",
        "one member is probed per interval"),
    setting!("detector.probe_timeout", timing.probe_timeout: time in "time", MS, 20 * S, "failure detector",
        "how long a direct probe may take; counts as at most a third of the interval"),
    setting!("detector.suspicion_mult", timing.suspicion_mult: small in "probe intervals", 1, 100, "failure detector",
        "a suspect is declared dead after so many intervals, times log10(n) when n > 10"),
    setting!("gossip.direct_push_members", limits.direct_push_members: count in "members", 1, 4_096, "pushes",
        "up to so many members a write is pushed straight to all of them, and above along a tree"),
    setting!("gossip.fanout", limits.fanout: count in "members", 1, 64, "pushes",
        "members that a member passes rows on to along a tree"),
    setting!("gossip.flush_deadline", timing.flush_deadline: time in "time", 0, S, "pushes",
        "how long writes wait to be pushed together, unless a message is full; 0ms for the end of the turn"),
    setting!("gossip.mismatch_patience", timing.mismatch_patience: time in "time", 10 * MS, M, "sessions",
        "how long two members may disagree before one fetches what it lacks"),
    setting!("gossip.session_timeout", timing.session_timeout: time in "time", 100 * MS, 10 * M, "sessions",
        "a session without progress for so long is given up, and so is a greeting"),
    setting!("limits.bytes_per_message", limits.bytes_per_message: size in "bytes", KIB, MIB, "messages",
        "row bytes in one message, exceeded only by a single larger row"),
    setting!("limits.change_log", limits.change_log: count in "changes", 256, 1 << 24, "watchers",
        "changes kept for watchers; one that falls further behind starts again"),
    setting!("limits.clock_drift", limits.clock_drift: time in "time", S, 24 * H, "clock",
        "how far ahead of the wall clock a foreign version may push ours"),
    setting!("limits.context_actors", limits.context_actors: count in "actors", 0, 1 << 20, "sessions",
        "contexts that name more actors are compared by digest before they are exchanged"),
    setting!("limits.key_bytes", limits.key_bytes: size in "bytes", 16, 64 * KIB, "clients' writes",
        "longest key a client may write"),
    setting!("limits.links", limits.links: count in "links", 16, 1 << 16, "links",
        "most links accepted, and most members dialled; open links stay"),
    setting!("limits.load_queue", limits.load_queue: count in "values", 16, 1 << 20, "loads",
        "values that wait to be loaded, and requests that wait for one"),
    setting!("limits.requests", limits.requests: count in "requests", 16, 1 << 24, "requests",
        "requests waiting for an answer"),
    setting!("limits.rows_per_message", limits.rows_per_message: count in "rows", 1, 1 << 16, "messages",
        "rows in one message"),
    setting!("limits.session_replaced", limits.session_replaced: count in "keys", 1, 1 << 24, "sessions",
        "keys remembered because they changed under a session, from the next session on"),
    setting!("limits.sessions", limits.sessions: count in "sessions", 1, 1_024, "sessions",
        "sessions served at once, and asked for at once"),
    setting!("limits.siblings", limits.siblings: count in "siblings", 1, 1_024, "clients' writes",
        "most siblings of a key that a client's write may leave, in tables that keep them"),
    setting!("limits.table_name_bytes", limits.table_name_bytes: count in "bytes", 8, 255, "clients' writes",
        "longest name of a new table"),
    setting!("limits.value_bytes", limits.value_bytes: size in "bytes", KIB, 32 * MIB, "clients' writes",
        "longest value a client may write"),
    setting!("link.dial_backoff", timing.dial_backoff: time in "time", 10 * MS, M, "links",
        "first delay before an address is dialled again; it doubles"),
    setting!("link.dial_backoff_max", timing.dial_backoff_max: time in "time", 20 * MS, 10 * M, "links",
        "longest delay before an address is dialled again"),
    setting!("store.sync_interval", timing.sync_interval: time in "time", 10 * MS, M, "storage",
        "how often unsynced rows are synced"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_defaults_within_bounds() {
        let defaults = Tunables::default();
        for (i, setting) in REGISTRY.iter().enumerate() {
            assert_eq!(find(setting.name), Some(i), "{}", setting.name);
            let default = (setting.get)(&defaults);
            assert!(
                (setting.min..=setting.max).contains(&default),
                "{}",
                setting.name
            );
        }
        for rule in RULES {
            assert!(find(rule.low).is_some() && find(rule.high).is_some());
        }
        for name in MOVED {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_older_name_leads_to_the_new_one_and_no_name_is_both() {
        assert_eq!(renamed("gossip.sync_interval"), Some("store.sync_interval"));
        assert_eq!(renamed("gossip.dial_backoff"), Some("link.dial_backoff"));
        assert_eq!(renamed("probe_interval"), None);
        let names = REGISTRY.iter().map(|setting| setting.name);
        assert!(names.into_iter().all(|name| renamed(name).is_none()));
    }

    #[test]
    fn what_is_set_is_what_is_got_and_nothing_else_changes() {
        let defaults = Tunables::default();
        for (i, setting) in REGISTRY.iter().enumerate() {
            let mut tunables = defaults.clone();
            for value in [setting.min, setting.max] {
                (setting.set)(&mut tunables, value);
                assert_eq!((setting.get)(&tunables), value, "{}", setting.name);
            }
            for (j, other) in REGISTRY.iter().enumerate() {
                let same = (other.get)(&tunables) == (other.get)(&defaults);
                assert!(i == j || same, "{} changes {}", setting.name, other.name);
            }
        }
    }

    #[test]
    fn the_largest_row_within_the_limits_is_within_the_protocols() {
        let max = |name| find(name).map_or(u64::MAX, |at| REGISTRY[at].max);
        let row = max("limits.key_bytes") + max("limits.value_bytes");
        assert!(row <= crate::config::MAX_ROW_BYTES as u64);
        let message = max("limits.bytes_per_message").max(row) as usize;
        assert!(message < crate::link::LinkLimits::default().message_bytes);
    }
}
