//! A node's events as operators read them.

mod bounded;

use rumormill_core::{Node, NodeId, Trace, io::Event};

pub(crate) use bounded::{Kind, may_log, tell_left_out};

/// So many bytes of a key are shown.
const SHOWN: usize = 64;

/// Logs an event of a node: as a warning where an operator may have to do something. Members are told by name and id, as the command line
/// does. Lines about strangers, and those that one member can cause many times, are bounded.
pub fn log(event: &Event, node: &Node) {
    if kind(event).is_some_and(|kind| !may_log(kind)) {
        return;
    }
    let (name, text) = Names(node).describe(event);
    match is_warning(event) {
        true => tracing::warn!(event = %name, "{text}"),
        false => tracing::info!(event = %name, "{text}"),
    }
}

fn is_warning(event: &Event) -> bool {
    matches!(
        event,
        Event::MemberDown(_)
            | Event::StoreStalled(_)
            | Event::Damaged { .. }
            | Event::DuplicateName { .. }
            | Event::Denied { .. }
            | Event::Refused { .. }
            | Event::MemberEvicted { .. }
            | Event::Evicted { .. }
            | Event::OlderCopy { .. }
            | Event::EvictionOutranked { .. }
            | Event::DeclaredLost(_)
            | Event::Resumed { .. }
            | Event::Protocol { .. }
            | Event::WallStepped { .. }
            | Event::ClockDrift { .. }
            | Event::ClockWrong(_)
            | Event::SettingIgnored { .. }
            | Event::Unreadable { .. }
            | Event::Waits { .. }
            | Event::Founded
    )
}

/// Which lines an event shares a bound with, if it has one.
fn kind(event: &Event) -> Option<Kind> {
    match event {
        Event::Refused { .. } => Some(Kind::Refused),
        Event::Denied { .. } => Some(Kind::Denied),
        Event::Protocol { .. } => Some(Kind::Protocol),
        Event::ClockDrift { .. } => Some(Kind::ClockDrift),
        Event::Unreadable { .. } => Some(Kind::Unreadable),
        _ => None,
    }
}

/// The names of members and tables, for the lines of the log.
struct Names<'a>(&'a Node);

impl Names<'_> {
    /// A member as operators know it.
    fn member(&self, id: NodeId) -> String {
        match self.0.member_name(id) {
            Some(name) => format!("{name} ({id})"),
            None => format!("a node that is no member ({id})"),
        }
    }

    /// The event's own name and what happened, in a sentence.
    fn describe(&self, event: &Event) -> (&'static str, String) {
        let words = self
            .of_member(event)
            .or_else(|| self.of_this_node(event))
            .or_else(|| of_the_way_in(event))
            .or_else(|| self.of_peer(event))
            .or_else(|| self.of_rows(event));
        // An event that is newer than these words.
        words.unwrap_or_else(|| ("Event", Trace(event).to_string()))
    }

    /// Describes an event of a member.
    fn of_member(&self, event: &Event) -> Option<(&'static str, String)> {
        Some(match event {
            Event::MemberUp(node) => ("MemberUp", format!("{} is up", self.member(*node))),
            Event::MemberSuspect(node) => {
                let text = format!("{} is suspected to be down", self.member(*node));
                ("MemberSuspect", text)
            }
            Event::MemberDown(node) => {
                let text = format!("{} is down; its rows are kept", self.member(*node));
                ("MemberDown", text)
            }
            Event::MemberLeft(node) => ("MemberLeft", format!("{} has left", self.member(*node))),
            Event::MemberEvicted {
                node,
                acks,
                members,
                policy,
            } => {
                let by = match policy {
                    true => "by cluster.evict_memory_after",
                    false => "by an operator",
                };
                let node = self.member(*node);
                let text = format!("{node} was evicted {by}; {acks} of {members} members agreed");
                ("MemberEvicted", text)
            }
            Event::DeclaredLost(node) => {
                let text = format!("an operator declared writes of {} lost", self.member(*node));
                ("DeclaredLost", text)
            }
            Event::DuplicateName { name, later } => {
                let later = self.member(*later);
                let text = format!("two members are called {name}; {later} joined later");
                ("DuplicateName", text)
            }
            _ => return None,
        })
    }

    /// Describes an event of this node and its place in the cluster.
    fn of_this_node(&self, event: &Event) -> Option<(&'static str, String)> {
        Some(match event {
            Event::Evicted { by } => {
                let by = self.member(*by);
                let text = format!("{by} evicted this node; it compares its rows with a member's");
                ("Evicted", text)
            }
            Event::OlderCopy { by } => {
                let by = self.member(*by);
                let text = format!(
                    "the store is an older copy of this node's data, as {by} tells: it compares its rows with a member's"
                );
                ("OlderCopy", text)
            }
            Event::EvictionOutranked { by } => {
                let by = self.member(*by);
                let text = format!("{by} evicted this node, whose side is the larger: it goes on");
                ("EvictionOutranked", text)
            }
            Event::Resumed { without } => {
                let without: Vec<String> = without.iter().map(|node| self.member(*node)).collect();
                let without = without.join(", ");
                let text = format!("an operator let this node go on; not here are: {without}");
                ("Resumed", text)
            }
            Event::Joined { through } => (
                "Joined",
                format!("joined through {}", self.member(*through)),
            ),
            Event::Rejoined {
                with,
                dropped,
                proposed,
            } => {
                let with = self.member(*with);
                let text =
                    format!("compared all rows with {with}: dropped={dropped} proposed={proposed}");
                ("Rejoined", text)
            }
            Event::CaughtUp { with, rows } => (
                "CaughtUp",
                format!("{rows} rows came from {}", self.member(*with)),
            ),
            Event::WallStepped { by_ms } => {
                let text = format!("the wall clock of this node made a step of {by_ms} ms");
                ("WallStepped", text)
            }
            Event::SettingChanged { name, value } => {
                ("SettingChanged", format!("{name} is {value} now"))
            }
            Event::SettingIgnored { name, why } => {
                let text = format!("{name} is not in force here: {why}");
                ("SettingIgnored", text)
            }
            _ => return None,
        })
    }

    /// Describes an act of a peer, which may be no member.
    fn of_peer(&self, event: &Event) -> Option<(&'static str, String)> {
        Some(match event {
            Event::Refused { node, why } => {
                let text = format!("refused {}: {}", self.member(*node), why.text());
                ("Refused", text)
            }
            Event::Denied { by, why } => {
                let text = format!("{} refuses this node: {}", self.member(*by), why.text());
                ("Denied", text)
            }
            Event::Protocol { node, why } => {
                let node = self.member(*node);
                let text = format!("{node} broke the protocol, its link was closed: {why}");
                ("Protocol", text)
            }
            Event::ClockDrift { ahead_ms } => {
                let text =
                    format!("a clock {ahead_ms} ms ahead came; this node does not follow it");
                ("ClockDrift", text)
            }
            Event::ClockWrong(clock) => ("ClockWrong", clock.to_string()),
            Event::ClockRight { node, .. } => {
                let text = format!("the clock of {} is right again", self.member(*node));
                ("ClockRight", text)
            }
            _ => return None,
        })
    }

    /// Describes an event of rows and of the store.
    fn of_rows(&self, event: &Event) -> Option<(&'static str, String)> {
        Some(match event {
            Event::Repaired { with, rows } => {
                let with = self.member(*with);
                let text = format!("{rows} rows had vanished from this disk and came from {with}");
                ("Repaired", text)
            }
            Event::Damaged { records } => {
                let what = self.0.damage().unwrap_or("records are damaged");
                let then = match self.0.is_full() {
                    true => "the node goes on without it",
                    false => "a member repairs it",
                };
                let text = match records {
                    0 => format!("{what}; {then}"),
                    _ => format!("{what}; {records} records were dropped, {then}"),
                };
                ("Damaged", text)
            }
            Event::Unreadable { table, key, why } => {
                let table = self.0.table_name(*table).unwrap_or_default();
                let shown = key.get(..SHOWN).unwrap_or(key).escape_ascii();
                let more = if key.len() > SHOWN { "..." } else { "" };
                let text = format!("{table}/{shown}{more} cannot be read: {why}");
                ("Unreadable", text)
            }
            Event::StoreStalled(why) => ("StoreStalled", format!("writes wait: {why}")),
            Event::StoreRecovered => ("StoreRecovered", "the store has space again".to_string()),
            _ => return None,
        })
    }
}

/// Describes an event of a node that is no full member yet.
fn of_the_way_in(event: &Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::Waits {
            phase,
            secs,
            awaits,
        } => {
            let one_of: Vec<String> = awaits.iter().map(ToString::to_string).collect();
            let one_of = one_of.join("; ");
            let text = format!(
                "{phase} for {secs} s, and no member before one of these answers as one: {one_of}"
            );
            ("Waits", text)
        }
        Event::Founded => {
            let text = "no member was found: this node begins a cluster, as it was told to";
            ("Founded", text.to_string())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
