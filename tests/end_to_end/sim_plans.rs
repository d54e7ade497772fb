use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::support::{code, rumormill, text};

fn sim(args: &[&str]) -> Output {
    let mut command = rumormill();
    command.arg("sim").args(args);
    command.output().expect("it runs")
}

#[test]
fn a_run_ends_with_its_verdict() {
    let run = sim(&["run", "--swarm", "--seed", "3"]);
    assert_eq!(code(&run), 0);
    let said = text(&run.stdout);
    assert!(said.ends_with("\nverdict: every promise held\n"), "{said}");
    let run = sim(&["run", "--swarm", "--seed", "3", "--json"]);
    let report: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(report["held"], true);
}

#[test]
fn a_printed_plan_is_the_run_that_it_was_printed_for() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("a.plan");
    let path = file.display().to_string();
    for flags in [
        &["--profile", "long"][..],
        &["--profile", "gossip"],
        &["--nodes", "2", "--minutes", "1"],
    ] {
        let flags = [flags, &["--seed", "7"]].concat();
        let printed = sim(&[&["plan"], &flags[..]].concat());
        assert_eq!(code(&printed), 0, "{}", text(&printed.stderr));
        assert!(text(&printed.stdout).starts_with("seed 7\n"));
        let written = sim(&[&["plan", "--out", &path], &flags[..]].concat());
        assert_eq!((code(&written), text(&written.stdout)), (0, String::new()));
        assert_eq!(fs::read(&file).expect("a plan"), printed.stdout);
        let hash = |output: &Output| {
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            report["hash"].clone()
        };
        let run = sim(&[&["run", "--json"], &flags[..]].concat());
        let again = sim(&["replay", &path, "--json"]);
        assert_eq!(hash(&run), hash(&again), "{flags:?}");
    }
}

#[test]
fn an_unknown_profile_is_refused_with_those_that_there_are() {
    let refused = sim(&["swarm", "--profile", "short"]);
    assert_eq!(code(&refused), 2);
    let said = text(&refused.stderr);
    assert!(said.contains("expected gossip or long"), "{said}");
}

/// The tests' own program carries no planted bugs.
#[test]
fn a_program_without_planted_bugs_says_how_to_build_one() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("a.plan");
    fs::write(&file, "seed 1\nnode n0 start=0s\nstop 5s\n").expect("written");
    let plan = file.display().to_string();
    for args in [
        &["run", "--swarm", "--mutant", "drift-followed"][..],
        &["explain", "--swarm", "--key", "default/k0", "--mutant", "x"],
        &["replay", &plan, "--mutant", "x"],
        &["swarm", "--seeds", "1", "--mutant", "x"],
        &["shrink", "--seed", "1", "--mutant", "x"],
        &["mutants"],
    ] {
        let refused = sim(args);
        assert_eq!(code(&refused), 2, "{args:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("--features mutants"), "{said}");
        assert!(refused.stdout.is_empty());
    }
}
