//! Reading a file from its beginning to its end, in pieces.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

/// The bytes that are read at once.
pub(crate) const CHUNK: usize = 1 << 18;

/// An error while bytes were passed on, and whether it was about where they went.
pub(crate) struct Fed {
    pub(crate) about_target: bool,
    pub(crate) error: io::Error,
}

/// Takes each piece in turn; an error says whether it is about where the bytes go.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), (bool, io::Error)>;

/// Reads a file and hands its bytes over in order.
pub(crate) fn feed_file(path: &Path, each: Each<'_>) -> Result<(), Fed> {
    let read = |error| Fed {
        about_target: false,
        error,
    };
    let mut file = File::open(path).map_err(read)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let len = file.read(&mut buffer).map_err(read)?;
        if len == 0 {
            return Ok(());
        }
        pass(each, buffer.get(..len).unwrap_or_default())?;
    }
}

/// Hands over one piece.
pub(crate) fn pass(each: Each<'_>, chunk: &[u8]) -> Result<(), Fed> {
    each(chunk).map_err(|(about_target, error)| Fed {
        about_target,
        error,
    })
}

/// Reads a file for its checksum and its length. `step` is told the length of each piece, and may end the reading.
///
/// # Errors
/// The system's, and that of `step`.
pub(crate) fn sum_of(
    path: &Path,
    step: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<(u128, u64)> {
    let (mut sum, mut end) = (Xxh3::new(), 0);
    let fed = feed_file(path, &mut |chunk| {
        sum.update(chunk);
        end += chunk.len() as u64;
        step(chunk.len() as u64).map_err(|error| (false, error))
    });
    fed.map_err(|fed| fed.error)?;
    Ok((sum.digest128(), end))
}
