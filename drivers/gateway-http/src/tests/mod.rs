//! The router over a real node, without sockets; the server over loopback.

mod lab;
mod routes;
mod streams;
mod wire;
