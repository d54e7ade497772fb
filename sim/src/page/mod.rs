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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use crate::clients::Deed;
    use crate::faults::FaultSet;
    use crate::plan::{Machine, Plan, Table};
    use crate::trace::Keep;
    use crate::world::World;

    /// The page of two nodes, one of which writes a key.
    fn page_of(key: &str, limit: usize) -> (Report, String) {
        let plan = Plan {
            seed: 9,
            codec: false,
            resident_value: None,
            caps: crate::plan::Caps::default(),
            machines: vec![Machine::new(0), Machine::new(20_000)],
            stop_us: 0,
            entries: Vec::new(),
        };
        let mut world = World::new(plan, Keep::Nothing);
        world.record(limit);
        world.run_until(3_000_000);
        let (key, value) = (Bytes::from(key.to_string()), Bytes::from_static(b"<b>"));
        assert!(world.write(None, 0, Table::Periodic, &key, Deed::Put(value)));
        world.run_until(4_000_000);
        let report = world.into_report(9, FaultSet::NONE);
        let html = render(&report, report.recording.as_ref().unwrap());
        (report, html)
    }

    /// Returns the data as the page's script would read it.
    fn data_of(html: &str) -> Value {
        let (_, rest) = html.split_once("id=\"data\">").unwrap();
        let (data, _) = rest.split_once("</script>").unwrap();
        serde_json::from_str(data).unwrap()
    }

    #[test]
    fn a_page_holds_the_run() {
        let (report, html) = page_of("color", PAGE_EVENTS);
        let recording = report.recording.as_ref().unwrap();
        let data = data_of(&html);
        assert_eq!(data["run"]["hash"], format!("{:016x}", report.hash));
        assert_eq!(data["run"]["cut_us"], Value::Null);
        assert_eq!(data["keys"], serde_json::json!(["default/color"]));
        for column in ["at", "node", "verb", "detail", "text", "key", "message"] {
            let length = data["events"][column].as_array().unwrap().len();
            assert_eq!(length, recording.events().len(), "{column}");
        }
        let pushed = data["messages"]["rows"].as_array().unwrap();
        assert!(!pushed.is_empty(), "a push carries the key");
        let sent: u64 = column(&data["messages"]["numbers"]).sum();
        assert_eq!(
            Some(sent),
            recording.flights().last().map(|last| last.number)
        );
        // Self-contained: nothing of it names a place to load from.
        assert!(!html.contains("://") && !html.contains("src=") && !html.contains("{{"));
    }

    fn column(values: &Value) -> impl Iterator<Item = u64> {
        values.as_array().unwrap().iter().filter_map(Value::as_u64)
    }

    #[test]
    fn a_key_cannot_leave_the_data() {
        let hostile = "</script><script>alert(1)//\u{2028}";
        let (_, html) = page_of(hostile, PAGE_EVENTS);
        assert_eq!(html.matches("</script").count(), 2, "data and script");
        assert!(!html.contains("alert(1)//\u{2028}"));
        let keys = &data_of(&html)["keys"];
        assert_eq!(
            keys[0],
            format!("default/{}", hostile.as_bytes().escape_ascii())
        );
    }

    #[test]
    fn a_long_run_is_cut_and_says_so() {
        let (report, html) = page_of("color", 50);
        let recording = report.recording.as_ref().unwrap();
        let run = &data_of(&html)["run"];
        assert_eq!(recording.events().len(), 50);
        assert!(run["events_seen"].as_u64().unwrap() > 50);
        assert_eq!(run["cut_us"].as_u64(), recording.cut_us());
        assert!(recording.cut_us() >= recording.events().last().map(|last| last.at_us));
    }
}
