//! `sim scale`: figures from the simulator; processor time and memory from this process, which alone may look at them.

use std::time::Instant;

use indicatif::ProgressBar;
use rumormill_sim::scale::{Figure, Goal, Lab, Measured, stages};
use serde_json::{Value, json};

use super::jobs;
use crate::commands::describe::show;
use crate::commands::rows::print_line;
use crate::failure::Failure;

/// The figures of one size of cluster.
struct Column {
    nodes: u16,
    hash: u64,
    figures: Vec<Figure>,
}

pub(crate) fn run(sizes: &[u16], seed: u64, json: bool) -> Result<(), Failure> {
    let bar = jobs::bar((sizes.len() * stages().len()) as u64, "stages");
    let columns: Vec<Column> = sizes
        .iter()
        .map(|nodes| measure(*nodes, seed, &bar))
        .collect();
    bar.finish_and_clear();
    match json {
        true => print_line(&report(&columns, seed).to_string()),
        false => print(&columns),
    }
}

fn measure(nodes: u16, seed: u64, bar: &ProgressBar) -> Column {
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
    Column {
        nodes,
        hash: lab.hash(),
        figures,
    }
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

fn print(columns: &[Column]) -> Result<(), Failure> {
    let sizes = columns.iter().map(|column| format!("n = {}", column.nodes));
    let header: Vec<String> = ["measured / bound".to_string(), "goal".to_string()]
        .into_iter()
        .chain(sizes)
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let first = columns.first().map_or(&[][..], |column| &column.figures);
    let rows = first.iter().map(|figure| {
        let comma = if figure.unit.is_empty() { "" } else { ", " };
        let name = format!("{}{comma}{}", figure.name, figure.unit);
        let cells = columns.iter().map(|column| cell(column, figure.name));
        [name, goals(columns, figure.name)]
            .into_iter()
            .chain(cells)
            .collect()
    });
    show(&header, rows)
}

fn named<'a>(column: &'a Column, name: &str) -> Option<&'a Figure> {
    column.figures.iter().find(|figure| figure.name == name)
}

fn cell(column: &Column, name: &str) -> String {
    let Some(figure) = named(column, name) else {
        return String::new();
    };
    let value = figure.value.map_or("never".to_string(), short);
    let mark = if figure.met() == Some(false) {
        " !"
    } else {
        ""
    };
    match figure.bound {
        Some(bound) => format!("{value} / {}{mark}", short(bound)),
        None => format!("{value}{mark}"),
    }
}

/// The goals of one figure at all sizes: one, unless large clusters have another.
fn goals(columns: &[Column], name: &str) -> String {
    let mut out: Vec<String> = columns
        .iter()
        .filter_map(|column| goal(named(column, name)?))
        .collect();
    out.dedup();
    // Where each size has its own limit, the shortest and the longest tell enough.
    match out.as_slice() {
        [first, .., last] if out.len() > 2 => format!("{first} to {last}"),
        _ => out.join("; "),
    }
}

fn goal(figure: &Figure) -> Option<String> {
    Some(match figure.goal {
        Goal::Limit(limit) => short(limit),
        Goal::Times(factor) => format!("{}x", short(factor)),
        Goal::TimesAnd(1.0, more) => format!("bound + {}", short(more)),
        Goal::TimesAnd(factor, more) => format!("{}x + {}", short(factor), short(more)),
        Goal::None => return None,
    })
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

fn report(columns: &[Column], seed: u64) -> Value {
    let clusters = columns.iter().map(|column| {
        let figures = column.figures.iter().map(|figure| {
            json!({
                "name": figure.name, "unit": figure.unit, "value": figure.value,
                "bound": figure.bound, "goal": figure.limit(), "met": figure.met(),
            })
        });
        json!({
            "nodes": column.nodes,
            "hash": format!("{:016x}", column.hash),
            "figures": figures.collect::<Vec<Value>>(),
        })
    });
    json!({ "seed": seed, "clusters": clusters.collect::<Vec<Value>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(nodes: u16, goal: Goal, value: Option<f64>) -> Column {
        let figure = Figure {
            name: "delay",
            unit: "ms",
            value,
            bound: Some(2.0),
            goal,
        };
        Column {
            nodes,
            hash: 1,
            figures: vec![figure],
        }
    }

    #[test]
    fn a_missed_goal_is_marked() {
        let met = column(10, Goal::Times(1.5), Some(3.0));
        let missed = column(100, Goal::Times(1.5), Some(3.04));
        let never = column(1_000, Goal::TimesAnd(1.0, 2.0), None);
        assert_eq!(cell(&met, "delay"), "3 / 2");
        assert_eq!(cell(&missed, "delay"), "3.04 / 2 !");
        assert_eq!(cell(&never, "delay"), "never / 2 !");
        assert_eq!(goals(&[met, missed, never], "delay"), "1.5x; bound + 2");
    }

    #[test]
    fn json_has_the_goal_as_a_number() {
        let columns = [column(10, Goal::TimesAnd(1.0, 2.0), Some(5.0))];
        let report = report(&columns, 7);
        let figure = &report["clusters"][0]["figures"][0];
        assert_eq!(figure["goal"], json!(4.0));
        assert_eq!(figure["met"], json!(false));
        assert_eq!(report["clusters"][0]["nodes"], json!(10));
    }

    #[test]
    fn memory_is_known_on_linux() {
        assert_eq!(resident_bytes().is_some(), cfg!(target_os = "linux"));
    }
}
