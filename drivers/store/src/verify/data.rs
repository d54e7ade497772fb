//! A data directory that no process uses.

use std::path::Path;

use super::checkpoint::sum;
use super::{Depth, Verified, VerifyError, at, logs, of_lock, table};
use crate::beside::{self, Synced};
use crate::check;
use crate::checkpoint::holds;
use crate::log::{self, Policy};
use crate::open;
use crate::progress::Progress;
use crate::rules::Rules;

pub(super) fn verify(
    dir: &Path,
    depth: Depth,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let _lock = open::lock(dir).map_err(of_lock)?;
    let mut found = Verified::default();
    let db = dir.join("db");
    if !db.try_exists().map_err(at(&db))? {
        found.fault("db".into(), check::MISSING, "the database");
        return Ok(found);
    }
    for (file, held) in beside::check(dir).map_err(at(dir))? {
        found.fault(file.into(), check::WRONG, held);
    }
    let merged = tree(&db, depth, &mut found, progress)?;
    log(&db, merged, depth, &mut found, progress)?;
    Ok(found)
}

/// Checks the tables, and returns up to which batch the log is merged into them; nothing if a table is damaged.
fn tree(
    db: &Path,
    depth: Depth,
    found: &mut Verified,
    progress: &Progress,
) -> Result<Option<u64>, VerifyError> {
    let tree = db.join("tree");
    let list = match check::list(&tree).map_err(at(&tree))? {
        Ok(list) => list,
        Err((file, why)) => {
            found.fault(format!("db/tree/{file}"), why, "the list of the tables");
            return Ok(None);
        }
    };
    let path = |id: u64| tree.join("tables").join(id.to_string());
    for listed in &list.tables {
        let len = path(listed.id).metadata().map_or(0, |file| file.len());
        progress.expect(len * 2);
    }
    let mut merged = Some((0, 0));
    for listed in &list.tables {
        let path = path(listed.id);
        let file = format!("db/tree/tables/{}", listed.id);
        let why = match sum(&path, found, progress)? {
            None => check::MISSING,
            Some((sum, _)) if sum != listed.sum => check::WRONG,
            Some(_) => {
                let rows = table::check(&path, listed.sum, listed.sequence, depth, progress);
                if rows.stopped {
                    return Err(VerifyError::Stopped);
                }
                found.rows += rows.rows;
                merged = merged.map(|merged| rows.merged.map_or(merged, |rows| rows.max(merged)));
                for why in rows.faults {
                    found.fault(file.clone(), why, held(&path, listed.sum));
                }
                continue;
            }
        };
        merged = None;
        found.fault(file, why, held(&path, listed.sum));
    }
    Ok(merged.map(|(_, merged)| merged))
}

/// Says what a table held, as far as it says so itself.
pub(crate) fn held(path: &Path, sum: u128) -> String {
    match holds::of_table(path, sum) {
        Some(holds) => holds.to_string(),
        None => "rows that nothing else tells of".into(),
    }
}

fn log(
    db: &Path,
    merged: Option<u64>,
    depth: Depth,
    found: &mut Verified,
    progress: &Progress,
) -> Result<(), VerifyError> {
    let synced = Synced::read(db).map_err(at(db))?;
    let folder = db.join("log");
    let scanned =
        log::scan(&folder, synced, Policy::Damage, Rules::awake()).map_err(at(&folder))?;
    found.watermark = scanned.last;
    for file in &scanned.files {
        found.files += 1;
        found.bytes += file.end as u64;
        progress.expect(file.end as u64);
    }
    let name = |number: u64| format!("db/log/{number}.log");
    for damage in &scanned.found {
        let mut files = scanned.files.iter();
        let file = files.find(|file| name(file.header.number) == damage.file);
        let held = file.map_or("batches of the log".into(), logs::held);
        found.fault(damage.file.clone(), &*damage.why, held);
    }
    if let (Some(merged), true) = (merged, scanned.found.is_empty())
        && let Some(why) = open::mismatch(&scanned, merged, Rules::awake())
    {
        found.fault("db/log".into(), why, "batches of the log");
    }
    logs::check(&scanned, &name, depth, found, progress)
}
