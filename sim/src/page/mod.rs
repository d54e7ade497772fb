//! A run as one self-contained HTML page: a space-time diagram with the trace beside it.
//!
//! The page loads nothing. Its data is JSON in a script element that is never executed; the script reads it and writes text
//! nodes only, so that nothing in a key or value can become markup or code.

mod data;

use crate::recording::Recording;
use crate::report::Report;

/// Runs are recorded for a page up to so many events, about 12 MB of page. What comes later is left out, and the page says so.
pub const PAGE_EVENTS: usize = 250_000;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// One script in five files; they share one scope, and the last one begins.
const SCRIPT: &str = concat!(
    include_str!("model.js"),
    include_str!("diagram.js"),
    include_str!("slider.js"),
    include_str!("list.js"),
    include_str!("main.js"),
);

/// The page of a run.
///
/// ```
/// use rumormill_sim::{FaultSet, Options, page, record};
///
/// let options = Options { seed: 7, nodes: 3, minutes: 0, faults: FaultSet::NONE, trace: false };
/// let report = record(&options, page::PAGE_EVENTS);
/// let html = report.recording.as_ref().map(|recording| page::render(&report, recording));
/// assert!(html.is_some_and(|html| html.contains("seed 7")));
/// ```
pub fn render(report: &Report, recording: &Recording) -> String {
    let data = data::json(report, recording);
    let title = format!("Rumormill run, seed {}", report.seed);
    let parts = [
        ("{{title}}", title.as_str()),
        ("{{style}}", STYLE),
        ("{{data}}", &data),
        ("{{script}}", SCRIPT),
    ];
    let mut out = String::with_capacity(HTML.len() + STYLE.len() + SCRIPT.len() + data.len() + 64);
    let mut rest = HTML;
    // In the order of the template, so that nothing is looked for in what was filled in.
    for (name, text) in parts {
        let (before, after) = rest.split_once(name).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out.push_str(rest);
    out
}
