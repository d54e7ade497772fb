//! Settings that operators change while things go wrong.

use std::fmt;

use arbitrary::{Result, Unstructured};
use rumormill_core::settings::{SettingInfo, SettingKind, settings_by_default};

use super::{Action, Entry, Plan, WARM_UP_US, draw_log};

/// The most changes of one drawn plan.
const MAX_CHANGES: u64 = 12;

/// An operator changes a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The node that is asked; while it is down, the next one that is up.
    pub node: usize,
    /// The setting, by the name it has in the core.
    pub name: &'static str,
    /// The value in the one form that the core prints; `None` gives the setting back to the nodes' own configuration.
    pub value: Option<String>,
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format_args!("node=n{} name={}", self.node, self.name);
        match &self.value {
            Some(value) => write!(f, "set {place} value={value}"),
            None => write!(f, "unset {place}"),
        }
    }
}

/// Where half and twice the default would not meet what is rare: small limits, and times that exclude each other.
const RANGES: [(&str, &str, &str); 12] = [
    ("link.dial_backoff", "50ms", "1s"),
    ("link.dial_backoff_max", "100ms", "5s"),
    ("gossip.direct_push_members", "1", "8"),
    ("gossip.fanout", "1", "4"),
    ("gossip.flush_deadline", "1ms", "1s"),
    // With one, a member that took over and loses its disk takes along what it was handed.
    ("cluster.leave_acks", "2", "4"),
    ("detector.probe_interval", "200ms", "2s"),
    ("detector.probe_timeout", "50ms", "1s"),
    ("limits.context_actors", "1", "8"),
    ("limits.rows_per_message", "1", "16"),
    ("limits.session_replaced", "1", "16"),
    ("limits.sessions", "1", "2"),
];

/// Pairs of which one has to be smaller than the other, and is not.
const CLASHES: [[(&str, &str); 2]; 2] = [
    [
        ("detector.probe_timeout", "800ms"),
        ("detector.probe_interval", "500ms"),
    ],
    [
        ("link.dial_backoff", "1s"),
        ("link.dial_backoff_max", "500ms"),
    ],
];

/// Adds changes of settings to a plan: values with which a cluster still comes to rest in time.
pub(super) fn draw(u: &mut Unstructured<'_>, plan: &mut Plan) -> Result<()> {
    let settings = settings_by_default();
    if plan.machines.len() > 1 && u.ratio(1, 4)? {
        draw_clash(u, plan)?;
    }
    for _ in 0..draw_log(u, 1, MAX_CHANGES)? {
        let ranged = u.ratio(1, 2)?;
        let setting = if ranged {
            let (name, ..) = u.choose(&RANGES)?;
            settings.iter().find(|setting| setting.name == *name)
        } else {
            Some(u.choose(&settings)?)
        };
        let Some(setting) = setting else { continue };
        let value = draw_value(u, setting)?;
        let change = SettingChange {
            node: u.int_in_range(0..=plan.machines.len() - 1)?,
            name: setting.name,
            value: (!u.ratio(1, 6)?).then_some(value),
        };
        plan.entries.push(Entry {
            at_us: u.int_in_range(WARM_UP_US..=plan.stop_us - 1)?,
            action: Action::Set(change),
        });
    }
    plan.entries.sort_by_key(|entry| entry.at_us);
    Ok(())
}

/// Two operators set, at the same time and on two nodes, values that exclude each other: each is good where it is set, and together
/// neither counts.
fn draw_clash(u: &mut Unstructured<'_>, plan: &mut Plan) -> Result<()> {
    let at_us = u.int_in_range(WARM_UP_US..=plan.stop_us - 1)?;
    let nodes = plan.machines.len();
    let first = u.int_in_range(0..=nodes - 1)?;
    let other = (first + u.int_in_range(1..=nodes - 1)?) % nodes;
    for ((name, value), node) in u.choose(&CLASHES)?.iter().zip([first, other]) {
        let value = Some((*value).to_string());
        let action = Action::Set(SettingChange { node, name, value });
        plan.entries.push(Entry { at_us, action });
    }
    Ok(())
}

/// From half to twice the default, within the setting's bounds, or of a range of its own.
fn draw_value(u: &mut Unstructured<'_>, setting: &SettingInfo) -> Result<String> {
    let read = |text: &str| setting.kind.parse(text).unwrap_or(1);
    let default = read(&setting.default);
    let own = RANGES.iter().find(|(name, ..)| *name == setting.name);
    let (low, high) = own.map_or(
        (default / 2, default.saturating_mul(2)),
        |(_, low, high)| (read(low), read(high)),
    );
    let (low, high) = (low.max(read(&setting.min)), high.min(read(&setting.max)));
    let value = draw_log(u, low.max(1), high.max(1))?;
    // Durations are set in milliseconds.
    let value = match setting.kind {
        SettingKind::Duration => (value / 1_000).max(1) * 1_000,
        _ => value,
    };
    Ok(setting.kind.print(value))
}
