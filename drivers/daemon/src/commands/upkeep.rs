//! `checkpoint`, `restore` and `verify`: on a running node over HTTP, on directories by themselves.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar};
use rumormill_store::{CheckpointError, Options, Progress, Verified};
use serde_json::{Value, json};

use super::http::{self, Ask};
use super::progress;
use crate::cli::{ServerArgs, Upkeep};
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::Client;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn run(command: Upkeep) -> Result<(), Failure> {
    match command {
        Upkeep::Checkpoint { dir, server } => checkpoint(&dir, &server),
        Upkeep::Restore {
            dir,
            data_dir,
            json,
        } => restore(&dir, &data_dir, json),
        Upkeep::Verify {
            dir: Some(dir),
            server,
            ..
        } => verify(&dir, server.json),
        Upkeep::Verify { rate, server, .. } => verify_node(rate, &server),
    }
}

/// A bar of bytes.
fn bar() -> ProgressBar {
    progress::bar(
        Some(0),
        "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    )
}

/// Begins work on a running node, and waits for its end, which it returns.
fn on_node(path: &str, body: &Value, server: &ServerArgs) -> Result<Value, Failure> {
    let endpoint = http::endpoint(&mut Client::connect(&server.addr)?)?;
    let body = body.to_string();
    let begin = Ask::new("POST", path).header("Content-Type", "application/json");
    let begun = http::ask(&endpoint, &begin.body(body.as_bytes()))?;
    if begun.status != 202 {
        return Err(begun.refusal());
    }
    let number = begun.json()?["number"].as_u64().unwrap_or_default();
    let bar = bar();
    loop {
        let answer = http::ask(&endpoint, &Ask::new("GET", path))?;
        if answer.status != 200 {
            return Err(answer.refusal());
        }
        let state = answer.json()?;
        let of = |part: &Value| part["number"].as_u64() == Some(number);
        if of(&state["last"]) {
            bar.finish_and_clear();
            return Ok(state["last"].clone());
        }
        if !of(&state["running"]) {
            let why =
                "it has ended, and the node does not say how: it was restarted, or began another";
            return Err(Failure::Refused(why.into()));
        }
        let number = |name: &str| state["running"][name].as_u64().unwrap_or_default();
        bar.set_length(number("total"));
        bar.set_position(number("done"));
        thread::sleep(LOOK);
    }
}

fn checkpoint(dir: &Path, server: &ServerArgs) -> Result<(), Failure> {
    let absolute = std::path::absolute(dir)
        .map_err(|error| Failure::Usage(format!("{}: {error}", dir.display())))?;
    let body = json!({ "dir": absolute });
    let ended = on_node("/v1/checkpoints", &body, server)?;
    if let Some(why) = ended["error"].as_str() {
        return Err(Failure::Refused(why.to_string()));
    }
    if server.json {
        return print_line(&ended.to_string());
    }
    let number = |name: &str| ended[name].as_u64().unwrap_or_default();
    let (files, bytes) = (number("files"), number("bytes"));
    let (kept, kept_bytes) = (number("kept"), HumanBytes(number("kept_bytes")));
    let speed = speed(bytes, ended["seconds"].as_f64().unwrap_or_default());
    print_line(&format!(
        "{}: {files} files, {}, of which {kept} ({kept_bytes}) were kept; up to batch {}; {speed}",
        absolute.display(),
        HumanBytes(bytes),
        number("watermark"),
    ))
}

fn speed(bytes: u64, seconds: f64) -> String {
    let rate = bytes as f64 / seconds.max(1e-6) / 1e6;
    format!("{seconds:.2} s, {rate:.0} MB/s")
}

/// Does work on a thread of its own, with a bar.
fn with_bar<T: Send>(work: impl FnOnce(&Progress) -> T + Send) -> Result<T, Failure> {
    let (progress, bar) = (Progress::new(), bar());
    let done = thread::scope(|scope| {
        let work = scope.spawn(|| work(&progress));
        while !work.is_finished() {
            let (done, total) = progress.bytes();
            bar.set_length(total);
            bar.set_position(done);
            thread::park_timeout(LOOK);
        }
        work.join()
    });
    bar.finish_and_clear();
    done.map_err(|_| Failure::Not("it panicked".into()))
}

fn restore(dir: &Path, data_dir: &Path, json: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    let options = Options::default();
    let done = with_bar(|progress| rumormill_store::restore(dir, data_dir, options, progress))?;
    let done = match done {
        Ok(done) => done,
        Err(CheckpointError::Damaged { found, .. }) if !json => {
            for damage in &found {
                print_line(&damage.to_string())?;
            }
            let (dir, faults) = (dir.display(), found.len());
            return Err(Failure::Not(format!(
                "{dir} is damaged ({faults} files), and nothing was restored"
            )));
        }
        Err(error) => return Err(Failure::Not(error.to_string())),
    };
    let seconds = begun.elapsed().as_secs_f64();
    if json {
        let document = json!({
            "data_dir": data_dir,
            "watermark": done.watermark,
            "files": done.files,
            "bytes": done.bytes,
            "cluster_name": done.cluster_name,
            "made_by": done.made_by,
            "made_at_ms": done.made_at_ms,
            "seconds": seconds,
        });
        return print_line(&document.to_string());
    }
    let speed = speed(done.bytes, seconds);
    print_line(&format!(
        "{}: {} files, {}, of node {}, up to batch {}; {speed}",
        data_dir.display(),
        done.files,
        HumanBytes(done.bytes),
        done.made_by,
        done.watermark,
    ))?;
    print_line(&format!(
        "start it with: rumormill serve --data-dir {} --cluster-name {} --join ADDRESS (without --join where the whole cluster is lost)",
        data_dir.display(),
        done.cluster_name,
    ))
}

fn verify(dir: &Path, json: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    let found = with_bar(|progress| rumormill_store::verify(dir, progress))?;
    let found = found.map_err(|error| Failure::Not(error.to_string()))?;
    let faults: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
    let all = found.faults.len() as u64 + found.more;
    if json {
        print_line(&document(dir, &found).to_string())?;
    } else {
        for fault in &faults {
            print_line(fault)?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rows = format!("{} rows, {}", found.rows, speed(found.bytes, seconds));
    conclude(&dir.display().to_string(), (found.files, &rows), all, json)
}

fn document(dir: &Path, found: &Verified) -> Value {
    let faults = found
        .faults
        .iter()
        .map(|fault| json!({"file": fault.file, "why": fault.why, "held": fault.held}));
    json!({
        "dir": dir,
        "checkpoint": found.checkpoint,
        "watermark": found.watermark,
        "files": found.files,
        "bytes": found.bytes,
        "rows": found.rows,
        "faults": faults.collect::<Vec<_>>(),
        "more": found.more,
    })
}

/// Says that nothing was found, or fails.
fn conclude(
    place: &str,
    (files, rows): (u64, &str),
    faults: u64,
    json: bool,
) -> Result<(), Failure> {
    match faults {
        0 if json => Ok(()),
        0 => print_line(&format!("{place}: {files} files, {rows}: no fault")),
        1 => Err(Failure::Not(format!("{place}: 1 fault"))),
        faults => Err(Failure::Not(format!("{place}: {faults} faults"))),
    }
}

fn verify_node(rate: u64, server: &ServerArgs) -> Result<(), Failure> {
    let ended = on_node("/v1/scrub", &json!({ "rate": rate }), server)?;
    if let Some(why) = ended["error"].as_str() {
        return Err(Failure::Refused(why.to_string()));
    }
    let faults = ended["faults"].as_array().cloned().unwrap_or_default();
    if server.json {
        print_line(&ended.to_string())?;
    } else {
        for fault in &faults {
            print_line(fault.as_str().unwrap_or_default())?;
        }
    }
    let number = |name: &str| ended[name].as_u64().unwrap_or_default();
    let speed = speed(
        number("bytes"),
        ended["seconds"].as_f64().unwrap_or_default(),
    );
    let rows = format!("{} rows, {speed}", number("rows"));
    conclude(
        &server.addr,
        (number("files"), &rows),
        faults.len() as u64,
        server.json,
    )
}
