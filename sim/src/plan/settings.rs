//! Settings that operators change while things go wrong.

use std::fmt;

use arbitrary::{Result, Unstructured};
use rumormill_core::{SettingInfo, SettingKind, settings_by_default};

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
        let who = format_args!("node=n{} name={}", self.node, self.name);
        match &self.value {
            Some(value) => write!(f, "set {who} value={value}"),
            None => write!(f, "unset {who}"),
        }
    }
}

/// Where half and twice the default would not meet what is rare: small limits, and times that exclude each other.
const RANGES: [(&str, &str, &str); 12] = [
    ("gossip.dial_backoff", "50ms", "1s"),
    ("gossip.dial_backoff_max", "100ms", "5s"),
    ("gossip.direct_push_members", "1", "8"),
    ("gossip.fanout", "1", "4"),
    ("gossip.flush_deadline", "1ms", "1s"),
    // With one, whoever took over and loses its disk takes along what it was handed.
    ("gossip.leave_acks", "2", "4"),
    ("gossip.probe_interval", "200ms", "2s"),
    ("gossip.probe_timeout", "50ms", "1s"),
    ("limits.context_actors", "1", "8"),
    ("limits.rows_per_message", "1", "16"),
    ("limits.session_replaced", "1", "16"),
    ("limits.sessions", "1", "2"),
];

/// Adds changes of settings to a plan: values with which a cluster still comes to rest in time.
pub(super) fn draw(u: &mut Unstructured<'_>, plan: &mut Plan) -> Result<()> {
    let settings = settings_by_default();
    for _ in 0..draw_log(u, 1, MAX_CHANGES)? {
        // Two settings that exclude each other are set together now and then.
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
    // Nobody sets microseconds.
    let value = match setting.kind {
        SettingKind::Duration => (value / 1_000).max(1) * 1_000,
        _ => value,
    };
    Ok(setting.kind.print(value))
}
