//! The commands that move rows between tables and files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ServerArgs;

/// Write the rows of a file into tables
#[derive(Debug, Args)]
#[command(long_about = IMPORT)]
pub(crate) struct Import {
    /// The file; `-` for standard input
    pub(crate) file: PathBuf,
    /// The table; without it the file says which. The rows of a file of one table can go to another
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// The file's form; without it the end of its name decides, or its first 64 KiB
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write nothing: say what would be written, and what would be refused
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Write the rows of one table or of all into a file
#[derive(Debug, Args)]
#[command(long_about = EXPORT)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) tables: Exported,
    /// The file, which stays as it is until all rows are written; `-`, or none, for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The file's form; tsv if its name ends so, else jsonl
    #[arg(long, value_enum)]
    pub(crate) format: Option<ExportFormat>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The tables that are exported.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Exported {
    /// The table
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// All tables of users, one after the other
    #[arg(long)]
    pub(crate) all: bool,
}

/// How a file holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// KEY, tab, VALUE; `\t`, `\n`, `\r` and `\\` stand for what they mean
    Tsv,
    /// {"key":...,"value":...} on each line, and what an export writes beside; {"base64":...} for bytes that are no UTF-8
    Jsonl,
    /// The line is the key, its number the value
    Lines,
}

/// How an export holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// KEY, tab, VALUE; `\t`, `\n`, `\r` and `\\` are written for what they mean. One table, and no row that expires or has several values
    Tsv,
    /// Everything that an import can bring back
    Jsonl,
}

const IMPORT: &str = "\
Write the rows of a file into tables.

  jsonl   {\"key\":\"a\",\"value\":\"1\"} on each line, with \"expires_ms\" (since the Unix epoch) or,
          instead of the value, \"siblings\":[...]; bytes that are no text as {\"base64\":\"...\"}. A
          field more, a field twice or one too few is refused. An export has a line before and
          after the rows of each table: the table is created with the options in the first
  tsv     a key, a tab and a value on each line; tab, line feed, carriage return and backslash are
          written \\t \\n \\r \\\\
  lines   each line of plain UTF-8 text is a key, and its value the number of the line

Without --format the end of the name decides (.jsonl .ndjson .json .tsv .tab), and else the first
64 KiB: a first line that begins with { is jsonl, a tab means tsv, other plain text is lines. A byte
order mark is left out, empty lines are skipped. Files that are compressed, UTF-16, a JSON array,
CSV or markup are refused before anything is written.

A row that is written wins over the one that is there. In a table that keeps siblings those that a
key lacks are written beside all others, so that the same import again changes nothing. A row that
has expired is counted and left out.

A line that is refused is counted under its reason, with the numbers of the first ones, and the
others are written: --dry-run tells before. An import that ends early says up to which line all is
done. Exit code 2 for a file that is refused as a whole, 3 when any line was, or when the file ends
before a table does.";

const EXPORT: &str = "\
Write the rows of one table or of all into a file.

As jsonl it has everything that an import can bring back: keys and values byte for byte, expiries,
all siblings, and for each table a first line with its rule and durability and a last line with the
number of its rows. Rows are in the order of their keys, so that exports of equal tables are equal.

Rows are read page by page while the node goes on: one that is written or deleted meanwhile may be
in the file or not, and all others are. A checkpoint has everything as of one moment.

A table that does not exist leaves the file as it is, exit code 1.";
