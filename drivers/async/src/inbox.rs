//! What handles have for the loop: bounded, and answered to the last.

use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use rumormill_core::{Cursor, Handover, Node, Now, Request, RequestError, Response, TableId};
use rumormill_kit::answer::Reply;
use rumormill_kit::calls::{Error, Watched};

use crate::bell::Bell;

/// Orders that may wait.
const QUEUED_ORDERS: usize = 16;

/// Runs on the loop.
pub(crate) type Job = Box<dyn FnOnce(&mut Node, Now) + Send>;

/// The answer to a request.
pub(crate) type Done = Reply<Result<Response, RequestError>>;

pub(crate) enum Command {
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
}

/// Passes commands: a node whose store lags behind takes none of those.
pub(crate) enum Order {
    /// Answered when the loop has ended: with what the node leaves behind.
    Leave(Reply<Result<Handover, Error>>),
    /// Answered when the loop has ended.
    Shutdown(Reply<()>),
}

/// The handles' end.
#[derive(Clone)]
pub(crate) struct Outside {
    commands: Sender<Command>,
    orders: Sender<Order>,
    bell: Arc<Bell>,
}

/// The loop's end. Whatever is in it when it is dropped is dropped too, so that nobody waits for ever.
pub(crate) struct Inbox {
    pub(crate) commands: Receiver<Command>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) bell: Arc<Bell>,
}

pub(crate) fn inbox(commands: usize) -> (Outside, Inbox) {
    let bell = Arc::<Bell>::default();
    let (command, commands) = async_channel::bounded(commands.max(1));
    let (order, orders) = async_channel::bounded(QUEUED_ORDERS);
    let outside = Outside {
        commands: command,
        orders: order,
        bell: Arc::clone(&bell),
    };
    let inbox = Inbox {
        commands,
        orders,
        bell,
    };
    (outside, inbox)
}

impl Outside {
    /// Waits for room.
    pub(crate) async fn command(&self, command: Command) -> Result<(), Error> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| Error::Closed)?;
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn try_command(&self, command: Command) -> Result<(), Error> {
        self.commands.try_send(command).map_err(|error| {
            if error.is_full() {
                let limit = self.commands.capacity().unwrap_or(usize::MAX);
                return Error::Busy { limit };
            }
            Error::Closed
        })?;
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(crate) async fn order(&self, order: Order) -> Result<(), Error> {
        let sent = self.orders.send(order).await;
        sent.map_err(|_| Error::Closed)?;
        self.bell.ring();
        Ok(())
    }
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
