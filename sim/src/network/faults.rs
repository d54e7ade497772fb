//! The faults of the network that are in force, and which messages they strike.

use super::Network;
use crate::plan::FaultWhat;
use crate::rng::CERTAIN;

/// How often a message met a fault.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) loss: u64,
    pub(crate) dup: u64,
    pub(crate) reorder: u64,
    pub(crate) delay: u64,
    pub(crate) corrupt: u64,
    pub(crate) partition: u64,
    pub(crate) oneway: u64,
}

impl Met {
    pub(super) fn cut(&mut self, cut: Cut) {
        match cut {
            Cut::TwoSided => self.partition += 1,
            Cut::OneWay => self.oneway += 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    TwoSided,
    OneWay,
}

pub(super) struct Window {
    pub(super) number: usize,
    pub(super) what: FaultWhat,
    /// Whether it has an effect at present: a flap comes and goes.
    pub(super) on: bool,
    /// The first message it can take is taken for certain, so that no window passes without effect.
    pub(super) fresh: bool,
}

impl Network {
    /// The fault `number` of the plan begins. Faults of nodes are not the network's.
    pub(crate) fn begin(&mut self, number: usize, what: &FaultWhat) {
        self.windows.push(Window {
            number,
            what: what.clone(),
            on: true,
            fresh: sides(what).is_none(),
        });
        self.refresh();
    }

    /// A flap turns into its other half. `None` when the fault `number` is over.
    pub(crate) fn flip(&mut self, number: usize) -> Option<bool> {
        let mut windows = self.windows.iter_mut();
        let window = windows.find(|window| window.number == number)?;
        window.on = !window.on;
        let on = window.on;
        self.refresh();
        Some(on)
    }

    /// Bits of a message from this node may flip. Returns which, if any: a number to be taken modulo the number of bits.
    pub(crate) fn corrupts(&mut self, from: usize) -> Option<u64> {
        let strikes = self.strikes(from, |what| match what {
            FaultWhat::Corrupt { ppm } => Some(*ppm),
            _ => None,
        });
        if !strikes {
            return None;
        }
        self.met.corrupt += 1;
        Some(self.rngs[from].next())
    }

    /// The fault `number` of the plan ends.
    pub(crate) fn end_fault(&mut self, number: usize) {
        self.windows.retain(|window| window.number != number);
        self.refresh();
    }

    /// Whether the fault `number` of the plan strikes messages and has struck none yet.
    pub(crate) fn is_fresh(&self, number: usize) -> bool {
        self.windows
            .iter()
            .any(|window| window.number == number && window.fresh)
    }

    /// Whether the fault `number` of the plan cuts ways.
    pub(crate) fn is_cut(&self, number: usize) -> bool {
        let mut windows = self.windows.iter();
        windows.any(|window| window.number == number && sides(&window.what).is_some())
    }

    /// The cuts between two groups that are in force, in both directions and all the time.
    pub(crate) fn standing_cuts(&self) -> Vec<FaultWhat> {
        let stands = |what: &FaultWhat| {
            matches!(
                what,
                FaultWhat::Partition { .. } | FaultWhat::Partial { .. } | FaultWhat::Bridge { .. }
            )
        };
        let windows = self.windows.iter().map(|window| &window.what);
        windows.filter(|what| stands(what)).cloned().collect()
    }

    /// Whether a fault of the network is in force.
    pub(crate) fn is_faulty(&self) -> bool {
        !self.windows.is_empty()
    }

    /// All faults end.
    pub(crate) fn heal(&mut self) {
        self.windows.clear();
        self.refresh();
    }

    fn refresh(&mut self) {
        self.extra_us.fill(0);
        self.cuts.fill(None);
        for window in self.windows.iter().filter(|window| window.on) {
            if let FaultWhat::Delay { node, by_us } = &window.what {
                self.extra_us[*node] = self.extra_us[*node].max(*by_us);
            }
            let Some((from, to, cut)) = sides(&window.what) else {
                continue;
            };
            for (from, to) in across(from, to) {
                let (there, back) = (from * self.nodes + to, to * self.nodes + from);
                match cut {
                    Cut::TwoSided => {
                        self.cuts[there] = Some(cut);
                        self.cuts[back] = Some(cut);
                    }
                    Cut::OneWay => drop(self.cuts[there].get_or_insert(cut)),
                }
            }
        }
    }

    /// Returns the cut of a way, if there is one.
    pub(super) fn cut(&self, from: usize, to: usize) -> Option<Cut> {
        self.cuts[from * self.nodes + to]
    }
    /// Whether a window of the kind that `rate` knows takes the message.
    pub(super) fn strikes(
        &mut self,
        from: usize,
        rate: impl Fn(&FaultWhat) -> Option<u32>,
    ) -> bool {
        for window in &mut self.windows {
            if let Some(ppm) = rate(&window.what) {
                let ppm = if std::mem::take(&mut window.fresh) {
                    CERTAIN
                } else {
                    ppm
                };
                if self.rngs[from].chance(ppm) {
                    return true;
                }
            }
        }
        false
    }

    /// By how much at most messages are late, in microseconds.
    pub(super) fn reorder_by(&self) -> u64 {
        let by = self.windows.iter().filter_map(|window| match window.what {
            FaultWhat::Reorder { by_us, .. } => Some(by_us),
            _ => None,
        });
        by.max().unwrap_or(0)
    }

    /// Whether nothing cuts the way.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        self.cut(from, to).is_none()
    }
}

/// The groups that a fault keeps apart, and how.
fn sides(what: &FaultWhat) -> Option<(&[usize], &[usize], Cut)> {
    match what {
        FaultWhat::Partition { left, right }
        | FaultWhat::Partial { left, right }
        | FaultWhat::Bridge { left, right }
        | FaultWhat::Flap { left, right, .. } => Some((left, right, Cut::TwoSided)),
        FaultWhat::OneWay { from, to } => Some((from, to, Cut::OneWay)),
        _ => None,
    }
}

/// All pairs from one group to another.
fn across<'a>(left: &'a [usize], right: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    left.iter()
        .flat_map(|from| right.iter().map(|to| (*from, *to)))
}
