//! Limits of the listener, and its patience.

use std::time::Duration;

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Connections served at once; one more may ask for a probe, and is told so otherwise. 1,024.
    pub max_connections: usize,
    /// Connections beyond those that are read at once, for `/healthz`, `/readyz` and `/metrics`. 64.
    pub probe_connections: usize,
    /// How long a client may take to send the header of a request, or to send another one. 10 s.
    pub header_timeout: Duration,
    /// How long a client may take to read anything of an answer. 30 s.
    pub write_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            max_connections: 1_024,
            probe_connections: 64,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}
