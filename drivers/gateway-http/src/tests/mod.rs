//! The router over a real node, without sockets; the server over loopback.

mod bulk;
mod conditions;
mod crowds;
mod described;
mod lab;
mod later;
mod origin;
mod paging;
mod ready;
mod refusals;
mod routes;
mod settings;
mod siblings;
mod streams;
mod upkeep;
mod wire;
