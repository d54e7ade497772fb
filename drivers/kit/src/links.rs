//! The common part of the links of every driver, whatever polls their sockets.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use rumormill_core::io::LinkError;

use crate::counters::{Counters, add};
use crate::events::{Kind, may_log};

/// Bytes read at once.
pub const READ_BYTES: usize = 64 << 10;

/// Bytes read from one link before the others have their turn.
pub const READ_BUDGET: usize = 64 << 10;

/// Slices handed to one vectored write.
pub const SLICES: usize = 64;

/// Most addresses of one name that are tried.
pub const ADDRESSES: usize = 8;

/// How long a listener rests that could not accept, for want of file descriptors as a rule.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long a link that is to be closed may take to write what it has.
pub const PARTING: Duration = Duration::from_secs(5);

/// How long the last words of a loop that has ended may take.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// Counts why a link ended or was never made. What an operator can mend, two sides that do not fit each other, is logged, and so are
/// bytes that are no frame; both within bounds, since any stranger at the port can cause them. `peer` is the other side's address.
pub fn count_failure(counters: &Counters, why: &LinkError, dialled: bool, peer: &dyn Display) {
    let way = match dialled {
        true => "to",
        false => "from",
    };
    match why {
        LinkError::Malformed => {
            add(&counters.malformed_frames, 1);
            if may_log(Kind::Malformed) {
                tracing::info!("a link {way} {peer} was closed: bytes came that are no frame");
            }
        }
        LinkError::Refused(reason) => {
            add(&counters.refused_links, 1);
            if may_log(Kind::Handshake) {
                tracing::info!("a handshake was refused, {way} {peer}: {reason}");
            }
        }
        _ => {}
    }
}

/// Says why an address cannot be listened on, for the text of an error.
pub fn why_not_listening(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is taken".into(),
        _ => error.to_string(),
    }
}

/// Logs, within bounds, that a listener cannot accept.
pub fn cannot_accept(addr: &dyn Display, error: &io::Error) {
    if may_log(Kind::Accept) {
        tracing::warn!("cannot accept on {addr}: {error}");
    }
}
