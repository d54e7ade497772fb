//! The lines of a file: bounded in length, and in a form that is known.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::cli::Format;
use crate::failure::Failure;
use crate::formats;

/// A longer line is refused; nothing of it is kept. A key and a value of the hard limits are shorter, though JSON may write six bytes for
/// one of theirs.
pub(super) const MAX_LINE: usize = 224 << 20;

/// How much of a file decides its form.
const BEGINNING: usize = 64 << 10;

/// The lines of a file that are left to read.
pub(super) struct Lines {
    file: PathBuf,
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    /// The file's form.
    pub(super) format: Format,
    /// Its bytes, if that is known.
    pub(super) size: Option<u64>,
}

/// A line without its end.
pub(super) struct Line<'a> {
    /// Its bytes; `None` when there are too many.
    pub(super) bytes: Option<&'a [u8]>,
    /// Its number, from 1.
    pub(super) number: u64,
    /// How many bytes it took, its end included.
    pub(super) read: u64,
}

impl Lines {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// It cannot be read, or is of a form that is not known.
    pub(super) fn open(file: &Path, format: Option<Format>) -> Result<Lines, Failure> {
        let (mut input, size) = open(file)?;
        let mut beginning = Vec::new();
        input
            .by_ref()
            .take(BEGINNING as u64)
            .read_to_end(&mut beginning)
            .map_err(|error| cannot_read(file, &error))?;
        let form = formats::detect(format, file, &beginning)
            .map_err(|foreign| Failure::Usage(format!("{}: line 1: {foreign}", file.display())))?;
        beginning.drain(..form.skip);
        let all = io::Cursor::new(beginning).chain(input);
        Ok(Lines {
            file: file.to_path_buf(),
            input: Box::new(BufReader::with_capacity(256 << 10, all)),
            line: Vec::new(),
            number: 0,
            format: form.format,
            size,
        })
    }

    /// The next line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, Failure> {
        self.line.clear();
        let read = read_line(&mut self.input, &mut self.line)
            .map_err(|error| cannot_read(&self.file, &error))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let bytes = (self.line.len() <= MAX_LINE).then_some(self.line.as_slice());
        Ok(Some(Line {
            bytes,
            number: self.number,
            read,
        }))
    }

    /// The number of the last line.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

fn cannot_read(file: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {error}", file.display()))
}

fn open(file: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    match File::open(file).and_then(|open| Ok((open.metadata()?, open))) {
        Ok((meta, _)) if meta.is_dir() => {
            Err(Failure::Usage(format!("{} is a directory", file.display())))
        }
        Ok((meta, open)) => Ok((Box::new(open), Some(meta.len()))),
        Err(error) => Err(cannot_read(file, &error)),
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
