//! Planted bugs that a swarm of simulations seldom catches: each has a test here that fails while it is awake.
//! `cargo test -p rumormill-core --features mutants planted` runs them.

use super::{
    anti_entropy, checkpoints, copies, damage, drop_markers, evict, expiry, full, ids, leave,
    links, membership, names, namesake, push, refusals, relay, siblings, skew, stop, waits,
};
use crate::caught;
use crate::mutants::Mutant;
use crate::table::gossip::tests::{kept, rejoin};

caught! {
    AgreesTwice as agrees_twice by evict::of_two_that_want_to_evict_each_other_a_member_agrees_with_one, "eviction-refused";
    AgreedTimeIgnored as agreed_time_ignored by expiry::a_member_whose_clock_is_behind_most_others_follows_them, "it has reached the delete";
    RejoiningExpires as rejoining_expires by expiry::a_rejoining_node_ends_no_row, "rejoining: hidden";
    BeliefToldOnce as belief_told_once by relay::a_death_that_had_no_member_to_go_to_is_told_when_one_is_there, "the belief is told";
    ClaimBeforeItsNumber as claim_before_its_number by copies::what_a_crash_takes_is_no_older_copy, "nothing that it has claimed is lost";
    OlderCopyUnnoticed as older_copy_unnoticed by copies::an_older_copy_is_noticed_without_a_word_and_revives_nothing, "it is noticed";
    FreedWithoutNumber as freed_without_number by copies::an_older_copy_is_noticed_without_a_word_and_revives_nothing, "it is noticed";
    NumbersNotHandedOver as numbers_not_handed_over by copies::a_member_that_came_after_the_deletes_were_freed_notices_an_older_copy, "the newcomer was told";
    ClaimNotRelayed as claim_not_relayed by relay::claims_pass_through_a_third_so_that_deletes_are_freed, "freed everywhere";
    ClockAheadWrites as clock_ahead_writes by refusals::a_node_whose_clock_is_ahead_of_all_others_gives_out_no_clocks, "which of two clocks is wrong cannot be known";
    ShortTakesWrites as short_takes_writes by full::a_node_that_is_short_of_space_takes_deletes_alone, "a write that needs space";
    ShortTakesRows as short_takes_rows by full::rows_of_others_come_once_there_is_space, "a row that needs space";
    DeadSiblingFreed as dead_sibling_freed by siblings::a_deleted_sibling_stays_deleted_after_an_eviction, "the delete is kept";
    DamageUnnoted as damage_unnoted by damage::the_damage_of_a_row_is_remembered_until_the_node_has_rejoined, "the damage is remembered";
    DamageFounds as damage_founds by damage::a_damaged_node_begins_no_cluster_though_it_was_told_to_found_one, "rows are missing here";
    RestoredIsItself as restored_is_itself by checkpoints::a_node_that_begins_with_a_checkpoint_is_a_new_member_and_revives_nothing, "another node";
    RestoredNotPutOff as restored_not_put_off by checkpoints::a_node_that_begins_with_a_checkpoint_waits_for_a_member_that_has_all_of_it, "is put off";
    RestoredMeetsAlone as restored_meets_alone by checkpoints::a_member_of_a_lost_cluster_that_turns_up_is_not_mixed_with_the_one_from_a_checkpoint, "the delete stands";
    MembersStayCovered as members_stay_covered by checkpoints::a_node_that_begins_with_a_checkpoint_is_a_new_member_and_revives_nothing, "found missing";
    DeadForwarded as dead_forwarded by drop_markers::a_row_of_a_memory_table_that_comes_after_its_drop_marker_was_freed_stays_away, "the member that restarted";
    EndedForwarded as ended_forwarded by push::a_row_that_is_passed_on_counts_only_while_its_authors_generation_goes_on, "restarts";
    ExpiresByOwnClock as expires_by_own_clock by expiry::one_clock_that_is_fast_for_a_while_ends_no_row, "one clock";
    FlushLeavesAhead as flush_leaves_ahead by drop_markers::a_flush_leaves_no_row_that_is_ahead_of_its_clock, "left == right";
    FlushPassesHidden as flush_passes_hidden by drop_markers::a_flush_deletes_rows_that_are_hidden_before_it_has_come_to_them, "are dead";
    DropMarkerFreedUnasked as drop_marker_freed_unasked by drop_markers::a_drop_marker_is_freed_when_every_member_has_it_and_not_before, "kept for the one that is down";
    DropMarkerForgetsSeen as drop_marker_forgets_seen by drop_markers::what_a_flushed_sibling_had_replaced_stays_away, "replaced";
    DropMarkerForgotten as drop_marker_forgotten by anti_entropy::a_drop_marker_written_under_a_session_is_sent_at_its_end, "the drop marker";
    GraftUnsent as graft_unsent by push::what_a_member_does_not_pass_on_is_grafted_before_anybody_would_fetch_it, "left == right";
    HalfIsEnough as half_is_enough by expiry::two_fast_clocks_of_four_end_no_row, "half of the clocks";
    HiddenDeleteIgnored as hidden_delete_ignored by expiry::a_delete_of_a_row_that_is_hidden_holds_where_it_shows, "it wrote";
    HiddenForGood as hidden_for_good by expiry::watchers_are_told_that_a_row_is_hidden_and_shows_again_and_not_that_it_ends, "left == right";
    HiddenSentDead as hidden_sent_dead by expiry::a_newcomer_gets_rows_from_a_member_that_hides_them, "the newcomer";
    JoinerExpires as joiner_expires by expiry::a_joining_node_ends_no_row, "joining: hidden";
    JumpBelieved as jump_believed by expiry::two_clocks_of_three_that_jump_for_a_moment_end_no_row, "a moment";
    KeptUnchecked as kept_unchecked by kept::a_row_that_was_lost_is_asked_for_again, "it has come";
    KeptEnded as kept_ended by kept::a_row_that_has_ended_here_alone_comes_back, "it has not ended for the member";
    KeptReplacedForgotten as kept_replaced_forgotten by kept::writes_under_the_session_are_written_again_over_what_the_member_keeps, "the delete is proposed";
    KeptTombstones as kept_tombstones by kept::a_row_that_has_ended_at_the_member_ends, "it ends here too";
    RejoinKeepsCoverage as rejoin_keeps_coverage by rejoin::coverage_of_what_the_member_lacks_is_forgotten, "would pass for obsolete";
    RemovedUntold as removed_untold by kept::a_delete_that_was_freed_meanwhile_takes_its_row_and_is_told, "watchers are told of it";
    LeaveUnasked as leave_unasked by membership::a_leave_waits_for_acks_of_two_or_says_what_it_leaves_behind, "one has everything, and is not enough";
    FoundsUntold as founds_untold by waits::a_node_whose_seed_leads_back_to_it_says_so_and_begins_a_cluster_only_when_told_to, "by itself";
    IdStaysBehind as id_stays_behind by ids::an_id_follows_its_definition, "at once";
    StraysKept as strays_kept by ids::a_row_that_was_written_before_its_table_kept_siblings_becomes_one, "values on";
    MovedAnew as moved_anew by ids::a_row_that_is_moved_again_after_a_crash_is_the_same_sibling, "values on";
    LaterDefinitionWins as later_definition_wins by ids::of_two_definitions_at_once_the_one_that_keeps_siblings_counts, "keeps siblings";
    ClaimsOutOfOrder as claims_out_of_order by ids::what_is_not_stored_is_claimed_after_the_stored_versions_that_it_has_replaced, "the delete stands";
    TwinStands as twin_stands by ids::of_two_rows_in_both_tables_of_a_name_the_newer_one_wins_everywhere, "n";
    RecordStays as record_stays by ids::a_row_that_was_written_before_its_definition_came_is_shown_by_all, "k";
    JoinsForEver as joins_for_ever by waits::a_node_whose_seed_leads_back_to_it_says_so_and_begins_a_cluster_only_when_told_to, "started without seeds";
    LeaverTakesRows as leaver_takes_rows by leave::what_comes_after_the_leave_has_begun_is_not_on_the_leavers_disk, "says all that it holds";
    TakenOverUnsynced as taken_over_unsynced by leave::no_member_says_that_it_holds_what_is_not_synced, "not before it is synced";
    LeaverUncounted as leaver_uncounted by membership::a_delete_is_kept_until_a_leaver_that_held_more_has_come_back, "kept for the leaver";
    LostLeaverCounted as lost_leaver_counted by membership::a_delete_no_longer_waits_for_a_leaver_whose_last_state_was_declared_lost, "the wait is ended";
    NameForgottenEarly as name_forgotten_early by names::a_name_is_kept_while_anything_can_ask_for_it, "its end is in the log";
    NamesakeByClock as namesake_by_clock by namesake::an_old_boot_whose_clock_was_ahead_is_ended_too, "both boots are ended";
    NamesakeStays as namesake_stays by namesake::a_new_boot_without_a_disk_takes_the_place_of_the_old_one, "one takes the other's place";
    NamesakeWithDiskEnded as namesake_with_disk_ended by namesake::a_member_that_keeps_a_disk_is_waited_for_by_its_namesake, "its disk may come back";
    NonceEchoed as nonce_echoed by links::a_peer_that_sends_back_the_nonce_of_this_node_is_refused, "its own nonce";
    OldGenerationDefended as old_generation_defended by relay::a_member_that_was_evicted_and_is_back_refutes_what_is_said_of_it, "it is accused, and alive";
    PullRepeated as pull_repeated by anti_entropy::a_session_that_is_asked_for_twice_is_served_once, "served once";
    RedefinedUntold as redefined_untold by ids::a_watcher_of_a_name_hears_that_rows_have_gone_before_it_meant_another_table, "watches begin anew";
    ClaimClockIgnored as claim_clock_ignored by expiry::a_delete_is_kept_while_a_member_has_not_reached_its_clock, "it could write below the delete";
    RelayedClaimOutlives as relayed_claim_outlives by relay::a_claim_that_is_passed_on_counts_only_while_its_generation_goes_on, "that generation has ended";
    RepairUnwritten as repair_unwritten by siblings::what_a_disk_brings_back_is_replaced_again_though_it_is_forgotten_elsewhere, "left == right";
    ResumeUnrecorded as resume_unrecorded by evict::of_two_that_go_on_and_one_that_was_not_gone_one_is_the_base, "row-repaired";
    ScopeOutdated as scope_outdated by anti_entropy::a_session_about_a_part_brings_what_has_replaced_its_rows_since, "left == right";
    GoodbyeUnheard as goodbye_unheard by stop::a_member_that_stops_is_down_at_once_and_comes_back_as_the_same_one, "they know at once";
    StopUnsynced as stop_unsynced by stop::a_stop_waits_until_the_last_batch_is_synced_and_takes_no_more_writes, "not before it is synced";
    StopWrites as stop_writes by stop::a_stop_waits_until_the_last_batch_is_synced_and_takes_no_more_writes, "it takes no more";
    StopUnpushed as stop_unpushed by stop::rows_that_wait_to_be_pushed_go_out_before_the_goodbye, "it was pushed";
    StopLeaves as stop_leaves by stop::a_node_that_stops_begins_no_leave, "no leave begins";
    SkewUntold as skew_untold by skew::a_wrong_clock_is_told_until_it_is_right, "a wrong clock is told once";
    StepBackUnseen as step_back_unseen by expiry::clocks_that_were_fast_and_are_right_again_end_no_row, "right again";
    TellingsLast as tellings_last by expiry::a_clock_that_was_heard_long_ago_has_no_vote, "heard long ago";
}

/// The page of tests has each planted bug beside the test that catches it.
#[test]
fn the_page_of_tests_names_the_test_that_catches_each_planted_bug() {
    let page = include_str!("../../../docs/testing.md");
    for (mutant, test) in CAUGHT {
        let test = test.split("::").last().unwrap().trim();
        let named = |row: &&str| row.contains(&std::format!("`{}`", mutant.name()));
        let mut rows = page.lines().filter(named);
        let beside = rows.any(|row| row.contains(&std::format!("`{test}`")));
        assert!(beside, "{}: {test}", mutant.name());
    }
}
