//! Each planted bug of the store is caught by a test, which fails while the bug is awake.
//! `cargo test -p rumormill-store --features mutants planted` runs them.

use std::collections::BTreeSet;

use rumormill_core::caught;

use super::{checkpoint, cuts, damage, faults, full, log};
use crate::rules::Mutant;

caught! {
    SaltConstant as salt_constant by log::a_value_that_looks_like_a_record_is_none, "a value is taken for a record";
    SyncSkipped as sync_skipped by cuts::what_was_synced_survives_each_loss_of_power, "a loss of power";
    SyncRetried as sync_retried by faults::each_call_fails_once_and_nothing_that_was_synced_is_lost, "sync went unnoticed";
    SealUnsynced as seal_unsynced by cuts::what_was_synced_survives_each_loss_of_power, "a loss of power";
    NameEarly as name_early by cuts::what_was_synced_survives_each_loss_of_power, "a loss of power";
    NameUnsynced as name_unsynced by cuts::what_was_synced_survives_each_loss_of_power, "a loss of power";
    HalfLeft as half_left by faults::a_write_that_failed_half_way_leaves_nothing_behind_a_shorter_one, "left: Some(Cut";
    ReserveUnkept as reserve_unkept by full::a_full_disk_takes_small_batches_until_what_is_kept_back_is_used_up, "nothing is kept back";
    MergeUnawaited as merge_unawaited by full::deletes_give_space_back_without_more_from_elsewhere, "not before it is merged";
    WaitingUnbounded as waiting_unbounded by faults::merging_without_space_lets_writes_go_on_up_to_a_bound, "it is unbounded";
    RemovedEarly as removed_early by faults::a_crash_before_each_call_leaves_what_was_synced, "are missing at its beginning";
    HiddenEarly as hidden_early by faults::a_merge_that_fails_hides_no_row, "the row is still to be read";
    RemovalUnsynced as removal_unsynced by cuts::what_was_synced_survives_each_loss_of_power, "a loss of power";
    BriefKept as brief_kept by log::keys_that_were_put_and_deleted_in_one_file_do_not_reach_the_tree, "the row that stays";
    RangeUnmerged as range_unmerged by log::ranges_that_are_merged_delete_what_the_tree_has_and_nothing_that_was_put_again, "merged: true";
    RangeTakesLater as range_takes_later by log::ranges_that_are_merged_delete_what_the_tree_has_and_nothing_that_was_put_again, "merged: false";
    OrderUnnoted as order_unnoted by log::a_tree_without_its_manifest_still_shows_the_newest_values, "the order is noted";
    TreeFirst as tree_first by log::a_reader_sees_each_write_while_files_are_merged, "each read shows";
    HashTrusted as hash_trusted by log::keys_of_one_hash_are_told_apart, "left == right` failed: a";
    OperationUnchecked as operation_unchecked by log::a_value_that_rots_in_the_log_is_an_error_and_no_value, "walue";
    RecordUnchecked as record_unchecked by log::a_log_with_a_flipped_bit_at_any_byte_is_a_prefix_or_damaged, "one follows it";
    TableUnchecked as table_unchecked by log::a_flipped_bit_in_a_table_is_damage, "a flipped bit in";
    ProvenCut as proven_cut by log::a_log_cut_at_any_byte_ends_with_a_whole_batch_or_is_damaged, "it was synced";
    BehindCut as behind_cut by log::a_log_with_a_flipped_bit_at_any_byte_is_a_prefix_or_damaged, "one follows it";
    EndMissed as end_missed by log::a_log_cut_at_any_byte_ends_with_a_whole_batch_or_is_damaged, "it was synced";
    GapMissed as gap_missed by log::a_tree_that_is_behind_its_log_is_damage, "the log begins behind";
    TailLeft as tail_left by log::a_log_cut_at_any_byte_ends_with_a_whole_batch_or_is_damaged, "left: Some(Cut";
    UnsyncedTrusted as unsynced_trusted by faults::a_start_writes_what_is_not_known_to_be_synced_once_more, "left == right";
    IdentityUncopied as identity_uncopied by damage::a_database_that_is_gone_or_cannot_be_opened_at_all_is_rebuilt_under_the_same_id, "set aside";
    WrittenLinked as written_linked by checkpoint::nothing_that_is_written_later_reaches_a_checkpoint_through_a_second_name, "is_clean";
    TakenUnchecked as taken_unchecked by checkpoint::a_table_that_has_rotted_in_the_store_is_named_and_reaches_no_checkpoint, "unwrap_err";
    KeptUnchecked as kept_unchecked by checkpoint::a_file_of_the_earlier_checkpoint_that_has_rotted_is_replaced, "is_clean";
    SweptEarly as swept_early by checkpoint::a_crash_at_any_step_leaves_the_earlier_checkpoint_whole, "it is missing";
    RestoredUnnoted as restored_unnoted by checkpoint::a_store_is_of_use_after_a_restore, "the note is one more";
    FailedKept as failed_kept by checkpoint::a_checkpoint_that_fails_leaves_no_file_of_its_own, "nothing is left";
    RestoredUncopied as restored_uncopied by damage::a_restored_directory_that_is_damaged_before_its_first_start_holds_a_new_node_too, "it is another node";
    HalfRestored as half_restored by checkpoint::a_restore_wants_an_empty_place_and_half_of_one_is_never_opened, "it is missing";
}

/// The README of this crate has each rule, its planted bugs, and the tests that catch them.
#[test]
fn each_planted_bug_is_caught_by_the_test_that_the_table_of_rules_names() {
    let page = include_str!("../../README.md");
    for (mutant, test) in CAUGHT {
        let test = test.split("::").last().unwrap();
        let named = |row: &&str| row.contains(&format!("`{}`", mutant.name()));
        let row = page.lines().find(named);
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", mutant.name()));
        assert!(row.contains(&format!("`{}`", test.trim())), "{row}: {test}");
    }
    let caught: BTreeSet<Mutant> = CAUGHT.iter().map(|(mutant, _)| *mutant).collect();
    let all: BTreeSet<Mutant> = Mutant::ALL.iter().copied().collect();
    assert_eq!(caught, all);
}
