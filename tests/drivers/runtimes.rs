//! The promises of the async driver, on every runtime.

mod handles;
mod lab;
mod links;
mod stored;
