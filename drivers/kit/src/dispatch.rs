//! From a node's outputs to a driver's deeds.

use bytes::Bytes;
use rumormill_core::link::frame::EncodeError;
use rumormill_core::link::{Frames, encode};
use rumormill_core::{
    DialId, LinkId, LoadId, Node, Seq, TableId, Token,
    errors::RequestError,
    io::{Event, HaltReason, HangupReason, Lane, Output, Response, StoreOp},
};

use crate::events::{log, tell_left_out};

/// The duties of a driver for a node, one method per output. None of them blocks. None that acts has a default: a new output is a new method, and
/// the compiler names the drivers that lack it. What is only told is logged unless a driver does something else.
pub trait Driver {
    /// Queues frames for a link; a link that is gone is ignored.
    fn send(&mut self, link: LinkId, lane: Lane, frames: &Frames);
    /// Connects to an address.
    fn dial(&mut self, dial: DialId, addr: String);
    /// Closes a link after what was queued.
    fn hangup(&mut self, link: LinkId, why: HangupReason);
    /// Hands a batch to the store.
    fn store(&mut self, seq: Seq, batch: Vec<StoreOp>, sync: bool);
    /// Reads a record; the answer is [`Input::Loaded`](rumormill_core::io::Input::Loaded).
    fn load(&mut self, load: LoadId, query: Bytes);
    /// Answers a request.
    fn reply(&mut self, token: Token, result: Result<Response, RequestError>);
    /// Wakes the watches of the table.
    fn changed(&mut self, table: TableId);
    /// Logs. The node is the one that tells, and knows the names of its members.
    fn event(&mut self, event: Event, node: &Node) {
        log(&event, node);
    }
    /// The node has stopped.
    fn halt(&mut self, why: HaltReason);
    /// A message had no encoding and was dropped; a fault of this program.
    fn unencodable(&mut self, error: EncodeError) {
        tracing::error!(%error, "a message was dropped");
    }
}

/// Drains the outputs of `node` into `driver`. A message is encoded once for all its links.
pub fn dispatch(node: &mut Node, driver: &mut impl Driver) {
    tell_left_out();
    while let Some(output) = node.poll_output() {
        match output {
            Output::Send { to, lane, msg } => match encode(&msg, lane) {
                Ok(frames) => to
                    .as_slice()
                    .iter()
                    .for_each(|link| driver.send(*link, lane, &frames)),
                Err(error) => driver.unencodable(error),
            },
            Output::Dial { dial, addr } => driver.dial(dial, addr),
            Output::Hangup { link, why } => driver.hangup(link, why),
            Output::Store { seq, batch, sync } => driver.store(seq, batch, sync),
            Output::Load { load, query } => driver.load(load, query),
            Output::Reply { token, result } => driver.reply(token, result),
            Output::Changed { table } => driver.changed(table),
            Output::Event(event) => driver.event(event, node),
            Output::Halt(why) => driver.halt(why),
        }
    }
}
