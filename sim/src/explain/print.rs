//! An explanation as text and as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::{Explanation, Subject};

impl Explanation {
    /// The explanation as one JSON object.
    pub fn to_json(&self) -> String {
        let subject = match &self.subject {
            Subject::Key { table, key } => {
                json!({ "table": table, "key": key.escape_ascii().to_string() })
            }
            Subject::Message(number) => json!({ "message": number }),
        };
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "at_us": line.at_us,
                    "seq": line.seq,
                    "node": line.node,
                    "text": line.text,
                    "message": line.message,
                    "touches": line.touches,
                    "omitted": line.omitted,
                })
            })
            .collect();
        json!({
            "subject": subject,
            "lines": lines,
            "omitted": self.omitted,
            "cut_us": self.cut_us,
        })
        .to_string()
    }
}

/// Lines of time, number, node and text; a `>` marks those about the subject itself.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.lines.iter().filter(|line| line.touches).count();
        writeln!(
            f,
            "{}: {own} events (>) in {} lines; time in us, number in the trace, node, what",
            self.subject,
            self.lines.len()
        )?;
        for line in &self.lines {
            left_out(f, line.omitted)?;
            let mark = if line.touches { '>' } else { ' ' };
            let seq = line.seq.map_or_else(String::new, |seq| seq.to_string());
            let node = line
                .node
                .map_or_else(|| "-".to_string(), |node| format!("n{node}"));
            write!(
                f,
                "{mark} {:>10} {seq:>7} {node:<4} {}",
                line.at_us, line.text
            )?;
            match line.message {
                Some(number) => writeln!(f, "  #{number}")?,
                None => writeln!(f)?,
            }
        }
        left_out(f, self.omitted)?;
        match self.cut_us {
            Some(at_us) => writeln!(
                f,
                "the recording ends at {at_us} us: the run was longer than its limit"
            ),
            None => Ok(()),
        }
    }
}

fn left_out(f: &mut fmt::Formatter<'_>, count: u64) -> fmt::Result {
    match count {
        0 => Ok(()),
        1 => writeln!(f, "  ... 1 line of context"),
        _ => writeln!(f, "  ... {count} lines of context"),
    }
}
