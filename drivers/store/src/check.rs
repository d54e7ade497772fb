//! Whether a tree is whole, file by file, before it is opened: lsm-tree checks a part when it reads that part, believes its manifest,
//! and deletes what does not fit.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::error::Damage;
use crate::feed;
use crate::rules::Rules;

/// Checks the files of a tree and returns the damaged ones.
pub(crate) fn check(tree: &Path, rules: Rules) -> io::Result<Vec<Damage>> {
    let manifest = Manifest::read(tree)?;
    let mut found = Vec::new();
    let mut say = |file: &str, why: &str| {
        found.push(Damage {
            file: format!("db/tree/{file}"),
            why: why.into(),
        });
    };
    for (file, why) in &manifest.damaged {
        say(file, why);
    }
    for table in &manifest.tables {
        if let Some(why) = table.fault
            && rules.checks_tables()
        {
            say(&format!("tables/{}", table.id), why);
        }
    }
    Ok(found)
}

pub(crate) const MISSING: &str = "it is missing";
pub(crate) const WRONG: &str = "its checksum is wrong";

/// A file's bytes; nothing if it is not there.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A table that a manifest names, or that lies there where no manifest can be read.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: u64,
    pub(crate) sum: u128,
    /// The sequence of all its rows: that of the ingestion that has made it, else 0.
    pub(crate) sequence: u64,
    /// The fault, if it has one.
    pub(crate) fault: Option<&'static str>,
}

/// The parts of a tree.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) tables: Vec<Table>,
    /// Files of the manifest itself that are damaged, and why.
    pub(crate) damaged: Vec<(String, &'static str)>,
}

impl Manifest {
    /// Reads the manifest of a tree and checks its tables.
    pub(crate) fn read(tree: &Path) -> io::Result<Manifest> {
        let mut manifest = Manifest::default();
        let listed = match list(tree)? {
            Ok(listed) => listed,
            Err(damaged) => {
                manifest.damaged.push(damaged);
                return Ok(manifest);
            }
        };
        for Listed { id, sum, sequence } in listed.tables {
            let found = sum_of(&tree.join("tables").join(id.to_string()))?;
            manifest.tables.push(Table {
                id,
                sum,
                sequence,
                fault: match found {
                    Some(found) => (found != sum).then_some(WRONG),
                    None => Some(MISSING),
                },
            });
        }
        Ok(manifest)
    }
}

/// A table in a list of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    pub(crate) sum: u128,
    pub(crate) sequence: u64,
}

/// The files of a tree's manifest, and what they say.
#[derive(Debug)]
pub(crate) struct List {
    /// The bytes of `current`.
    pub(crate) current: Vec<u8>,
    pub(crate) version: u64,
    /// The bytes of the version.
    pub(crate) version_bytes: Vec<u8>,
    pub(crate) tables: Vec<Listed>,
}

/// A file of the manifest that is damaged, and why.
pub(crate) type BadManifest = (String, &'static str);

/// Reads the list of a tree's tables.
///
/// # Errors
/// The system's; inside, the file that is not whole.
pub(crate) fn list(tree: &Path) -> io::Result<Result<List, BadManifest>> {
    let Some(current) = read(&tree.join("current"))? else {
        return Ok(Err(("current".into(), MISSING)));
    };
    let Some((version, _)) = current_version(&current) else {
        return Ok(Err(("current".into(), WRONG)));
    };
    let version_bytes = read(&tree.join(format!("v{version}")))?;
    Ok(list_of(current, version_bytes))
}

/// Reads the list of a tree's tables from the bytes of its two files.
pub(crate) fn list_of(
    current: Vec<u8>,
    version_bytes: Option<Vec<u8>>,
) -> Result<List, BadManifest> {
    let Some((version, sum)) = current_version(&current) else {
        return Err(("current".into(), WRONG));
    };
    let file = format!("v{version}");
    let Some(bytes) = version_bytes.filter(|bytes| xxh3_128(bytes) == sum) else {
        return Err((format!("current and {file}"), "they do not fit"));
    };
    let Some(tables) = tables_of(&bytes) else {
        return Err((file, "an unknown form"));
    };
    Ok(List {
        current,
        version,
        version_bytes: bytes,
        tables,
    })
}

fn current_version(bytes: &[u8]) -> Option<(u64, u128)> {
    let (id, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, kind) = rest.split_first_chunk::<16>()?;
    (kind == [0]).then_some((u64::from_le_bytes(*id), u128::from_le_bytes(*sum)))
}

/// The tables in a version: `levels u8 { runs u8 { tables u32 { id u64, 0 u8, checksum u128, sequence u64 } } }`.
fn tables_of(version: &[u8]) -> Option<Vec<Listed>> {
    let section = section(version, b"tables")?;
    let mut at = section;
    let mut take = |len: usize| {
        let (taken, rest) = at.split_at_checked(len)?;
        at = rest;
        Some(taken)
    };
    let mut tables = Vec::new();
    for _ in 0..*take(1)?.first()? {
        for _ in 0..*take(1)?.first()? {
            for _ in 0..u32::from_le_bytes(take(4)?.try_into().ok()?) {
                let id = u64::from_le_bytes(take(8)?.try_into().ok()?);
                let _kind = take(1)?;
                let sum = u128::from_le_bytes(take(16)?.try_into().ok()?);
                let sequence = u64::from_le_bytes(take(8)?.try_into().ok()?);
                tables.push(Listed { id, sum, sequence });
            }
        }
    }
    Some(tables)
}

/// The end of a file of lsm-tree's: `"SFA!", version u8, kind u8, checksum u128 of the table of contents, its place u64, its length u64`.
const TRAILER: usize = 4 + 2 + 16 + 8 + 8;
/// Longer than any table of contents.
const CONTENTS_BYTES: u64 = 1 << 20;

/// The place and the checksum of the table of contents of a file that is so long, as its end says.
fn contents(trailer: &[u8; TRAILER], len: u64) -> Option<(Range<u64>, u128)> {
    let rest = trailer.strip_prefix(b"SFA!\x01\x00")?;
    let (sum, rest) = rest.split_first_chunk::<16>()?;
    let at = u64::from_le_bytes(*rest.first_chunk()?);
    let end = len.checked_sub(TRAILER as u64)?;
    let is_there = at <= end && end - at <= CONTENTS_BYTES;
    is_there.then_some((at..end, u128::from_le_bytes(*sum)))
}

/// Whether the table of contents of a file of lsm-tree's is whole. lsm-tree asks for as much memory as that says before it looks at the checksum, and
/// ends the process where it gets none: so it is given no file without.
///
/// # Errors
/// The system's.
pub(crate) fn has_contents(path: &Path) -> io::Result<bool> {
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    let mut trailer = [0; TRAILER];
    if len < TRAILER as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-(TRAILER as i64)))?;
    file.read_exact(&mut trailer)?;
    let Some((place, sum)) = contents(&trailer, len) else {
        return Ok(false);
    };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(place.start))?;
    file.take(place.end - place.start).read_to_end(&mut bytes)?;
    Ok(xxh3_128(&bytes) == sum)
}

/// A section of a file of lsm-tree's that was found whole.
pub(crate) fn section<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let reader = sfa::Reader::from_reader(&mut io::Cursor::new(file)).ok()?;
    let entry = reader.toc().section(name)?;
    let start = usize::try_from(entry.pos()).ok()?;
    let end = start.checked_add(usize::try_from(entry.len()).ok()?)?;
    file.get(start..end)
}

/// The checksum of a file; nothing if it is not there.
pub(crate) fn sum_of(path: &Path) -> io::Result<Option<u128>> {
    match feed::sum_of(path, &mut |_| Ok(())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(|(sum, _)| Some(sum)),
    }
}
