//! The form of the records that a node keeps.

pub(crate) mod bytes;
pub(crate) mod record;
