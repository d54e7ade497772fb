//! A measured quantity beside what it is measured against.

/// The goal of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this.
    Limit(f64),
    /// At most this many times the bound.
    Times(f64),
    /// At most so many times the bound, and so much more.
    TimesAnd(f64, f64),
    /// There is none.
    None,
}

/// A measured quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its value; `None` when the awaited event did not happen, which misses every goal.
    pub value: Option<f64>,
    /// The bound that theory gives for it, where it does.
    pub bound: Option<f64>,
    /// Its goal.
    pub goal: Goal,
}

impl Figure {
    pub(super) fn new(name: &'static str, unit: &'static str, value: Option<f64>) -> Self {
        Figure {
            name,
            unit,
            value,
            bound: None,
            goal: Goal::None,
        }
    }

    pub(super) fn bound(mut self, bound: f64) -> Self {
        self.bound = Some(bound);
        self
    }

    pub(super) fn goal(mut self, goal: Goal) -> Self {
        self.goal = goal;
        self
    }

    /// The goal as a number in the figure's unit, if there is one.
    pub fn limit(&self) -> Option<f64> {
        let bound = self.bound.unwrap_or_default();
        match self.goal {
            Goal::Limit(limit) => Some(limit),
            Goal::Times(factor) => Some(bound * factor),
            Goal::TimesAnd(factor, more) => Some(bound * factor + more),
            Goal::None => None,
        }
    }

    /// Whether the goal is met, if there is one.
    pub fn met(&self) -> Option<bool> {
        let limit = self.limit()?;
        Some(self.value.is_some_and(|value| value <= limit))
    }
}

/// The value that `per_mille` thousandths of the values do not exceed.
pub(super) fn percentile(values: &mut [u64], per_mille: usize) -> Option<u64> {
    values.sort_unstable();
    let rank = (values.len() * per_mille).div_ceil(1_000).max(1);
    values.get(rank - 1).copied()
}
