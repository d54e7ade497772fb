//! The commands: a table per group, found by name without allocating.

mod config;
mod connection;
mod expiry;
mod hashes;
mod keys;
mod later;
mod pubsub;
mod refused;
mod server;
mod strings;
pub(crate) mod transactions;

use bytes::Bytes;
use rumormill_core::{
    Node, Now, Seq, TableId,
    table::{Accepted, Conflict, RowRef, ScanRange, TableRequest},
};
use rumormill_kit::client_session::Replies;

use crate::client::{Client, Command, Ctx, Job, Keys, Outcome, Piece, Task};
use crate::decoder::Args;
use crate::encoder::{self, Proto};
use crate::glob::Pattern;
use crate::hold::hold_if_unsynced;
use crate::refusal::Refusal;
use crate::tasks::Each;
use crate::waiting::{Touched, read};
use crate::work;

/// The common part of the commands of one table.
#[derive(Clone, Copy)]
struct Group {
    name: &'static str,
    keys: Keys,
}

impl Group {
    const fn new(name: &'static str, keys: Keys) -> Group {
        Group { name, keys }
    }

    const fn command(
        self,
        name: &'static str,
        arity: i16,
        flags: &'static [&'static str],
        summary: &'static str,
        run: fn(&mut Ctx<'_>, Args<'_>) -> Outcome,
    ) -> Command {
        Command {
            name,
            arity,
            flags,
            keys: self.keys,
            group: self.name,
            summary,
            run,
        }
    }
}

const NONE: Keys = (0, 0, 0);
const ONE: Keys = (1, 1, 1);
const MANY: Keys = (1, -1, 1);

const READ: &[&str] = &["readonly", "fast"];
const READ_SLOW: &[&str] = &["readonly"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const DELETE: &[&str] = &["write", "fast"];
const CONNECTION: &[&str] = &["noscript", "loading", "stale", "fast"];
const PUBSUB: &[&str] = &["pubsub", "noscript", "loading", "stale"];
const ADMIN: &[&str] = &["loading", "stale"];

const GROUPS: [&[Command]; 8] = [
    strings::COMMANDS,
    hashes::COMMANDS,
    keys::COMMANDS,
    expiry::COMMANDS,
    connection::COMMANDS,
    pubsub::COMMANDS,
    transactions::COMMANDS,
    server::COMMANDS,
];

fn all() -> impl Iterator<Item = &'static Command> {
    GROUPS.into_iter().flatten()
}

/// Longest name of a command.
const NAME_BYTES: usize = 16;
const SLOTS: usize = 256;

/// Open addressing over the packed names: the group and the place in it. Zero is no name.
static INDEX: [(u128, u8, u8); SLOTS] = index();

const fn index() -> [(u128, u8, u8); SLOTS] {
    let mut slots = [(0, 0, 0); SLOTS];
    let mut group = 0;
    while group < GROUPS.len() {
        let mut place = 0;
        while place < GROUPS[group].len() {
            let name = GROUPS[group][place].name.as_bytes();
            let mut packed = [0; NAME_BYTES];
            let mut at = 0;
            while at < name.len() {
                packed[at] = name[at].to_ascii_uppercase();
                at += 1;
            }
            let packed = u128::from_le_bytes(packed);
            let mut slot = slot_of(packed);
            while slots[slot].0 != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = (packed, group as u8, place as u8);
            place += 1;
        }
        group += 1;
    }
    slots
}

const fn slot_of(packed: u128) -> usize {
    let folded = packed as u64 ^ ((packed >> 64) as u64).rotate_left(31);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// The command of that name, in whatever case.
fn find(name: &[u8]) -> Option<&'static Command> {
    let mut packed = [0; NAME_BYTES];
    packed.get_mut(..name.len())?.copy_from_slice(name);
    packed.make_ascii_uppercase();
    let packed = u128::from_le_bytes(packed);
    let mut slot = slot_of(packed);
    loop {
        let (found, group, place) = INDEX[slot];
        if found == 0 {
            return None;
        }
        // A name with trailing zero bytes packs like the one without.
        if found == packed {
            let command = &GROUPS[group as usize][place as usize];
            return (command.name.len() == name.len()).then_some(command);
        }
        slot = (slot + 1) % SLOTS;
    }
}

impl Ctx<'_> {
    fn out(&mut self) -> &mut Vec<u8> {
        self.replies.buf()
    }

    fn ok(&mut self) -> Outcome {
        self.out().extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    fn int(&mut self, value: i64) -> Outcome {
        encoder::int(self.out(), value);
        Ok(())
    }

    fn bulk(&mut self, bytes: &[u8]) -> Outcome {
        encoder::bulk(self.out(), bytes);
        Ok(())
    }

    fn nil(&mut self) -> Outcome {
        let proto = self.client.proto;
        encoder::nil(self.out(), proto);
        Ok(())
    }

    /// Leaves the rest of the command to be carried out in pieces.
    fn leave(&mut self, job: impl Job + 'static) -> Outcome {
        let command = self.command;
        let job = Box::new(job);
        self.client.task = Some(Task { command, job });
        Ok(())
    }

    /// Does a step for each argument from `each.at` on; what is left of many is done in pieces.
    fn each(&mut self, args: Args<'_>, mut each: Each) -> Outcome {
        match each.pump(self, args)? {
            Piece::Done => Ok(()),
            _ => self.leave(each),
        }
    }

    /// The hash of that name, if it has fields. A table that answers later is refused: whether it has fields is not known here.
    fn hash(&self, name: &[u8]) -> Result<Option<TableId>, Refusal> {
        let name = std::str::from_utf8(name).ok();
        let table = name.and_then(|name| self.node.user_table(name));
        let Some(table) = table.filter(|table| *table != TableId::DEFAULT) else {
            return Ok(None);
        };
        let fields = self.node.view(self.now).len(table)?;
        Ok((fields > 0).then_some(table))
    }

    /// The live rows of a table that was not refused, in a range.
    fn scan(&self, table: TableId, range: ScanRange<'_>) -> impl Iterator<Item = RowRef<'_>> {
        let rows = self.node.view(self.now).scan(table, range);
        rows.into_iter().flatten()
    }

    /// The table of a hash all of whose fields have expired here: some may show elsewhere.
    fn hidden_hash(&self, name: &[u8]) -> Option<TableId> {
        let table = self.node.user_table(std::str::from_utf8(name).ok()?)?;
        let hides = table != TableId::DEFAULT && self.node.view(self.now).hides(table);
        hides.then_some(table)
    }

    /// Whether a write to the table has to say what its author has seen.
    fn keeps_siblings(&self, table: TableId) -> bool {
        let info = self.node.view(self.now).table_info(table);
        info.is_some_and(|info| info.options.conflict == Conflict::Siblings)
    }

    fn is_string(&self, key: &[u8]) -> bool {
        let found = self.node.view(self.now).get(TableId::DEFAULT, key);
        found.row().is_some()
    }

    /// The string of a key in memory, or as it was loaded for this command; `None` when there is none.
    fn string(&self, key: &[u8]) -> Result<Option<&Bytes>, Refusal> {
        let found = self.node.view(self.now).get(TableId::DEFAULT, key).row();
        found
            .map(|row| self.client.loaded.value_of(TableId::DEFAULT, &row))
            .transpose()
    }

    /// A pattern; what it costs is counted.
    fn pattern(&mut self, pattern: &[u8]) -> Result<Pattern, Refusal> {
        let mut steps = 0;
        let compiled = Pattern::compile(pattern, &mut steps);
        self.client.work.spend(steps);
        compiled.map_err(|error| format!("TOOLARGE {error}").into())
    }

    /// A number that the client has not drawn before. Which key is shown as a random one decides nothing.
    fn draw(&mut self) -> u64 {
        self.client.draws += 1;
        let seed = self.client.draws.wrapping_add(self.client.id << 32);
        let mixed = (seed ^ self.now.mono.as_micros()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 1
    }

    /// Removes all rows of a table, or of all tables. Those whose clocks are ahead may take a while: [`Each`] waits for them.
    fn flush(&mut self, table: Option<TableId>) -> Outcome {
        self.client.work.spend(self.flush_steps(table));
        let (accepted, left) = self.node.flush(self.now, table)?;
        self.written(accepted);
        self.client.flushing = left;
        Ok(())
    }

    /// The steps that the first piece of a flush of a table, or of all, takes at most: rows whose clocks are ahead are deleted one by one.
    fn flush_steps(&self, table: Option<TableId>) -> usize {
        let view = self.node.view(self.now);
        let rows = table.map_or_else(|| view.user_rows(), |table| view.len(table).unwrap_or(0));
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        rows.saturating_mul(work::WRITE).min(work::FLUSH)
    }

    /// Holds back the reply to a write that its table promises to sync first. To be called before the reply is written.
    fn written(&mut self, accepted: Accepted) {
        self.client.work.spend(work::WRITE);
        if accepted.sync && accepted.seq > self.node.durable() {
            self.replies.hold(accepted.seq);
        }
    }

    /// Holds back a reply that shows a row of a table that promises to sync first.
    fn shown(&mut self, table: TableId, seq: Seq) {
        hold_if_unsynced(self.node, self.now, table, seq, self.replies);
    }
}

/// Which keys a command reads or writes. O(arguments).
pub(crate) fn touched<'a>(args: Args<'a>) -> Touched<'a> {
    let Some(command) = find(args.get(0)) else {
        return Touched::Everything;
    };
    let (first, last, step) = command.keys;
    let (Ok(first), Ok(step)) = (usize::try_from(first), usize::try_from(step)) else {
        return Touched::Everything;
    };
    match (command.name, command.keys) {
        ("ping" | "echo", _) => Touched::Nothing,
        ("watch", _) | (_, NONE) => Touched::Everything,
        _ => {
            let last = usize::try_from(last).unwrap_or(args.len().saturating_sub(1));
            let keys = (first..=last).step_by(step.max(1));
            Touched::Keys(keys.map(|at| args.get(at)).collect())
        }
    }
}

/// Executes one command and appends its reply. Returns the operations that have to be answered before it can be: then nothing was done.
pub(crate) fn execute(
    client: &mut Client,
    now: Now,
    node: &mut Node,
    args: Args<'_>,
    replies: &mut Replies,
) -> Option<Vec<TableRequest>> {
    let Some(command) = find(args.get(0)) else {
        client.spoil_transaction();
        match refused::reason(args.get(0)) {
            Some(text) => encoder::error(replies.buf(), text.as_bytes()),
            None if refused::is_http(args.get(0)) => client.closing = true,
            None => unknown(args, replies.buf()),
        }
        return None;
    };
    let given = args.len();
    let wanted = usize::from(command.arity.unsigned_abs());
    let outcome = if given < wanted || (command.arity > 0 && given != wanted) {
        client.spoil_transaction();
        match command.name {
            "exec" => Err(transactions::exec_arity(client)),
            _ => Err(Refusal::Arity),
        }
    } else if client.watch.is_some() && client.proto == Proto::Two && !pubsub::is_allowed(command) {
        client.spoil_transaction();
        let name = command.name;
        Err(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )
        .into())
    } else if client.astray && touches_rows(command) {
        client.spoil_transaction();
        Err(Refusal::ASTRAY)
    } else if client.multi.is_some() && transactions::is_queued(command) {
        client.queue(command, args, replies)
    } else {
        run(client, now, node, (command, args), replies)
    };
    match outcome {
        Ok(()) => {}
        Err(Refusal::Cold(rows)) => return Some(rows.into_iter().map(read).collect()),
        Err(Refusal::Ask(request)) => return Some(vec![*request]),
        Err(refusal) => refusal.reply(command.name, replies),
    }
    None
}

/// Runs a command whose arity is right.
fn run(
    client: &mut Client,
    now: Now,
    node: &mut Node,
    (command, args): (&'static Command, Args<'_>),
    replies: &mut Replies,
) -> Outcome {
    // A queued `SELECT` may have led astray what was queued behind it.
    if client.astray && touches_rows(command) {
        return Err(Refusal::ASTRAY);
    }
    let mut ctx = Ctx {
        now,
        node,
        replies,
        client,
        command,
    };
    (command.run)(&mut ctx, args)
}

/// Whether this is a command that writes rows, and may wait until the store has caught up. Commands of a transaction wait together, before its
/// `EXEC`.
pub(crate) fn writes(client: &Client, args: Args<'_>) -> bool {
    find(args.get(0)).is_some_and(|command| match &client.multi {
        Some(multi) => command.name == "exec" && multi.writes(),
        None => command.writes(args),
    })
}

/// Whether the command reads or writes the rows of a database.
fn touches_rows(command: &Command) -> bool {
    matches!(command.group, "string" | "hash" | "generic") || command.name == "rumormill"
}

fn unknown(args: Args<'_>, out: &mut Vec<u8>) {
    const SHOWN: usize = 128;
    let cut = |bytes: &[u8], most: usize| {
        let end = bytes.iter().position(|&byte| byte == 0);
        bytes[..end.unwrap_or(bytes.len()).min(most)].to_vec()
    };
    let mut shown = Vec::new();
    for arg in args.from(1) {
        if shown.len() >= SHOWN {
            break;
        }
        let most = SHOWN - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(&cut(arg, most));
        shown.extend_from_slice(b"' ");
    }
    let text = [
        b"ERR unknown command '",
        &cut(args.get(0), SHOWN)[..],
        b"', with args beginning with: ",
        &shown,
    ]
    .concat();
    encoder::error(out, &text);
}

/// An integer argument.
fn integer(arg: &[u8]) -> Result<i64, Refusal> {
    crate::decoder::parse_int(arg).ok_or(Refusal::NOT_AN_INTEGER)
}

/// A word of the syntax, in whatever case.
fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A subcommand: its name in lower case, the fewest and the most arguments, and what it does.
type Sub = (
    &'static str,
    usize,
    usize,
    fn(&mut Ctx<'_>, Args<'_>) -> Outcome,
);

fn subcommand(ctx: &mut Ctx<'_>, args: Args<'_>, table: &[Sub]) -> Outcome {
    let given = args.get(1);
    let Some((name, fewest, most, run)) = table.iter().find(|(name, ..)| is(given, name)) else {
        let text = [
            b"ERR unknown subcommand '",
            &given[..given.len().min(128)],
            b"'. Try ",
            ctx.command.name.to_ascii_uppercase().as_bytes(),
            b" HELP.",
        ]
        .concat();
        return Err(Refusal::Bytes(text));
    };
    if args.len() < *fewest || args.len() > *most {
        let command = ctx.command.name;
        return Err(format!("ERR wrong number of arguments for '{command}|{name}' command").into());
    }
    run(ctx, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_and_no_other() {
        for command in all() {
            assert!(command.name.len() <= NAME_BYTES);
            for name in [command.name.to_string(), command.name.to_uppercase()] {
                assert_eq!(
                    find(name.as_bytes()).map(|found| found.name),
                    Some(command.name)
                );
            }
            let longer = [command.name.as_bytes(), b"\0"].concat();
            assert!(find(&longer).is_none());
            assert!(refused::reason(command.name.as_bytes()).is_none());
        }
        for name in ["", "\0", "nope", "ge", "gett", "a name of seventeen"] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
    }
}
