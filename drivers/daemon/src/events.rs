//! The events that a serving process waits for.

use std::io::{self, Read};
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// Something that ends a server, or asks it to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGTERM or SIGINT.
    Signal,
    /// Standard input ended.
    EndOfInput,
    /// The start of the node is over.
    Started,
    /// A client has asked the node to leave.
    Leaves,
    /// The node's loop has ended, in good order or for the reason given.
    Ended(Result<(), String>),
}

/// Reports every SIGTERM and SIGINT from now on.
pub(crate) fn on_signal(events: Sender<Event>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Not(format!("cannot wait for signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let wait = move || {
        for _ in signals.forever() {
            if events.send(Event::Signal).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .map_err(failed)?;
    Ok(())
}

/// Reports the end of standard input, whatever comes before it.
pub(crate) fn on_end_of_input(events: Sender<Event>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Not(format!("cannot wait for input: {error}"));
    let wait = move || {
        let mut buffer = [0; 1024];
        while io::stdin()
            .lock()
            .read(&mut buffer)
            .is_ok_and(|read| read > 0)
        {}
        // No receiver is left when the process is about to end.
        let _ = events.send(Event::EndOfInput);
    };
    thread::Builder::new()
        .name("stdin".into())
        .spawn(wait)
        .map_err(failed)?;
    Ok(())
}
