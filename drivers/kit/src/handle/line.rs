//! The way from handles to a loop: bounded, and answered to the last.

use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use rumormill_core::{
    Node, Now, TableId,
    errors::RequestError,
    io::{Handover, Request, Response},
    table::Cursor,
};

use super::Error;
use super::watchers::{Told, Watched};
use crate::answer::Reply;

/// Orders that may wait.
const QUEUED_ORDERS: usize = 16;

/// Runs on the loop.
pub(super) type Job = Box<dyn FnOnce(&mut Node, Now) + Send>;

/// Called on the loop once in every turn in which tables changed, with those tables, after watches were answered. It must be short: the
/// whole node waits for it. It is dropped once it returns `false`, and when the loop ends.
pub type Listener = Box<dyn FnMut(&Node, Now, &[TableId]) -> bool + Send>;

/// The receiver of the answer to a request.
pub(super) enum Done {
    Reply(Reply<Result<Response, RequestError>>),
    Call(Box<dyn FnOnce(Result<Response, RequestError>) + Send>),
}

pub(super) enum Command {
    Run(Job),
    Request {
        request: Request,
        patience: Option<Duration>,
        done: Done,
    },
    Watch {
        table: TableId,
        from: Cursor,
        watched: Watched,
    },
    WatchMembers {
        /// The revision that was told last.
        seen: Option<u64>,
        told: Told,
    },
    Listen(Listener),
}

/// Has room when commands have none. Answered when the loop has ended.
pub(super) enum Order {
    Leave(Option<Reply<Result<Handover, Error>>>),
    Shutdown(Option<Reply<()>>),
}

/// Wakes the loop.
pub type Ring = Arc<dyn Fn() + Send + Sync>;

/// The handles' end.
#[derive(Clone)]
pub(super) struct Line {
    commands: Sender<Command>,
    orders: Sender<Order>,
    pub(super) ring: Ring,
}

/// The loop's end. Dropping it drops all that is in it, so that no caller waits for ever.
pub(super) struct Inbox {
    pub(super) commands: Receiver<Command>,
    pub(super) orders: Receiver<Order>,
}

pub(super) fn line(commands: usize, ring: Ring) -> (Line, Inbox) {
    let (command, commands) = async_channel::bounded(commands.max(1));
    let (order, orders) = async_channel::bounded(QUEUED_ORDERS);
    let line = Line {
        commands: command,
        orders: order,
        ring,
    };
    (line, Inbox { commands, orders })
}

impl Line {
    /// Waits for room.
    pub(super) async fn command(&self, command: Command) -> Result<(), Error> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| Error::Closed)?;
        (self.ring)();
        Ok(())
    }

    pub(super) fn try_command(&self, command: Command) -> Result<(), Error> {
        send(&self.commands, command)?;
        (self.ring)();
        Ok(())
    }

    pub(super) fn order(&self, order: Order) -> Result<(), Error> {
        send(&self.orders, order)?;
        (self.ring)();
        Ok(())
    }
}

fn send<T>(to: &Sender<T>, what: T) -> Result<(), Error> {
    to.try_send(what).map_err(|error| match error.is_full() {
        true => Error::Busy {
            limit: to.capacity().unwrap_or(usize::MAX),
        },
        false => Error::Closed,
    })
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // A channel keeps what is in it for as long as it has senders.
        self.commands.close();
        self.orders.close();
        while self.commands.try_recv().is_ok() {}
        while self.orders.try_recv().is_ok() {}
    }
}
