//! What the async driver promises, on every runtime.

mod handles;
mod lab;
mod links;
mod stored;
