//! The commit log: files of records, one written at a time.

mod file;
pub(crate) mod format;
mod index;
mod rows;
mod scan;

pub(crate) use file::{Found, LogFile, Part, create, name};
pub(crate) use index::{Index, Place, Range};
pub(crate) use rows::{Buffer, Rows, buffer_of, newest};
pub(crate) use scan::{Policy, Scanned, ScannedFile, Tail, other_version, scan, scan_files};
