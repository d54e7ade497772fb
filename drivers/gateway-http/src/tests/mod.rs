//! The router over a real node, without sockets; the server over loopback.

mod described;
mod lab;
mod origin;
mod ready;
mod routes;
mod settings;
mod siblings;
mod streams;
mod wire;
