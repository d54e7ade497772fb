//! A counterexample, and its words.

use std::fmt;

use super::problem::Problem;
use super::search::Deepest;
use super::{Counterexample, Judged, SHOWN, Undecided, Verdict};
use crate::history::Operation;

/// Turns the furthest that any order goes into what a person can check.
pub(super) fn explain(
    operations: &[&Operation],
    problem: &Problem,
    deepest: &Deepest,
) -> Counterexample {
    let operation = |number: &usize| operations[problem.candidates[*number].operation].clone();
    let stuck = problem.answers[deepest.answer];
    let unknown = &problem.unknown[..problem.unknown_called[deepest.answer]];
    let open = problem.open[deepest.answer].iter().chain(unknown);
    Counterexample {
        stuck: operation(&stuck),
        linearized: deepest.linearized,
        last: deepest.last.iter().map(operation).collect(),
        could_hold: deepest
            .states
            .iter()
            .map(|value| problem.values[*value as usize].clone())
            .collect(),
        open: open
            .filter(|number| **number != stuck && !deepest.placed.contains(number))
            .take(SHOWN)
            .map(operation)
            .collect(),
    }
}

impl Verdict {
    /// The verdict in one word.
    pub const fn name(&self) -> &'static str {
        match self {
            Verdict::Linearizable => "linearizable",
            Verdict::Broken(_) => "not linearizable",
            Verdict::Undecided(_) => "undecided",
        }
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Undecided::Steps => "the search reached its limit of steps",
            Undecided::Overlap => "too many calls overlap",
        })
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judged {
            key,
            operations,
            steps,
            verdict,
        } = self;
        let name = verdict.name();
        write!(
            f,
            "key {key}: {name} ({operations} operations, {steps} steps)"
        )?;
        match verdict {
            Verdict::Linearizable => Ok(()),
            Verdict::Undecided(why) => write!(f, "\n  {why}"),
            Verdict::Broken(found) => write!(f, "\n{found}"),
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stuck = &self.stuck;
        write!(f, "  {stuck} fits nowhere:")?;
        if let Some((_, end)) = stuck.ended {
            let line = end.line;
            write!(f, " line {line} ends the shortest prefix that has no order")?;
        }
        write!(f, "\n  what comes before has one, of {}", self.linearized)?;
        if self.last.len() < self.linearized {
            write!(f, ", which ends with")?;
        }
        list(f, &self.last)?;
        let could_hold: Vec<&str> = self
            .could_hold
            .iter()
            .map(|value| value.as_json())
            .collect();
        write!(
            f,
            "\n  the register could then hold {}",
            could_hold.join(" or ")
        )?;
        if !self.open.is_empty() {
            write!(f, "\n  also open then")?;
            list(f, &self.open)?;
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, operations: &[Operation]) -> fmt::Result {
    operations
        .iter()
        .try_for_each(|operation| write!(f, "\n    {operation}"))
}
