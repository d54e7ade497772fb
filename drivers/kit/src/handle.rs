//! The way from tasks and threads to a node on its loop, and what the loop does for them.

mod blocking;
mod commands;
mod error;
mod line;
mod members;
mod scan;
mod watch;
mod watchers;

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    Node, NodeId, NodeStatus, Now, TableId, Wall,
    errors::RequestError,
    io::{Handover, Request, Response},
    members::MemberInfo,
    settings::SettingInfo,
    table::{Accepted, CausalToken, Row, ScanRange, Siblings, TableOp, TableOptions, TableRequest},
};

use self::line::{Command, Done, Line, Order};
use self::scan::Page;
use crate::answer::answer;

pub use blocking::{Blocking, BlockingMemberWatch, BlockingWatch};
pub use commands::{CommandLimits, Commands};
pub use error::Error;
pub use line::{Listener, Ring};
pub use members::MemberWatch;
pub use scan::Rows;
pub use watch::Watch;

/// A handle to a node on its loop. Clones reach the same one, from any task or thread. A call waits for room when too many
/// wait already; a call that is dropped may have taken effect.
#[derive(Clone)]
pub struct Handle {
    line: Line,
}

impl Handle {
    /// Writes a row: accepted by this node, and durable if the table promises that.
    ///
    /// # Errors
    /// [`Error`]; the node's own says why it refused.
    pub async fn put(
        &self,
        table: TableId,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Accepted, Error> {
        self.write(table, key.into(), Some(value.into()), None)
            .await
    }

    /// Writes a row that expires.
    ///
    /// # Errors
    /// As for [`Handle::put`].
    pub async fn put_until(
        &self,
        table: TableId,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        expires: Wall,
    ) -> Result<Accepted, Error> {
        self.write(table, key.into(), Some(value.into()), Some(expires))
            .await
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// As for [`Handle::put`].
    pub async fn delete(&self, table: TableId, key: impl Into<Bytes>) -> Result<Accepted, Error> {
        self.write(table, key.into(), None, None).await
    }

    async fn write(
        &self,
        table: TableId,
        key: Bytes,
        value: Option<Bytes>,
        expires: Option<Wall>,
    ) -> Result<Accepted, Error> {
        let op = match value {
            Some(value) => TableOp::Put {
                key,
                value,
                expires,
            },
            None => TableOp::Delete { key },
        };
        self.on_table(table, op).await.map(written)
    }

    /// Writes a key of a table that keeps siblings, in the place of those that were read with `context`; `None` removes them.
    ///
    /// # Errors
    /// As for [`Handle::put`].
    pub async fn replace(
        &self,
        table: TableId,
        key: impl Into<Bytes>,
        value: Option<Bytes>,
        context: CausalToken,
    ) -> Result<Accepted, Error> {
        let key = key.into();
        let op = match value {
            Some(value) => TableOp::Replace {
                key,
                value,
                context,
            },
            None => TableOp::Remove { key, context },
        };
        self.on_table(table, op).await.map(written)
    }

    /// Reads a row, from the store if its value is only there.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Siblings`] when the key has several, the node's own when the value could not be read.
    pub async fn get(&self, table: TableId, key: impl Into<Bytes>) -> Result<Option<Row>, Error> {
        let key = key.into();
        scan::row(self.on_table(table, TableOp::Get { key }).await?)
    }

    /// Reads the siblings of a key, in a table that keeps them.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NoSiblings`] in another table.
    pub async fn siblings(
        &self,
        table: TableId,
        key: impl Into<Bytes>,
    ) -> Result<Option<Siblings>, Error> {
        let key = key.into();
        scan::siblings(self.on_table(table, TableOp::Get { key }).await?)
    }

    /// Reads a page of the rows whose keys begin with `prefix`, from the one after `after` on. A value that is read from the
    /// store is shown as it is then, and the row left out when it has gone.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub async fn scan(
        &self,
        table: TableId,
        prefix: impl Into<Bytes>,
        after: Option<Bytes>,
    ) -> Result<Rows, Error> {
        let prefix = prefix.into();
        let read = move |node: &mut Node, now: Now| {
            let range = ScanRange {
                prefix: &prefix,
                after: after.as_deref(),
                ..ScanRange::default()
            };
            Page::of(node, now, table, range)
        };
        let page = self.with(read).await??;
        self.complete(table, page).await
    }

    /// As [`Handle::scan`], for the rows whose keys lie in `range`.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub async fn scan_range(
        &self,
        table: TableId,
        range: impl RangeBounds<Bytes>,
        after: Option<Bytes>,
    ) -> Result<Rows, Error> {
        let bounds = scan::Bounds::of(&range, after);
        let read = move |node: &mut Node, now: Now| Page::of(node, now, table, bounds.range());
        let page = self.with(read).await??;
        self.complete(table, page).await
    }

    /// Reads what of a page is only in the store, once it may be shown.
    async fn complete(&self, table: TableId, page: Page) -> Result<Rows, Error> {
        if page.gated {
            self.sync().await?;
        }
        let mut rows = Vec::with_capacity(page.rows.len());
        for (key, row) in page.rows {
            let row = match row {
                Some(row) => Some(row),
                None => self.get(table, key.clone()).await?,
            };
            rows.extend(row.map(|row| (key, row)));
        }
        Ok(Rows {
            rows,
            next: page.next,
        })
    }

    /// Watches a table from now on.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn watch(&self, table: TableId) -> Result<Watch, Error> {
        let from = self.with(|node, now| node.view(now).cursor()).await?;
        Ok(Watch::new(self.line.clone(), table, from))
    }

    /// The user table called `name`, with the options it has or the default ones.
    ///
    /// # Errors
    /// [`Error`]; the node's own when the name is empty or too long.
    pub async fn table(&self, name: impl Into<String>) -> Result<TableId, Error> {
        let name = name.into();
        let found = self.with(move |node, _| node.table(&name)).await?;
        Ok(found?)
    }

    /// Creates a table with options, durably; succeeds if it exists with the same ones.
    ///
    /// # Errors
    /// [`Error`]; the node's own when the table exists with other options.
    pub async fn create_table(
        &self,
        name: impl Into<String>,
        options: TableOptions,
    ) -> Result<TableId, Error> {
        let name = name.into();
        let request = Request::CreateTable { name, options };
        self.request(request, None)
            .await
            .map(|response| match response {
                Response::TableCreated(table) => table,
                other => unanswerable("a table's creation", &other),
            })
    }

    /// The members that answer, this node included: neither those that have left nor those that are taken for dead.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn live_members(&self) -> Result<Vec<MemberInfo>, Error> {
        self.with(|node, _| node.live_members()).await
    }

    /// Ends the generation of a member that is down, by its id or its name, so that no delete waits for it. More than half of the members, the
    /// evicted one counted, have to agree. With `force` it needs no majority, and ends a member that answers too. Returns the id,
    /// durably. If the member comes back, it compares its rows with a member's.
    ///
    /// # Errors
    /// [`Error`]; the node's own is an [`EvictError`](rumormill_core::errors::EvictError), and nothing was changed.
    pub async fn evict(&self, member: impl Into<String>, force: bool) -> Result<NodeId, Error> {
        let member = member.into();
        let request = Request::Evict { member, force };
        self.request(request, None)
            .await
            .map(|response| match response {
                Response::Evicted { node, .. } => node,
                other => unanswerable("an eviction", &other),
            })
    }

    /// All members that this node ever heard of, itself included, and those that have left. [`Handle::live_members`] has those that answer.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn members(&self) -> Result<Vec<MemberInfo>, Error> {
        self.with(|node, _| node.members()).await
    }

    /// Watches the members: all of them as they are now, and again whenever something has changed.
    pub fn watch_members(&self) -> MemberWatch {
        MemberWatch::new(self.line.clone())
    }

    /// Replaces what this member serves, protocol to endpoint. All members are told; `gossip` is always among it.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn set_protocols(&self, protocols: BTreeMap<String, String>) -> Result<(), Error> {
        self.with(|node, now| node.set_protocols(now, protocols))
            .await
    }

    /// A summary of the node.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        self.with(|node, now| node.status(now)).await
    }

    /// All settings of the cluster, and what is in force here.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn settings(&self) -> Result<Vec<SettingInfo>, Error> {
        self.with(|node, _| node.settings()).await
    }

    /// Changes settings of the whole cluster, all or none; `None` gives one back to each member's own configuration. Durable
    /// here when this returns.
    ///
    /// # Errors
    /// [`Error`]; the node's own says which value was refused, and nothing was changed.
    pub async fn change_settings(
        &self,
        changes: Vec<(String, Option<String>)>,
    ) -> Result<(), Error> {
        let request = Request::ChangeSettings { changes };
        self.request(request, None).await.map(drop)
    }

    /// Joins the cluster of the node that answers at an address, and returns once this node has caught up with it.
    ///
    /// # Errors
    /// [`Error`]; the node's own says why the address could not be joined, or that `patience` was at its end.
    pub async fn join(&self, addr: impl Into<String>, patience: Duration) -> Result<(), Error> {
        let addr = addr.into();
        let request = Request::Join { addr };
        self.request(request, Some(patience)).await.map(drop)
    }

    /// Returns once everything accepted so far is durable here.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn sync(&self) -> Result<(), Error> {
        self.request(Request::Sync, None).await.map(drop)
    }

    async fn on_table(&self, table: TableId, op: TableOp) -> Result<Response, Error> {
        self.request(TableRequest::new(table, op).into(), None)
            .await
    }

    /// Hands the node a request and waits for the reply. `patience` is how long the request may wait in the node.
    ///
    /// An operation on a table in the name of a caller, in the form that works in the tables of every mode:
    /// ```
    /// use std::time::Duration;
    ///
    /// use rumormill_core::{TableId, table::{Caller, TableOp, TableRequest}, io::Response};
    /// use rumormill_kit::handle::{Error, Handle};
    ///
    /// async fn greet(handle: &Handle, table: TableId) -> Result<(), Error> {
    ///     let op = TableOp::Put { key: "hello".into(), value: "a greeting".into(), expires: None };
    ///     let request = TableRequest::new(table, op).caller(Caller::Operator);
    ///     let reply = handle.request(request.into(), Some(Duration::from_secs(1))).await?;
    ///     assert!(matches!(reply, Response::Written(_)));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error`].
    pub async fn request(
        &self,
        request: Request,
        patience: Option<Duration>,
    ) -> Result<Response, Error> {
        let (done, reply) = answer();
        let command = Command::Request {
            request,
            patience,
            done: Done::Reply(done),
        };
        self.line.command(command).await?;
        let result = reply.await.ok_or(Error::Closed)?;
        Ok(result?)
    }

    /// Runs `job` on the loop and waits for what it returns. It must be short: the whole node waits for it.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (done, reply) = answer();
        let job = move |node: &mut Node, now: Now| done.send(job(node, now));
        self.line.command(Command::Run(Box::new(job))).await?;
        reply.await.ok_or(Error::Closed)
    }

    /// As [`Handle::with`], but neither waits for room nor for the job to be run. Dropped without being run when the loop
    /// ends first.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Closed`]; the job was dropped.
    pub fn call(&self, job: impl FnOnce(&mut Node, Now) + Send + 'static) -> Result<(), Error> {
        self.line.try_command(Command::Run(Box::new(job)))
    }

    /// Has `listener` told on the loop which tables changed, from the next turn on. Neither waits for room nor for the loop. Each listener
    /// costs a call in every turn with a change, O(1) here.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Closed`]; the listener was dropped.
    pub fn listen(&self, listener: Listener) -> Result<(), Error> {
        self.line.try_command(Command::Listen(listener))
    }

    /// Hands the node a request; `done` is called on the loop with the reply, and must be short. Neither waits for room nor for
    /// the reply. When the loop ends first, `done` is called with [`RequestError::Halted`] or dropped.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Closed`]; `done` was dropped.
    pub fn ask(
        &self,
        request: Request,
        patience: Option<Duration>,
        done: impl FnOnce(Result<Response, RequestError>) + Send + 'static,
    ) -> Result<(), Error> {
        self.line.try_command(Command::Request {
            request,
            patience,
            done: Done::Call(Box::new(done)),
        })
    }

    /// Leaves the cluster, ends the loop and returns what the node leaves behind: no member waits for it any more, and should it come back, it
    /// compares its rows with a member's. A second call ends the loop at once. [`Handle::shutdown`] stops a node that comes back.
    ///
    /// # Errors
    /// [`Error::LeaveCut`]; [`Error::Busy`], [`Error::Closed`], and nothing was changed.
    pub async fn leave(&self) -> Result<Handover, Error> {
        let (done, left) = answer();
        self.line.order(Order::Leave(Some(done)))?;
        left.await.ok_or(Error::Closed)?
    }

    /// Stops the node as a member that comes back, and ends the loop. It takes no more writes
    /// ([`WriteError::Stopping`](rumormill_core::errors::WriteError::Stopping)), pushes what it has accepted, syncs it, and says goodbye, so that
    /// peers count it as down at once. When this returns, what was accepted is synced, and peers have had a second to read what they were sent. A second
    /// call ends the loop at once, after its last sync. [`Handle::leave`] is for a node that does not come back.
    ///
    /// # Errors
    /// [`Error::Busy`]; [`Error::Closed`]: the loop has ended already.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let (done, ended) = answer();
        self.line.order(Order::Shutdown(Some(done)))?;
        ended.await.ok_or(Error::Closed)
    }

    /// As [`Handle::leave`], but waits for nothing.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Closed`]; nothing was changed.
    pub fn begin_leave(&self) -> Result<(), Error> {
        self.line.order(Order::Leave(None))
    }

    /// As [`Handle::shutdown`], but waits for nothing.
    ///
    /// # Errors
    /// As for [`Handle::shutdown`].
    pub fn begin_shutdown(&self) -> Result<(), Error> {
        self.line.order(Order::Shutdown(None))
    }

    /// The same calls for a plain thread.
    pub fn blocking(&self) -> Blocking {
        Blocking::new(self.clone())
    }

    /// A function that wakes the loop to look at its store: for
    /// [`StoreWorker::spawn`](crate::store::StoreWorker::spawn).
    pub fn notifier(&self) -> impl Fn() + Send + Sync + 'static + use<> {
        let ring = Arc::clone(&self.line.ring);
        move || ring()
    }
}

fn written(response: Response) -> Accepted {
    match response {
        Response::Written(accepted) => accepted,
        other => unanswerable("a write", &other),
    }
}

/// # Panics
/// Always: the core answers each request with its own kind of response.
fn unanswerable(request: &str, response: &Response) -> ! {
    unreachable!("{request} was answered with {response:?}")
}
