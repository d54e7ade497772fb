//! Reads all log files at a start and says where the log ends, or which parts of it are damaged.

use std::fs;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{self, HEADER, Header, RECORD};
use super::{Index, Place, name};
use crate::error::Damage;
use crate::rules::Rules;

/// How to judge a record that is not whole although others follow it, if nothing proves that it was ever synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It is damage.
    Damage,
    /// It is the end: a power cut may write unsynced pages in any order.
    Cut,
}

/// A log file, read.
#[derive(Debug)]
pub(crate) struct ScannedFile {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// The places of the operations of each whole record, in order.
    pub(crate) records: Vec<Range<usize>>,
    pub(crate) index: Index,
    /// The end of its last record that is whole, and the seq of that.
    pub(crate) end: usize,
    pub(crate) last: u64,
}

impl ScannedFile {
    /// Returns the place of the first record with a seq above this one.
    pub(crate) fn first_after(&self, seq: u64) -> Option<usize> {
        let before = (seq + 1).saturating_sub(self.header.first);
        let first = self.records.get(usize::try_from(before).ok()?)?;
        Some(first.start - RECORD)
    }
}

/// Bytes at the end of the log that are cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The file, by its number, and the place from which on it is cut.
    pub(crate) number: u64,
    pub(crate) at: u64,
    /// The bytes up to the last one that is not zero.
    pub(crate) bytes: u64,
    /// Whether whole records are among them.
    pub(crate) behind: bool,
}

/// A place without a whole record where one should be.
#[derive(Clone, Debug)]
struct Bad {
    file: usize,
    at: usize,
    /// The seq that the record there would have.
    seq: u64,
    /// Whether a record is whole behind it.
    behind: bool,
}

/// The log of a store, read.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) files: Vec<ScannedFile>,
    /// Damaged parts.
    pub(crate) found: Vec<Damage>,
    pub(crate) tail: Option<Tail>,
    /// The seq of the first record in the log, and of the last before its end.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The highest seq that a record says was synced.
    durable: u64,
    bad: Vec<Bad>,
    rules: Rules,
}

/// Reads the log in a directory, of which records up to `synced` are known to have been synced.
///
/// # Errors
///
/// The system's.
pub(crate) fn scan(dir: &Path, synced: u64, policy: Policy, rules: Rules) -> io::Result<Scanned> {
    let numbers = numbers(dir)?.into_iter();
    let files = numbers.map(|number| (number, name(dir, number))).collect();
    scan_files(files, synced, policy, rules)
}

/// Reads log files, in the order of their numbers, wherever they lie.
///
/// # Errors
///
/// The system's.
pub(crate) fn scan_files(
    files: Vec<(u64, PathBuf)>,
    synced: u64,
    policy: Policy,
    rules: Rules,
) -> io::Result<Scanned> {
    let mut scanned = Scanned {
        rules,
        ..Scanned::default()
    };
    if files.is_empty() {
        scanned.say("log", "it is missing");
    }
    let mut next: Option<u64> = None;
    for (number, path) in files {
        if let Some(missing) = next.filter(|next| *next < number) {
            scanned.say(&format!("log/{missing}.log"), "it is missing");
        }
        next = Some(number + 1);
        scanned.read(path, number)?;
    }
    scanned.judge(synced, policy)?;
    Ok(scanned)
}

/// Finds the version of a log that is of another one than this program reads.
///
/// # Errors
///
/// The system's.
pub(crate) fn other_version(dir: &Path) -> io::Result<Option<u32>> {
    for number in numbers(dir)? {
        let mut header = Vec::new();
        let file = fs::File::open(name(dir, number))?;
        file.take(HEADER as u64).read_to_end(&mut header)?;
        let other = Header::version(&header).filter(|found| *found != format::VERSION);
        if other.is_some() {
            return Ok(other);
        }
    }
    Ok(None)
}

/// The numbers of the log files, in order.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let number = file.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Scanned {
    fn say(&mut self, file: &str, why: &str) {
        self.found.push(Damage {
            file: format!("db/{file}"),
            why: why.into(),
        });
    }

    fn read(&mut self, path: PathBuf, number: u64) -> io::Result<()> {
        let bytes = fs::read(&path)?;
        let file = format!("log/{number}.log");
        let header = Header::from_bytes(&bytes);
        let Some((header, whole)) = header.filter(|(header, _)| header.number == number) else {
            self.say(&file, "its header is damaged");
            return Ok(());
        };
        if !whole {
            self.say(&file, "its header is damaged");
        }
        let expected = match self.files.last() {
            Some(before) => before.last + 1,
            None => header.first,
        };
        // A file before it that is damaged at its end has told already.
        let told = self
            .bad
            .last()
            .is_some_and(|bad| bad.file + 1 == self.files.len());
        if header.first != expected && !told && self.found.is_empty() {
            self.say(&file, "records before it are missing");
        }
        let mut walk = Walk::new(&bytes, header, self.rules);
        walk.run();
        let at = self.files.len();
        if !walk.records.is_empty() {
            self.bad.iter_mut().for_each(|bad| bad.behind = true);
        }
        self.bad
            .extend(walk.bad.into_iter().map(|bad| Bad { file: at, ..bad }));
        // A file is synced before the next one is made.
        let before = header.first.saturating_sub(1);
        self.durable = self.durable.max(walk.durable).max(before);
        self.files.push(ScannedFile {
            path,
            header,
            records: walk.records,
            index: walk.index,
            end: walk.end,
            last: walk.last,
        });
        Ok(())
    }

    fn judge(&mut self, synced: u64, policy: Policy) -> io::Result<()> {
        self.first = self.files.first().map_or(1, |file| file.header.first);
        self.last = self.files.last().map_or(0, |file| file.last);
        let known = synced.max(self.durable);
        let Some(bad) = self.bad.first().cloned() else {
            self.miss(known);
            return Ok(());
        };
        // Bytes behind the records of a file that another follows are damage, though no record was there.
        let is_last = bad.file + 1 == self.files.len();
        let is_proven = bad.seq <= known && self.rules.keeps_proven();
        let is_unproven = !is_proven && is_last && self.found.is_empty();
        let is_behind = bad.behind && self.rules.tells_behind();
        if is_unproven && (!is_behind || policy == Policy::Cut) {
            return self.cut(&bad);
        }
        for bad in std::mem::take(&mut self.bad) {
            let number = self
                .files
                .get(bad.file)
                .map_or(0, |file| file.header.number);
            let why = format!("no whole record at byte {}", bad.at);
            self.say(&format!("log/{number}.log"), &why);
        }
        Ok(())
    }

    /// Notices a log that ends early, without a trace of what is missing.
    fn miss(&mut self, known: u64) {
        if self.last < known && self.found.is_empty() && self.rules.tells_missing() {
            let lost = known - self.last;
            self.say(
                "log",
                &format!("{lost} batches that were synced are missing at the end"),
            );
        }
    }

    /// Ends the log at a place in its last file.
    fn cut(&mut self, bad: &Bad) -> io::Result<()> {
        let Some(file) = self.files.last_mut() else {
            return Ok(());
        };
        // The index has records behind the place as well.
        let bytes = fs::read(&file.path)?;
        let mut walk = Walk::new(
            bytes.get(..bad.at).unwrap_or_default(),
            file.header,
            self.rules,
        );
        walk.run();
        (file.records, file.index) = (walk.records, walk.index);
        (file.end, file.last) = (walk.end, walk.last);
        self.last = file.last;
        let used = bytes.iter().rposition(|byte| *byte != 0);
        let used = used.map_or(0, |last| last as u64 + 1);
        self.tail = Some(Tail {
            number: file.header.number,
            at: bad.at as u64,
            bytes: used.saturating_sub(bad.at as u64),
            behind: bad.behind,
        });
        Ok(())
    }
}

/// The way through one file.
struct Walk<'a> {
    bytes: &'a [u8],
    header: Header,
    records: Vec<Range<usize>>,
    index: Index,
    bad: Vec<Bad>,
    durable: u64,
    end: usize,
    last: u64,
    rules: Rules,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], header: Header, rules: Rules) -> Walk<'a> {
        Walk {
            bytes,
            header,
            records: Vec::new(),
            index: Index::default(),
            bad: Vec::new(),
            durable: 0,
            end: HEADER,
            last: header.first.saturating_sub(1),
            rules,
        }
    }

    fn run(&mut self) {
        let mut at = HEADER;
        while at < self.bytes.len() {
            let next = self.last.saturating_add(1);
            let found = self.record(at, &(next..next.saturating_add(1)));
            if let Some(end) = found
                .filter(|record| record.whole || !self.rules.checks_records())
                .and_then(|record| self.take(record))
            {
                at = end;
                continue;
            }
            if is_zero(self.bytes.get(at..).unwrap_or_default()) {
                return;
            }
            let behind = self.search(at, next);
            self.bad.push(Bad {
                file: 0,
                at,
                seq: next,
                behind: behind.is_some(),
            });
            let Some((found, seq)) = behind else {
                return;
            };
            at = found;
            self.last = seq.saturating_sub(1);
        }
    }

    fn record(&mut self, at: usize, seqs: &Range<u64>) -> Option<format::Record> {
        let found = format::record(self.bytes, at, seqs, self.header.salt)?;
        self.durable = self.durable.max(found.durable);
        Some(found)
    }

    /// Takes in a record that is whole; nothing if its operations are of no known form.
    fn take(&mut self, record: format::Record) -> Option<usize> {
        let salt = self.header.salt;
        for op in format::ops(self.bytes, record.ops.clone(), salt) {
            let (at, op) = op?;
            let place = Place {
                at: u32::try_from(at).ok()?,
                len: u32::try_from(op.len).ok()?,
            };
            match op.until {
                None => self.index.insert(Index::hash(op.key, salt), place),
                Some(until) => self.index.insert_range(super::index::Range {
                    from: Bytes::copy_from_slice(op.key),
                    until: Bytes::copy_from_slice(until),
                    at: place.at,
                }),
            }
        }
        self.last = record.seq;
        self.end = record.ops.end;
        self.records.push(record.ops);
        Some(self.end)
    }

    /// Finds the next record that is whole behind a place that has none, and its seq. The fields of a record are checked by the salt of the
    /// file, so that its operations are only read where a record was written.
    fn search(&mut self, bad: usize, next: u64) -> Option<(usize, u64)> {
        // As many as fit into what is left.
        let most = (self.bytes.len() - bad) / RECORD + 1;
        let seqs = next..next.saturating_add(most as u64);
        for at in bad..self.bytes.len() {
            if let Some(found) = self.record(at, &seqs).filter(|found| found.whole)
                && (at > bad || found.seq > next)
            {
                return Some((at, found.seq));
            }
        }
        None
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 1 << 12] = [0; 1 << 12];
    let mut chunks = bytes.chunks(ZEROS.len());
    chunks.all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}
