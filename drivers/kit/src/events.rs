//! What operators read of a node's events.

use rumormill_core::Event;

/// Logs an event of a node: as a warning where an operator may have to do something.
pub fn log(event: &Event) {
    match event {
        Event::StoreStalled(_)
        | Event::Damaged { .. }
        | Event::DuplicateName { .. }
        | Event::Denied { .. }
        | Event::Refused { .. }
        | Event::MemberEvicted { .. }
        | Event::Evicted { .. }
        | Event::EvictionOutranked { .. }
        | Event::DeclaredLost(_)
        | Event::Resumed { .. }
        | Event::Protocol { .. }
        | Event::ClockDrift { .. }
        | Event::ClockWrong(_)
        | Event::SettingIgnored { .. }
        | Event::Unreadable { .. } => {
            tracing::warn!(?event, "node");
        }
        _ => tracing::info!(?event, "node"),
    }
}
