//! A checkpoint: its manifest, and each file that this names.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::{Depth, Verified, VerifyError, at, logs, table};
use crate::check::{self, List};
use crate::checkpoint::manifest::{Entry, FILES, MANIFEST, Manifest, Part, name};
use crate::checkpoint::{misfit, read_bounded};
use crate::feed;
use crate::log::{Policy, scan_files};
use crate::progress::Progress;
use crate::rules::Rules;

pub(super) fn verify(
    dir: &Path,
    depth: Depth,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let _lock = lock(dir)?;
    let mut found = Verified {
        checkpoint: true,
        ..Verified::default()
    };
    let path = dir.join(MANIFEST);
    let bytes = read_bounded(&path).map_err(at(&path))?;
    let read = match &bytes {
        None => Err(check::MISSING),
        Some(bytes) => Manifest::from_bytes(bytes),
    };
    found.files += 1;
    found.bytes += bytes.map_or(0, |bytes| bytes.len() as u64);
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(why) => {
            found.fault(MANIFEST.into(), why, "the list of the checkpoint's files");
            by_names(dir, &mut found, progress)?;
            return Ok(found);
        }
    };
    found.watermark = manifest.watermark;
    // Each is read twice: for its checksum, and for its rows.
    for entry in &manifest.files {
        progress.expect(entry.len);
        progress.expect(entry.len);
    }
    let mut whole = Vec::new();
    for entry in &manifest.files {
        let path = dir.join(entry.file());
        if let Some(why) = misfit(&path, entry.len).map_err(at(&path))? {
            found.fault(file_of(entry), why, entry.to_string());
            continue;
        }
        match sum(&path, &mut found, progress)? {
            Some((sum, _)) if sum == entry.sum => whole.push((entry, path)),
            Some(_) => found.fault(file_of(entry), check::WRONG, entry.to_string()),
            None => found.fault(file_of(entry), check::MISSING, entry.to_string()),
        }
    }
    content(&manifest, &whole, depth, &mut found, progress)?;
    Ok(found)
}

fn file_of(entry: &Entry) -> String {
    format!("{FILES}/{}", name(entry.sum))
}

/// Keeps a checkpoint from being made there meanwhile; on a medium without a lock, or that cannot be written, none is.
fn lock(dir: &Path) -> Result<Option<File>, VerifyError> {
    let Ok(file) = File::open(dir.join("lock")) else {
        return Ok(None);
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(VerifyError::InUse { dir: dir.into() }),
        _ => Ok(Some(file)),
    }
}

/// Reads a file for its checksum and length; nothing if it is not there.
pub(crate) fn sum(
    path: &Path,
    found: &mut Verified,
    progress: &Progress,
) -> Result<Option<(u128, u64)>, VerifyError> {
    if !path.try_exists().map_err(at(path))? {
        return Ok(None);
    }
    let read = feed::sum_of(path, &mut |bytes| progress.step(bytes));
    let (sum, len) = read.map_err(at(path))?;
    found.files += 1;
    found.bytes += len;
    Ok(Some((sum, len)))
}

/// Without a manifest, the name of each file still tells its checksum.
fn by_names(dir: &Path, found: &mut Verified, progress: &Progress) -> Result<(), VerifyError> {
    let folder = dir.join(FILES);
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(&folder).map_err(at(&folder))? {
        let entry = entry.map_err(at(&folder))?;
        if !entry.file_type().map_err(at(&folder))?.is_file() {
            continue;
        }
        let path = entry.path();
        let file = path.file_name().map(|file| file.to_string_lossy());
        let Some(file) = file.filter(|file| file.len() == 32) else {
            continue;
        };
        let read = sum(&path, found, progress)?;
        if read.is_none_or(|(sum, _)| name(sum) != file) {
            let held = "a file that only the manifest describes";
            found.fault(format!("{FILES}/{file}"), check::WRONG, held);
        }
    }
    Ok(())
}

/// Looks into the files that are whole, and whether they belong together.
fn content(
    manifest: &Manifest,
    whole: &[(&Entry, PathBuf)],
    depth: Depth,
    found: &mut Verified,
    progress: &Progress,
) -> Result<(), VerifyError> {
    let list = list(manifest, whole, found)?;
    let mut merged = None;
    for (entry, path) in whole {
        let Part::Table(id) = entry.part else {
            continue;
        };
        let listed = list
            .iter()
            .flat_map(|list| &list.tables)
            .find(|listed| listed.id == id);
        let sequence = listed.map_or(0, |listed| listed.sequence);
        let rows = table::check(path, entry.sum, sequence, depth, progress);
        if rows.stopped {
            return Err(VerifyError::Stopped);
        }
        found.rows += rows.rows;
        merged = merged.max(rows.merged);
        for why in rows.faults {
            found.fault(file_of(entry), why, entry.to_string());
        }
    }
    let log = |entry: &Entry| match entry.part {
        Part::Log(number) => Some(number),
        _ => None,
    };
    let files = whole
        .iter()
        .filter_map(|(entry, path)| Some((log(entry)?, path.clone())));
    let files: Vec<_> = files.collect();
    if files.len() < manifest.files.iter().filter_map(log).count() {
        // Told already, and the rest of the log says nothing of it.
        return Ok(());
    }
    let file = |number: u64| {
        let mut entries = manifest.files.iter();
        let entry = entries.find(|entry| log(entry) == Some(number));
        entry.map_or(MANIFEST.into(), file_of)
    };
    let scanned = scan_files(files, manifest.watermark, Policy::Damage, Rules::awake());
    let scanned = scanned.map_err(at(Path::new(FILES)))?;
    for damage in &scanned.found {
        let held = "the log of the checkpoint";
        found.fault(damage.file.clone(), &*damage.why, held);
    }
    if scanned.found.is_empty() {
        let last = scanned.last;
        if last != manifest.watermark {
            let why = format!(
                "the log ends at batch {last} instead of {}",
                manifest.watermark
            );
            found.fault(MANIFEST.into(), why, "the checkpoint's watermark");
        }
        let merged = merged.map_or(0, |(_, merged)| merged);
        if let Some(why) = crate::open::mismatch(&scanned, merged, Rules::awake()) {
            found.fault(MANIFEST.into(), why, "the log and the tables");
        }
    }
    logs::check(&scanned, &file, depth, found, progress)
}

/// Reads the list of the tree's tables, and compares it with the manifest.
fn list(
    manifest: &Manifest,
    whole: &[(&Entry, PathBuf)],
    found: &mut Verified,
) -> Result<Option<List>, VerifyError> {
    let mut bytes = [None, None];
    for (entry, path) in whole {
        let slot = match entry.part {
            Part::Current => 0,
            Part::Version(_) => 1,
            Part::Table(_) | Part::Log(_) => continue,
        };
        if let Some(place) = bytes.get_mut(slot) {
            *place = Some(fs::read(path).map_err(at(path))?);
        }
    }
    let [Some(current), version] = bytes else {
        return Ok(None);
    };
    let list = match check::list_of(current, version) {
        Ok(list) => list,
        Err((file, why)) => {
            found.fault(
                MANIFEST.into(),
                format!("{file}: {why}"),
                "the list of tables",
            );
            return Ok(None);
        }
    };
    for listed in &list.tables {
        let mut entries = manifest.files.iter();
        if !entries.any(|entry| entry.part == Part::Table(listed.id) && entry.sum == listed.sum) {
            let why = format!("it lacks table {}", listed.id);
            found.fault(MANIFEST.into(), why, "the list of tables");
        }
    }
    Ok(Some(list))
}
