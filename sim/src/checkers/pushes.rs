//! Where nothing goes wrong writes reach all members by pushes: grafts and sessions are for what gets lost.

use rumormill_core::io::Event;

use super::Violation;
use crate::plan::WARM_UP_US;

/// The checker's name in reports.
pub const NAME: &str = "pushes";

/// A push that is overtaken by a question counts as lost: of so many rows on their way one may be fetched, and a few more.
const ONE_IN: u64 = 8;
const SPARE: u64 = 8;

/// Judges how many rows had to be fetched, and how many were on their way to another member.
fn check(at_us: u64, fetched: u64, sent: u64) -> Option<Violation> {
    (fetched > SPARE + sent / ONE_IN).then(|| Violation {
        checker: NAME,
        at_us,
        text: format!("{fetched} rows of {sent} had to be fetched, though nothing went wrong"),
    })
}

/// Counts the rows that sessions bring since the cluster has formed.
#[derive(Default)]
pub(crate) struct Pushes {
    fetched: u64,
}

impl Pushes {
    /// A node tells what it has come to know.
    pub(crate) fn on_event(&mut self, at_us: u64, event: &Event) {
        match event {
            Event::CaughtUp { rows, .. } if at_us >= WARM_UP_US => self.fetched += rows,
            _ => {}
        }
    }

    /// Judges a run in which nothing went wrong: so many rows were asked for one by one, and so many were on their way.
    pub(crate) fn check(&self, at_us: u64, grafts: u64, sent: u64) -> Option<Violation> {
        check(at_us, self.fetched + grafts, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_be_overtaken() {
        assert_eq!(check(0, 8, 0), None);
        assert_eq!(check(0, 20, 100), None);
        assert!(check(0, 21, 100).is_some());
    }
}
