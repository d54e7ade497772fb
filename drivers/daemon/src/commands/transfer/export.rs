//! `export`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{Conflict, Durability, Export, ExportFormat, of_word};
use crate::commands::http;
use crate::commands::listing::Pages;
use crate::commands::outfile::OutFile;
use crate::commands::progress;
use crate::failure::Failure;
use crate::formats::{self, Begin, Content, End, FileRow, Text};
use crate::output::print_line;
use crate::resp::Client;
use crate::table::{Table, document, unexpected};

/// Keys of a message are shown up to so many characters.
const SHOWN: usize = 40;

pub(crate) fn export(args: &Export) -> Result<(), Failure> {
    let to: Option<&Path> = args.out.as_deref().filter(|file| *file != Path::new("-"));
    let format = args.format.unwrap_or_else(|| by_name(to));
    if args.tables.all && format == ExportFormat::Tsv {
        let why = "tsv has no place for the names of tables: export all of them as jsonl";
        return Err(Failure::Usage(why.into()));
    }
    let mut client = Client::connect(&args.server.addr)?;
    let mut work = Work {
        tables: tables(&mut client, args.tables.table.as_deref())?,
        endpoint: http::endpoint(&mut client)?,
        format,
        bar: ProgressBar::hidden(),
    };
    let Some(file) = to else {
        return work.write(&mut io::stdout().lock()).map(drop);
    };
    // Half a table is no export: the file stays as it was until all rows are written.
    let mut out = OutFile::open(PathBuf::from(file))?;
    let total = work.tables.iter().map(|table| table.rows).sum();
    work.bar = progress::bar(total, "{wide_bar} {human_pos}/{human_len} rows  {eta} left");
    let rows = work.write(&mut out)?;
    out.keep()?;
    work.bar.finish_and_clear();
    match args.server.json {
        true => print_line(&json!({ "read": rows }).to_string()),
        false => print_line(&format!("{rows} rows read")),
    }
}

/// The form that the name of a file tells.
fn by_name(file: Option<&Path>) -> ExportFormat {
    match file.and_then(|file| file.extension()?.to_str()) {
        Some("tsv" | "tab") => ExportFormat::Tsv,
        _ => ExportFormat::Jsonl,
    }
}

/// A table to be exported.
struct Exported {
    table: Table,
    begin: Begin,
    /// Its rows when the export began, if the node counts them.
    rows: Option<u64>,
}

/// The table of this name, or all of users in the order of their names.
fn tables(client: &mut Client, name: Option<&str>) -> Result<Vec<Exported>, Failure> {
    if let Some(name) = name {
        let table = Table::new(name)?;
        table.must_exist(client)?;
        let info = table.info(client)?;
        return Ok(vec![exported(table, &info)?]);
    }
    let document = document(client, "TABLES")?;
    let all = document["tables"].as_array().ok_or_else(unexpected)?;
    let of_users = all.iter().filter(|table| table["namespace"] == "usr");
    let exported = of_users.map(|info| {
        let name = info["name"].as_str().ok_or_else(unexpected)?;
        exported(Table::new(name)?, info)
    });
    exported.collect()
}

/// A table as the node describes it. One that it does not know, `default`, has the default options.
fn exported(table: Table, info: &Value) -> Result<Exported, Failure> {
    let word = |name: &str, default: &'static str| match info {
        Value::Null => default.to_string(),
        info => info[name].as_str().unwrap_or("").to_string(),
    };
    let begin = Begin {
        table: table.name().to_string(),
        conflict: of_word::<Conflict>(&word("conflict", "last_writer_wins"))
            .ok_or_else(unexpected)?,
        durability: of_word::<Durability>(&word("durability", "periodic"))
            .ok_or_else(unexpected)?,
    };
    Ok(Exported {
        table,
        begin,
        rows: info["rows"].as_u64(),
    })
}

struct Work {
    tables: Vec<Exported>,
    endpoint: String,
    format: ExportFormat,
    bar: ProgressBar,
}

impl Work {
    /// Writes all tables, and returns how many rows they have.
    fn write(&self, out: &mut impl Write) -> Result<u64, Failure> {
        let mut out = BufWriter::with_capacity(256 << 10, out);
        let mut rows = 0;
        for exported in &self.tables {
            rows += match self.format {
                ExportFormat::Jsonl => self.write_whole(exported, &mut out)?,
                ExportFormat::Tsv => self.write_plain(exported, &mut out)?,
            };
        }
        out.flush().map_err(Failure::output)?;
        Ok(rows)
    }

    /// Writes a table with everything that an import can bring back.
    fn write_whole(&self, exported: &Exported, out: &mut impl Write) -> Result<u64, Failure> {
        formats::write_begin(&exported.begin, out).map_err(Failure::output)?;
        let rows = self.each_row(exported, |row| {
            formats::write_row(&row, out).map_err(Failure::output)
        })?;
        let table = exported.begin.table.clone();
        formats::write_end(&End { table, rows }, out).map_err(Failure::output)?;
        Ok(rows)
    }

    /// Writes a table of keys and values.
    fn write_plain(&self, exported: &Exported, out: &mut impl Write) -> Result<u64, Failure> {
        let mut is_first = true;
        self.each_row(exported, |row| {
            let row = plain(row)?;
            if std::mem::take(&mut is_first) {
                let before = formats::before(self.format, &row);
                out.write_all(before).map_err(Failure::output)?;
            }
            let line = formats::write(self.format, &row);
            out.write_all(&line).map_err(Failure::output)
        })
    }

    /// Calls `each` with every row once, in the order of the keys, and returns how many there were.
    fn each_row(
        &self,
        exported: &Exported,
        mut each: impl FnMut(FileRow) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let mut pages = Pages::new(&self.endpoint, &exported.table, "");
        let mut last: Vec<u8> = Vec::new();
        let mut rows = 0;
        while let Some(page) = pages.next_page::<Listed>()? {
            for listed in page {
                // A listing may go back to earlier rows when the row that it came to was deleted. No key is empty.
                if listed.key.0 <= last {
                    continue;
                }
                last.clone_from(&listed.key.0);
                each(listed.row()?)?;
                rows += 1;
                self.bar.inc(1);
            }
        }
        if let Some(phase) = pages.phase() {
            let name = exported.table.name();
            eprintln!(
                "rumormill: the node is {phase}: it may lack rows of {name:?} that exist, or have some that are deleted"
            );
        }
        Ok(rows)
    }
}

/// A row as a listing has it.
#[derive(Deserialize)]
struct Listed {
    key: Text,
    value: Option<Text>,
    expires_ms: Option<u64>,
    siblings: Option<Vec<Sibling>>,
}

#[derive(Deserialize)]
struct Sibling {
    value: Text,
}

impl Listed {
    fn row(self) -> Result<FileRow, Failure> {
        let Text(key) = self.key;
        let content = match (self.value, self.siblings) {
            (Some(Text(value)), None) => Content::Value {
                value,
                expires_ms: self.expires_ms,
            },
            (None, Some(siblings)) => {
                Content::Siblings(siblings.into_iter().map(|one| one.value.0).collect())
            }
            _ => return Err(unexpected()),
        };
        Ok(FileRow { key, content })
    }
}

/// A row as a key and a value alone.
///
/// # Errors
/// Something of it would be lost.
fn plain(row: FileRow) -> Result<crate::table::Row, Failure> {
    let lost = match row.content {
        Content::Value {
            value,
            expires_ms: None,
        } => return Ok((row.key, value)),
        Content::Value { .. } => "expires",
        Content::Siblings(siblings) => match <[Vec<u8>; 1]>::try_from(siblings) {
            Ok([value]) => return Ok((row.key, value)),
            Err(_) => "has several values",
        },
    };
    let key = String::from_utf8_lossy(&row.key);
    let key: String = key.chars().take(SHOWN).collect();
    let why = format!("the row {key:?} {lost}, which tsv has no place for: export jsonl");
    Err(Failure::Usage(why))
}
