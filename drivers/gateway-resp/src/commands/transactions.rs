//! Transactions: commands that are queued and then carried out in one turn, unless a watched key has changed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rumormill_core::{
    TableId,
    table::{ChangeKind, Cursor, ScanRange},
};

use super::keys::SCAN_ROWS;
use super::{Command, Ctx, Group, MANY, NONE, Outcome, Touched, hashes, is, run, touched};
use crate::client::{Client, Multi};
use crate::decoder::{Args, parse_int};
use crate::encoder;
use crate::glob::PATTERN_ELEMENTS;
use crate::refusal::{Refusal, RowKey};
use crate::watched::{Key, Seen, Watched};
use crate::work;

/// Most commands of a transaction.
const COMMANDS_MOST: usize = 4_096;
/// Most bytes of the commands of a transaction, and most bytes of the values that it reads.
const BYTES_MOST: usize = 4 << 20;
/// Most steps of a transaction, since it is carried out in one go: about 4 ms.
const STEPS_MOST: usize = 4_000_000;
/// Most keys that a client watches, and the bytes of those.
const KEYS_MOST: usize = 1_024;
const KEY_BYTES_MOST: usize = 256 << 10;

/// Steps that count for a key that is read, a key that is deleted beside its write, a row of a listing, a command that touches no keys, and a
/// call of a scan that compares keys with a pattern. Two bytes of commands and of values that are read count for one step.
const READ: usize = 200;
const DELETED: usize = 700;
const LISTED: usize = 400;
const OTHER: usize = 100_000;
const SCAN: usize = 1_500_000;

/// How often rows are loaded anew that change while they are loaded.
const LOADS_MOST: u32 = 16;
/// Changes looked at to find out whether a key that is absent was there meanwhile.
const CHANGES_MOST: usize = 4_096;

const GROUP: Group = Group::new("transactions", NONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command(
        "multi",
        1,
        FLAGS,
        "Mark the start of a transaction block",
        |ctx, _| {
            if ctx.client.multi.is_some() {
                return Err(Refusal::Text("ERR MULTI calls can not be nested"));
            }
            ctx.client.multi = Some(Box::default());
            ctx.ok()
        },
    ),
    GROUP.command(
        "exec",
        1,
        &["noscript", "loading", "stale"],
        "Execute all commands issued after MULTI",
        |ctx, _| exec(ctx),
    ),
    GROUP.command(
        "discard",
        1,
        FLAGS,
        "Discard all commands issued after MULTI",
        |ctx, _| {
            if ctx.client.multi.is_none() {
                return Err(Refusal::Text("ERR DISCARD without MULTI"));
            }
            ctx.client.drop_transaction();
            ctx.ok()
        },
    ),
    GROUP
        .command(
            "watch",
            -2,
            FLAGS,
            "Watch the given keys to determine execution of the MULTI/EXEC block",
            watch,
        )
        .keyed(MANY),
    GROUP.command(
        "unwatch",
        1,
        FLAGS,
        "Forget about all watched keys",
        |ctx, _| {
            ctx.client.watched = Watched::default();
            ctx.ok()
        },
    ),
];

const FLAGS: &[&str] = &["noscript", "loading", "stale", "fast"];

/// Whether a command that is sent after `MULTI` waits for `EXEC`.
pub(super) fn is_queued(command: &Command) -> bool {
    let at_once = ["exec", "discard", "multi", "watch", "quit", "reset"];
    !at_once.contains(&command.name)
}

impl Client {
    /// A command was refused: the transaction that is being queued will not be carried out.
    pub(crate) fn spoil_transaction(&mut self) {
        if let Some(multi) = &mut self.multi {
            multi.is_spoiled = true;
        }
    }

    /// Forgets the transaction that is being queued, and the watched keys.
    pub(crate) fn drop_transaction(&mut self) {
        self.multi = None;
        self.watched = Watched::default();
    }

    /// Queues a command.
    pub(super) fn queue(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        replies: &mut rumormill_kit::client_session::Replies,
    ) -> Outcome {
        let Some(multi) = &mut self.multi else {
            return Ok(());
        };
        // A transaction that is not carried out is not kept either.
        if multi.is_spoiled {
            encoder::simple(replies.buf(), "QUEUED");
            return Ok(());
        }
        let words = args.to_words();
        let bytes = multi.bytes + words.footprint();
        let why = match multi.commands.len() {
            COMMANDS_MOST => Some(format!("{COMMANDS_MOST} commands")),
            _ if bytes > BYTES_MOST => Some(format!("{BYTES_MOST} bytes")),
            _ => None,
        };
        let is_short = replies.budget().is_short();
        if why.is_some() || is_short {
            **multi = Multi::default();
            multi.is_spoiled = true;
            return Err(match why {
                Some(most) => format!(
                    "TOOLARGE a transaction has at most {most}: send fewer, or without MULTI"
                )
                .into(),
                None => Refusal::Text(
                    "BUSY the memory for the replies and transactions of all clients is used up",
                ),
            });
        }
        multi.bytes = bytes;
        multi.commands.push((command, words));
        encoder::simple(replies.buf(), "QUEUED");
        Ok(())
    }
}

impl Seen {
    fn look(ctx: &Ctx<'_>, name: &[u8]) -> Result<Seen, Refusal> {
        let view = ctx.node.view(ctx.now);
        let string = ctx.row(TableId::DEFAULT, name);
        let hash = ctx.hash(name)?;
        Ok(Seen {
            string: string.map(|row| row.version()),
            hash: hash.map(|table| (table, view.revision(table))),
        })
    }
}

impl Watched {
    /// Whether a key is not what it was.
    fn have_changed(&self, ctx: &Ctx<'_>) -> bool {
        let is_same = |key: &Key| Seen::look(ctx, &key.name).is_ok_and(|seen| seen == key.seen);
        !self.keys.iter().all(is_same) || self.came_and_went(ctx)
    }

    /// Whether a string that is absent was there meanwhile; also when too much else has changed to tell. One that had expired before it was
    /// watched was not.
    fn came_and_went(&self, ctx: &Ctx<'_>) -> bool {
        let view = ctx.node.view(ctx.now);
        let revision = view.revision(TableId::DEFAULT);
        let absent = self.keys.iter().filter(|key| key.seen.string.is_none());
        let absent: BTreeMap<&[u8], Cursor> = absent
            .filter(|key| key.revision != revision)
            .map(|key| (&key.name[..], key.since))
            .collect();
        let Some(&since) = absent.values().min() else {
            return false;
        };
        let Ok(changes) = view.changes(TableId::DEFAULT, since, CHANGES_MOST) else {
            return true;
        };
        changes.more
            || changes.changes.iter().any(|change| match &change.kind {
                ChangeKind::Put { key, .. }
                | ChangeKind::Siblings { key, .. }
                | ChangeKind::Deleted { key } => absent
                    .get(&key[..])
                    .is_some_and(|since| *since <= change.cursor),
                // A flush changes nothing of a key that is absent.
                ChangeKind::Expired { .. } | ChangeKind::Flushed { .. } => false,
            })
    }
}

fn watch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if ctx.client.multi.is_some() {
        return Err(Refusal::Text("ERR WATCH inside MULTI is not allowed"));
    }
    for name in args.from(1) {
        let watched = &ctx.client.watched;
        if watched.keys.iter().any(|key| key.name == name) {
            continue;
        }
        let bytes = watched.bytes + name.len() + size_of::<Key>();
        if watched.keys.len() == KEYS_MOST || bytes > KEY_BYTES_MOST {
            return Err(format!(
                "TOOLARGE a client watches at most {KEYS_MOST} keys, of {KEY_BYTES_MOST} bytes together"
            )
            .into());
        }
        let view = ctx.node.view(ctx.now);
        let key = Key {
            name: Bytes::copy_from_slice(name),
            seen: Seen::look(ctx, name)?,
            since: view.cursor(),
            revision: view.revision(TableId::DEFAULT),
        };
        ctx.client.watched.keys.push(key);
        ctx.client.watched.bytes = bytes;
    }
    ctx.ok()
}

/// Refuses the transaction, and forgets it.
fn abort(ctx: &mut Ctx<'_>, why: &str) -> Outcome {
    ctx.client.drop_transaction();
    Err(format!("EXECABORT Transaction discarded because of {why}").into())
}

/// The reply to an `EXEC` with arguments, which ends the transaction as well.
pub(super) fn exec_arity(client: &mut Client) -> Refusal {
    client.drop_transaction();
    Refusal::Text(
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
    )
}

fn exec(ctx: &mut Ctx<'_>) -> Outcome {
    let Some(multi) = ctx.client.multi.take() else {
        return Err(Refusal::Text("ERR EXEC without MULTI"));
    };
    if multi.is_spoiled {
        return abort(ctx, "previous errors.");
    }
    let watched = std::mem::take(&mut ctx.client.watched);
    if watched.have_changed(ctx) {
        let proto = ctx.client.proto;
        encoder::nil_array(ctx.out(), proto);
        return Ok(());
    }
    let plan = match Plan::of(ctx, &multi) {
        Ok(plan) => plan,
        Err(why) => return abort(ctx, &why),
    };
    if !plan.cold.is_empty() {
        if multi.loads == LOADS_MOST {
            return abort(
                ctx,
                "rows that change faster than they are read from the store.",
            );
        }
        // It is carried out again when the rows are there, and looks at the watched keys again.
        let mut multi = multi;
        multi.loads += 1;
        (ctx.client.multi, ctx.client.watched) = (Some(multi), watched);
        return Err(Refusal::Cold(plan.cold));
    }
    carry_out(ctx, &multi);
    Ok(())
}

/// Carries out the commands, one after another; no other client's come between them.
fn carry_out(ctx: &mut Ctx<'_>, multi: &Multi) {
    encoder::array(ctx.out(), multi.commands.len());
    let was_whole = std::mem::replace(&mut ctx.client.is_whole, true);
    for (command, words) in &multi.commands {
        let done = run(
            ctx.client,
            ctx.now,
            ctx.node,
            (command, words.args()),
            ctx.replies,
        );
        if let Err(refusal) = done {
            refusal.reply(command.name, ctx.replies);
        }
    }
    ctx.client.is_whole = was_whole;
}

/// The keys that a transaction will touch, found out before it is begun.
#[derive(Debug, Default)]
struct Plan {
    steps: usize,
    /// Bytes of values that are read.
    bytes: usize,
    /// Hashes that it makes.
    made: BTreeSet<Vec<u8>>,
    /// Rows whose values have to be loaded first.
    cold: Vec<RowKey>,
}

impl Plan {
    fn of(ctx: &Ctx<'_>, multi: &Multi) -> Result<Plan, String> {
        let mut plan = Plan {
            steps: multi.bytes / 2,
            ..Plan::default()
        };
        for (command, words) in &multi.commands {
            plan.add(ctx, command, words.args());
            if plan.steps > STEPS_MOST {
                return Err("its size: TOOLARGE it would keep all other clients waiting for more than 4 ms; some 2000 writes fit".to_string());
            }
            if plan.bytes > BYTES_MOST {
                return Err(format!(
                    "its size: TOOLARGE it reads values of more than {BYTES_MOST} bytes"
                ));
            }
        }
        if ctx.node.pressure() && multi.writes() {
            return Err("BUSY the store lags behind; try again later".to_string());
        }
        plan.cold.sort();
        plan.cold.dedup();
        Ok(plan)
    }

    fn add(&mut self, ctx: &Ctx<'_>, command: &Command, args: Args<'_>) {
        self.steps += work::COMMAND;
        // A command on a table that answers later refuses, or is refused by itself.
        let hash = |name: &[u8]| ctx.hash(name).unwrap_or_default();
        match command.group {
            "string" | "generic" | "hash" => self.keys(ctx, command, args),
            "connection" | "transactions" => {}
            _ => self.steps += OTHER,
        }
        match command.name {
            "get" | "getdel" | "persist" | "expire" | "pexpire" | "expireat" | "pexpireat" => {
                self.read(ctx, TableId::DEFAULT, args.get(1));
            }
            "set" if args.from(3).any(|word| is(word, "get")) => {
                self.read(ctx, TableId::DEFAULT, args.get(1));
            }
            "mget" => args
                .from(1)
                .for_each(|key| self.read(ctx, TableId::DEFAULT, key)),
            "hget" | "hmget" => {
                if let Some(table) = hash(args.get(1)) {
                    args.from(2).for_each(|key| self.read(ctx, table, key));
                }
            }
            "hgetall" | "hvals" | "hkeys" | "hscan" => {
                if command.name == "hscan" {
                    self.compare(args, 3);
                }
                if let Some(table) = hash(args.get(1)) {
                    self.read_all(ctx, table, command.name != "hkeys");
                }
            }
            "scan" => {
                self.compare(args, 2);
                let words = (1..args.len()).find(|at| is(args.get(*at), "count"));
                let count = words.and_then(|at| parse_int(args.get(at + 1)));
                let names = count.map_or(10, |count| (count.max(0) as usize).min(SCAN_ROWS));
                self.steps += names * LISTED;
            }
            "keys" => self.list_all(ctx, args.get(1)),
            "flushall" | "flushdb" => self.steps += OTHER + ctx.flush_steps(None),
            _ => {}
        }
    }

    /// Counts the keys that a command names.
    fn keys(&mut self, ctx: &Ctx<'_>, command: &Command, args: Args<'_>) {
        let words = args.len().saturating_sub(1);
        let keys = match command.name {
            "mset" | "hset" | "hmset" => words / 2,
            "del" | "unlink" | "exists" | "touch" | "mget" | "hdel" | "hmget" => words,
            _ => 1,
        };
        if !command.writes(args) {
            self.steps += keys * READ;
            return;
        }
        let deletes = matches!(command.name, "del" | "unlink");
        self.steps += keys * (work::WRITE + if deletes { DELETED } else { 0 });
        let Touched::Keys(names) = touched(args) else {
            return;
        };
        for name in names {
            match ctx.hash(name).unwrap_or_default() {
                None if command.group == "hash" && !self.made.contains(name) => {
                    self.made.insert(name.to_vec());
                    self.steps += work::TABLE;
                }
                // It is deleted, or replaced by a string.
                Some(table) if command.group != "hash" => {
                    self.steps += work::TABLE + ctx.flush_steps(Some(table));
                }
                _ => {}
            }
        }
    }

    fn read(&mut self, ctx: &Ctx<'_>, table: TableId, key: &[u8]) {
        let Some(row) = ctx.row(table, key) else {
            return;
        };
        self.bytes += row.value_len();
        self.steps += row.value_len() / 2;
        if let Err(Refusal::Cold(rows)) = ctx.client.loaded.value_of(table, &row) {
            self.cold.extend(rows);
        }
    }

    /// Counts what a pattern costs that a scan compares with keys, if there is one behind the arguments before `at`.
    fn compare(&mut self, args: Args<'_>, at: usize) {
        if (at..args.len()).any(|at| is(args.get(at), "match")) {
            self.steps += SCAN;
        }
    }

    /// Counts the keys of all strings and hashes, and what it costs to compare them with a pattern.
    fn list_all(&mut self, ctx: &Ctx<'_>, pattern: &[u8]) {
        let elements = pattern.len().min(PATTERN_ELEMENTS);
        let mut steps = elements * 256 + pattern.len();
        let view = ctx.node.view(ctx.now);
        let strings = ctx.scan(TableId::DEFAULT, ScanRange::default());
        let strings = strings.map(|row| row.key().len());
        let hashes = view.user_tables(None).map(|table| table.name.len());
        for bytes in strings.chain(hashes).take(STEPS_MOST / LISTED) {
            steps += LISTED + bytes * (1 + elements / 64);
        }
        self.steps += steps;
    }

    fn read_all(&mut self, ctx: &Ctx<'_>, table: TableId, values: bool) {
        for row in hashes::all_rows(ctx, table) {
            self.steps += LISTED;
            self.bytes += row.key().len();
            if self.steps > STEPS_MOST || self.bytes > BYTES_MOST {
                return;
            }
            if values {
                self.read(ctx, table, row.key());
            }
        }
    }
}
