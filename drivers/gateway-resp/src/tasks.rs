//! Commands whose work or reply is too large for one call: they are carried out in pieces, and those behind them wait.

mod each;
mod listing;
mod values;

use rumormill_core::{Node, Now};
use rumormill_kit::client_session::{Flow, Replies};

use crate::client::{Client, Ctx, Piece, Task};
use crate::decoder::Args;
use crate::refusal::{Refusal, RowKey};

pub(crate) use each::Each;
pub(crate) use listing::{Found, Listing, Look, Next, Part};
pub(crate) use values::Values;

/// Rows that are read from the store ahead for one task, and the bytes of their values.
const AHEAD: usize = 32;
const AHEAD_BYTES: usize = 1 << 20;

impl Task {
    /// Does a piece, of a millisecond or so; `None` when all is done.
    pub(crate) fn pump(
        &mut self,
        client: &mut Client,
        now: Now,
        node: &mut Node,
        args: Args<'_>,
        replies: &mut Replies,
    ) -> Option<Flow> {
        if client.waiting.keeps_task() {
            return Some(Flow::Wait);
        }
        let mut ctx = Ctx {
            now,
            node,
            replies,
            client,
            command: self.command,
        };
        let done = self.job.pump(&mut ctx, args);
        match done {
            Ok(Piece::Done) => {
                client.loaded.clear();
                None
            }
            Ok(Piece::Pause(flow)) => Some(flow),
            Ok(Piece::Needs(rows)) => {
                client.loaded.clear();
                client.waiting.ask_for_task(rows, replies);
                Some(Flow::Wait)
            }
            Err(refusal) => {
                client.loaded.clear();
                refusal.reply(self.command.name, replies);
                None
            }
        }
    }

    pub(crate) fn footprint(&self) -> usize {
        self.job.footprint()
    }
}

/// Appends an error in the place of one value among others; only a value that is not loaded yet is none.
fn in_place(said: Result<(), Refusal>, replies: &mut Replies) -> Result<(), Vec<RowKey>> {
    match said {
        Ok(()) => Ok(()),
        Err(Refusal::Cold(rows)) => Err(rows),
        Err(refusal) => {
            refusal.reply("", replies);
            Ok(())
        }
    }
}
