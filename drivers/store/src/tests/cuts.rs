//! Losses of power: at a random call to the file system all that no sync covers is kept, dropped, or torn at sectors, in any order, and names
//! that no sync of their directory covers may be undone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rumormill_core::io::StoreOp;
use rumormill_kit::store::Store as _;
use rumormill_kit::store::conformance::{contents, delete, delete_range, put};

use super::in_memory;
use crate::disk::{Disk, RealDisk};
use crate::log::Policy;
use crate::{DiskStore, OpenError, Options};

type Map = BTreeMap<Bytes, Bytes>;

const BROKEN: i32 = 5;
/// A disk writes as many bytes at once.
const SECTOR: usize = 512;
/// Losses of power in the life of one log.
const CUTS: usize = 5;

/// Returns how many logs are written: more where `RUMORMILL_CUTS` says so.
fn logs() -> u64 {
    let said = std::env::var("RUMORMILL_CUTS").ok();
    said.and_then(|logs| logs.parse().ok()).unwrap_or(40)
}

/// Numbers drawn from a seed (xorshift of Marsaglia).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// A change of a file that no sync covers.
enum Change {
    Size(usize),
    Write(usize, Vec<u8>),
}

/// The content of a file that survives, and the changes since.
#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    changes: Vec<Change>,
}

/// Changes of names at once: the file that has each from now on.
type Names = Vec<(PathBuf, Option<u64>)>;

/// The files of a log as a loss of power finds them.
struct Platter {
    random: Random,
    /// Calls until the power is cut.
    left: usize,
    /// The name of each file that survives, and the changes since.
    names: BTreeMap<PathBuf, u64>,
    renamed: Vec<Names>,
    now: BTreeMap<PathBuf, u64>,
    /// The files by their numbers, which are never used twice; those of the system are.
    files: BTreeMap<u64, Content>,
    numbers: BTreeMap<u64, u64>,
}

/// A disk on real files whose power is cut once. From then on each call fails.
struct Power {
    dir: PathBuf,
    image: PathBuf,
    platter: Mutex<Platter>,
}

impl Power {
    /// Cuts the power after some calls, and puts what survives into `image`.
    fn new(dir: &Path, image: &Path, left: usize, random: Random) -> Power {
        let mut platter = Platter {
            random,
            left,
            names: BTreeMap::new(),
            renamed: Vec::new(),
            now: BTreeMap::new(),
            files: BTreeMap::new(),
            numbers: BTreeMap::new(),
        };
        for entry in fs::read_dir(dir.join("db/log")).unwrap() {
            let path = entry.unwrap().path();
            let file = platter.number(&fs::metadata(&path).unwrap());
            platter.files.get_mut(&file).unwrap().durable = fs::read(&path).unwrap();
            platter.names.insert(path, file);
        }
        platter.now = platter.names.clone();
        Power {
            dir: dir.into(),
            image: image.into(),
            platter: Mutex::new(platter),
        }
    }

    /// Carries a call out unless the power is cut before it, and takes it down.
    fn call<T>(
        &self,
        carry_out: impl FnOnce() -> io::Result<T>,
        take_down: impl FnOnce(&mut Platter, &T),
    ) -> io::Result<T> {
        let mut platter = self.platter.lock().unwrap();
        if platter.left == 1 {
            platter.survive(&self.dir, &self.image);
        }
        platter.left = platter.left.saturating_sub(1);
        if platter.left == 0 {
            return Err(io::Error::from_raw_os_error(BROKEN));
        }
        let done = carry_out()?;
        take_down(&mut platter, &done);
        Ok(done)
    }

    /// Whether the power was cut.
    fn is_cut(&self) -> bool {
        self.platter.lock().unwrap().left == 0
    }

    fn has_power(&self) -> io::Result<()> {
        match self.is_cut() {
            true => Err(io::Error::from_raw_os_error(BROKEN)),
            false => Ok(()),
        }
    }

    fn change(&self, file: &File, carry_out: io::Result<()>, change: Change) -> io::Result<()> {
        let about = file.metadata()?;
        self.call(
            || carry_out,
            |platter, ()| {
                let number = platter.number(&about);
                let content = platter.files.get_mut(&number).unwrap();
                content.changes.push(change);
            },
        )
    }
}

impl Platter {
    /// Returns the number of a file of the system.
    fn number(&mut self, about: &fs::Metadata) -> u64 {
        let next = self.files.len() as u64;
        let number = *self.numbers.entry(about.ino()).or_insert(next);
        self.files.entry(number).or_default();
        number
    }

    /// Gives files names, or takes these away, until the directory is synced or the power is cut.
    fn name(&mut self, changes: Names) {
        name_all(&mut self.now, &changes);
        self.renamed.push(changes);
    }

    /// Writes what survives into a directory of its own.
    fn survive(&mut self, dir: &Path, image: &Path) {
        super::damage::copy(dir, image);
        let log = image.join("db/log");
        fs::remove_dir_all(&log).unwrap();
        fs::create_dir(&log).unwrap();
        if self.random.below(2) == 0 {
            // The note is not synced.
            fs::remove_file(image.join("db/synced")).unwrap();
        }
        let all = self.random.below(4) == 0;
        let mut names = std::mem::take(&mut self.names);
        for changes in std::mem::take(&mut self.renamed) {
            if all || self.random.below(2) == 0 {
                name_all(&mut names, &changes);
            }
        }
        for (path, file) in names {
            let content = self.files.remove(&file).unwrap();
            let bytes = self.torn(content);
            fs::write(log.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }

    /// Returns what is left of a file.
    fn torn(&mut self, content: Content) -> Vec<u8> {
        let mut bytes = content.durable;
        let keep = self.random.below(4);
        for change in content.changes {
            match change {
                Change::Size(to) if keep != 0 && bytes.len() < to => bytes.resize(to, 0),
                Change::Size(_) => {}
                Change::Write(at, written) => {
                    let mut from = at;
                    while from < at + written.len() {
                        let end = (from / SECTOR + 1) * SECTOR;
                        let end = end.min(at + written.len());
                        if keep == 1 || keep > 1 && self.random.below(3) > 0 {
                            bytes.resize(bytes.len().max(end), 0);
                            bytes[from..end].copy_from_slice(&written[from - at..end - at]);
                        }
                        from = end;
                    }
                }
            }
        }
        bytes
    }
}

fn name_all(names: &mut BTreeMap<PathBuf, u64>, changes: &Names) {
    for (path, file) in changes {
        match file {
            Some(file) => drop(names.insert(path.clone(), *file)),
            None => drop(names.remove(path)),
        }
    }
}

impl Disk for Power {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.call(
            || RealDisk.create(path),
            |platter, file| {
                // The system uses the number of a file again that was removed.
                let about = file.metadata().unwrap();
                platter.numbers.remove(&about.ino());
                let number = platter.number(&about);
                platter.name(vec![(path.into(), Some(number))]);
            },
        )
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.call(|| RealDisk.open(path), |_, _| {})
    }

    fn preallocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let change = Change::Size(to as usize);
        self.change(file, RealDisk.preallocate(file, from, to), change)
    }

    fn room(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.room(dir)
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let change = Change::Write(at as usize, bytes.to_vec());
        self.change(file, RealDisk.write(file, bytes, at), change)
    }

    fn read(&self, file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
        // No loss of power while nothing is written differs from one at the next call.
        RealDisk.read(file, buffer, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let about = file.metadata()?;
        self.call(
            || Ok(()),
            |platter, ()| {
                let number = platter.number(&about);
                let content = platter.files.get_mut(&number).unwrap();
                content.make_durable();
            },
        )
    }

    fn cut(&self, file: &File, len: u64) -> io::Result<()> {
        let about = file.metadata()?;
        self.call(
            || RealDisk.cut(file, len),
            |platter, ()| {
                let number = platter.number(&about);
                let content = platter.files.get_mut(&number).unwrap();
                content.make_durable();
                content.durable.resize(len as usize, 0);
            },
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(
            || RealDisk.rename(from, to),
            |platter, ()| {
                let number = platter.now[from];
                platter.name(vec![(from.into(), None), (to.into(), Some(number))]);
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(
            || RealDisk.remove(path),
            |platter, ()| platter.name(vec![(path.into(), None)]),
        )
    }

    fn create_directory(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_directory(dir)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }

    fn note(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        // Whether it survives is drawn when the power is cut.
        self.has_power()?;
        RealDisk.note(file, bytes, at)
    }

    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        self.has_power()?;
        RealDisk.replace(path, bytes, durable)
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.call(
            || Ok(()),
            |platter, ()| {
                platter.names = platter.now.clone();
                platter.renamed.clear();
            },
        )
    }
}

impl Content {
    fn make_durable(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Size(to) => {
                    let len = self.durable.len().max(to);
                    self.durable.resize(len, 0);
                }
                Change::Write(at, bytes) => {
                    let end = at + bytes.len();
                    self.durable.resize(self.durable.len().max(end), 0);
                    self.durable[at..end].copy_from_slice(&bytes);
                }
            }
        }
    }
}

fn options(disk: Arc<dyn Disk>) -> Options {
    Options {
        log_bytes: 4_000,
        step: 1_500,
        reserve: 700,
        thread: false,
        disk,
        ..Options::default()
    }
}

fn batch(random: &mut Random) -> Vec<StoreOp> {
    let ops = 1 + random.below(4);
    let mut batch = Vec::new();
    for _ in 0..ops {
        let key = format!("key {}", random.below(12));
        batch.push(match random.below(8) {
            0 => delete(&key),
            1 => delete_range(&key, "key 5"),
            2 => put(&key, &"x".repeat(random.below(3_000))),
            _ => {
                let rest = "y".repeat(random.below(200));
                put(&key, &format!("{} {rest}", random.0))
            }
        });
    }
    batch
}

/// The contents that a start may find: after the last acknowledged sync, and after each batch since.
struct Allowed(Vec<Map>);

/// Writes until the power is cut.
fn write(store: &mut DiskStore, allowed: &mut Allowed, random: &mut Random) {
    for _ in 0..200 {
        let mut next = allowed.0.last().unwrap().clone();
        let batch = batch(random);
        batch.iter().for_each(|op| op.clone().apply(&mut next));
        allowed.0.push(next);
        // Now and then several files wait to be merged.
        let waiting = store.shared.view().sealed.len();
        let merger = store.merger.take_if(|_| waiting < 3 && random.below(4) > 0);
        let applied = store.apply(&batch);
        store.merger = store.merger.take().or(merger);
        if applied.is_err() {
            return;
        }
        if random.below(4) == 0 {
            if store.sync().is_err() {
                return;
            }
            allowed.0.drain(..allowed.0.len() - 1);
        }
    }
}

/// Lets a log live through some losses of power.
fn live(seed: u64) {
    let mut random = Random::new(seed);
    let dirs = in_memory();
    let mut dir = dirs.path().join("0");
    drop(DiskStore::open_with(&dir, options(Arc::new(RealDisk))).unwrap());
    let mut allowed = Allowed(vec![Map::new()]);
    for cut in 1..=CUTS {
        let what = format!("log {seed}, cut {cut}");
        let image = dirs.path().join(cut.to_string());
        let left = 1 + random.below(if cut % 3 == 0 { 12 } else { 150 });
        let power = Power::new(&dir, &image, left, Random::new(seed * 100 + cut as u64));
        let power = Arc::new(power);
        if let Some(mut store) = start(&dir, Arc::clone(&power) as _, &what) {
            let found = contents(&mut store);
            let is_allowed = allowed.0.contains(&found);
            assert!(
                is_allowed,
                "{what}: a loss of power takes a synced batch, or half of one"
            );
            allowed = Allowed(vec![found]);
            write(&mut store, &mut allowed, &mut random);
        }
        assert!(power.is_cut(), "{what}");
        dir = image;
    }
    let mut store = start(&dir, Arc::new(RealDisk), "the end").unwrap();
    assert!(
        allowed.0.contains(&contents(&mut store)),
        "log {seed}: a loss of power takes a synced batch"
    );
}

/// Opens a directory as a node that is alone does; nothing if the power was cut meanwhile.
fn start(dir: &Path, disk: Arc<dyn Disk>, what: &str) -> Option<DiskStore> {
    let opened = DiskStore::open_as(dir, options(Arc::clone(&disk)), Policy::Damage);
    let opened = match opened {
        Err(OpenError::Damaged { .. }) => DiskStore::open_as(dir, options(disk), Policy::Cut),
        opened => opened,
    };
    match opened {
        Ok(store) => Some(store),
        Err(OpenError::Unusable { .. }) => None,
        Err(error) => panic!("{what}: a loss of power is called damage: {error}"),
    }
}

#[test]
pub(super) fn what_was_synced_survives_each_loss_of_power() {
    for seed in 0..logs() {
        live(seed);
    }
}
