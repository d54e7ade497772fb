//! `sim check`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use rumormill_sim::checkers::linearizability::{Judged, Verdict, check};
use rumormill_sim::history::{History, Operation};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The largest history, in bytes: some two million operations.
const MAX_BYTES: u64 = 512 << 20;

/// Judges a file. Anything but linearizable keys is a failure: what is undecided has not been shown to hold.
pub(crate) fn run(file: &Path, steps: u64, json: bool) -> Result<(), Failure> {
    let bad = |text: String| Failure::Usage(format!("{}: {text}", file.display()));
    let bytes = read(file).map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(bad(format!("has more than {MAX_BYTES} bytes")));
    }
    let history = History::parse(&bytes).map_err(|error| bad(error.to_string()))?;
    drop(bytes);
    let judged = check(&history, steps);
    let tally = Tally::of(&history, &judged);
    let mut out = BufWriter::new(io::stdout().lock());
    match json {
        true => writeln!(out, "{}", report(&judged, &tally)),
        false => print(&mut out, &judged, &tally),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    let keys = judged.len();
    if tally.answered == 0 {
        return Err(Failure::Not(match tally.operations {
            0 => "nothing was judged: the history is empty".to_string(),
            calls => format!("nothing was judged: none of the {calls} calls is ok"),
        }));
    }
    match (tally.broken, tally.undecided) {
        (0, 0) => Ok(()),
        (0, count) => Err(Failure::Not(format!(
            "undecided: {count} of {keys} keys; more --steps may decide"
        ))),
        (count, _) => Err(Failure::Not(format!(
            "not linearizable: {count} of {keys} keys"
        ))),
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match file == Path::new("-") {
        true => io::stdin()
            .lock()
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?,
        false => File::open(file)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

struct Tally {
    operations: usize,
    /// Calls that are ok: without one there is nothing to judge.
    answered: usize,
    linearizable: usize,
    broken: usize,
    undecided: usize,
}

impl Tally {
    fn of(history: &History, judged: &[Judged]) -> Self {
        let count = |of: fn(&Verdict) -> bool| judged.iter().filter(|one| of(&one.verdict)).count();
        Tally {
            operations: judged.iter().map(|one| one.operations).sum(),
            answered: history.answered(),
            linearizable: count(|verdict| matches!(verdict, Verdict::Linearizable)),
            broken: count(|verdict| matches!(verdict, Verdict::Broken(_))),
            undecided: count(|verdict| matches!(verdict, Verdict::Undecided(_))),
        }
    }
}

fn print(out: &mut impl Write, judged: &[Judged], tally: &Tally) -> io::Result<()> {
    for one in judged {
        writeln!(out, "{one}")?;
    }
    writeln!(
        out,
        "{} operations on {} keys: {} linearizable, {} not linearizable, {} undecided",
        tally.operations,
        judged.len(),
        tally.linearizable,
        tally.broken,
        tally.undecided
    )
}

fn report(judged: &[Judged], tally: &Tally) -> Value {
    let keys: Vec<Value> = judged.iter().map(key_report).collect();
    let holds = tally.linearizable == judged.len();
    json!({
        "linearizable": (tally.answered > 0).then_some(holds),
        "operations": tally.operations,
        "keys": keys,
    })
}

/// Keys and values are shown as their JSON, so that `1` and `"1"` differ.
fn key_report(judged: &Judged) -> Value {
    let mut out = json!({
        "key": judged.key.as_json(),
        "operations": judged.operations,
        "steps": judged.steps,
        "verdict": judged.verdict.name(),
    });
    match &judged.verdict {
        Verdict::Linearizable => {}
        Verdict::Undecided(why) => out["why"] = json!(why.to_string()),
        Verdict::Broken(found) => {
            let words = |operations: &[Operation]| -> Vec<String> {
                operations.iter().map(Operation::to_string).collect()
            };
            let could_hold: Vec<&str> = found
                .could_hold
                .iter()
                .map(|value| value.as_json())
                .collect();
            out["stuck"] = json!(found.stuck.to_string());
            out["line"] = json!(found.stuck.ended.map(|(_, end)| end.line));
            out["linearized"] = json!(found.linearized);
            out["last"] = json!(words(&found.last));
            out["could_hold"] = json!(could_hold);
            out["open"] = json!(words(&found.open));
        }
    }
    out
}
