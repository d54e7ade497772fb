//! Names to addresses, on a thread of its own because the system's resolver blocks.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use mio::Waker;
use rumormill_core::DialId;

use crate::handle::wake;

/// Names that may wait, and answers that may.
const QUEUED_NAMES: usize = 1_024;

/// Most addresses of one name that are tried.
const ADDRESSES: usize = 8;

pub(crate) struct Resolver {
    names: SyncSender<(DialId, String)>,
    answers: Receiver<(DialId, Vec<SocketAddr>)>,
}

impl Resolver {
    /// Starts the thread; it ends with the resolver.
    pub(crate) fn spawn(waker: Arc<Waker>) -> io::Result<Resolver> {
        let (names, asked) = mpsc::sync_channel::<(DialId, String)>(QUEUED_NAMES);
        let (sender, answers) = mpsc::sync_channel(QUEUED_NAMES);
        thread::Builder::new()
            .name("resolver".into())
            .spawn(move || {
                for (dial, name) in asked {
                    let found = name
                        .to_socket_addrs()
                        .map(|all| all.take(ADDRESSES).collect());
                    if sender.send((dial, found.unwrap_or_default())).is_err() {
                        return;
                    }
                    wake(&waker);
                }
            })?;
        Ok(Resolver { names, answers })
    }

    /// Whether the name was taken; the answer comes from [`Resolver::poll`].
    pub(crate) fn ask(&self, dial: DialId, name: String) -> bool {
        self.names.try_send((dial, name)).is_ok()
    }

    /// A resolved name; no address when there is none.
    pub(crate) fn poll(&self) -> Option<(DialId, Vec<SocketAddr>)> {
        self.answers.try_recv().ok()
    }
}
