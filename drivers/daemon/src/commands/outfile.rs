//! A file that is checked before the work and replaced only when the work is done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::failure::Failure;

/// A file to be written once, at the end. Until then, what it held before stays as it is.
#[derive(Debug)]
pub(in crate::commands) struct OutFile {
    path: PathBuf,
    into: Into,
}

#[derive(Debug)]
enum Into {
    /// A new file beside the old one, which takes its name.
    Beside(NamedTempFile),
    /// A pipe or a device: there is nothing to keep.
    Special(File),
}

impl OutFile {
    /// Makes sure that the file can be written.
    ///
    /// # Errors
    /// When it cannot; nothing has changed then.
    pub(in crate::commands) fn open(path: PathBuf) -> Result<Self, Failure> {
        open(&path)
            .map_err(|error| failure(&path, &error))
            .map(|(path, into)| OutFile { path, into })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written; what it held before is still there then.
    pub(in crate::commands) fn finish(mut self, text: &str) -> Result<(), Failure> {
        self.write_all(text.as_bytes())
            .map_err(|error| failure(&self.path, &error))?;
        self.keep()
    }

    /// Puts what was written in the place of what the file held before.
    ///
    /// # Errors
    /// As for [`OutFile::finish`].
    pub(in crate::commands) fn keep(self) -> Result<(), Failure> {
        let kept = match self.into {
            Into::Special(mut file) => file.flush(),
            Into::Beside(file) => file.persist(&self.path).map(drop).map_err(io::Error::from),
        };
        kept.map_err(|error| failure(&self.path, &error))
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.into {
            Into::Special(file) => file.write(bytes),
            Into::Beside(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.into {
            Into::Special(file) => file.flush(),
            Into::Beside(file) => file.flush(),
        }
    }
}

fn open(path: &Path) -> io::Result<(PathBuf, Into)> {
    // The file that a symbolic link points to is the one to replace.
    let path = match fs::canonicalize(path) {
        Ok(real) => {
            let file = OpenOptions::new().write(true).open(&real)?;
            if !file.metadata()?.is_file() {
                return Ok((real, Into::Special(file)));
            }
            real
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut builder = Builder::new();
    builder.prefix(".rumormill-");
    allow_readers(&mut builder);
    Ok((path.clone(), Into::Beside(builder.tempfile_in(folder)?)))
}

/// Temporary files are the owner's alone; this one is to become an ordinary file, under the umask.
#[cfg(unix)]
fn allow_readers(builder: &mut Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    // The builder keeps a copy.
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn allow_readers(_: &mut Builder<'_, '_>) {}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.html");
        fs::write(&path, "old").unwrap();
        let abandoned = OutFile::open(path.clone()).unwrap();
        drop(abandoned);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let file = OutFile::open(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.finish("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("missing").join("run.html");
        for path in [nowhere, dir.path().to_path_buf()] {
            let error = OutFile::open(path.clone()).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
