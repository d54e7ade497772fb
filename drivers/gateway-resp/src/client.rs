//! One client, its commands, and what these work on: types that name each other, and that all rooms of commands and tasks share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rumormill_core::{FlushId, Node, Now, TableId, table::RowRef};
use rumormill_kit::client_session::{Flow, Replies};

use crate::decoder::{Args, Words};
use crate::encoder::{self, Proto};
use crate::hold::hold_if_unsynced;
use crate::keyspace::Watch;
use crate::refusal::{Refusal, RowKey};
use crate::shared::Shared;
use crate::waiting::{Loaded, Waiting};
use crate::watched::Watched;
use crate::work::{self, Work};

/// The state of a client: its choices, and everything that it waits for.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) proto: Proto,
    /// The rest of the command at hand.
    pub(crate) task: Option<Task>,
    /// Commands that wait for rows, each with its slot.
    pub(crate) waiting: Waiting,
    /// Rows that were loaded for the command at hand.
    pub(crate) loaded: Loaded,
    /// The flush of the command at hand, while rows are left to be deleted.
    pub(crate) flushing: Option<FlushId>,
    /// The command at hand has to answer whole, without a task.
    pub(crate) is_whole: bool,
    /// The transaction that is being queued.
    pub(crate) multi: Option<Box<Multi>>,
    pub(crate) watched: Watched,
    pub(crate) watch: Option<Box<Watch>>,
    pub(crate) closing: bool,
    /// The client asked last for a database that does not exist.
    pub(crate) astray: bool,
    /// The steps that are left to the call at hand.
    pub(crate) work: Work,
    pub(crate) draws: u64,
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stats.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The result of a command: its reply is written, or there is a refusal and nothing is written. After [`Refusal::Cold`], which a
/// command may return only before it has changed anything, it is executed again.
pub(crate) type Outcome = Result<(), Refusal>;

/// The first and last key among the arguments and the step between keys, as `COMMAND` says them.
pub(crate) type Keys = (i8, i8, i8);

/// One command.
pub(crate) struct Command {
    /// In lower case.
    pub(crate) name: &'static str,
    /// The number of arguments, the name included; negative: at least that many.
    pub(crate) arity: i16,
    /// The words of `COMMAND` for it.
    pub(crate) flags: &'static [&'static str],
    pub(crate) keys: Keys,
    pub(crate) group: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) run: fn(&mut Ctx<'_>, Args<'_>) -> Outcome,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Command {
    /// The same command, for one whose keys are elsewhere than its group's.
    pub(crate) const fn keyed(self, keys: Keys) -> Command {
        Command { keys, ..self }
    }

    /// Whether it writes rows when it is carried out with these arguments.
    pub(crate) fn writes(&self, args: Args<'_>) -> bool {
        let is_private = self.name == "rumormill" && args.len() > 1;
        self.flags.contains(&"write")
            || is_private
                && (args.get(1).eq_ignore_ascii_case(b"set")
                    || args.get(1).eq_ignore_ascii_case(b"del"))
    }
}

/// The things that a command works on.
pub(crate) struct Ctx<'a> {
    pub(crate) now: Now,
    pub(crate) node: &'a mut Node,
    pub(crate) replies: &'a mut Replies,
    pub(crate) client: &'a mut Client,
    pub(crate) command: &'static Command,
}

impl Ctx<'_> {
    /// The live row of a key.
    pub(crate) fn row(&self, table: TableId, key: &[u8]) -> Option<RowRef<'_>> {
        self.node.view(self.now).get(table, key).row()
    }

    /// Appends the value of a row, or nil where there is none.
    ///
    /// # Errors
    /// [`Refusal::Cold`], or why the value cannot be read; nothing was appended.
    pub(crate) fn value(&mut self, table: TableId, key: &[u8]) -> Outcome {
        let Some(row) = self.node.view(self.now).get(table, key).row() else {
            encoder::nil(self.replies.buf(), self.client.proto);
            return Ok(());
        };
        let value = self.client.loaded.value_of(table, &row)?;
        hold_if_unsynced(self.node, self.now, table, row.seq(), self.replies);
        encoder::bulk(self.replies.buf(), value);
        Ok(())
    }

    /// Goes on with a flush whose rows are not all deleted; whether there is none left. That of a transaction is left to the node's turns.
    pub(crate) fn has_flushed(&mut self) -> bool {
        let Some(flush) = self.client.flushing.filter(|_| !self.client.is_whole) else {
            self.client.flushing = None;
            return true;
        };
        if self.node.pressure() || self.client.work.is_spent() {
            return false;
        }
        self.client.work.spend(work::FLUSH);
        let Some(seq) = self.node.flush_more(self.now, flush) else {
            return false;
        };
        if seq > self.node.durable() {
            self.replies.hold(seq);
        }
        self.client.flushing = None;
        true
    }
}

/// A command that is carried out in pieces.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) command: &'static Command,
    pub(crate) job: Box<dyn Job>,
}

/// The work of a command that is carried out in pieces. The arguments of the command stay in the stream until it is done.
pub(crate) trait Job: std::fmt::Debug + Send {
    /// Does a piece.
    ///
    /// # Errors
    /// Why the command ends here.
    fn pump(&mut self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Piece, Refusal>;

    /// Bytes held for replies to come.
    fn footprint(&self) -> usize {
        0
    }
}

/// How a piece of a job ended.
pub(crate) enum Piece {
    /// All is done.
    Done,
    /// There is more, and this is why it stops here.
    Pause(Flow),
    /// These rows have to be loaded first.
    Needs(Vec<RowKey>),
}

/// The commands that a client has queued.
#[derive(Debug, Default)]
pub(crate) struct Multi {
    pub(crate) commands: Vec<(&'static Command, Words)>,
    pub(crate) bytes: usize,
    /// A command was refused when it was queued.
    pub(crate) is_spoiled: bool,
    pub(crate) loads: u32,
}

impl Multi {
    pub(crate) fn footprint(&self) -> usize {
        self.bytes
    }

    /// Whether one of the commands writes rows. O(commands).
    pub(crate) fn writes(&self) -> bool {
        let mut commands = self.commands.iter();
        commands.any(|(command, words)| command.writes(words.args()))
    }
}
