//! What peers say to each other, and how it becomes bytes.

#[cfg(feature = "std")]
mod codec;
mod message;

#[cfg(feature = "std")]
pub(crate) use codec::decode_all;
#[cfg(feature = "std")]
pub use codec::{DecodeError, EncodeError, decode, encode};
pub use message::*;
