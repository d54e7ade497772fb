//! Nodes with a planted bug, for a look at a run that breaks. Only a program built for it carries them.

#[cfg(feature = "mutants")]
use rumormill_sim::mutants;
use rumormill_sim::plan::Plan;
use rumormill_sim::{Keep, Report, World, report};

use crate::cli::PlantedBug;
use crate::failure::Failure;

/// The bug that every node of a run has; usually none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bug {
    #[cfg(feature = "mutants")]
    planted: Option<mutants::Bug>,
}

impl Bug {
    /// Finds the bug that the flag names.
    ///
    /// # Errors
    /// When no bug has that name, or when this program carries none.
    #[cfg(feature = "mutants")]
    pub(super) fn named(flag: &PlantedBug) -> Result<Bug, Failure> {
        let planted = flag.mutant.as_deref().map(find).transpose()?;
        Ok(Bug { planted })
    }

    /// The same without bugs: every name is refused.
    #[cfg(not(feature = "mutants"))]
    pub(super) fn named(flag: &PlantedBug) -> Result<Bug, Failure> {
        match flag.mutant {
            None => Ok(Bug {}),
            Some(_) => Err(none_here()),
        }
    }

    /// Makes the world of a plan, its nodes with the bug.
    pub(super) fn world(self, plan: Plan, keep: Keep) -> World {
        #[cfg(feature = "mutants")]
        if let Some(bug) = self.planted {
            return mutants::world(plan, bug, keep);
        }
        World::new(plan, keep)
    }

    /// Runs a plan on nodes with the bug.
    pub(super) fn run(self, plan: Plan, keep: Keep) -> Report {
        let (seed, kinds) = (plan.seed, plan.kinds());
        report(self.world(plan, keep), seed, kinds)
    }
}

/// Finds a planted bug by its name.
#[cfg(feature = "mutants")]
pub(super) fn find(name: &str) -> Result<mutants::Bug, Failure> {
    let found = mutants::Bug::all().find(|bug| bug.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = mutants::Bug::all().map(mutants::Bug::name).collect();
        Failure::Usage(format!(
            "no planted bug is called {name:?}: expected one of {}",
            names.join(", ")
        ))
    })
}

/// Says how to build a program with planted bugs.
#[cfg(not(feature = "mutants"))]
pub(super) fn none_here() -> Failure {
    let how = "cargo build --release -p rumormill-daemon --features mutants";
    Failure::Usage(format!(
        "this program was built without planted bugs; they come with: {how}"
    ))
}
