//! The ways between nodes of real drivers, so that a script can cut them.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::real::ANY;

/// All ways between nodes: peers reach a node by the front that stands before it.
#[derive(Clone, Default)]
pub(super) struct Ways(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    are_cut: bool,
    are_over: bool,
    fronts: Vec<SocketAddr>,
    open: Vec<TcpStream>,
}

impl Ways {
    /// A front before a node that listens here; the address is what its peers dial.
    pub(super) fn front(&self, node: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(SocketAddr::from(ANY)).unwrap();
        let addr = listener.local_addr().unwrap();
        self.state().fronts.push(addr);
        let ways = self.clone();
        thread::spawn(move || {
            for peer in listener.incoming() {
                let mut state = ways.state();
                if state.are_over {
                    return;
                }
                // A link that is not carried is hung up on: the way is cut, or the node is down.
                let _ = peer.and_then(|peer| state.carry(peer, node));
            }
        });
        addr
    }

    /// Breaks what is open, and lets nothing through.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        state.are_cut = true;
        state.hang_up();
    }

    pub(super) fn mend(&self) {
        self.state().are_cut = false;
    }

    /// Ends all threads.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.are_over = true;
        state.hang_up();
        for front in &state.fronts {
            // It wakes up, and finds that it is over.
            let _ = TcpStream::connect(front);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn carry(&mut self, peer: TcpStream, node: SocketAddr) -> io::Result<()> {
        if self.are_cut {
            return Ok(());
        }
        let node = TcpStream::connect(node)?;
        for stream in [&peer, &node] {
            stream.set_nodelay(true)?;
        }
        copy(&peer, &node)?;
        copy(&node, &peer)?;
        self.open.extend([peer, node]);
        Ok(())
    }

    fn hang_up(&mut self) {
        for stream in self.open.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One direction of a connection, to its end.
fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    thread::spawn(move || {
        // However it ends, the other side hears of it.
        let _ = io::copy(&mut from, &mut to);
        let _ = from.shutdown(Shutdown::Read);
        let _ = to.shutdown(Shutdown::Write);
    });
    Ok(())
}
