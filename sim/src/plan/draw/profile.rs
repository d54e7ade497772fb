//! The subjects of a swarm's plans.

use std::fmt;
use std::str::FromStr;

use crate::plan::Plan;

/// A family of plans, of which each seed draws one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Many kinds of faults within half a minute: [`Plan::swarm`].
    #[default]
    Gossip,
    /// Minutes of steps of the wall clocks, restarts and partial partitions, with rows that live long: [`Plan::long`].
    Long,
    /// Tables that are used by name before their definitions come: [`Plan::names`].
    Names,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Profile; 3] = [Profile::Gossip, Profile::Long, Profile::Names];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Gossip => "gossip",
            Profile::Long => "long",
            Profile::Names => "names",
        }
    }

    /// Draws the plan that a seed stands for.
    pub fn plan(self, seed: u64) -> Plan {
        match self {
            Profile::Gossip => Plan::swarm(seed),
            Profile::Long => Plan::long(seed),
            Profile::Names => Plan::names(seed),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {0:?}: expected {names}", names = Profile::ALL.map(Profile::name).join(" or "))]
pub struct UnknownProfile(
    /// The word.
    pub String,
);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        let named = Profile::ALL
            .into_iter()
            .find(|profile| profile.name() == text);
        named.ok_or_else(|| UnknownProfile(text.to_string()))
    }
}
