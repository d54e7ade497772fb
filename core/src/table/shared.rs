//! The state that the machines of all table modes share. The node owns it, and lends it to a machine for one call.

use super::catalog::Catalog;
use super::changes::ChangeLog;
use super::env::RowEnv;
use crate::config::Limits;
use crate::effects::Effects;

/// The tables and the changes of all modes.
pub(crate) struct Shared {
    /// Ids, names and options of tables.
    pub(crate) catalog: Catalog,
    /// The last changes in the order of their arrival.
    pub(crate) changes: ChangeLog,
}

impl Shared {
    /// Makes a catalog of the store's own tables, and an empty log.
    pub(crate) fn new(limits: &Limits) -> Shared {
        Shared {
            catalog: Catalog::new(),
            changes: ChangeLog::new(limits.change_log),
        }
    }

    /// Returns the part of the node that a change of rows needs.
    pub(crate) fn rows<'a>(&'a mut self, fx: &'a mut Effects) -> RowEnv<'a> {
        RowEnv {
            fx,
            catalog: &mut self.catalog,
            changes: &mut self.changes,
        }
    }
}
