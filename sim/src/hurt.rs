//! The present faults of one machine.

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurt {
    /// Its process is stopped, and its input waits.
    Paused,
    /// Each input costs so many microseconds.
    Slow(u64),
    /// The next write or sync fails.
    DiskFails,
    /// Each sync takes so many microseconds longer.
    DiskSlow(u64),
    /// The disk has no space.
    DiskFull,
    /// The disk has space for deletes alone.
    DiskShort,
    /// The write queues of all its links are above their mark.
    Congested,
}

impl Hurt {
    /// Whether it has had an effect as soon as it begins.
    fn strikes_at_once(self) -> bool {
        matches!(self, Hurt::Paused)
    }
}

struct Wound {
    number: usize,
    hurt: Hurt,
    /// It has had no effect yet.
    fresh: bool,
}

/// All that is wrong with a machine, by the number of the fault.
#[derive(Default)]
pub(crate) struct Hurts(Vec<Wound>);

impl Hurts {
    pub(crate) fn begin(&mut self, number: usize, hurt: Hurt) {
        let fresh = !hurt.strikes_at_once();
        self.0.push(Wound {
            number,
            hurt,
            fresh,
        });
    }

    /// Ends a fault; what it was.
    pub(crate) fn end(&mut self, number: usize) -> Option<Hurt> {
        let at = self.0.iter().position(|wound| wound.number == number)?;
        Some(self.0.remove(at).hurt)
    }

    /// Ends all that dies with the process.
    pub(crate) fn process_ends(&mut self) {
        self.0.retain(|wound| wound.hurt != Hurt::Paused);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the fault has had no effect yet.
    pub(crate) fn is_fresh(&self, number: usize) -> bool {
        self.0
            .iter()
            .any(|wound| wound.number == number && wound.fresh)
    }

    /// Whether anything is wrong.
    pub(crate) fn is_hurt(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn has(&self, hurt: Hurt) -> bool {
        self.0.iter().any(|wound| wound.hurt == hurt)
    }

    /// Returns the cost of one input, and notes that it was paid.
    pub(crate) fn input_us(&mut self) -> u64 {
        self.most(|hurt| match hurt {
            Hurt::Slow(us) => us,
            _ => 0,
        })
    }

    /// Returns the extra cost of a sync, and notes that it was paid.
    pub(crate) fn sync_us(&mut self) -> u64 {
        self.most(|hurt| match hurt {
            Hurt::DiskSlow(us) => us,
            _ => 0,
        })
    }

    /// Takes down that a hurt has had its effect; whether there is one.
    pub(crate) fn strike(&mut self, hurt: Hurt) -> bool {
        self.most(|one| u64::from(one == hurt)) > 0
    }

    fn most(&mut self, cost: impl Fn(Hurt) -> u64) -> u64 {
        let mut most = 0;
        for wound in &mut self.0 {
            let cost = cost(wound.hurt);
            wound.fresh &= cost == 0;
            most = most.max(cost);
        }
        most
    }
}
