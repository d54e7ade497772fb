//! Changes of a table as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{Stream, StreamExt, stream};
use rumormill_core::{
    TableId,
    table::{Change, Cursor},
};

use super::Error;
use super::line::{Command, Line};
use crate::answer::answer;

/// The changes of a table in the order of their arrival here. A key that changed twice between polls is told once, with its newest state;
/// nothing is buffered but what one answer of the loop brought. After an [`Error::Lagged`] it goes on from the end of the log; it ends when
/// the loop has ended.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<Change, Error>> + Send>>);

impl Watch {
    pub(super) fn new(line: Line, table: TableId, from: Cursor) -> Self {
        let watching = Watching {
            line,
            table,
            from,
            fresh: VecDeque::new(),
        };
        let changes = stream::unfold(watching, |mut watching| async {
            let item = watching.next().await?;
            Some((item, watching))
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

struct Watching {
    line: Line,
    table: TableId,
    from: Cursor,
    /// The changes of the loop's last answer.
    fresh: VecDeque<Change>,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<Change, Error>> {
        while self.fresh.is_empty() {
            let (watched, changes) = answer();
            let command = Command::Watch {
                table: self.table,
                from: self.from,
                watched,
            };
            self.line.command(command).await.ok()?;
            match changes.await? {
                Ok(changes) => {
                    self.from = changes.next;
                    self.fresh.extend(changes.changes);
                }
                Err(Error::Closed) => return None,
                Err(error) => {
                    if let Error::Lagged { restart } = error {
                        self.from = restart;
                    }
                    return Some(Err(error));
                }
            }
        }
        self.fresh.pop_front().map(Ok)
    }
}
