//! From a disk to a node, whatever state the disk is in: as the embedded store does it.

use rumormill_core::{Config, Node, Now, Recovery, Seed, errors::RecoverError, io::Record};

use crate::disk::{Cut, Disk, Policy};
use crate::sabotage::Sabotage;

/// A node in a new boot, and what was wrong with its disk.
pub(crate) struct Opened {
    pub(crate) node: Node,
    /// The end of the log that was cut off.
    pub(crate) cut: Option<Cut>,
    /// Whether the disk was damaged: a new one began with what could be read.
    pub(crate) is_damaged: bool,
}

/// The start of a node: when, which, and as what.
pub(crate) struct Start<'a> {
    pub(crate) at_us: u64,
    pub(crate) now: Now,
    pub(crate) index: usize,
    pub(crate) config: Config,
    pub(crate) seed: Seed,
    pub(crate) sabotage: &'a mut dyn Sabotage,
}

/// Whether a node does not start because it knows no other member that could have what its disk lacks.
pub(crate) fn is_alone(error: &RecoverError) -> bool {
    matches!(
        error,
        RecoverError::Lost { .. } | RecoverError::Damaged { .. } | RecoverError::Incomplete { .. }
    )
}

impl Start<'_> {
    /// Builds the node that a disk holds. A damaged disk is replaced by a new one with what could be read of it, if the node finds a way to go on. If
    /// it finds none, the log is cut where nothing proves that its end was ever durable.
    ///
    /// # Errors
    /// See [`Recovery::finish`].
    pub(crate) fn open(&mut self, disk: &mut Disk) -> Result<Opened, RecoverError> {
        let words = match disk.open(self.at_us, Policy::Damage) {
            Ok(cut) => return self.take_whole(disk, cut),
            Err(words) => words,
        };
        match self.take_damaged(disk, &words) {
            Err(alone) if is_alone(&alone) => match disk.open(self.at_us, Policy::Cut) {
                Ok(cut) => self.take_whole(disk, cut),
                Err(_) => Err(alone),
            },
            opened => opened,
        }
    }

    fn take_whole(&mut self, disk: &Disk, cut: Option<Cut>) -> Result<Opened, RecoverError> {
        let mut records = disk.records();
        self.sabotage.before_start(self.index, &mut records);
        let mut recovery = Recovery::new(self.config.clone(), self.seed);
        for (key, value) in records {
            recovery.record(Record { key, value })?;
        }
        Ok(Opened {
            node: recovery.finish(self.now)?,
            cut,
            is_damaged: false,
        })
    }

    fn take_damaged(&mut self, disk: &mut Disk, words: &str) -> Result<Opened, RecoverError> {
        let mut records = disk.salvage();
        let note = Record::damage(words);
        records.insert(note.key, note.value);
        self.sabotage.before_start(self.index, &mut records);
        let mut recovery = Recovery::new(self.config.clone(), self.seed);
        for spare in disk.spares() {
            recovery.spare(&spare);
        }
        for (key, value) in &records {
            let (key, value) = (key.clone(), value.clone());
            recovery.record(Record { key, value })?;
        }
        let node = recovery.finish(self.now)?;
        disk.replace(records);
        Ok(Opened {
            node,
            cut: None,
            is_damaged: true,
        })
    }
}
