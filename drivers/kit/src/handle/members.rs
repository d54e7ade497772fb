//! The members as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{Stream, StreamExt, stream};
use rumormill_core::members::MemberInfo;

use super::Error;
use super::line::{Command, Line};
use crate::answer::answer;

/// The members that a node knows: all of them as they are now, and again whenever one has come, has left, serves something else or is
/// in another [state](MemberInfo::state). Changes between polls are coalesced: each item is the current list, which may equal the previous
/// one, so nothing is buffered and no watch lags. [`MemberInfo::holds_up`] alone is no reason to tell. It ends when the loop has ended.
pub struct MemberWatch(Pin<Box<dyn Stream<Item = Result<Vec<MemberInfo>, Error>> + Send>>);

impl MemberWatch {
    pub(super) fn new(line: Line) -> Self {
        let lists = stream::unfold((line, None), |(line, seen)| async move {
            let (told, members) = answer();
            line.command(Command::WatchMembers { seen, told })
                .await
                .ok()?;
            match members.await? {
                Ok((revision, members)) => Some((Ok(members.to_vec()), (line, Some(revision)))),
                Err(Error::Closed) => None,
                Err(error) => Some((Err(error), (line, seen))),
            }
        });
        MemberWatch(Box::pin(lists.fuse()))
    }

    /// The members, once they are others than those of the last call; `None` when the loop has ended.
    pub async fn next(&mut self) -> Option<Result<Vec<MemberInfo>, Error>> {
        StreamExt::next(&mut self.0).await
    }
}

impl Stream for MemberWatch {
    type Item = Result<Vec<MemberInfo>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}
