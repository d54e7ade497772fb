//! Planted bugs: each takes away one rule, so that the simulator can prove that its checkers notice.
//!
//! They exist only in builds with the feature `mutants`, which no other build turns on, and only one is awake at a time
//! (the field `mutant` of the configuration).

/// Whether a planted bug is awake. Without the feature it is the constant `false` and leaves no trace in the program.
macro_rules! mutated {
    ($effects:expr, $mutant:ident) => {{
        #[cfg(feature = "mutants")]
        let awake = $effects.mutant == Some($crate::mutants::Mutant::$mutant);
        #[cfg(not(feature = "mutants"))]
        let awake = {
            let _ = &$effects;
            false
        };
        awake
    }};
}
pub(crate) use mutated;

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $mutant:ident = $name:literal,)+) => {
        /// A planted bug.
        #[cfg(feature = "mutants")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Mutant {
            $($(#[doc = $doc])+ $mutant,)+
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$mutant),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mutant::$mutant => $name,)+
                }
            }

            /// Returns a description of its fault.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Mutant::$mutant => concat!($($doc),+),)+
                }
            }
        }
    };
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// Whether it does harm so seldom that a swarm of some thousand seeds may not see it: several things have to go wrong in a
    /// certain order. Or none at all, where direct contact heals the harm before the end: those have tests of their own.
    pub const fn is_rare(self) -> bool {
        matches!(
            self,
            Mutant::AgreesTwice
                | Mutant::AwayExpires
                | Mutant::ClaimClockIgnored
                | Mutant::DamageFounds
                | Mutant::DamageUnnoted
                | Mutant::HiddenForGood
                | Mutant::NonceEchoed
                | Mutant::RedefinedUntold
                | Mutant::StepBackUnseen
                | Mutant::DeadSiblingFreed
                | Mutant::NewestDotAwaited
                | Mutant::JoinerWritesBelow
                | Mutant::AgreedTimeIgnored
                | Mutant::FreedUnbeaten
                | Mutant::BeliefToldOnce
                | Mutant::DeadForwarded
                | Mutant::EndedForwarded
                | Mutant::ExpiresByOwnClock
                | Mutant::FloorForgotten
                | Mutant::FloorForgetsSeen
                | Mutant::FloorFreedUnasked
                | Mutant::FlushLeavesAhead
                | Mutant::FlushPassesHidden
                | Mutant::FoundsUntold
                | Mutant::HalfIsEnough
                | Mutant::HearsayRevives
                | Mutant::HolderGoneUnseen
                | Mutant::LostLeaverCounted
                | Mutant::NameForgottenEarly
                | Mutant::NamesakeByClock
                | Mutant::OldLinkKept
                | Mutant::ClaimsOutOfOrder
                | Mutant::IdStaysBehind
                | Mutant::LaterDefinitionWins
                | Mutant::MovedAnew
                | Mutant::RecordStays
                | Mutant::StraysKept
                | Mutant::TwinStands
                | Mutant::HiddenDeleteIgnored
                | Mutant::HiddenSentDead
                | Mutant::JoinerExpires
                | Mutant::JoinsForEver
                | Mutant::JumpBelieved
                | Mutant::LeaverTakesRows
                | Mutant::LeaverUncounted
                | Mutant::NamesakeWithDiskEnded
                | Mutant::OldLifeDefended
                | Mutant::RelayedClaimOutlives
                | Mutant::ResumeUnrecorded
                | Mutant::ScopeOutdated
                | Mutant::TellingsLast
                | Mutant::SkewUntold
                | Mutant::TakenOverUnsynced
        )
    }
}

mutants! {
    /// A proof of any nonce brings a link up.
    ProofUnchecked = "proof-unchecked",
    /// A nonce that a peer sends back as its own brings a link up.
    NonceEchoed = "nonce-echoed",
    /// All handshakes of a node have one nonce.
    NonceRepeated = "nonce-repeated",
    /// A leaver goes on taking rows, so that its record does not say what it holds.
    LeaverTakesRows = "leaver-takes-rows",
    /// A member says that it holds what a leaver hands over before that is synced.
    TakenOverUnsynced = "taken-over-unsynced",
    /// A node begins a cluster because its seed leads back to it at the moment.
    FoundsUntold = "founds-untold",
    /// A node that looked for a cluster in vain goes on looking when it is started again without seeds.
    JoinsForEver = "joins-for-ever",
    /// The dot of every fifth row from elsewhere is not covered.
    DroppedDot = "dropped-dot",
    /// A row whose dot is covered already merges again.
    ObsoleteMerges = "obsolete-merges",
    /// The version that arrives last wins.
    LastArrivalWins = "last-arrival-wins",
    /// A version that a member shows although it was replaced is not replaced anew.
    RepairUnwritten = "repair-unwritten",
    /// A write wins over a delete, whatever their versions.
    PresenceWins = "presence-wins",
    /// A node whose clock is ahead of all others accepts writes.
    ClockAheadWrites = "clock-ahead-writes",
    /// No node tells of a wrong wall clock.
    SkewUntold = "skew-untold",
    /// Clocks of rows from elsewhere are not followed.
    ClockUnfollowed = "clock-unfollowed",
    /// A local write takes the wall clock, and not the larger of it and the row's.
    WallClockWrites = "wall-clock-writes",
    /// Rows at or below a floor merge.
    FloorIgnored = "floor-ignored",
    /// A floor leaves the rows that are there already.
    FloorUnswept = "floor-unswept",
    /// The floor of a table is freed before other members have it.
    FloorFreedUnasked = "floor-freed-unasked",
    /// A floor drops rows of siblings with all that they knew.
    FloorForgetsSeen = "floor-forgets-seen",
    /// A flush leaves the rows whose clocks are ahead of its own.
    FlushLeavesAhead = "flush-leaves-ahead",
    /// A flush leaves the rows that are hidden, because they have expired, before it has come to them.
    FlushPassesHidden = "flush-passes-hidden",
    /// The name of a table is forgotten while its end is in the log of changes.
    NameForgottenEarly = "name-forgotten-early",
    /// A floor written under a session is not sent at its end.
    FloorForgotten = "floor-forgotten",
    /// A session's contexts are adopted when its last page comes, whether or not the others have.
    AdoptEarly = "adopt-early",
    /// The last of the parts in which contexts differ from a digest is not named.
    ScopeCut = "scope-cut",
    /// Rows that have changed since the scope of a session was named are not part of the session.
    ScopeOutdated = "scope-outdated",
    /// Members whose rows differ while their contexts agree do not notice.
    LossUnseen = "loss-unseen",
    /// A session that is asked for twice is served twice, and its pages are mixed up.
    PullRepeated = "pull-repeated",
    /// A session leaves out the last row of each run of dots.
    LastDotUnsent = "last-dot-unsent",
    /// A session leaves out rows of memory tables.
    SnapshotWithoutMemory = "snapshot-without-memory",
    /// A row replaced under a session is not sent at its end.
    ReplacedForgotten = "replaced-forgotten",
    /// Seen dots are claimed before they are synced.
    ClaimBeforeSync = "claim-before-sync",
    /// Written rows count as durable at once.
    DurableAtOnce = "durable-at-once",
    /// A sync counts for batches that came after it began.
    WatermarkAhead = "watermark-ahead",
    /// A write to a synced table is acknowledged at once.
    AckBeforeSync = "ack-before-sync",
    /// Tombstones are freed two seconds after the delete.
    FreedByTime = "freed-by-time",
    /// Members that are down are not asked whether a tombstone may go.
    FreedWithoutDown = "freed-without-down",
    /// A claim counts although the claimant has seen what this node has not.
    ClaimNotWithin = "claim-not-within",
    /// A claim counts for deletes whose clock the claimant has not reached.
    ClaimClockIgnored = "claim-clock-ignored",
    /// A node that is still joining claims like a member.
    JoinerClaims = "joiner-claims",
    /// A member that is asked for the claim of another does not pass it on.
    ClaimNotRelayed = "claim-not-relayed",
    /// A claim that is passed on counts although the life that made it has ended.
    RelayedClaimOutlives = "relayed-claim-outlives",
    /// A node that left comes back without a reunion.
    ReunionSkipped = "reunion-skipped",
    /// A reunion proposes what the member has deleted.
    ReunionRevives = "reunion-revives",
    /// A reunion does not raise clocks above what the member has freed.
    ReunionKeepsClock = "reunion-keeps-clock",
    /// A reunion keeps coverage of dots that the member lacks.
    ReunionKeepsCoverage = "reunion-keeps-coverage",
    /// A reunion takes any member, also one that lacks what the node held.
    ReunionNotPutOff = "reunion-not-put-off",
    /// A new life has the epoch of the last one.
    RevivedEpoch = "revived-epoch",
    /// A new life issues the dots of the last one again.
    ReusedDots = "reused-dots",
    /// A restart begins below clocks that were issued.
    CeilingIgnored = "ceiling-ignored",
    /// Deletes are not stored.
    TombstoneNotStored = "tombstone-not-stored",
    /// A damaged row is dropped, and its dot stays covered.
    DamageTrusted = "damage-trusted",
    /// That rows were lost is forgotten with the life that found it out.
    DamageUnnoted = "damage-unnoted",
    /// A node that has lost rows, and finds no member, begins a cluster without them.
    DamageFounds = "damage-founds",
    /// Members that disagree do not notice.
    MismatchUnseen = "mismatch-unseen",
    /// The hash of what was seen leaves memory tables out.
    HashWithoutMemory = "hash-without-memory",
    /// A member that was taken for dead and answers stays dead.
    DownForever = "down-forever",
    /// A member that is taken for dead is asked for directly alone, and not through others.
    DownUnasked = "down-unasked",
    /// A belief about a member counts as told though there was no link to tell it over.
    BeliefToldOnce = "belief-told-once",
    /// A node that was evicted and is back refutes what is said of the life before, and nothing that is said of this one.
    OldLifeDefended = "old-life-defended",
    /// A node that is accused does not refute it.
    RefutationIgnored = "refutation-ignored",
    /// A dead member comes back when anybody says that it was alive.
    HearsayRevives = "hearsay-revives",
    /// A greeting's members are not recorded.
    PeersUnrecorded = "peers-unrecorded",
    /// A change that replaces a row is not logged.
    ChangeUnlogged = "change-unlogged",
    /// Writes are accepted however far the store lags behind.
    BacklogUnbounded = "backlog-unbounded",
    /// A new life goes by its own configuration until a setting changes.
    SettingsForgotten = "settings-forgotten",
    /// A member is evicted without waiting for a majority.
    EvictWithoutMajority = "evict-without-majority",
    /// A new life without a disk leaves the old one of its name and address among the members.
    NamesakeStays = "namesake-stays",
    /// A new life ends the old one of its name and address though that keeps something on disk.
    NamesakeWithDiskEnded = "namesake-with-disk-ended",
    /// A new life ends the old one of its name and address only if that has the earlier clock.
    NamesakeByClock = "namesake-by-clock",
    /// A link that was made before its peer began another life is kept.
    OldLinkKept = "old-link-kept",
    /// A leaver does not notice that members which hold the record of its leave hold all of its rows.
    HolderGoneUnseen = "holder-gone-unseen",
    /// A leaver is waited for though its last state was declared lost.
    LostLeaverCounted = "lost-leaver-counted",
    /// A member agrees with each of two that want to evict each other.
    AgreesTwice = "agrees-twice",
    /// An evicted node goes on in another life without a reunion.
    EvictedHeard = "evicted-heard",
    /// A leaver is not waited for, though no member has all that it held.
    LeaverUncounted = "leaver-uncounted",
    /// A leave waits for no member to take over what the leaver holds.
    LeaveUnasked = "leave-unasked",
    /// A node that goes on by itself writes no record of it.
    ResumeUnrecorded = "resume-unrecorded",
    /// Rows that are to be passed on are not.
    ForwardUnsent = "forward-unsent",
    /// Rows of `memory` tables that a delete or a floor has taken are passed on.
    DeadForwarded = "dead-forwarded",
    /// Rows that are passed on count though their author's life has ended.
    EndedForwarded = "ended-forwarded",
    /// Dots that a notice names and that do not come are not asked for.
    GraftUnsent = "graft-unsent",
    /// Dots that a notice names count as seen.
    NoticeCovers = "notice-covers",
    /// Rows that end vanish at once instead of becoming tombstones.
    ExpiryVanishes = "expiry-vanishes",
    /// A row ends when this node's own clock has passed its expiry.
    ExpiresByOwnClock = "expires-by-own-clock",
    /// A row ends when the clocks of half of the members have passed its expiry.
    HalfIsEnough = "half-is-enough",
    /// The last telling of a member's clock counts for ever.
    TellingsLast = "tellings-last",
    /// A clock is believed as soon as it has jumped.
    JumpBelieved = "jump-believed",
    /// A settled clock does not notice that the wall clock went back until the next half minute begins.
    StepBackUnseen = "step-back-unseen",
    /// A row that is hidden is not shown again when the clock goes back.
    HiddenForGood = "hidden-for-good",
    /// A node that is away ends rows.
    AwayExpires = "away-expires",
    /// A node that is still joining ends rows.
    JoinerExpires = "joiner-expires",
    /// Sessions send hidden rows as tombstones.
    HiddenSentDead = "hidden-sent-dead",
    /// A delete of a hidden row writes nothing.
    HiddenDeleteIgnored = "hidden-delete-ignored",
    /// A merge keeps only the newest sibling.
    SiblingLost = "sibling-lost",
    /// A dead row of siblings is freed although it names writes that have not come here.
    DeadSiblingFreed = "dead-sibling-freed",
    /// A claim is awaited for the newest version of a row with siblings alone, while the row is freed once all its versions are claimed.
    NewestDotAwaited = "newest-dot-awaited",
    /// A node that enters a cluster and writes under its session keeps clocks that are below what the cluster has freed.
    JoinerWritesBelow = "joiner-writes-below",
    /// A node whose wall clock is behind those of most members follows no clock beyond its own drift limit.
    AgreedTimeIgnored = "agreed-time-ignored",
    /// A write to a key without a row does not look at what has been freed.
    FreedUnbeaten = "freed-unbeaten",
    /// A request by an id that was given out before the definition came goes to the table that the name meant then.
    IdStaysBehind = "id-stays-behind",
    /// Rows that were accepted before the definition of their table came are not moved.
    StraysKept = "strays-kept",
    /// A row that was accepted before the definition of its table came is another sibling each time that it is moved.
    MovedAnew = "moved-anew",
    /// The later of two definitions made at once counts, also when it keeps no siblings.
    LaterDefinitionWins = "later-definition-wins",
    /// Watchers are not told that the name of their table means another one from now on.
    RedefinedUntold = "redefined-untold",
    /// A version that is here is not replaced by one of the other table of its name.
    TwinStands = "twin-stands",
    /// A version that is not stored leaves the record of the stored one that it replaces.
    RecordStays = "record-stays",
    /// Versions that are not stored are claimed before stored versions that they have replaced.
    ClaimsOutOfOrder = "claims-out-of-order",
    /// A write replaces nothing, whatever its author has seen.
    ContextIgnored = "context-ignored",
}
