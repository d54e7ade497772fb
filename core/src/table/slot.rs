//! Places of rows in memory.

use core::num::NonZeroU32;

/// The place of a row in the memory of its table's mode, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    /// Larger than that of any row.
    pub(crate) const LAST: Slot = Slot(NonZeroU32::MAX);

    pub(crate) fn new(index: usize) -> Self {
        // Rows in 2^32 places would need more memory than any machine that runs this has.
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        Slot(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}
