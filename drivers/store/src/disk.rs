//! The file operations of the log, as a trait: tests let single calls fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// File operations that a log is made of. Each may block.
pub(crate) trait Disk: Send + Sync {
    /// Creates an empty file, in the place of one that is there.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Makes a file longer, with zeros, so that writing there needs no space any more.
    fn preallocate(&self, file: &File, from: u64, to: u64) -> io::Result<()>;
    /// Returns how many bytes more the file system of a directory has room for.
    fn room(&self, dir: &Path) -> io::Result<u64>;
    /// Writes bytes at a place. After an error some of them may be there.
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Fills a buffer from a place.
    fn read(&self, file: &File, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// Returns once the content of a file survives a loss of power.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Cuts a file off, durably.
    fn cut(&self, file: &File, len: u64) -> io::Result<()>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns once the names in a directory survive a loss of power.
    fn sync_directory(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory, and those above it, where it is not there.
    fn create_directory(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file a second name, which has to be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Writes a note that no sync waits for, at a place of a file.
    fn note(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Gives a small file other content. It is written beside the file and takes its name once it is whole; where it is to be durable it is when this
    /// returns. After an error the file is as it was.
    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()>;
}

/// The files of the system.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        options.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn preallocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        preallocate(file, from, to)
    }

    fn room(&self, dir: &Path) -> io::Result<u64> {
        room(dir)
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        write_at(file, bytes, at)
    }

    fn read(&self, file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
        read_at(file, buffer, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn cut(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, dir: &Path) -> io::Result<()> {
        sync_directory(dir)
    }

    fn create_directory(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn note(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        write_at(file, bytes, at)
    }

    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&new, path)?;
        match path.parent().filter(|_| durable) {
            Some(dir) => sync_directory(dir),
            None => Ok(()),
        }
    }
}

/// Reserves space. On a file system that reserves none the file gets its size alone.
#[cfg(target_os = "linux")]
fn preallocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::{Errno, retry_on_intr};
    let len = to.saturating_sub(from);
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), from, len)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(to),
        done => Ok(done?),
    }
}

#[cfg(not(target_os = "linux"))]
fn preallocate(file: &File, _: u64, to: u64) -> io::Result<()> {
    file.set_len(to)
}

#[cfg(unix)]
fn room(dir: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(dir)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Not known.
#[cfg(not(unix))]
fn room(_: &Path) -> io::Result<u64> {
    Ok(0)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    file.write_all_at(bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    file.read_exact_at(buffer, at)
}

/// Held while a file is used that has one place for all its users.
#[cfg(not(unix))]
static PLACE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::Seek as _;
    let _held = PLACE.lock();
    file.seek(io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read as _, Seek as _};
    let _held = PLACE.lock();
    file.seek(io::SeekFrom::Start(at))?;
    file.read_exact(buffer)
}

#[cfg(unix)]
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
