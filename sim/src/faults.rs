//! The kinds of faults, and sets of them as the command line names them.

use std::fmt;
use std::str::FromStr;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Messages are lost.
    Loss,
    /// Messages arrive twice.
    Dup,
    /// Messages overtake each other.
    Reorder,
    /// One node's messages take long.
    Delay,
    /// Two sides cannot reach each other.
    Partition,
    /// One side cannot reach the other, which can.
    OneWay,
    /// A node loses its power and comes back.
    Crash,
    /// A node's clocks are wrong.
    Skew,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 8] = [
        FaultKind::Loss,
        FaultKind::Dup,
        FaultKind::Reorder,
        FaultKind::Delay,
        FaultKind::Partition,
        FaultKind::OneWay,
        FaultKind::Crash,
        FaultKind::Skew,
    ];

    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            FaultKind::Loss => "loss",
            FaultKind::Dup => "dup",
            FaultKind::Reorder => "reorder",
            FaultKind::Delay => "delay",
            FaultKind::Partition => "partition",
            FaultKind::OneWay => "oneway",
            FaultKind::Crash => "crash",
            FaultKind::Skew => "skew",
        }
    }

    /// The fewest nodes among which it can strike.
    pub(crate) const fn least_nodes(self) -> usize {
        match self {
            FaultKind::Crash | FaultKind::Skew => 1,
            FaultKind::Loss
            | FaultKind::Dup
            | FaultKind::Reorder
            | FaultKind::Delay
            | FaultKind::Partition
            | FaultKind::OneWay => 2,
        }
    }
}

/// A set of fault kinds. Its text form is `none`, `all`, or names with commas between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u32);

impl FaultSet {
    /// No fault at all.
    pub const NONE: FaultSet = FaultSet(0);
    /// Every kind.
    pub const ALL: FaultSet = FaultSet((1 << FaultKind::ALL.len()) - 1);

    /// The set with `kind` in it.
    #[must_use]
    pub const fn with(self, kind: FaultKind) -> Self {
        FaultSet(self.0 | (1 << kind as u8))
    }

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: FaultKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = FaultKind> {
        FaultKind::ALL
            .into_iter()
            .filter(move |kind| self.contains(*kind))
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            FaultSet::NONE => f.write_str("none"),
            FaultSet::ALL => f.write_str("all"),
            _ => {
                for (i, kind) in self.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}", kind.name())?;
                }
                Ok(())
            }
        }
    }
}

/// A word that names no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFault(
    /// The word.
    pub String,
);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown fault {:?}: expected none, all, or some of ",
            self.0
        )?;
        for (i, kind) in FaultKind::ALL.into_iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "," }, kind.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownFault {}

impl FromStr for FaultSet {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        match text {
            "none" => return Ok(FaultSet::NONE),
            "all" => return Ok(FaultSet::ALL),
            _ => {}
        }
        text.split(',')
            .map(str::trim)
            .try_fold(FaultSet::NONE, |set, word| {
                let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == word);
                kind.map(|kind| set.with(kind))
                    .ok_or_else(|| UnknownFault(word.to_string()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_read_back_as_written() {
        for text in ["none", "all", "loss", "dup,crash,skew"] {
            assert_eq!(text.parse::<FaultSet>().unwrap().to_string(), text);
        }
        assert_eq!(
            "loss,lightning".parse::<FaultSet>(),
            Err(UnknownFault("lightning".to_string()))
        );
    }
}
