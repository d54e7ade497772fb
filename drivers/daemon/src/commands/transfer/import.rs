//! `import`.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::delivery::{Batch, Delivered, deliver};
use super::lines::{Line, Lines};
use super::refused::Refused;
use crate::cli::{Conflict, Durability, Format, Import, of_word, word};
use crate::commands::{http, progress, tables};
use crate::failure::Failure;
use crate::formats::{self, Begin, Content, End, FileRow};
use crate::output::print_line;
use crate::resp::Client;
use crate::table::{Table, unexpected};

/// So many tables are named in a sentence.
const NAMES: usize = 20;

pub(crate) fn import(args: &Import) -> Result<(), Failure> {
    let mut lines = Lines::open(&args.file, args.format)?;
    if args.table.is_none() && lines.format != Format::Jsonl {
        let form = word(lines.format);
        return Err(Failure::Usage(format!(
            "{}: a file of the form {form} does not say which table its rows are of: give it with --table",
            args.file.display()
        )));
    }
    args.table.as_deref().map(Table::new).transpose()?;
    let mut client = Client::connect(&args.server.addr)?;
    let endpoint = http::endpoint(&mut client)?;
    let (batches, inbox) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let delivery = scope.spawn(|| deliver(&endpoint, inbox));
        let mut reader = Reader::new(args, client, batches);
        let read = reader.read(&mut lines);
        // The delivery ends with what was handed to it.
        let end = reader.end();
        let (delivered, sent) = delivery
            .join()
            .map_err(|_| Failure::Not("the thread that sends rows stopped".into()))?;
        let ended = sent.and(read.map_err(Stop::into_failure));
        end.report(args, lines.format, delivered, ended)
    })
}

/// Why no more lines are read.
#[derive(Debug)]
enum Stop {
    Failed(Failure),
    /// The delivery has failed, and says why.
    Delivery,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl Stop {
    fn into_failure(self) -> Failure {
        match self {
            Stop::Failed(failure) => failure,
            Stop::Delivery => Failure::Not("the delivery of rows has ended".into()),
        }
    }
}

/// A table that rows go to.
struct Open {
    path: Arc<str>,
    conflict: Conflict,
    /// Its name in the file, if the file says that its rows begin.
    begun: Option<String>,
    /// Lines with rows since then, and the lines among them that were refused.
    lines: u64,
}

/// Reads lines, judges them, and hands rows over.
struct Reader<'a> {
    args: &'a Import,
    client: Client,
    batches: SyncSender<Batch>,
    batch: Option<Batch>,
    open: Option<Open>,
    end: ReaderEnd,
}

/// The part of the outcome that a reader knows.
#[derive(Default)]
struct ReaderEnd {
    /// Names, and whether the tables are new.
    tables: Vec<(String, bool)>,
    refused: Refused,
    /// Rows of a dry run.
    would_write: u64,
    expired: u64,
}

impl<'a> Reader<'a> {
    fn new(args: &'a Import, client: Client, batches: SyncSender<Batch>) -> Self {
        Reader {
            args,
            client,
            batches,
            batch: None,
            open: None,
            end: ReaderEnd::default(),
        }
    }

    /// Lets the delivery end.
    fn end(self) -> ReaderEnd {
        self.end
    }

    fn read(&mut self, lines: &mut Lines) -> Result<(), Stop> {
        let bar = progress::bar(lines.size, "{wide_bar} {bytes}/{total_bytes}  {eta} left");
        let format = lines.format;
        while let Some(line) = lines.next()? {
            bar.inc(line.read);
            if let Err(stop) = self.take(format, &line) {
                // The lines before are good.
                self.hand_over()?;
                return Err(stop);
            }
        }
        self.hand_over()?;
        if let (Some(name), true) = (&self.args.table, self.end.tables.is_empty()) {
            self.open_table(&name.clone(), None, 0)?;
        }
        bar.finish_and_clear();
        match self.open.take().and_then(|open| open.begun) {
            None => Ok(()),
            Some(name) => Err(Stop::Failed(Failure::Refused(format!(
                "{}: the file ends after line {}, within the rows of the table {name:?}: a part of it is missing",
                self.args.file.display(),
                lines.number(),
            )))),
        }
    }

    fn take(&mut self, format: Format, line: &Line<'_>) -> Result<(), Stop> {
        let Some(bytes) = line.bytes else {
            self.refuse("a line that is too long", line.number);
            return Ok(());
        };
        match formats::parse(format, bytes, line.number) {
            Ok(None) => Ok(()),
            Ok(Some(formats::Line::Row(row))) => self.take_row(row, line),
            Ok(Some(formats::Line::Begin(begin))) => self.begin(begin, line.number),
            Ok(Some(formats::Line::End(end))) => {
                self.end_table(&end, line.number);
                Ok(())
            }
            Err(reason) => {
                self.refuse(&reason, line.number);
                Ok(())
            }
        }
    }

    /// Counts a line with a row that was refused.
    fn refuse(&mut self, reason: &str, line: u64) {
        self.end.refused.add(reason, line);
        if let Some(open) = &mut self.open {
            open.lines += 1;
        }
    }

    fn begin(&mut self, begin: Result<Begin, String>, line: u64) -> Result<(), Stop> {
        let usage = |why: String| {
            let file = self.args.file.display();
            Stop::Failed(Failure::Usage(format!("{file}: line {line}: {why}")))
        };
        let begin = begin.map_err(usage)?;
        if let Some(Open {
            begun: Some(before),
            ..
        }) = &self.open
        {
            let why = "begins within the rows of the table";
            return Err(usage(format!("a table {why} {before:?}")));
        }
        if self.args.table.is_some() && !self.end.tables.is_empty() {
            let why =
                "a second table begins, and --table names one for all rows: import without it";
            return Err(usage(why.into()));
        }
        self.hand_over()?;
        let name = self.args.table.clone().unwrap_or(begin.table.clone());
        self.open_table(&name, Some(&begin), line)
    }

    fn end_table(&mut self, end: &End, line: u64) {
        let reason = match self.open.take() {
            Some(Open {
                begun: Some(name),
                lines,
                ..
            }) if name == end.table => match lines == end.rows {
                true => return,
                false => "the end of a table that counts other rows than came before it",
            },
            other => {
                self.open = other;
                "the end of another table than the one whose rows came"
            }
        };
        self.end.refused.add(reason, line);
    }

    fn take_row(&mut self, mut row: FileRow, line: &Line<'_>) -> Result<(), Stop> {
        if self.open.is_none() {
            match &self.args.table {
                Some(name) if self.end.tables.is_empty() => {
                    self.open_table(&name.clone(), None, line.number)?;
                }
                None if self.end.tables.is_empty() => {
                    return Err(Stop::Failed(Failure::Usage(format!(
                        "{}: line {}: the file does not say which table its rows are of: give it with --table",
                        self.args.file.display(),
                        line.number,
                    ))));
                }
                _ => {
                    self.refuse("a row after the end of its table", line.number);
                    return Ok(());
                }
            }
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.lines += 1;
        if let Err(reason) = fit(&mut row, open.conflict) {
            self.end.refused.add(reason, line.number);
            return Ok(());
        }
        if self.args.dry_run {
            match has_expired(&row) {
                true => self.end.expired += 1,
                false => self.end.would_write += 1,
            }
            return Ok(());
        }
        // The line is as long as the row in a request, or longer.
        if self
            .batch
            .as_ref()
            .is_some_and(|batch| batch.is_full_for(line.read as usize))
        {
            self.hand_over()?;
        }
        let Some(open) = &self.open else {
            return Ok(());
        };
        let batch = self.batch.get_or_insert_with(|| Batch::new(&open.path));
        Ok(batch.push(&row, line.number)?)
    }

    /// Hands over the rows that have come together.
    fn hand_over(&mut self) -> Result<(), Stop> {
        match self.batch.take().filter(|batch| !batch.is_empty()) {
            Some(batch) => self.batches.send(batch).map_err(|_| Stop::Delivery),
            None => Ok(()),
        }
    }

    /// Opens a table for the rows that follow; one that begins in the file is created where it is missing.
    fn open_table(&mut self, name: &str, begin: Option<&Begin>, line: u64) -> Result<(), Stop> {
        let table = Table::new(name)?;
        let known = Options::known(&table, &mut self.client)?;
        let is_new = known.is_none();
        let options = match begin {
            None => known.unwrap_or_default(),
            Some(begin) => self.options_for(&table, known, begin)?,
        };
        if let Some(begin) = begin {
            if options.conflict != begin.conflict {
                let (has, wants) = (word(options.conflict), word(begin.conflict));
                return Err(Stop::Failed(Failure::Refused(format!(
                    "{}: line {line}: the table {name:?} exists with the rule {has}, and the rows are of one with {wants}",
                    self.args.file.display(),
                ))));
            }
            if options.durability != begin.durability {
                let (has, wants) = (word(options.durability), word(begin.durability));
                eprintln!(
                    "rumormill: the table {name:?} exists with the durability {has}, and stays so; that of the file was {wants}"
                );
            }
        }
        self.end.tables.push((name.to_string(), is_new));
        self.open = Some(Open {
            path: format!("/v1/usr/{}", http::percent(name)).into(),
            conflict: options.conflict,
            begun: begin.map(|begin| begin.table.clone()),
            lines: 0,
        });
        Ok(())
    }

    /// The options that a table has, once it was created where that is possible; those that it would have, in a dry run.
    fn options_for(
        &mut self,
        table: &Table,
        known: Option<Options>,
        begin: &Begin,
    ) -> Result<Options, Failure> {
        let wanted = Options {
            conflict: begin.conflict,
            durability: begin.durability,
            is_fixed: true,
        };
        match known {
            Some(known) if known.is_fixed || known.is_like(wanted) => return Ok(known),
            _ if self.args.dry_run => return Ok(wanted),
            _ => {}
        }
        let addr = &self.args.server.addr;
        let answer = tables::ask(addr, table.name(), begin.durability, begin.conflict)?;
        match answer.status {
            201 => Ok(wanted),
            409 if answer.json()?["error"]["code"] == "options_differ" => {
                Ok(Options::known(table, &mut self.client)?.unwrap_or_default())
            }
            _ => Err(answer.refusal()),
        }
    }
}

/// The options of a table.
#[derive(Clone, Copy)]
struct Options {
    conflict: Conflict,
    durability: Durability,
    /// Whether they cannot be others.
    is_fixed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            conflict: Conflict::LastWriterWins,
            durability: Durability::Periodic,
            is_fixed: false,
        }
    }
}

impl Options {
    /// Asks for the options of a table, if the node knows it. It always knows `default`.
    fn known(table: &Table, client: &mut Client) -> Result<Option<Options>, Failure> {
        let info = table.info(client)?;
        if info.is_null() {
            return Ok((table.name() == "default").then(Options::default));
        }
        let part = |name: &str| info[name].as_str().unwrap_or("").to_string();
        Ok(Some(Options {
            conflict: of_word(&part("conflict")).ok_or_else(unexpected)?,
            durability: of_word(&part("durability")).ok_or_else(unexpected)?,
            // One that was merely written to can be given others while it has no rows.
            is_fixed: info["explicit"] == true || info["rows"] != 0,
        }))
    }

    fn is_like(self, other: Options) -> bool {
        (self.conflict, self.durability) == (other.conflict, other.durability)
    }
}

/// Gives a row the form that its table takes.
///
/// # Errors
/// Something of it would be lost.
fn fit(row: &mut FileRow, conflict: Conflict) -> Result<(), &'static str> {
    match (&mut row.content, conflict) {
        (Content::Value { .. }, Conflict::LastWriterWins)
        | (Content::Siblings(_), Conflict::Siblings) => Ok(()),
        (Content::Siblings(_), Conflict::LastWriterWins) => {
            Err("siblings, for a table of the rule last_writer_wins")
        }
        (
            Content::Value {
                expires_ms: Some(_),
                ..
            },
            Conflict::Siblings,
        ) => Err("a row that expires, for a table that keeps siblings"),
        (Content::Value { value, .. }, Conflict::Siblings) => {
            row.content = Content::Siblings(vec![std::mem::take(value)]);
            Ok(())
        }
    }
}

/// Whether a row has expired by this machine's clock.
fn has_expired(row: &FileRow) -> bool {
    let Content::Value {
        expires_ms: Some(at),
        ..
    } = row.content
    else {
        return false;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.is_ok_and(|now| u128::from(at) <= now.as_millis())
}

impl ReaderEnd {
    /// Tells the outcome, also of an import that ended early.
    fn report(
        mut self,
        args: &Import,
        format: Format,
        delivered: Delivered,
        ended: Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.refused.merge(delivered.refused);
        let (up_to, written) = (delivered.up_to, delivered.written);
        if ended.is_err() && up_to == 0 {
            return ended;
        }
        let present = delivered.present;
        let expired = self.expired + delivered.expired;
        let refused = self.refused.total();
        if args.server.json {
            let tables = self.tables.iter();
            let tables = tables.map(|(name, is_new)| json!({ "name": name, "new": is_new }));
            let mut report = json!({
                "format": word(format), "tables": tables.collect::<Vec<_>>(), "present": present,
                "expired": expired, "refused": refused, "reasons": self.refused.to_json(),
            });
            match args.dry_run {
                true => report["would_write"] = json!(self.would_write),
                false => report["written"] = json!(written),
            }
            print_line(&report.to_string())?;
        } else {
            let mut said = match args.dry_run {
                true => {
                    let (form, rows, tables) = (word(format), self.would_write, self.names());
                    format!("as {form}: {rows} rows would be written to {tables}")
                }
                false => format!("{written} rows written"),
            };
            said += &format!(", {refused} lines refused");
            for (count, what) in [(expired, "had expired"), (present, "were there already")] {
                if count > 0 {
                    said += &format!(", {count} rows {what}");
                }
            }
            print_line(&said)?;
            self.refused.to_lines().for_each(|line| eprintln!("{line}"));
        }
        let lines = format!("all lines up to {up_to} are done, and later ones may be");
        ended.map_err(|failure| failure.with(&lines))?;
        match refused {
            0 => Ok(()),
            _ => Err(Failure::Refused(format!("{refused} lines were refused"))),
        }
    }

    /// The tables as a sentence has them.
    fn names(&self) -> String {
        let named = self.tables.iter().take(NAMES);
        let mut names: Vec<String> = named
            .map(|(name, is_new)| match is_new {
                true => format!("a new table {name:?}"),
                false => format!("the table {name:?}"),
            })
            .collect();
        if self.tables.len() > NAMES {
            names.push(format!("{} more", self.tables.len() - NAMES));
        }
        match names.is_empty() {
            true => "no table".into(),
            false => names.join(", "),
        }
    }
}
