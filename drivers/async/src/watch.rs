//! Changes of a table as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{Stream, StreamExt, stream};
use rumormill_core::{Change, Cursor, TableId};
use rumormill_kit::answer::answer;
use rumormill_kit::calls::{Error, Following};

use crate::inbox::{Command, Outside};

/// The changes of a table in the order of their arrival here. A key that changed twice while nobody looked is told once, with
/// its newest state; nothing is buffered but what one answer of the loop brought. After an [`Error::Lagged`] it goes on from
/// the end of the log; it ends when the loop has ended.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<Change, Error>> + Send>>);

impl Watch {
    pub(crate) fn new(outside: Outside, table: TableId, from: Cursor) -> Self {
        let state = (outside, Following::new(table, from));
        let changes = stream::unfold(state, |(outside, mut following)| async {
            let item = next(&outside, &mut following).await?;
            Some((item, (outside, following)))
        });
        Watch(Box::pin(changes.fuse()))
    }

    /// The next change; `None` when the loop has ended.
    pub async fn next(&mut self) -> Option<Result<Change, Error>> {
        StreamExt::next(&mut self.0).await
    }
}

impl Stream for Watch {
    type Item = Result<Change, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

async fn next(outside: &Outside, following: &mut Following) -> Option<Result<Change, Error>> {
    loop {
        if let Some(change) = following.pop() {
            return Some(Ok(change));
        }
        let (watched, changes) = answer();
        let (table, from) = following.question();
        let command = Command::Watch {
            table,
            from,
            watched,
        };
        outside.command(command).await.ok()?;
        match following.take(changes.await) {
            Ok(()) => {}
            Err(Error::Closed) => return None,
            Err(error) => return Some(Err(error)),
        }
    }
}
