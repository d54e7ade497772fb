//! The HTTP interface, on a gateway thread.
