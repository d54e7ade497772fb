//! The rules of the protocol, each under the planted bug that takes it away: one table, so that no bug of the core is without a rule.
//!
//! A condition asks for the rule it keeps (`rules.drops_obsolete() && ...`), which is the constant `true` in every build without the feature
//! `mutants`. The numbered rules are those of `core/src/table/gossip/README.md`.

use crate::config::Config;
use crate::mutants::rules;

impl Rules {
    /// Returns the rules that a node with this configuration keeps: all of them, but for the planted bug that is awake.
    pub(crate) const fn of(config: &Config) -> Rules {
        #[cfg(not(feature = "mutants"))]
        let _ = config;
        Rules {
            #[cfg(feature = "mutants")]
            broken: config.mutant,
        }
    }

    /// Returns all rules without the one that a planted bug takes away.
    #[cfg(all(test, feature = "mutants"))]
    pub(crate) const fn without(mutant: Mutant) -> Rules {
        Rules {
            broken: Some(mutant),
        }
    }
}

rules! {
    // Streams, and so the rules of handshakes, are only there with the standard library.
    #![cfg_attr(not(feature = "std"), allow(dead_code))]

    // Links between nodes.
    /// Brings a link up only for a proof of the nonce that this side has drawn.
    checks_proofs, ProofUnchecked = "proof-unchecked", "A proof of any nonce brings a link up.";
    /// Refuses a peer whose nonce is this side's own: it could prove it by sending this side's bytes back.
    refuses_own_nonce, NonceEchoed = "nonce-echoed", "A nonce that a peer sends back as its own brings a link up.", rare;
    /// Draws a nonce of its own for each handshake.
    draws_nonces, NonceRepeated = "nonce-repeated", "All handshakes of a node have one nonce.";
    /// Closes a link that was made before its peer began another generation: claims of that generation need another link.
    closes_old_links, OldLinkKept = "old-link-kept", "A link that was made before its peer began another generation is kept.", rare;
    /// Records the members that a greeting names before a row passes. Rule 5.
    records_peers, PeersUnrecorded = "peers-unrecorded", "A greeting's members are not recorded.";

    // Beginning a cluster, leaving it and coming back.
    /// Begins a cluster only where an operator said so, though a seed leads back to this node.
    founds_when_told, FoundsUntold = "founds-untold", "A node begins a cluster because its seed leads back to it at the moment.", rare;
    /// Begins a cluster when a node that looked for one in vain is started again without seeds.
    founds_without_seeds, JoinsForEver = "joins-for-ever", "A node that looked for a cluster in vain goes on looking when it is started again without seeds.", rare;
    /// Begins no cluster while rows are missing here, since it would hide that they are.
    damaged_founds_none, DamageFounds = "damage-founds", "A node that has lost rows, and finds no member, begins a cluster without them.", rare;
    /// Stores that rows were lost until the node has rejoined.
    notes_damage, DamageUnnoted = "damage-unnoted", "That rows were lost is forgotten with the boot that found it out.", rare;
    /// Begins a boot with the stored settings.
    restores_settings, SettingsForgotten = "settings-forgotten", "A new boot goes by its own configuration until a setting changes.";
    /// Begins each boot in a later generation than the last one.
    raises_generation, RevivedGeneration = "revived-generation", "A new boot has the generation of the last one.";
    /// Issues dots of a new boot under a boot number of its own. Rule 10.
    renews_dots, ReusedDots = "reused-dots", "A new boot issues the dots of the last one again.";
    /// Takes no rows of users' tables once this node leaves, so that its record says all that it holds.
    leavers_take_no_rows, LeaverTakesRows = "leaver-takes-rows", "A leaver goes on taking rows, so that its record does not say what it holds.", rare;
    /// Says that this node holds the rows of a leaver once they are synced.
    syncs_takeovers, TakenOverUnsynced = "taken-over-unsynced", "A member says that it holds what a leaver hands over before that is synced.", rare;
    /// Counts a member that holds the record of a leave as a holder of the leaver's rows: the record names them all.
    departures_name_holders, HolderGoneUnseen = "holder-gone-unseen", "A leaver does not notice that members which hold the record of its leave hold all of its rows.", rare;
    /// Ends a leave once other members have taken over the leaver's rows, or its time is up.
    leaves_after_takeover, LeaveUnasked = "leave-unasked", "A leave waits for no member to take over what the leaver holds.";
    /// Halts for a stop once the last batch is durable.
    stops_once_durable, StopUnsynced = "stop-unsynced", "A node stops before its last batch is synced.", rare;
    /// Pushes what this node has accepted before it stops.
    stops_after_pushes, StopUnpushed = "stop-unpushed", "A node stops with rows that it has accepted and has not pushed.", rare;
    /// Begins no leave once this node stops.
    stops_without_leave, StopLeaves = "stop-leaves", "A node that stops begins a leave that it is asked for, and comes back as one that has left.", rare;
    /// Takes no write of a client once this node stops.
    stopping_takes_no_writes, StopWrites = "stop-writes", "A node that stops goes on taking writes.", rare;
    /// Records that a node which was rejoining goes on by itself.
    records_resumption, ResumeUnrecorded = "resume-unrecorded", "A node that goes on by itself writes no record of it.", rare;

    // Failure detection.
    /// Takes a member back that was taken for dead and answers.
    takes_back_down, DownForever = "down-forever", "A member that was taken for dead and answers stays dead.";
    /// Asks other members about one that is taken for dead.
    asks_about_down, DownUnasked = "down-unasked", "A member that is taken for dead is asked for directly alone, and not through others.";
    /// Counts a belief as told only where a link was there to tell it over.
    beliefs_await_links, BeliefToldOnce = "belief-told-once", "A belief about a member counts as told though there was no link to tell it over.", rare;
    /// Refutes accusations of the generation that follows an eviction.
    refutes_for_new_generation, OldGenerationDefended = "old-generation-defended", "A node that was evicted and is back refutes what is said of the generation before, and nothing that is said of this one.", rare;
    /// Refutes an accusation of this node.
    refutes_accusations, RefutationIgnored = "refutation-ignored", "A node that is accused does not refute it.";
    /// Takes a member for dead once it has said itself that it stops.
    believes_goodbyes, GoodbyeUnheard = "goodbye-unheard", "A member that has said that it stops is probed until it is suspected.", rare;
    /// Ends no other generation of a member than the one that has said goodbye.
    goodbyes_end_one_generation, GoodbyeOutlives = "goodbye-outlives", "The goodbye of one generation of a member counts for the next one.", rare;
    /// Takes a dead member back by direct contact alone, and not by hearsay.
    trusts_contact_alone, HearsayRevives = "hearsay-revives", "A dead member comes back when anybody says that it was alive.", rare;

    // Evictions.
    /// Evicts a member once a majority has agreed.
    evicts_by_majority, EvictWithoutMajority = "evict-without-majority", "A member is evicted without waiting for a majority.";
    /// Agrees with one of two members that want to evict each other.
    agrees_once, AgreesTwice = "agrees-twice", "A member agrees with each of two that want to evict each other.", rare;
    /// Has a node that an eviction does not name rejoin. Rule 11.
    evicted_rejoin, EvictedHeard = "evicted-heard", "An evicted node goes on in another generation without a rejoin.";
    /// Ends the old boot of a node without a disk whose name and address a new boot has.
    ends_namesakes, NamesakeStays = "namesake-stays", "A new boot without a disk leaves the old one of its name and address among the members.";
    /// Waits for an old boot of this name and address that keeps a disk.
    awaits_disks, NamesakeWithDiskEnded = "namesake-with-disk-ended", "A new boot ends the old one of its name and address though that keeps something on disk.", rare;
    /// Ends an old boot of this name and address though its clock was ahead.
    ends_later_namesakes, NamesakeByClock = "namesake-by-clock", "A new boot ends the old one of its name and address only if that has the earlier clock.", rare;

    // Clocks.
    /// Refuses writes while the clock of this node is ahead of all others.
    refuses_clock_ahead, ClockAheadWrites = "clock-ahead-writes", "A node whose clock is ahead of all others accepts writes.";
    /// Tells operators of a wrong wall clock.
    tells_skew, SkewUntold = "skew-untold", "No node tells of a wrong wall clock.", rare;
    /// Follows the clocks of rows from elsewhere.
    follows_clocks, ClockUnfollowed = "clock-unfollowed", "Clocks of rows from elsewhere are not followed.";
    /// Gives a local write the larger of the wall clock and a clock above the row's.
    writes_above_rows, WallClockWrites = "wall-clock-writes", "A local write takes the wall clock, and not the larger of it and the row's.";
    /// Counts the drift limit of a node whose wall clock is behind from the time that most members have passed. Rule 6.
    follows_agreed_time, AgreedTimeIgnored = "agreed-time-ignored", "A node whose wall clock is behind those of most members follows no clock beyond its own drift limit.", rare;
    /// Writes a key without a row above all that has been freed. Rule 6.
    writes_above_freed, FreedUnbeaten = "freed-unbeaten", "A write to a key without a row does not look at what has been freed.", rare;
    /// Rejoins a node that wrote rows below what the cluster has freed while it entered. Rule 6.
    joiners_write_above_freed, JoinerWritesBelow = "joiner-writes-below", "A node that enters a cluster and writes under its session keeps clocks that are below what the cluster has freed.", rare;

    // Rows and what was seen of them.
    /// Covers the dot of each row from elsewhere. Rule 1.
    covers_dots, DroppedDot = "dropped-dot", "The dot of every fifth row from elsewhere is not covered.";
    /// Drops a row whose dot is covered already. Rule 1.
    drops_obsolete, ObsoleteMerges = "obsolete-merges", "A row whose dot is covered already merges again.";
    /// Keeps the larger of two versions, in whatever order they arrive.
    larger_version_wins, LastArrivalWins = "last-arrival-wins", "The version that arrives last wins.";
    /// Ranks a delete by its version, as any write.
    deletes_rank_alike, PresenceWins = "presence-wins", "A write wins over a delete, whatever their versions.";
    /// Replaces anew a version that this node shows although it was replaced.
    renews_replaced, RepairUnwritten = "repair-unwritten", "A version that a member shows although it was replaced is not replaced anew.";
    /// Logs a change that replaces a row.
    logs_replacements, ChangeUnlogged = "change-unlogged", "A change that replaces a row is not logged.";
    /// Notices that members have not seen the same.
    notices_mismatch, MismatchUnseen = "mismatch-unseen", "Members that disagree do not notice.";
    /// Hashes what was seen of memory tables too.
    hashes_memory_rows, HashWithoutMemory = "hash-without-memory", "The hash of what was seen leaves memory tables out.";
    /// Compares the rows of members whose contexts agree.
    compares_rows, LossUnseen = "loss-unseen", "Members whose rows differ while their contexts agree do not notice.";

    // Durability.
    /// Claims what is durable alone. Rule 2.
    claims_synced_alone, ClaimBeforeSync = "claim-before-sync", "Seen dots are claimed before they are synced.";
    /// Counts a dot as durable once its batch is synced. Rule 2.
    awaits_syncs, DurableAtOnce = "durable-at-once", "Written rows count as durable at once.";
    /// Acknowledges a write to a `sync` table once it is synced.
    acks_after_sync, AckBeforeSync = "ack-before-sync", "A write to a synced table is acknowledged at once.";
    /// Refuses writes while the store lags too far behind.
    bounds_backlog, BacklogUnbounded = "backlog-unbounded", "Writes are accepted however far the store lags behind.";

    /// Takes deletes alone from clients while the store is short of space.
    short_takes_deletes_alone, ShortTakesWrites = "short-takes-writes", "Writes of all kinds are accepted while the store is short of space.", rare;
    /// Takes no rows of users' tables from other members while the store is short of space, and covers nothing of them.
    short_takes_no_rows, ShortTakesRows = "short-takes-rows", "Rows of other members are taken in while the store is short of space.", rare;

    // Sessions.
    /// Adopts the contexts of a session once all of its pages are here. Rule 3.
    adopts_after_last_row, AdoptEarly = "adopt-early", "A session's contexts are adopted when its last page comes, whether or not the others have.";
    /// Sends a row again at the end of a session that was replaced under it. Rule 3.
    sends_replaced, ReplacedForgotten = "replaced-forgotten", "A row replaced under a session is not sent at its end.";
    /// Sends every row of a run of dots. Rule 3.
    sends_whole_runs, LastDotUnsent = "last-dot-unsent", "A session leaves out the last row of each run of dots.";
    /// Sends rows of memory tables too. Rule 3.
    sends_memory_rows, SnapshotWithoutMemory = "snapshot-without-memory", "A session leaves out rows of memory tables.";
    /// Makes what has changed since the scope of a session was named a part of it. Rule 3.
    scopes_follow_changes, ScopeOutdated = "scope-outdated", "Rows that have changed since the scope of a session was named are not part of the session.", rare;
    /// Sends a drop marker at the end of a session that was written under it. Rule 3.
    sends_new_drop_markers, DropMarkerForgotten = "drop-marker-forgotten", "A drop marker written under a session is not sent at its end.", rare;
    /// Serves a session once that is asked for twice.
    serves_pulls_once, PullRepeated = "pull-repeated", "A session that is asked for twice is served twice, and its pages are mixed up.";
    /// Claims nothing while this node is joining or rejoining. Rule 4.
    members_alone_claim, JoinerClaims = "joiner-claims", "A node that is still joining claims like a member.";

    // Rows that are passed on.
    /// Passes rows on that come with a subtree of members.
    forwards_rows, ForwardUnsent = "forward-unsent", "Rows that are to be passed on are not.";
    /// Passes no row of a memory table on that a delete or a drop marker has taken. Rule 8.
    withholds_dead_rows, DeadForwarded = "dead-forwarded", "Rows of `memory` tables that a delete or a drop marker has taken are passed on.", rare;
    /// Refuses rows that are passed on once their author's generation has ended.
    refuses_rows_of_ended, EndedForwarded = "ended-forwarded", "Rows that are passed on count though their author's generation has ended.", rare;
    /// Asks for rows that an IHAVE names and no push brings.
    grafts_missing, GraftUnsent = "graft-unsent", "Dots that an IHAVE names and that do not come are not asked for.";
    /// Covers nothing that an IHAVE names.
    ihaves_cover_nothing, IHaveCovers = "ihave-covers", "Dots that an IHAVE names count as seen.";

    // Freeing deletes.
    /// Frees a tombstone by claims, however old it is. Rule 6.
    frees_by_claims_alone, FreedByTime = "freed-by-time", "Tombstones are freed two seconds after the delete.";
    /// Waits for the claims of members that are down. Rule 6.
    awaits_down_members, FreedWithoutDown = "freed-without-down", "Members that are down are not asked whether a tombstone may go.";
    /// Counts a claim only if it lies within what this node has seen. Rule 6.
    claims_lie_within, ClaimNotWithin = "claim-not-within", "A claim counts although the claimant has seen what this node has not.";
    /// Counts a claim only for deletes whose clock the claimant has reached. Rule 6.
    claims_reach_deletes, ClaimClockIgnored = "claim-clock-ignored", "A claim counts for deletes whose clock the claimant has not reached.", rare;
    /// Passes the claim of another member on to one that asks for it.
    relays_claims, ClaimNotRelayed = "claim-not-relayed", "A member that is asked for the claim of another does not pass it on.";
    /// Counts a claim that is passed on while the generation that made it goes on. Rule 5.
    relayed_claims_end, RelayedClaimOutlives = "relayed-claim-outlives", "A claim that is passed on counts although the generation that made it has ended.", rare;
    /// Waits for a leaver until its final contexts are covered here. Rule 6.
    awaits_leavers, LeaverUncounted = "leaver-uncounted", "A leaver is not waited for, though no member has all that it held.", rare;
    /// Waits for no leaver whose last state was declared lost. Rule 6.
    excuses_lost_leavers, LostLeaverCounted = "lost-leaver-counted", "A leaver is waited for though its last state was declared lost.", rare;

    // Older copies of a store.
    /// Rejoins a node whose store does not go back to a claim of its own. Rule 13.
    notices_older_copies, OlderCopyUnnoticed = "older-copy-unnoticed", "A node whose store is an older copy answers for claims that it does not go back to.", rare;
    /// Keeps the numbers of the claims on which deletes are freed. Rule 13.
    keeps_claim_numbers, FreedWithoutNumber = "freed-without-number", "Deletes are freed on claims whose numbers are not kept.", rare;
    /// Keeps the number of a claim until its node has answered for it. Rule 13.
    keeps_unheld_numbers, NumberReplacedEarly = "number-replaced-early", "The number of a claim takes the place of one of an earlier generation that its node has not answered for.", rare;
    /// Hands the numbers of claims to a node that enters the cluster. Rule 13.
    hands_numbers_over, NumbersNotHandedOver = "numbers-not-handed-over", "A node that enters a cluster does not learn on which claims the deletes that it covers were freed.", rare;
    /// Claims under the number of a batch that is durable. Rule 13.
    numbers_durable_claims, ClaimBeforeItsNumber = "claim-before-its-number", "A claim has the number of a batch that is not durable yet, so that a crash looks like an older copy.", rare;

    // Expiry.
    /// Makes rows that end tombstones. Rule 7.
    expiry_leaves_tombstones, ExpiryVanishes = "expiry-vanishes", "Rows that end vanish at once instead of becoming tombstones.";
    /// Ends a row once the settled clocks of most members have passed its expiry. Rule 7.
    majority_ends_rows, ExpiresByOwnClock = "expires-by-own-clock", "A row ends when this node's own clock has passed its expiry.", rare;
    /// Calls more than half of the counted members a majority. Rule 7.
    majority_exceeds_half, HalfIsEnough = "half-is-enough", "A row ends when the clocks of half of the members have passed its expiry.", rare;
    /// Counts the telling of a member's clock for a while. Rule 7.
    tellings_fade, TellingsLast = "tellings-last", "The last telling of a member's clock counts for ever.", rare;
    /// Believes a clock after half a minute. Rule 7.
    clocks_settle, JumpBelieved = "jump-believed", "A clock is believed as soon as it has jumped.", rare;
    /// Settles a clock lower as soon as the wall clock goes back. Rule 7.
    notices_steps_back, StepBackUnseen = "step-back-unseen", "A settled clock does not notice that the wall clock went back until the next half minute begins.", rare;
    /// Shows a hidden row again when the clock goes back. Rule 7.
    shows_hidden_again, HiddenForGood = "hidden-for-good", "A row that is hidden is not shown again when the clock goes back.", rare;
    /// Ends no row while this node is rejoining. Rule 7.
    rejoining_ends_no_rows, RejoiningExpires = "rejoining-expires", "A node that is rejoining ends rows.", rare;
    /// Ends no row while this node is joining. Rule 7.
    joiners_end_no_rows, JoinerExpires = "joiner-expires", "A node that is still joining ends rows.", rare;
    /// Serves a hidden row as any other. Rule 7.
    serves_hidden_rows, HiddenSentDead = "hidden-sent-dead", "Sessions send hidden rows as tombstones.", rare;
    /// Writes the delete of a hidden row. Rule 7.
    deletes_hidden_rows, HiddenDeleteIgnored = "hidden-delete-ignored", "A delete of a hidden row writes nothing.", rare;

    // Drop markers.
    /// Drops rows at or below a drop marker, in whatever order they arrive. Rule 8.
    respects_drop_markers, DropMarkerIgnored = "drop-marker-ignored", "Rows at or below a drop marker merge.";
    /// Drops the rows that are here when a drop marker comes. Rule 8.
    sweeps_drop_markers, DropMarkerUnswept = "drop-marker-unswept", "A drop marker leaves the rows that are there already.";
    /// Frees the drop marker of a table as a tombstone: once other members have claimed it. Rule 8.
    drop_markers_await_claims, DropMarkerFreedUnasked = "drop-marker-freed-unasked", "The drop marker of a table is freed before other members have it.", rare;
    /// Keeps a delete in place of a dropped row of siblings that knew of writes which have not come here. Rule 8.
    drops_keep_seen, DropMarkerForgetsSeen = "drop-marker-forgets-seen", "A drop marker takes rows of siblings with all that they knew.", rare;
    /// Deletes the rows of a flushed table whose clocks are above the drop marker. Rule 8.
    flushes_rows_ahead, FlushLeavesAhead = "flush-leaves-ahead", "A flush leaves the rows whose clocks are ahead of its own.", rare;
    /// Deletes the rows of a flush that are hidden before it has come to them. Rule 8.
    flushes_hidden_rows, FlushPassesHidden = "flush-passes-hidden", "A flush leaves the rows that are hidden, because they have expired, before it has come to them.", rare;
    /// Keeps the name of a table while its end is in the log of changes.
    keeps_told_names, NameForgottenEarly = "name-forgotten-early", "The name of a table is forgotten while its end is in the log of changes.", rare;

    // Rejoins.
    /// Lets a node that left back through a rejoin alone. Rule 9.
    rejoins_after_leave, RejoinSkipped = "rejoin-skipped", "A node that left comes back without a rejoin.";
    /// Drops rows that the member covers and lacks. Rule 9.
    rejoins_drop_covered, RejoinRevives = "rejoin-revives", "A rejoin proposes what the member has deleted.";
    /// Writes rows again above what the member has freed. Rule 9.
    rejoins_raise_clocks, RejoinKeepsClock = "rejoin-keeps-clock", "A rejoin does not raise clocks above what the member has freed.";
    /// Forgets coverage of dots that the member lacks. Rule 9.
    rejoins_reset_coverage, RejoinKeepsCoverage = "rejoin-keeps-coverage", "A rejoin keeps coverage of dots that the member lacks.";
    /// Puts a rejoin off while the member lacks dots that this node held. Rule 9.
    rejoins_await_past, RejoinNotPutOff = "rejoin-not-put-off", "A rejoin takes any member, also one that lacks what the node held.";

    /// Asks again for the rows of dots that a member keeps and that have none here. Rule 9.
    looks_for_kept, KeptUnchecked = "kept-unchecked", "A node that rejoins takes a row that the member keeps for present, whether or not it is.", rare;
    /// Asks again for a row that the member keeps and that has ended here. Rule 9.
    asks_for_ended, KeptEnded = "kept-ended", "A node that rejoins takes a row that has ended here for the same as the member's, which has not.", rare;
    /// Compares a row that was replaced under the session with the version of it that the member keeps. Rule 9.
    compares_replaced, KeptReplacedForgotten = "kept-replaced-forgotten", "A delete under the session of a rejoin is compared with no row of the member, though that keeps the version which it replaced.", rare;
    /// Sends the tombstone of a row that has ended, whose dot the client may have the row of. Rule 9.
    sends_tombstones_whole, KeptTombstones = "kept-tombstones", "A member sends the dot of a tombstone alone to a node that compares its rows.", rare;
    /// Tells watchers of the rows that a rejoin drops. Rule 9.
    tells_removed, RemovedUntold = "removed-untold", "Watchers are not told of rows that a rejoin drops.";

    // Nodes that begin with a checkpoint.
    /// Makes a new node of a checkpoint that was restored. Rule 12.
    restored_is_new, RestoredIsItself = "restored-is-itself", "A node that begins with a checkpoint goes on as the node that made it.", rare;
    /// Lets a node that begins with a checkpoint in through members that have all that the checkpoint has. Rule 12.
    restored_awaits_past, RestoredNotPutOff = "restored-not-put-off", "A node that begins with a checkpoint enters through any member, also one that lacks what the checkpoint has.", rare;
    /// Counts a cluster that was founded from a checkpoint as one that has members: it joins no other. Rule 12.
    restored_founds_as_stranger, RestoredMeetsAlone = "restored-meets-alone", "A node that founded a cluster from a checkpoint joins the lost cluster when a member of that turns up.", rare;
    /// Forgets the coverage of rows of members together with these. Rule 12.
    forgets_coverage_of_members, MembersStayCovered = "members-stay-covered", "A node that begins with a checkpoint takes rows of members that it has dropped for deleted ones.", rare;

    // Siblings.
    /// Keeps all versions that no other has seen.
    keeps_siblings, SiblingLost = "sibling-lost", "A merge keeps only the newest sibling.";
    /// Replaces the versions that the author of a write has seen.
    replaces_seen, ContextIgnored = "context-ignored", "A write replaces nothing, whatever its author has seen.";
    /// Keeps a dead row of siblings while writes that it has seen may still come here.
    frees_complete_siblings, DeadSiblingFreed = "dead-sibling-freed", "A dead row of siblings is freed although it names writes that have not come here.", rare;
    /// Waits for claims of all versions of a row with siblings.
    awaits_all_versions, NewestDotAwaited = "newest-dot-awaited", "A claim is awaited for the newest version of a row with siblings alone, while the row is freed once all its versions are claimed.", rare;

    // Definitions that come after the rows.
    /// Leads an id that was given out before the definition came to the table that the name means.
    ids_follow_definitions, IdStaysBehind = "id-stays-behind", "A request by an id that was given out before the definition came goes to the table that the name meant then.", rare;
    /// Moves rows that were accepted before the definition of their table came.
    moves_strays, StraysKept = "strays-kept", "Rows that were accepted before the definition of their table came are not moved.", rare;
    /// Keeps the origin of a row that is moved, so that each move makes the same sibling.
    moves_keep_origin, MovedAnew = "moved-anew", "A row that was accepted before the definition of its table came is another sibling each time that it is moved.", rare;
    /// Ranks the definition that keeps siblings above one that does not, whatever their clocks.
    siblings_win_definitions, LaterDefinitionWins = "later-definition-wins", "The later of two definitions made at once counts, also when it keeps no siblings.", rare;
    /// Tells watchers that the name of their table means another one.
    tells_redefinitions, RedefinedUntold = "redefined-untold", "Watchers are not told that the name of their table means another one from now on.", rare;
    /// Replaces a version by a newer one of the other table of its name.
    replaces_twins, TwinStands = "twin-stands", "A version that is here is not replaced by one of the other table of its name.", rare;
    /// Removes the record of a stored version that one which is not stored replaces.
    removes_twin_records, RecordStays = "record-stays", "A version that is not stored leaves the record of the stored one that it replaces.", rare;
    /// Claims a version that is not stored after the stored ones that it has replaced.
    claims_in_order, ClaimsOutOfOrder = "claims-out-of-order", "Versions that are not stored are claimed before stored versions that they have replaced.", rare;
}
