//! The embedded store: ordered batches on fjall, on a thread of its own.
