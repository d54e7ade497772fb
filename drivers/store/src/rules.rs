//! The rules of the store, each under the planted bug that takes it away: `drivers/store/README.md` says which test catches which.
//!
//! A condition asks for the rule it keeps (`rules.syncs_names()`), which is the constant `true` in every build without the feature `mutants`.

use rumormill_core::rules;

impl Rules {
    /// Returns the rules of a store that is opened with default options: all of them, but for the planted bug of the test that runs.
    pub(crate) fn awake() -> Rules {
        #[cfg(all(test, feature = "mutants"))]
        if let Some(mutant) = crate::tests::planted::awake() {
            return Rules::without(mutant);
        }
        Rules::default()
    }

    /// Returns all rules without the one that a planted bug takes away.
    #[cfg(feature = "mutants")]
    pub(crate) const fn without(mutant: Mutant) -> Rules {
        Rules {
            broken: Some(mutant),
        }
    }
}

rules! {
    // The log is written.
    /// Salts each file of the log with a random number, so that no value of a client imitates a record. Rule 1.
    salts_files, SaltConstant = "salt-constant", "All files of the log have one salt, which a client may know.";
    /// Syncs what was appended before it is acknowledged as durable. Rule 2.
    syncs_before_ack, SyncSkipped = "sync-skipped", "A sync returns at once.";
    /// Fails for good after a sync that failed: the system may have dropped what it could not write. Rule 3.
    fails_for_good, SyncRetried = "sync-retried", "A sync that failed is tried again, and counts if it succeeds then.";
    /// Syncs a file of the log before the next one is made. Rule 4.
    syncs_before_next, SealUnsynced = "seal-unsynced", "The next file of the log is made before the last one is synced.";
    /// Gives a file of the log its name once its header is durable. Rule 5.
    names_whole_files, NameEarly = "name-early", "A file of the log has its name before its header is durable.";
    /// Syncs the directory of the log after a file was made. Rule 6.
    syncs_names, NameUnsynced = "name-unsynced", "The directory of the log is not synced after a file was made.";
    /// Takes back what a write has left that found the disk full. Rule 7.
    undoes_half, HalfLeft = "half-left", "Half a record stays where a write found the disk full.";
    /// Keeps space back in the file that is written, for when there is no other. Rule 28.
    keeps_reserve, ReserveUnkept = "reserve-unkept", "No space is kept back for when the disk is full.";
    /// Stays short of space until a file is merged whose merge gives space back. Rule 30.
    awaits_merge, MergeUnawaited = "merge-unawaited", "The store has space again as soon as a file is sealed whose merge will give it back.";
    /// Merges before more files wait than may. Rule 8.
    bounds_waiting, WaitingUnbounded = "waiting-unbounded", "Any number of full files waits to be merged.";

    // Files of the log are merged.
    /// Removes a file of the log once its rows are durable in the tree. Rule 9.
    removes_merged, RemovedEarly = "removed-early", "A file of the log is removed before its rows are in the tree.";
    /// Shows the rows of a file until they are in the tree, also where a merge fails. Rule 10.
    shows_unmerged, HiddenEarly = "hidden-early", "Readers no longer see a file of the log whose merge has begun.";
    /// Syncs the directory of the log after a file was removed. Rule 6.
    syncs_removals, RemovalUnsynced = "removal-unsynced", "The directory of the log is not synced after a file was removed.";
    /// Keeps keys that were put and deleted within a file out of the tree. Rule 11.
    keeps_brief_out, BriefKept = "brief-kept", "Deletes of keys that the tree does not have are put into it.";
    /// Deletes with a range what the tree has in it. Rule 12.
    ranges_reach_tree, RangeUnmerged = "range-unmerged", "A range that was deleted leaves what the tree has in it.";
    /// Leaves what was put after a range was deleted. Rule 12.
    ranges_spare_later, RangeTakesLater = "range-takes-later", "A range that was deleted takes what was put into it later.";
    /// Notes the order of the tree's tables beside the manifest. Rule 13.
    notes_order, OrderUnnoted = "order-unnoted", "The order of the tree's tables is in the manifest alone.";

    // Keys are read.
    /// Reads the log before the tree. Rule 14.
    reads_log_first, TreeFirst = "tree-first", "A reader believes the tree, also where the log has a later operation.";
    /// Compares the key at the place that an index names. Rule 15.
    compares_keys, HashTrusted = "hash-trusted", "A reader takes a key for the one that it looks for if their hashes are equal.";
    /// Checks the sum of an operation that is read. Rule 16.
    checks_operations, OperationUnchecked = "operation-unchecked", "A reader does not check the sum of an operation.";

    // A database is opened.
    /// Counts a record whose sum is right, and no other. Rule 16.
    checks_records, RecordUnchecked = "record-unchecked", "A record counts though its sum is wrong.";
    /// Checks each table of the tree. Rule 16.
    checks_tables, TableUnchecked = "table-unchecked", "The tables of the tree are not checked at a start.";
    /// Takes a bad end of the log for damage where something proves that it was durable. Rule 17.
    keeps_proven, ProvenCut = "proven-cut", "A bad end of the log is cut off although it was durable.";
    /// Takes a bad record for damage where a whole one follows. Rule 18.
    tells_behind, BehindCut = "behind-cut", "A bad record is cut off with the whole ones behind it, and nothing is told.";
    /// Notices a log that ends before what is known to be synced. Rule 19.
    tells_missing, EndMissed = "end-missed", "A log that ends before what is known to be synced counts as whole.";
    /// Notices that a log begins behind the end of the tree. Rule 19.
    tells_gaps, GapMissed = "gap-missed", "A log that begins behind the end of the tree counts as whole.";
    /// Cuts the bad end off, so that nothing of it lies behind what is written next. Rule 20.
    cuts_tails, TailLeft = "tail-left", "A bad end of the log stays in its file.";
    /// Writes records once more at a start that are not known to be synced. Rule 21.
    rewrites_unsynced, UnsyncedTrusted = "unsynced-trusted", "Records that are not known to be synced are synced at a start, and not written once more.";
    /// Copies the records that say which node it is. Rule 22.
    copies_identity, IdentityUncopied = "identity-uncopied", "The records that say which node it is are in the database alone.";

    // Checkpoints are made and restored.
    /// Copies the file of the log that is written, and gives second names to files alone that are written no more. Rule 23.
    copies_written, WrittenLinked = "written-linked", "The file of the log that is written gets a second name in a checkpoint.";
    /// Reads each file that a checkpoint takes. Rule 24.
    checks_taken, TakenUnchecked = "taken-unchecked", "A table goes into a checkpoint unread.";
    /// Reads each file that an earlier checkpoint has. Rule 24.
    checks_kept, KeptUnchecked = "kept-unchecked", "A file of an earlier checkpoint is kept unread.";
    /// Removes files of the earlier checkpoint once the next one is durable. Rule 25.
    sweeps_last, SweptEarly = "swept-early", "Files of the earlier checkpoint are removed before the next one has a manifest.";
    /// Notes in a restored database that its node is a new one. Rule 26.
    notes_restored, RestoredUnnoted = "restored-unnoted", "A restored database has no note that its node is a new one.";
    /// Copies that note beside the database. Rule 26.
    copies_restored, RestoredUncopied = "restored-uncopied", "The note that a node is a new one is in its database alone.";
    /// Removes what a checkpoint has left that failed. Rule 29.
    sweeps_failed, FailedKept = "failed-kept", "A checkpoint that fails leaves its files.";
    /// Opens no directory whose restore did not end. Rule 27.
    refuses_unfinished, HalfRestored = "half-restored", "A directory whose restore did not end is opened as an empty one.";
}
