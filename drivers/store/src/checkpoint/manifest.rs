//! The bytes of a checkpoint's manifest. All numbers are little endian.
//!
//! ```text
//! manifest  "RUMORCKP", version u32, 0 u32, length of the body u64; body; XXH3-128 of all before it u128
//! body      watermark u64, wall clock in ms u64, cluster id u64, node id u64, cluster name text, node name text, count u32; files
//! file      kind u8, number u64, length u64, XXH3-128 of its bytes u128; what it holds
//! holds     kind 0 (the tree's `current`): nothing; 1 (version): tables u32; 2 (table): rows u64, first text, last text;
//!           3 (log): first batch u64, last batch u64
//! text      length u32; UTF-8
//! ```
//!
//! A file lies under its checksum in `files`; its kind and number say where it belongs in a database, so that no name from outside is followed.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use rumormill_core::store::Whose;
use rumormill_core::{ClusterId, NodeId};
use xxhash_rust::xxh3::xxh3_128;

const MAGIC: &[u8; 8] = b"RUMORCKP";
const VERSION: u32 = 1;
/// The bytes before the body.
const HEAD: usize = 24;
const SUM: usize = 16;
/// The longest text that is kept, in bytes.
const TEXT: usize = 1_024;

/// A file's part in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The pointer to the tree's version.
    Current,
    /// A version of the tree: the list of its tables.
    Version(u64),
    Table(u64),
    Log(u64),
}

impl Part {
    /// Returns where the file lies in a database.
    pub(crate) fn path(self) -> PathBuf {
        match self {
            Part::Current => "tree/current".into(),
            Part::Version(id) => format!("tree/v{id}").into(),
            Part::Table(id) => format!("tree/tables/{id}").into(),
            Part::Log(number) => format!("log/{number}.log").into(),
        }
    }
}

/// The content of a file, in words that an operator understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Current,
    Version {
        tables: u32,
    },
    Table {
        rows: u64,
        first: String,
        last: String,
    },
    Log {
        first: u64,
        last: u64,
    },
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) part: Part,
    pub(crate) len: u64,
    pub(crate) sum: u128,
    pub(crate) holds: Holds,
}

impl Entry {
    /// Returns the file's path below the checkpoint's directory.
    pub(crate) fn file(&self) -> PathBuf {
        Path::new(FILES).join(name(self.sum))
    }
}

/// The file's part and what it held.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.part.path();
        write!(f, "db/{}: {}", path.display(), self.holds)
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holds::Current => write!(f, "the pointer to the list of tables"),
            Holds::Version { tables: 1 } => write!(f, "the list of 1 table"),
            Holds::Version { tables } => write!(f, "the list of {tables} tables"),
            Holds::Table { rows, first, last } => {
                write!(f, "{rows} rows and deletes, from {first} to {last}")
            }
            Holds::Log { first, last } if last < first => write!(f, "no batch yet"),
            Holds::Log { first, last } => write!(f, "batches {first} to {last}"),
        }
    }
}

/// The directory of the files, below that of the checkpoint.
pub(crate) const FILES: &str = "files";
/// The file with the manifest.
pub(crate) const MANIFEST: &str = "manifest";

/// The name of a file with this checksum.
pub(crate) fn name(sum: u128) -> String {
    format!("{sum:032x}")
}

/// The list of a checkpoint's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The seq of the last batch that it holds.
    pub(crate) watermark: u64,
    pub(crate) wall_ms: u64,
    pub(crate) whose: Whose,
    /// The node's name.
    pub(crate) name: String,
    pub(crate) files: Vec<Entry>,
}

impl Manifest {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 12]);
        for number in [
            self.watermark,
            self.wall_ms,
            self.whose.cluster.0,
            self.whose.node.0,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_text(&mut out, &self.whose.cluster_name);
        put_text(&mut out, &self.name);
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        for entry in &self.files {
            put_entry(&mut out, entry);
        }
        let len = (out.len() - HEAD) as u64;
        if let Some(place) = out.get_mut(16..HEAD) {
            place.copy_from_slice(&len.to_le_bytes());
        }
        let sum = xxh3_128(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Returns the names of its files, below the directory of files.
    pub(crate) fn names(&self) -> HashSet<String> {
        self.files.iter().map(|entry| name(entry.sum)).collect()
    }

    /// Reads a manifest, or says what is wrong with it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Manifest, &'static str> {
        let (content, sum) = bytes
            .split_last_chunk::<SUM>()
            .ok_or("it is cut off at its end")?;
        if xxh3_128(content).to_le_bytes() != *sum {
            return Err("its checksum is wrong");
        }
        let mut at = In(content);
        let is_ours = at.take(8) == Some(MAGIC);
        let version = at.u32().filter(|_| is_ours).ok_or("it is no manifest")?;
        if version != VERSION {
            return Err("it was made by a later program");
        }
        manifest(&mut at).ok_or("an unknown form")
    }
}

fn manifest(at: &mut In<'_>) -> Option<Manifest> {
    at.u32()?;
    let len = at.u64()?;
    if len != at.0.len() as u64 {
        return None;
    }
    let (watermark, wall_ms) = (at.u64()?, at.u64()?);
    let (cluster, node) = (ClusterId(at.u64()?), NodeId(at.u64()?));
    let (cluster_name, name) = (at.text()?, at.text()?);
    let (mut files, mut parts) = (Vec::new(), HashSet::new());
    for _ in 0..at.u32()? {
        let entry = entry(at)?;
        // A place in a database has one file, and a log file is read whole: its places have 32 bits.
        let is_long = matches!(entry.part, Part::Log(_)) && entry.len > u64::from(u32::MAX);
        if is_long || !parts.insert(entry.part.path()) {
            return None;
        }
        files.push(entry);
    }
    at.0.is_empty().then_some(Manifest {
        watermark,
        wall_ms,
        whose: Whose {
            cluster_name,
            cluster,
            node,
        },
        name,
        files,
    })
}

fn entry(at: &mut In<'_>) -> Option<Entry> {
    let kind = at.u8()?;
    let (number, len, sum) = (at.u64()?, at.u64()?, at.u128()?);
    let (part, holds) = match kind {
        0 => (Part::Current, Holds::Current),
        1 => {
            let tables = at.u32()?;
            (Part::Version(number), Holds::Version { tables })
        }
        2 => {
            let (rows, first, last) = (at.u64()?, at.text()?, at.text()?);
            (Part::Table(number), Holds::Table { rows, first, last })
        }
        3 => {
            let (first, last) = (at.u64()?, at.u64()?);
            (Part::Log(number), Holds::Log { first, last })
        }
        _ => return None,
    };
    Some(Entry {
        part,
        len,
        sum,
        holds,
    })
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let (kind, number) = match entry.part {
        Part::Current => (0, 0),
        Part::Version(id) => (1, id),
        Part::Table(id) => (2, id),
        Part::Log(number) => (3, number),
    };
    out.push(kind);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&entry.len.to_le_bytes());
    out.extend_from_slice(&entry.sum.to_le_bytes());
    match &entry.holds {
        Holds::Current => {}
        Holds::Version { tables } => out.extend_from_slice(&tables.to_le_bytes()),
        Holds::Table { rows, first, last } => {
            out.extend_from_slice(&rows.to_le_bytes());
            put_text(out, first);
            put_text(out, last);
        }
        Holds::Log { first, last } => {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(TEXT);
    let text = text.get(..end).unwrap_or_default();
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The rest of what is read.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.chunk::<1>().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.chunk().map(u128::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.u32()?)
            .ok()
            .filter(|len| *len <= TEXT)?;
        let bytes = self.take(len)?;
        String::from_utf8(bytes.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let entry = |part, holds| Entry {
            part,
            len: 7,
            sum: 1 << 100,
            holds,
        };
        let table = Holds::Table {
            rows: 3,
            first: "row \"a\" of fruits".into(),
            last: "row \"b\" of fruits".into(),
        };
        Manifest {
            watermark: 41,
            wall_ms: 1_700_000_000_000,
            whose: Whose {
                cluster_name: "green".into(),
                cluster: ClusterId(5),
                node: NodeId(6),
            },
            name: "n1".into(),
            files: vec![
                entry(Part::Current, Holds::Current),
                entry(Part::Version(2), Holds::Version { tables: 1 }),
                entry(Part::Table(9), table),
                entry(
                    Part::Log(4),
                    Holds::Log {
                        first: 40,
                        last: 41,
                    },
                ),
            ],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_with_a_flipped_bit_not_at_all() {
        let bytes = sample().to_bytes();
        assert_eq!(Manifest::from_bytes(&bytes), Ok(sample()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Manifest::from_bytes(&flipped).is_err(), "byte {at}");
            assert!(Manifest::from_bytes(&bytes[..at]).is_err(), "up to {at}");
        }
    }

    #[test]
    fn the_manifest_of_a_later_program_is_told_from_a_damaged_one() {
        let mut bytes = sample().to_bytes();
        bytes[8] = 2;
        let end = bytes.len() - SUM;
        let sum = xxh3_128(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&sum);
        assert_eq!(
            Manifest::from_bytes(&bytes),
            Err("it was made by a later program")
        );
    }
}
