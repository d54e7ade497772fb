//! Where a watch is.

use std::collections::VecDeque;

use rumormill_core::{Change, Changes, Cursor, TableId};

use super::Error;

/// A watch between two answers of the loop.
#[derive(Debug)]
pub struct Following {
    table: TableId,
    from: Cursor,
    fresh: VecDeque<Change>,
}

impl Following {
    /// Follows a table from a cursor on.
    pub fn new(table: TableId, from: Cursor) -> Self {
        Following {
            table,
            from,
            fresh: VecDeque::new(),
        }
    }

    /// The next change that is here already.
    pub fn pop(&mut self) -> Option<Change> {
        self.fresh.pop_front()
    }

    /// What to ask the loop for.
    pub fn question(&self) -> (TableId, Cursor) {
        (self.table, self.from)
    }

    /// Takes the loop's answer, `None` when it has ended.
    ///
    /// # Errors
    /// Why there are no changes. After [`Error::Lagged`] and [`Error::Busy`] the watch can go on.
    pub fn take(&mut self, answer: Option<Result<Changes, Error>>) -> Result<(), Error> {
        match answer.unwrap_or(Err(Error::Closed)) {
            Ok(changes) => {
                self.from = changes.next;
                self.fresh.extend(changes.changes);
                Ok(())
            }
            Err(error) => {
                if let Error::Lagged { restart } = error {
                    self.from = restart;
                }
                Err(error)
            }
        }
    }
}
