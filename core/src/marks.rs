//! Marks: rare branches, counted. A swarm of simulations that never reaches one has tested less than it seems.

macro_rules! marks {
    ($($(#[doc = $doc:literal])+ $mark:ident = $name:literal,)+) => {
        /// A branch that is taken rarely, and has to be taken by some simulation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Mark {
            $($(#[doc = $doc])+ $mark,)+
        }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Mark] = &[$(Mark::$mark),+];

            /// Its name in reports and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mark::$mark => $name,)+
                }
            }
        }
    };
}

impl Mark {
    /// Why no run of honest nodes on honest drivers has to reach it; `None` for marks that a swarm has to reach.
    pub const fn beyond_honest_runs(self) -> Option<&'static str> {
        match self {
            Mark::ProtocolViolation => Some("only a peer that breaks the protocol"),
            Mark::OwnDotFromOutside => Some("only a peer that makes up dots"),
            Mark::LoadUnknown => Some("only a driver that answers what it was not asked"),
            Mark::OtherCluster => {
                Some("only an operator that joins two clusters that both have members")
            }
            Mark::PushBeforeJoined => {
                Some("only the moment in which a cluster that broke in two becomes one again")
            }
            Mark::EvictionOutranked => {
                Some("only operators of two sides that force-evict each other")
            }
            Mark::RejoinUnreadable => {
                Some("only a store that is damaged between a start and the rejoin after it")
            }
            _ => None,
        }
    }
}

marks! {
    /// All members are rejoining, and the one that left last goes on.
    RejoiningResumes = "rejoining-resumes",
    /// A boot began with less than the node once claimed.
    Behind = "behind",
    /// This node's store does not go back to a claim of its own.
    OlderCopy = "older-copy",
    /// The number of a claim on which deletes were freed came with the coverage of a member.
    ClaimNumberTakenOver = "claim-number-taken-over",
    /// No member of a part that rows were to be passed on to had room on its link.
    BranchCongested = "branch-congested",
    /// A claim came as contexts, and not as an equal hash.
    ClaimByContext = "claim-by-context",
    /// A dead row of siblings stayed because it names writes that have not come.
    DeadSiblingKept = "dead-sibling-kept",
    /// A drop marker has taken a row of siblings that names writes which have not come, and it stayed as a delete.
    DroppedSeenKept = "dropped-seen-kept",
    /// A claim came that does not lie within what this node has seen yet, and was kept or not needed.
    ClaimEarly = "claim-early",
    /// A claim came that another member passed on.
    ClaimByRelay = "claim-by-relay",
    /// Claims of members without a link were asked for.
    ClaimAsked = "claim-asked",
    /// Claims of other members were passed on.
    ClaimRelayed = "claim-relayed",
    /// A foreign clock was too far ahead to be followed.
    ClockDrift = "clock-drift",
    /// Stored rows or contexts were damaged.
    DamagedRecords = "damaged-records",
    /// A digest differed from this node's: contexts were exchanged in part.
    DigestDiffers = "digest-differs",
    /// A write took in the delete of a sibling.
    DeleteTakenIn = "delete-taken-in",
    /// A member has a name that another had before.
    DuplicateName = "duplicate-name",
    /// A majority did not agree to an eviction.
    EvictionFailed = "eviction-failed",
    /// This node learned of an eviction against it by a smaller side, and went on.
    EvictionOutranked = "eviction-outranked",
    /// Two nodes that meet have not heard of the same evictions.
    EvictionsAsked = "evictions-asked",
    /// This node agreed to an eviction.
    EvictionAgreed = "eviction-agreed",
    /// This node did not agree to an eviction.
    EvictionRefused = "eviction-refused",
    /// This node evicted a member.
    Evicts = "evicts",
    /// This node learned that its generation had been ended by others.
    Evicted = "evicted",
    /// A node began without a past.
    FirstBoot = "first-boot",
    /// A drop marker removed rows.
    DropMarkerSwept = "drop-marker-swept",
    /// Two nodes that look for a cluster met, and both look on.
    FoundingWaits = "founding-waits",
    /// A dot that an IHAVE named did not come, and was asked for.
    GraftSent = "graft-sent",
    /// Rows that a peer asked for by their dots were sent to it.
    GraftServed = "graft-served",
    /// A peer did not greet in time.
    GreetingTimeout = "greeting-timeout",
    /// This node began to enter another's cluster.
    JoinBegins = "join-begins",
    /// This node, which looked for a cluster, begins one because it was told to.
    Founds = "founds",
    /// A join was asked for through an address where a linked node answers.
    JoinLinked = "join-linked",
    /// A greeting was no longer true when the answer came.
    JoinRetry = "join-retry",
    /// This node wrote rows while it entered a cluster, below what that has freed: it enters by a rejoin.
    JoinWroteBelow = "join-wrote-below",
    /// This node became a member of another's cluster.
    Joined = "joined",
    /// This node began to leave.
    LeaveBegins = "leave-begins",
    /// A store that was restored from a checkpoint got a node of its own.
    Restored = "restored",
    /// An operator let a node that was rejoining go on by itself.
    Resumes = "resumes",
    /// A peer was refused and told why.
    PeerDenied = "peer-denied",
    /// This node lacks what a leaver hands over, and fetches it.
    TakeoverLacks = "takeover-lacks",
    /// A leave ran out of time before enough others had everything.
    LeaveCut = "leave-cut",
    /// The driver said that a link is full.
    LinkCongested = "link-congested",
    /// A peer sent bytes that are no message.
    LinkMalformed = "link-malformed",
    /// A value was overtaken while it was loaded, and is loaded anew.
    LoadAgain = "load-again",
    /// A value could not be read from the store.
    LoadFailed = "load-failed",
    /// A load came back when its row was in memory again or gone.
    LoadNeedless = "load-needless",
    /// A load came back that this node had not asked for.
    LoadUnknown = "load-unknown",
    /// A member was taken for dead.
    MemberDown = "member-down",
    /// A member left.
    MemberLeft = "member-left",
    /// A member was suspected.
    MemberSuspect = "member-suspect",
    /// A peer belongs to another cluster that has members.
    OtherCluster = "other-cluster",
    /// A peer sent a dot of this node's present boot that it has not issued.
    OwnDotFromOutside = "own-dot-from-outside",
    /// A page of a session waited for values from the store.
    PageWaitsForLoads = "page-waits-for-loads",
    /// A peer broke the protocol.
    ProtocolViolation = "protocol-violation",
    /// A session was asked for again, in a message that came twice or late.
    PullRepeated = "pull-repeated",
    /// Rows were pushed to a node that is no full member yet.
    PushBeforeJoined = "push-before-joined",
    /// A request waited behind the load of its key.
    RequestWaitsForLoad = "request-waits-for-load",
    /// A member that was asked for what differs has rows that were lost or replaced here: it was asked again.
    RejoinAgain = "rejoin-again",
    /// A rejoin waited for a member that has all that the node once had.
    RejoinPutOff = "rejoin-put-off",
    /// A rejoin lost a row whose value could not be read.
    RejoinUnreadable = "rejoin-unreadable",
    /// A rejoin waited for values from the store.
    RejoinWaitsForLoads = "rejoin-waits-for-loads",
    /// A rejoin is complete.
    Rejoined = "rejoined",
    /// A member showed the same rows after all, or changed before it could say which.
    RepairEnds = "repair-ends",
    /// A row was written again whose value had to be loaded for that.
    RenewalLoaded = "renewal-loaded",
    /// A row came back, or gave way to a newer one, although contexts agreed.
    RowRepaired = "row-repaired",
    /// A row was passed on whose author's generation had ended.
    RowOfEndedGeneration = "row-of-ended-generation",
    /// A row came that a drop marker had removed already.
    RowBelowDropMarker = "row-below-drop-marker",
    /// A row that had expired ended.
    RowExpired = "row-expired",
    /// A row was hidden, because its expiry had come by this node's clock.
    RowHidden = "row-hidden",
    /// A hidden row showed again, because this node's clock went back.
    RowShownAgain = "row-shown-again",
    /// Rows of a large cluster were passed on.
    RowsForwarded = "rows-forwarded",
    /// A row was written again, because a member showed what it had replaced.
    RowRenewed = "row-renewed",
    /// A row that was accepted before the definition of its table came became a sibling.
    StrayMoved = "stray-moved",
    /// A row took the place of one of the other table of its name.
    TwinReplaced = "twin-replaced",
    /// A row came that lost against the one that is here.
    RowLost = "row-lost",
    /// A session brought everything.
    SessionComplete = "session-complete",
    /// Too many keys changed under a session.
    SessionOverflow = "session-overflow",
    /// A session was asked for that cannot be served now.
    SessionRefused = "session-refused",
    /// A session fell silent.
    SessionTimeout = "session-timeout",
    /// A session was refused because a value could not be read.
    SessionUnreadable = "session-unreadable",
    /// Another value of a setting is in force.
    SettingChanged = "setting-changed",
    /// A value that the cluster has set is not in force.
    SettingIgnored = "setting-ignored",
    /// A client's write left siblings.
    SiblingAdded = "sibling-added",
    /// A row came that left siblings.
    SiblingsMerged = "siblings-merged",
    /// A write was refused because its key has too many siblings.
    SiblingsRefused = "siblings-refused",
    /// Versions that were replaced beside a live sibling were forgotten, because every member has the newer ones.
    SiblingsForgotten = "siblings-forgotten",
    /// This node refuted a suspicion.
    SuspicionRefuted = "suspicion-refuted",
    /// A flush has deleted a row above its drop marker.
    FlushedAhead = "flushed-ahead",
    /// A tombstone was freed.
    TombstoneFreed = "tombstone-freed",
}
