//! While a store is short of space its node takes deletes, and no other writes of clients.

use rumormill_core::errors::WriteError;

use super::Violation;

/// The checker's name in reports.
pub const NAME: &str = "space";

/// Judges the answer of a node that knows of the shortage to a client that wants to delete, or to write something else. Guarantees, "Leave, stop and
/// crash": deletes go on in the space that is kept back, and other writes are refused.
pub(crate) fn check(
    (at_us, node): (u64, usize),
    deletes: bool,
    refused: Option<&WriteError>,
) -> Option<Violation> {
    let is_for_space = matches!(refused, Some(WriteError::StoreStalled));
    let why = match (deletes, refused) {
        (true, Some(_)) if is_for_space => "refuses a delete for lack of space, and has some",
        (false, None) => "takes a write into the space for deletes",
        _ => return None,
    };
    Some(Violation {
        checker: NAME,
        at_us,
        text: format!("n{node} {why}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_for_deletes() {
        let full = WriteError::StoreStalled;
        let wrong = |deletes, refused| check((0, 0), deletes, refused).is_some();
        assert!(wrong(true, Some(&full)) && wrong(false, None));
        assert!(!wrong(true, None) && !wrong(false, Some(&full)));
        assert!(!wrong(true, Some(&WriteError::Leaving)));
    }
}
