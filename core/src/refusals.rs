//! Refusals: what a node was asked or told and did not take, counted by reason.

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $refusal:ident = $name:literal,)+) => {
        /// Why something from outside was refused. Rows that were acknowledged stay, and no ended generation comes back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[doc = $doc])+ $refusal,)+
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$refusal),+];

            /// Its name in metrics and reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Refusal::$refusal => $name,)+
                }
            }
        }
    };
}

refusals! {
    /// A context names an actor twice. The link was closed.
    ActorTwice = "actor-twice",
    /// A row or its dot is beyond what rows may be. The link was closed.
    BadRow = "bad-row",
    /// A page keeps rows that it was not asked to compare, or too many; or a peer asks with more dots than a node names. The link was closed.
    BadKept = "bad-kept",
    /// A message names ranges, or parts of the ring of members, that are too many or out of order. The link was closed.
    BadRange = "bad-range",
    /// A digest is not of the size that this version knows. The link was closed.
    BadDigest = "bad-digest",
    /// A row of a table that keeps siblings has versions that do not fit together. The link was closed.
    BadSiblings = "bad-siblings",
    /// Runs of counters overlap, are out of order, or out of range. The link was closed.
    BadRuns = "bad-runs",
    /// A table's name is empty, too long, or that of a table of another mode. The link was closed.
    BadTableName = "bad-table-name",
    /// A foreign clock is too far ahead to be followed. The row was taken.
    ClockAhead = "clock-ahead",
    /// Contexts name a row class twice. The link was closed.
    ClassTwice = "class-twice",
    /// A peer uses the id of a node that answers.
    IdInUse = "id-in-use",
    /// A message came from a generation that has been evicted.
    EvictedGeneration = "evicted-generation",
    /// A row or a context has a dot of this node's present boot that it has not issued.
    OwnDot = "own-dot",
    /// A peer greeted with an earlier generation of a member.
    SealedGeneration = "sealed-generation",
    /// A message asks for more claims than one may, or tells more. The link was closed.
    TooManyClaims = "too-many-claims",
    /// A message names more members than one may. The link was closed.
    TooManyRumors = "too-many-rumors",
    /// A row class that this version does not know. The link was closed.
    UnknownClass = "unknown-class",
    /// A table of the store's own that this version does not know. The link was closed.
    UnknownSystemTable = "unknown-system-table",
    /// A greeting carries rows of users. The link was closed.
    UsersRows = "users-rows-in-greeting",
    /// A client's write was refused because this node's clock is ahead of all others, beyond the drift limit.
    WriteClockAhead = "write-clock-ahead",
}
