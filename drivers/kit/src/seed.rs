//! Seeds for nodes that are to be used.

use std::io;

use rumormill_core::Seed;

/// A seed from the system's randomness: no two nodes get the same, whatever program they are copies of.
///
/// # Errors
/// When the system has no random bytes to give.
pub fn random_seed() -> io::Result<Seed> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| io::Error::other(format!("the system gives no random bytes: {error}")))?;
    Ok(Seed(bytes))
}
