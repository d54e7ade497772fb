//! A node that stops in good order has all on its disk that it has accepted.

use super::Violation;

/// The checker's name in reports.
pub const NAME: &str = "stops";

/// Judges a node that has stopped, so many of whose accepted operations are not synced. Guarantees, "Leave, stop and crash": a stop waits for the last sync.
pub(crate) fn check((at_us, node): (u64, usize), unsynced: usize) -> Option<Violation> {
    (unsynced > 0).then(|| Violation {
        checker: NAME,
        at_us,
        text: format!("n{node} has stopped in good order before {unsynced} operations were synced"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_before_the_last_sync_is_wrong() {
        assert_eq!(check((0, 1), 0), None);
        assert_eq!(check((5, 1), 2).unwrap().at_us, 5);
    }
}
