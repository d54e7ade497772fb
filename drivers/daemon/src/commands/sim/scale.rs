//! `sim scale`: figures from the simulator; processor time and memory from this process, which alone may look at them.

use std::process::{Command, Stdio};
use std::time::Instant;

use rumormill_sim::scale::{Figure, Goal, Lab, Measured, stages};
use serde_json::{Value, json};

use super::jobs;
use crate::commands::describe::show;
use crate::failure::Failure;
use crate::output::print_line;

/// Measures here where there is one size, and else each in a process of its own: what one cluster has grown the heap by, the next
/// would find there.
pub(crate) fn run(sizes: &[u16], seed: u64, json: bool) -> Result<(), Failure> {
    let clusters: Vec<Value> = match sizes {
        [nodes] => vec![measure(*nodes, seed)],
        _ => {
            let apart = sizes.iter().map(|nodes| measure_apart(*nodes, seed));
            apart.collect::<Result<_, Failure>>()?
        }
    };
    match json {
        true => print_line(&json!({ "seed": seed, "clusters": clusters }).to_string()),
        false => print(&clusters),
    }
}

/// One size, by this program started again. Its progress is shown as it shows it.
fn measure_apart(nodes: u16, seed: u64) -> Result<Value, Failure> {
    let failed = |why: String| Failure::Not(format!("cannot measure {nodes} nodes: {why}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .args(["sim", "scale", "--json", "--nodes", &nodes.to_string()])
        .args(["--seed", &seed.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    let mut report: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(report["clusters"][0].take())
}

fn measure(nodes: u16, seed: u64) -> Value {
    let bar = jobs::bar(stages().len() as u64, "stages");
    let before = resident_bytes();
    let mut lab = Lab::new(usize::from(nodes), seed);
    let mut figures = Vec::new();
    for (number, stage) in stages().iter().enumerate() {
        bar.set_message(format!("{nodes} nodes: {}", stage.name));
        let begin = Instant::now();
        let measured = (stage.run)(&mut lab);
        let us = begin.elapsed().as_secs_f64() * 1e6;
        let cpu = cpu(&measured, us);
        figures.extend(measured.figures);
        figures.extend(cpu);
        if number == 0 {
            figures.push(memory(before, nodes));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report(nodes, lab.hash(), &figures)
}

/// The time on the wall per piece of work.
fn cpu(measured: &Measured, us: f64) -> Option<Figure> {
    let work = measured.work?;
    Some(Figure {
        name: work.name,
        unit: "us",
        value: Some(us / work.pieces.max(1) as f64),
        bound: None,
        goal: Goal::Limit(work.goal_us),
    })
}

fn memory(before: Option<u64>, nodes: u16) -> Figure {
    let grown = resident_bytes().zip(before);
    let per_node =
        grown.map(|(now, before)| now.saturating_sub(before) as f64 / f64::from(nodes) / 1024.0);
    Figure {
        name: "memory per node",
        unit: "KiB",
        value: per_node,
        bound: None,
        goal: Goal::None,
    }
}

/// The resident set of this process, as Linux tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn report(nodes: u16, hash: u64, figures: &[Figure]) -> Value {
    let figures = figures.iter().map(|figure| {
        json!({
            "name": figure.name, "unit": figure.unit, "value": figure.value, "bound": figure.bound,
            "goal": figure.limit(), "rule": rule(figure), "met": figure.met(),
        })
    });
    let figures: Vec<Value> = figures.collect();
    json!({ "nodes": nodes, "hash": format!("{hash:016x}"), "figures": figures })
}

/// The goal as it reads for all sizes.
fn rule(figure: &Figure) -> Option<String> {
    Some(match figure.goal {
        Goal::Limit(limit) => short(limit),
        Goal::Times(factor) => format!("{factor}x"),
        Goal::TimesAnd(1.0, more) => format!("bound + {more}"),
        Goal::TimesAnd(factor, more) => format!("{factor}x + {more}"),
        Goal::None => return None,
    })
}

fn print(clusters: &[Value]) -> Result<(), Failure> {
    let sizes = clusters
        .iter()
        .map(|cluster| format!("n = {}", cluster["nodes"]));
    let header: Vec<String> = ["measured / bound".to_string(), "goal".to_string()]
        .into_iter()
        .chain(sizes)
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    // All sizes have the same figures in the same order.
    let count = clusters.first().map_or(0, |cluster| figures(cluster).len());
    let rows = (0..count).map(|row| {
        let across = clusters.iter().filter_map(|one| figures(one).get(row));
        let across: Vec<&Value> = across.collect();
        line(&across)
    });
    show(&header, rows)
}

fn figures(cluster: &Value) -> &[Value] {
    cluster["figures"].as_array().map_or(&[], Vec::as_slice)
}

/// One figure at all sizes.
fn line(across: &[&Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let names = across.first().map(|first| {
        let (name, unit) = (text(&first["name"]), text(&first["unit"]));
        let comma = if unit.is_empty() { "" } else { ", " };
        format!("{name}{comma}{unit}")
    });
    let cells = across.iter().map(|figure| cell(figure));
    [names.unwrap_or_default(), rules(across)]
        .into_iter()
        .chain(cells)
        .collect()
}

fn cell(figure: &Value) -> String {
    let value = figure["value"].as_f64().map_or("never".to_string(), short);
    let mark = if figure["met"] == false { " !" } else { "" };
    match figure["bound"].as_f64() {
        Some(bound) => format!("{value} / {}{mark}", short(bound)),
        None => format!("{value}{mark}"),
    }
}

/// One goal, unless sizes have others; where each has its own, the first and the last tell enough.
fn rules(across: &[&Value]) -> String {
    let rules = across.iter().filter_map(|figure| figure["rule"].as_str());
    let mut rules: Vec<&str> = rules.collect();
    rules.dedup();
    match rules.as_slice() {
        [first, .., last] if rules.len() > 2 => format!("{first} to {last}"),
        _ => rules.join("; "),
    }
}

/// About three digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(value: Option<f64>, goal: Goal) -> Value {
        let figure = Figure {
            name: "delay",
            unit: "ms",
            value,
            bound: Some(2.0),
            goal,
        };
        report(10, 1, &[figure])["figures"][0].take()
    }

    #[test]
    fn a_missed_goal_is_marked() {
        let met = delay(Some(3.0), Goal::Times(1.5));
        let missed = delay(Some(3.04), Goal::Times(1.5));
        let never = delay(None, Goal::TimesAnd(1.0, 2.0));
        let expected = [
            "delay, ms",
            "1.5x; bound + 2",
            "3 / 2",
            "3.04 / 2 !",
            "never / 2 !",
        ];
        assert_eq!(line(&[&met, &missed, &never]), expected);
        let other = delay(None, Goal::Limit(120.0));
        assert_eq!(rules(&[&met, &never, &other]), "1.5x to 120");
    }

    #[test]
    fn json_has_the_goal_as_a_number() {
        let figure = delay(Some(5.0), Goal::TimesAnd(1.0, 2.0));
        let [value, bound, goal] = ["value", "bound", "goal"].map(|name| figure[name].as_f64());
        assert_eq!((value, bound, goal), (Some(5.0), Some(2.0), Some(4.0)));
        assert_eq!(figure["met"], false);
    }

    #[test]
    fn memory_is_known_on_linux() {
        assert_eq!(resident_bytes().is_some(), cfg!(target_os = "linux"));
    }
}
