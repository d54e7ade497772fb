//! Reads fjall's journals. fjall takes a damaged batch for the torn end of a journal and cuts off all that follows, so journals are
//! read here before it opens them.
//!
//! ```text
//! start    1 u8, items u32, sequence u64
//! item     2 u8, kind u8, compression u8, keyspace u64, key length u16, value length u32, stored length u32; key; stored value
//! clear    4 u8, keyspace u64
//! end      3 u8, XXH3 of the items u64, "FJL" 3 u8
//! ```

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::key;

const MAGIC: &[u8] = b"FJL\x03";
/// By how much a batch's sequence may exceed the one before its commit: background threads take some.
const SLACK: u64 = 1 << 20;

/// A batch that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Where it is in its file.
    pub(crate) place: Range<usize>,
    sequence: u64,
    number: Option<Number>,
}

/// The note that every batch of this store has about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// Which batch of this store it is, from 1 on.
    pub(crate) batch: u64,
    /// fjall's sequence before the commit: its own checksum leaves the sequence out.
    pub(crate) floor: u64,
}

impl Number {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.batch.to_le_bytes());
        bytes[8..].copy_from_slice(&self.floor.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Number> {
        let (batch, floor) = bytes.split_first_chunk::<8>()?;
        Some(Number {
            batch: u64::from_le_bytes(*batch),
            floor: u64::from_le_bytes(floor.try_into().ok()?),
        })
    }
}

/// The journals of a database, read.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    /// Each journal with the batches that are whole, in order.
    pub(crate) files: Vec<(PathBuf, Vec<Batch>)>,
    /// Journals with a batch that is not whole, although others follow it, or that is out of order.
    pub(crate) damaged: Vec<(PathBuf, String)>,
    /// The last journal, where bytes follow the last batch that are none: a batch that a crash has cut, or damage.
    pub(crate) torn: Option<(PathBuf, String)>,
    /// The number of the last batch before what is torn, or as the first one behind it tells.
    pub(crate) last: Option<u64>,
}

impl Journals {
    /// Reads the journals of a database.
    pub(crate) fn read(db: &Path) -> io::Result<Journals> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(db)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_suffix(".jnl"));
            if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
                paths.push((number, path));
            }
        }
        paths.sort_unstable();
        let mut all = Journals::default();
        let mut sequence = None;
        let count = paths.len();
        for (at, (_, path)) in paths.into_iter().enumerate() {
            let bytes = fs::read(&path)?;
            let batches = all.read_one(&path, &bytes, &mut sequence, at + 1 == count);
            all.files.push((path, batches));
        }
        Ok(all)
    }

    fn read_one(
        &mut self,
        path: &Path,
        bytes: &[u8],
        sequence: &mut Option<u64>,
        is_last: bool,
    ) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            match batch(bytes, at) {
                Some(found) => {
                    at = found.place.end;
                    if let Some(why) = self.out_of_order(&found, *sequence) {
                        self.damaged.push((path.into(), why));
                    } else {
                        *sequence = Some(found.sequence);
                        batches.push(found);
                    }
                }
                None if is_empty(rest(bytes, at)) => break,
                None => {
                    let why = format!("no whole batch at byte {at}");
                    let next = (at + 1..bytes.len()).find(|next| batch(bytes, *next).is_some());
                    match is_last && self.torn.is_none() {
                        true => self.torn = Some((path.into(), why)),
                        false => self.damaged.push((path.into(), why)),
                    }
                    match next {
                        Some(next) => at = next,
                        None => break,
                    }
                }
            }
        }
        batches
    }

    /// Why a batch is not the one that follows. Batches behind what is torn may have lost those before them.
    fn out_of_order(&mut self, found: &Batch, sequence: Option<u64>) -> Option<String> {
        let at = found.place.start;
        if sequence.is_some_and(|last| found.sequence <= last) {
            return Some(format!("the batch at byte {at} is out of order"));
        }
        let number = found.number?;
        let over = found.sequence.checked_sub(number.floor);
        if over.is_none_or(|over| over > SLACK) {
            return Some(format!("the batch at byte {at} has a wrong sequence"));
        }
        if self.torn.is_some() {
            // The one before it is cut or damaged.
            let before = number.batch.saturating_sub(2);
            self.last.get_or_insert(before);
            return None;
        }
        let last = self.last.replace(number.batch);
        (self.damaged.is_empty() && last.is_some_and(|last| number.batch != last + 1))
            .then(|| format!("batches are missing before byte {at}"))
    }
}

/// Whether nothing was written here: fjall makes a journal in its full size, with zeros.
fn is_empty(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 1 << 12] = [0; 1 << 12];
    let mut chunks = bytes.chunks(ZEROS.len());
    chunks.all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

fn rest(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// Reads a batch, if a whole one is there.
fn batch(bytes: &[u8], start: usize) -> Option<Batch> {
    let mut reader = Reader { bytes, at: start };
    if reader.u8()? != 1 {
        return None;
    }
    let (items, sequence) = (reader.u32()?, reader.u64()?);
    let content = reader.at;
    let mut number = None;
    for _ in 0..items {
        match reader.u8()? {
            2 => number = reader.item()?.or(number),
            4 => drop(reader.u64()?),
            _ => return None,
        }
    }
    let sum = xxh3_64(bytes.get(content..reader.at)?);
    let whole = reader.u8()? == 3 && reader.u64()? == sum && reader.take(4)? == MAGIC;
    whole.then_some(Batch {
        place: start..reader.at,
        sequence,
        number,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads an item behind its tag: the number in it, if it is the one that has it.
    fn item(&mut self) -> Option<Option<Number>> {
        let _kind = self.take(2)?;
        let _keyspace = self.u64()?;
        let (key, _len, stored) = (self.u16()?, self.u32()?, self.u32()?);
        let key = self.take(usize::from(key))?;
        let value = self.take(usize::try_from(stored).ok()?)?;
        let numbered = (key == key::NUMBER).then(|| Number::from_bytes(value));
        Some(numbered.flatten())
    }
}
