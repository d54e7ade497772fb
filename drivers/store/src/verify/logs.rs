//! The files of a log: each batch is whole, and each record.

use std::fs;

use rumormill_core::io::Record;
use rumormill_core::store::inspect;

use super::{Depth, Verified, VerifyError, at};
use crate::checkpoint::holds;
use crate::log::{Scanned, ScannedFile, format};
use crate::progress::Progress;

/// So many faults of one file are told.
const TOLD: usize = 8;

/// Returns the batches of a log file in words.
pub(super) fn held(file: &ScannedFile) -> String {
    match file.last < file.header.first {
        true => "no batch".into(),
        false => format!("batches {} to {}", file.header.first, file.last),
    }
}

/// Checks the operations of all batches that were found whole. `name` gives a file's name by its number.
pub(super) fn check(
    scanned: &Scanned,
    name: &dyn Fn(u64) -> String,
    depth: Depth,
    found: &mut Verified,
    progress: &Progress,
) -> Result<(), VerifyError> {
    for file in &scanned.files {
        let bytes = fs::read(&file.path).map_err(at(&file.path))?;
        let mut faults = 0;
        let seqs = file.header.first..;
        for (place, seq) in file.records.iter().zip(seqs) {
            let len = place.len() as u64;
            progress.step(len).map_err(at(&file.path))?;
            for op in format::ops(&bytes, place.clone(), file.header.salt) {
                found.rows += 1;
                let at = op.as_ref().map(|(at, _)| *at);
                let why = match &op {
                    None => Some("an operation of no known form".to_string()),
                    Some((_, op)) => fault(op, depth),
                };
                let checked =
                    at.and_then(|at| format::op(bytes.get(at..)?, file.header.salt, true));
                let why = why.or_else(|| match checked {
                    Some(_) => None,
                    None => Some("a wrong checksum of one operation".into()),
                });
                if let Some(why) = why.filter(|_| faults < TOLD) {
                    faults += 1;
                    let why = format!("batch {seq} has {why}");
                    found.fault(name(file.header.number), why, held(file));
                }
            }
        }
    }
    Ok(())
}

fn fault(op: &format::Op<'_>, depth: Depth) -> Option<String> {
    let value = op.value.filter(|_| depth.records)?;
    let record = Record {
        key: bytes::Bytes::copy_from_slice(op.key),
        value: bytes::Bytes::copy_from_slice(value),
    };
    let words = || format!("a wrong checksum or form of {}", holds::record_key(op.key));
    (!inspect(&record).whole).then(words)
}
