//! What a node keeps: the form of its records.

pub(crate) mod bytes;
pub(crate) mod record;
