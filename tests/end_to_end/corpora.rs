//! Inputs that fuzzing found worth keeping, replayed without a fuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::fuzz::TARGETS;

/// Runs the corpus of a target; says how many inputs it has.
fn replay(target: &str) -> usize {
    let (_, body) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&corpus).unwrap_or_else(|why| panic!("{}: {why}", corpus.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    for file in &files {
        let bytes = fs::read(file).expect("it can be read");
        let held = catch_unwind(AssertUnwindSafe(|| body(&bytes)));
        assert!(held.is_ok(), "{} breaks a promise", file.display());
    }
    files.len()
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            assert!(replay(stringify!($name)) > 0, "an empty corpus");
        })*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

replays! { frames http messages plans recovery resp }
