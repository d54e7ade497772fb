//! The Redis protocol over a node, without sockets.
