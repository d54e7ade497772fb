//! The mio event loop around a node: peers over TCP and the Redis protocol.
