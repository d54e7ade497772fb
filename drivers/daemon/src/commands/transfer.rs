//! `import` and `export`.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::outfile::OutFile;
use crate::cli::{ExportFormat, Format, ServerArgs};
use crate::failure::Failure;
use crate::formats;
use crate::output::print_line;
use crate::resp::{Client, Reply};
use crate::table::{Row, Table};

/// Rows and bytes on their way at once.
const BATCH_ROWS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// A longer line is refused; nothing of it is kept.
const MAX_LINE: usize = 96 << 20;

/// How much of a file decides its form.
const BEGINNING: usize = 64 << 10;

/// How long a server may be busy.
const BUSY: Duration = Duration::from_secs(30);

/// Lines shown as examples of a reason.
const EXAMPLES: usize = 3;

/// Different reasons that are told apart; further ones are counted together.
const MAX_REASONS: usize = 32;

/// The lines that did not become rows: reason to how many, and the first of them.
#[derive(Default)]
struct Refused(BTreeMap<String, (u64, Vec<u64>)>);

impl Refused {
    fn add(&mut self, reason: &str, line: u64) {
        let is_new = !self.0.contains_key(reason);
        let reason = match is_new && self.0.len() >= MAX_REASONS {
            true => "other reasons",
            false => reason,
        };
        let (count, examples) = self.0.entry(reason.to_string()).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(line);
        }
    }

    fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }
}

/// Which rows are imported.
pub(crate) struct Source<'a> {
    /// The file; `-` for standard input.
    pub(crate) file: &'a Path,
    /// Its form, if it is given.
    pub(crate) format: Option<Format>,
    /// Whether rows are only counted.
    pub(crate) dry_run: bool,
}

pub(crate) fn import(table: &str, source: &Source<'_>, server: &ServerArgs) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let file = source.file;
    let (mut input, size) = open(file)?;
    let cannot_read =
        |error: io::Error| Failure::Usage(format!("cannot read {}: {error}", file.display()));
    let mut beginning = Vec::new();
    input
        .by_ref()
        .take(BEGINNING as u64)
        .read_to_end(&mut beginning)
        .map_err(cannot_read)?;
    let form = formats::detect(source.format, file, &beginning)
        .map_err(|foreign| Failure::Usage(format!("{}: line 1: {foreign}", file.display())))?;
    beginning.drain(..form.skip);
    let mut client = Client::connect(&server.addr)?;
    let is_there = table.exists(&mut client)?;
    if is_there && table.keeps_siblings(&mut client)? {
        let why = "SIBLINGS the table keeps siblings, which an import cannot write";
        return Err(Failure::Refused(why.into()));
    }
    let bar = progress(size, "{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
    let mut lines = BufReader::with_capacity(256 << 10, io::Cursor::new(beginning).chain(input));
    let mut import = Import::new(table, form.format, source.dry_run);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = read_line(&mut lines, &mut line).map_err(cannot_read)?;
        if read == 0 {
            break;
        }
        number += 1;
        bar.inc(read);
        match line.len() > MAX_LINE {
            true => import.refused.add("a line that is too long", number),
            false => import.take(&mut client, &line, number)?,
        }
    }
    import.send(&mut client)?;
    bar.finish_and_clear();
    import.report(is_there, server.json)
}

struct Import {
    table: Table,
    format: Format,
    dry_run: bool,
    written: u64,
    refused: Refused,
    batch: Vec<(u64, Row)>,
    /// The keys of the batch.
    keys: HashSet<Vec<u8>>,
    bytes: usize,
}

impl Import {
    fn new(table: Table, format: Format, dry_run: bool) -> Import {
        Import {
            table,
            format,
            dry_run,
            written: 0,
            refused: Refused::default(),
            batch: Vec::new(),
            keys: HashSet::new(),
            bytes: 0,
        }
    }

    fn take(&mut self, client: &mut Client, line: &[u8], number: u64) -> Result<(), Failure> {
        match formats::parse(self.format, line, number) {
            Ok(Some(_)) if self.dry_run => self.written += 1,
            Ok(Some(row)) => {
                // Rows of a batch may be sent again after later ones, and of two lines of a key the later one is to stay.
                if self.keys.contains(&row.0) {
                    self.send(client)?;
                }
                self.keys.insert(row.0.clone());
                self.bytes += row.0.len() + row.1.len();
                self.batch.push((number, row));
            }
            Ok(None) => (),
            Err(reason) => self.refused.add(&reason, number),
        }
        match self.batch.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            true => self.send(client),
            false => Ok(()),
        }
    }

    /// Sends the batch and reads its replies; rows that met a busy server are sent again.
    fn send(&mut self, client: &mut Client) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut batch = std::mem::take(&mut self.batch);
        self.keys.clear();
        self.bytes = 0;
        let mut pause = Duration::from_millis(5);
        while !batch.is_empty() {
            for (_, (key, value)) in &batch {
                client.send(&self.table.put(key, value))?;
            }
            client.flush()?;
            let mut again = Vec::new();
            for (number, row) in batch {
                match client.receive()? {
                    Reply::Error(text) if is_busy(&text) && begin.elapsed() < BUSY => {
                        again.push((number, row));
                    }
                    Reply::Error(text) => self.refused.add(&text, number),
                    _ => self.written += 1,
                }
            }
            batch = again;
            if !batch.is_empty() {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(500));
            }
        }
        Ok(())
    }

    fn report(self, is_there: bool, json: bool) -> Result<(), Failure> {
        let refused = self.refused.total();
        let (form, table) = (word(self.format), self.table.name());
        if json {
            let reasons: BTreeMap<_, _> = self
                .refused
                .0
                .iter()
                .map(|(reason, (count, lines))| (reason, json!({ "count": count, "lines": lines })))
                .collect();
            let written = match self.dry_run {
                true => "would_write",
                false => "written",
            };
            let mut report = json!({ "format": form, "refused": refused, "reasons": reasons });
            report[written] = json!(self.written);
            report["new_table"] = json!(!is_there);
            print_line(&report.to_string())?;
        } else {
            let rows = self.written;
            print_line(&match self.dry_run {
                false => format!("{rows} rows written, {refused} lines refused"),
                true if is_there => format!(
                    "as {form}: {rows} rows would be written to the table {table:?}, {refused} lines refused"
                ),
                true => format!(
                    "as {form}: {rows} rows would be written to a new table {table:?}, {refused} lines refused"
                ),
            })?;
            for (reason, (count, lines)) in &self.refused.0 {
                let lines: Vec<String> = lines.iter().map(u64::to_string).collect();
                eprintln!("  {count} x {reason} (line {})", lines.join(", "));
            }
        }
        match refused {
            0 => Ok(()),
            _ => Err(Failure::Refused(format!("{refused} lines were refused"))),
        }
    }
}

pub(crate) fn export(
    table: &str,
    file: &Path,
    format: Option<ExportFormat>,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let table = Table::new(table)?;
    let by_name = match file.extension().and_then(|name| name.to_str()) {
        Some("jsonl" | "ndjson" | "json") => ExportFormat::Jsonl,
        _ => ExportFormat::Tsv,
    };
    let format = format.unwrap_or(by_name);
    let mut client = Client::connect(&server.addr)?;
    table.must_exist(&mut client)?;
    let rows = (&mut client, &table, format);
    if file == Path::new("-") {
        return write_rows(rows, &ProgressBar::hidden(), &mut io::stdout().lock()).map(drop);
    }
    // Half a table is no export: the file stays as it was until all rows are written.
    let mut out = OutFile::open(file.to_path_buf())?;
    let bar = progress(None, "{spinner} {human_pos} rows {elapsed}");
    let rows = write_rows(rows, &bar, &mut out)?;
    out.keep()?;
    bar.finish_and_clear();
    match server.json {
        true => print_line(&json!({ "read": rows }).to_string()),
        false => print_line(&format!("{rows} rows read")),
    }
}

/// Writes all rows of a table, and says how many there are.
fn write_rows(
    (client, table, format): (&mut Client, &Table, ExportFormat),
    bar: &ProgressBar,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    let mut out = BufWriter::with_capacity(256 << 10, out);
    let mut rows = 0_u64;
    table.scan(client, "", |row| {
        if rows == 0 {
            let before = formats::before(format, &row);
            out.write_all(before).map_err(Failure::output)?;
        }
        rows += 1;
        bar.inc(1);
        out.write_all(&formats::write(format, &row))
            .map_err(Failure::output)
    })?;
    out.flush().map_err(Failure::output)?;
    Ok(rows)
}

fn open(file: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let opened = File::open(file).and_then(|open| Ok((open.metadata()?, open)));
    match opened {
        Ok((meta, _)) if meta.is_dir() => {
            Err(Failure::Usage(format!("{} is a directory", file.display())))
        }
        Ok((meta, open)) => Ok((Box::new(open), Some(meta.len()))),
        Err(error) => Err(Failure::Usage(format!(
            "cannot read {}: {error}",
            file.display()
        ))),
    }
}

/// Reads a line without its end and returns how many bytes it took. A line longer than the limit is read to its end, and
/// only one byte more than the limit is kept of it.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut read = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(read);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = &available[..end.unwrap_or(available.len())];
        let room = (MAX_LINE + 1).saturating_sub(line.len());
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        let used = piece.len() + usize::from(end.is_some());
        input.consume(used);
        read += used as u64;
        if end.is_some() {
            return Ok(read);
        }
    }
}

/// A form as the flag names it.
fn word(format: Format) -> String {
    let value = format.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_string())
}

fn is_busy(error: &str) -> bool {
    ["BUSY", "TRYAGAIN", "LOADING"]
        .iter()
        .any(|prefix| error.starts_with(prefix))
}

fn progress(size: Option<u64>, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = match size {
        Some(size) => ProgressBar::new(size),
        None => ProgressBar::new_spinner(),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::resp::read_reply;

    /// A server that is busy once; gives the values that it took, in order.
    fn busy_once(listener: TcpListener) -> Vec<Vec<u8>> {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut input = BufReader::new(stream.try_clone().expect("the same"));
        let (mut taken, mut busy) = (Vec::new(), true);
        while let Ok(Reply::Array(mut words)) = read_reply(&mut input, 0) {
            let answer: &[u8] = match std::mem::take(&mut busy) {
                true => b"-BUSY the store lags behind\r\n",
                false => {
                    let Some(Reply::Bulk(Some(value))) = words.pop() else {
                        panic!("no value");
                    };
                    taken.push(value);
                    b"+OK\r\n"
                }
            };
            stream.write_all(answer).expect("taken");
        }
        taken
    }

    #[test]
    fn an_export_that_breaks_off_leaves_the_file_as_it_was() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound").to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut input = BufReader::new(stream.try_clone().expect("the same"));
            read_reply(&mut input, 0).expect("a question for the table");
            stream.write_all(b"$2\r\n{}\r\n").expect("taken");
            read_reply(&mut input, 0).expect("a scan");
            let page = b"*2\r\n$1\r\n7\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n";
            stream.write_all(page).expect("taken");
            // Where the next page would come, the server is gone.
            read_reply(&mut input, 0).expect("another scan");
        });
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("rows.tsv");
        std::fs::write(&file, "old").expect("written");
        let args = ServerArgs { addr, json: false };
        let failed = export("t", &file, None, &args);
        assert!(matches!(failed, Err(Failure::Unreachable(_))), "{failed:?}");
        server.join().expect("it ends");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "old");
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 1);
    }

    #[test]
    fn of_two_lines_of_a_key_the_later_one_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound").to_string();
        let server = thread::spawn(move || busy_once(listener));
        let mut client = Client::connect(&addr).expect("it listens");
        let mut import = Import::new(Table::new("t").expect("a name"), Format::Tsv, false);
        for (number, line) in [b"k\t1", b"l\t2", b"k\t3"].into_iter().enumerate() {
            let taken = import.take(&mut client, line, number as u64);
            taken.expect("a row");
        }
        import.send(&mut client).expect("taken");
        assert_eq!(import.written, 3);
        drop(client);
        let taken = server.join().expect("it ends");
        assert_eq!(taken.last().map(Vec::as_slice), Some(&b"3"[..]));
        assert_eq!(taken.len(), 3);
    }
}
