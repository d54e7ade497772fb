//! A message on its way.

use rumormill_core::wire::Message;

use super::KeyIndex;
use crate::story;
use crate::trace::Weight;

/// The fate of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was on its way when the recording ended.
    Flying,
    /// It arrived, once or twice.
    Arrived,
    /// A lossy window took it.
    Lost,
    /// A cut lay in its way, or its receiver had no power.
    Swallowed,
    /// The receiver had forgotten the link.
    Reset,
    /// The link ended before it arrived.
    Missed,
    /// A planted bug took it.
    Stolen,
}

impl Outcome {
    /// Its name, as pages and explanations show it.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Flying => "flying",
            Outcome::Arrived => "arrived",
            Outcome::Lost => "lost",
            Outcome::Swallowed => "swallowed",
            Outcome::Reset => "reset",
            Outcome::Missed => "missed",
            Outcome::Stolen => "stolen",
        }
    }
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Its number among all messages of the run, from 1.
    pub number: u64,
    /// Its kind: `push`, `probe`, ...; `app` when it is the application's own.
    pub kind: &'static str,
    /// Whether it is only detail.
    pub detail: bool,
    /// The link, by the number of its sending end; an application's messages have none.
    pub link: Option<u64>,
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// When it was sent, in virtual microseconds.
    pub sent_us: u64,
    /// The number of the last event before it was sent.
    pub sent_after: u64,
    /// Its fate.
    pub outcome: Outcome,
    /// Each arrival: when, in virtual microseconds, and the number of its event.
    pub arrivals: Vec<(u64, u64)>,
    /// The users' keys of the rows it carries.
    pub keys: Vec<KeyIndex>,
}

/// A message that was just sent.
pub(crate) fn flight(
    number: u64,
    msg: &Message,
    link: u64,
    way: (usize, usize),
    at: (u64, u64),
) -> Flight {
    Flight {
        kind: msg.kind(),
        detail: story::weight(msg) == Weight::Detail,
        link: Some(link),
        ..app_flight(number, way, at)
    }
}

/// A message that an application just sent.
pub(crate) fn app_flight(number: u64, way: (usize, usize), at: (u64, u64)) -> Flight {
    Flight {
        number,
        kind: "app",
        detail: false,
        link: None,
        from: way.0,
        to: way.1,
        sent_us: at.0,
        sent_after: at.1,
        outcome: Outcome::Flying,
        arrivals: Vec::new(),
        keys: Vec::new(),
    }
}
