//! Limits that are so small that runs meet them.

use rumormill_core::Limits;

/// Limits of all nodes of a plan, by the names they have in [`Limits`]; `None` for the usual ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Rows in one message: sessions have several pages.
    pub rows_per_message: Option<u32>,
    /// Sessions at once: others are refused.
    pub sessions: Option<u32>,
    /// Keys that may change under a session: it begins anew.
    pub session_replaced: Option<u32>,
    /// Changes kept for watchers: they lag.
    pub change_log: Option<u32>,
    /// Siblings that a write may leave: more are refused.
    pub siblings: Option<u32>,
}

impl Caps {
    /// The names of all of them.
    pub const NAMES: [&str; 5] = [
        "rows_per_message",
        "sessions",
        "session_replaced",
        "change_log",
        "siblings",
    ];

    /// Those that are set, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let values = [
            self.rows_per_message,
            self.sessions,
            self.session_replaced,
            self.change_log,
            self.siblings,
        ];
        let named = Self::NAMES.into_iter().zip(values);
        named.filter_map(|(name, value)| Some((name, value?)))
    }

    /// The place of the limit of this name.
    pub(crate) fn named(&mut self, name: &str) -> Option<&mut Option<u32>> {
        match name {
            "rows_per_message" => Some(&mut self.rows_per_message),
            "sessions" => Some(&mut self.sessions),
            "session_replaced" => Some(&mut self.session_replaced),
            "change_log" => Some(&mut self.change_log),
            "siblings" => Some(&mut self.siblings),
            _ => None,
        }
    }

    pub(crate) fn apply(&self, limits: &mut Limits) {
        let places = [
            (&mut limits.rows_per_message, self.rows_per_message),
            (&mut limits.sessions, self.sessions),
            (&mut limits.session_replaced, self.session_replaced),
            (&mut limits.change_log, self.change_log),
            (&mut limits.siblings, self.siblings),
        ];
        for (limit, cap) in places {
            *limit = cap.map_or(*limit, |cap| cap as usize);
        }
    }
}
