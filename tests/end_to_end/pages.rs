//! The pages of this repository keep their word: links lead somewhere, names exist, and the front pages stay short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of a front page.
const SHORT: usize = 8_192;
/// Most characters of a line of the changelog.
const LINE: usize = 240;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the files of the repository whose names end with `ending`.
fn files(ending: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, ending: &str, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    walk(&path, ending, out);
                }
            } else if name.ends_with(ending) {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    walk(&root(), ending, &mut out);
    assert!(!out.is_empty(), "no {ending} below {}", root().display());
    out.sort();
    out
}

/// Returns the lines of a page that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Returns the anchor that a heading gets: words in lower case, joined by hyphens, without punctuation.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text: String = heading.trim().to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(page).unwrap_or_default();
    let mut headings = prose(&text).filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

/// Returns the targets of the links of a page, each with its text.
fn links(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for line in prose(text) {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            let target = after.split(')').next().unwrap_or_default();
            let label = before.rsplit('[').next().unwrap_or_default();
            out.push((label.to_string(), target.to_string()));
            rest = after;
        }
    }
    out
}

/// Returns the texts between single backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The names of all functions, plans, checkers and planted bugs.
struct Names {
    functions: BTreeSet<String>,
    plans: BTreeSet<String>,
    checkers: BTreeSet<String>,
    bugs: BTreeSet<String>,
}

fn names() -> Names {
    let mut functions = BTreeSet::new();
    for file in files(".rs") {
        let text = fs::read_to_string(&file).expect("a source file");
        for rest in text.split("fn ").skip(1) {
            let ends = |c: char| !c.is_alphanumeric() && c != '_';
            functions.extend(rest.split(ends).next().map(str::to_string));
        }
    }
    let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into());
    let plans = files(".plan").iter().filter_map(stem).collect();
    let mut checkers = BTreeSet::new();
    for file in files(".rs") {
        let text = fs::read_to_string(&file).expect("a source file");
        let is_judge = file.components().any(|part| part.as_os_str() == "checkers");
        let consts = text
            .split(": &str = \"")
            .skip(if is_judge { 1 } else { usize::MAX });
        let named = consts.chain(text.split("checker: \"").skip(1));
        checkers.extend(
            named
                .filter_map(|rest| rest.split('"').next())
                .map(str::to_string),
        );
    }
    let mut bugs = BTreeSet::new();
    for (file, begin) in [
        ("core/src/rules.rs", "rules! {"),
        ("sim/src/mutants/driver.rs", "faults! {"),
    ] {
        let text = read(file);
        let table = text.lines().skip_while(|line| *line != begin);
        let rules = table.filter(|line| !line.trim_start().starts_with("#!"));
        let named = rules.filter_map(|line| line.split_once(" = \""));
        bugs.extend(named.filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_string())));
    }
    Names {
        functions,
        plans,
        checkers,
        bugs,
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in files(".md") {
        let text = fs::read_to_string(&page).expect("a page");
        for (label, target) in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, part) = target.split_once('#').unwrap_or((&target, ""));
            let to = match path {
                "" => page.clone(),
                _ => page.parent().expect("a folder").join(path),
            };
            let function = label.strip_prefix('`').and_then(|l| l.strip_suffix('`'));
            let function = function.filter(|_| path.ends_with(".rs"));
            let is_there = |name: &str| {
                let name = name.rsplit("::").next().unwrap_or(name);
                let text = fs::read_to_string(&to).unwrap_or_default();
                [format!("fn {name}("), format!("fn {name}<")]
                    .iter()
                    .any(|start| text.contains(start))
            };
            let whole = to.exists()
                && (part.is_empty() || has_anchor(&to, part))
                && function.is_none_or(is_there);
            if !whole {
                broken.push(format!("{}: [{label}]({target})", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_path_that_a_page_names_exists() {
    let rooms = [".ci/", "core/", "drivers/", "sim/", "tests/"];
    let mut missing = Vec::new();
    for page in files(".md") {
        let text = fs::read_to_string(&page).expect("a page");
        let text = prose(&text).collect::<Vec<_>>().join("\n");
        for path in quoted(&text) {
            let is_path = rooms.iter().any(|room| path.starts_with(room));
            let is_one = !path.contains(['*', ' ', '{']) && !path.contains("NAME");
            if is_path && is_one && !root().join(path).exists() {
                missing.push(format!("{}: {path}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_front_pages_are_short() {
    for page in ["README.md", "ARCHITECTURE.md"] {
        let bytes = read(page).len();
        assert!(bytes <= SHORT, "{page} has {bytes} bytes");
    }
}

/// Returns the blocks of code of a page that are one command without a comment.
fn commands(text: &str) -> Vec<&str> {
    let blocks = text.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.map(str::trim_end);
    lines.filter(|line| !line.contains(['\n', '#'])).collect()
}

#[test]
fn the_gate_runs_the_test_command_of_the_front_page() {
    let (page, gate) = (read("README.md"), read(".ci/run"));
    let mut tests = commands(&page);
    tests.retain(|command| command.starts_with("cargo test"));
    let stage = gate.lines().filter_map(|l| l.strip_prefix("stage tests "));
    assert_eq!(tests, stage.collect::<Vec<_>>());
    assert_eq!(tests.len(), 1);
}

#[test]
fn the_changelog_has_one_line_for_each_change() {
    for (number, line) in read("CHANGELOG.md").lines().enumerate() {
        let heading = ["# Changelog", "### Added", "### Changed", "### Fixed"];
        let is_heading = heading.contains(&line) || line.starts_with("## ");
        let is_change = line.starts_with("- ") && line.chars().count() <= LINE;
        let number = number + 1;
        assert!(
            line.is_empty() || is_heading || is_change,
            "line {number}: {line}"
        );
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let names = names();
    let mut missing = Vec::new();
    for page in files(".md") {
        let text = fs::read_to_string(&page).expect("a page");
        let text = prose(&text).collect::<Vec<_>>().join("\n");
        for name in quoted(&text) {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            // Shorter names may be fields, metrics or words of a protocol.
            let is_sentence = name.chars().all(plain) && name.matches('_').count() >= 4;
            let metric = name.ends_with("_total");
            if is_sentence
                && !metric
                && !names.functions.contains(name)
                && !names.plans.contains(name)
            {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_table_of_what_shows_what_names_what_exists_and_every_planted_bug() {
    let names = names();
    let text = read("core/docs/testing.md");
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| pain or rule"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let mut bugs = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, shown, planted] = cells[..] else {
            panic!("three cells: {row}");
        };
        // A word before a name says of which kind it and the next ones are; a command has a space.
        let mut kind = "";
        for (index, part) in shown.split('`').enumerate() {
            let word = part.trim_matches([' ', ',', ';']);
            if index % 2 == 0 {
                let same = word.is_empty() && !part.contains(';');
                kind = if same { kind } else { word };
                continue;
            }
            let known = match kind {
                "plan" | "plans" => names.plans.contains(part),
                "checker" | "checkers" => names.checkers.contains(part),
                _ => names.functions.contains(part) || part.contains(' '),
            };
            assert!(known, "{kind} {part}");
        }
        bugs.extend(quoted(planted).into_iter().map(str::to_string));
    }
    assert_eq!(bugs, names.bugs);
}
