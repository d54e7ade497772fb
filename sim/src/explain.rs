//! The part of a run around one key or one message.

mod print;

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;

use crate::recording::{FieldValue, Flight, KeyIndex, Outcome, Recorded, Recording, Span};

/// The subject of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A key of a table.
    Key {
        /// The table's name.
        table: String,
        /// The key.
        key: Bytes,
    },
    /// A message, by its number in the run.
    Message(u64),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Key { table, key } => write!(f, "{table}/{}", key.escape_ascii()),
            Subject::Message(number) => write!(f, "message #{number}"),
        }
    }
}

/// Why there is nothing to explain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} does not occur in the run{}{}", self.last(), self.cut())]
pub struct NotThere {
    subject: Subject,
    cut_us: Option<u64>,
    messages: u64,
}

impl NotThere {
    /// Names the last message, for a subject that is one.
    fn last(&self) -> String {
        match self.subject {
            Subject::Message(_) => format!(", whose last message is #{}", self.messages),
            Subject::Key { .. } => String::new(),
        }
    }

    /// Names the end of a recording that does not hold the whole run.
    fn cut(&self) -> String {
        let cut = self.cut_us;
        cut.map_or_else(String::new, |at_us| {
            format!(" (recorded until {at_us} us only)")
        })
    }
}

/// One line of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// The number of the event in the trace; sending and faults have none.
    pub seq: Option<u64>,
    /// The node, or `None` for the world.
    pub node: Option<usize>,
    /// The event in words.
    pub text: String,
    /// The message that was sent, arrived or was lost here.
    pub message: Option<u64>,
    /// Whether it is about the subject itself; the rest is context.
    pub touches: bool,
    /// How many lines of context were left out before this one.
    pub omitted: u64,
}

/// The part of a run around a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The subject.
    pub subject: Subject,
    /// The lines, in order of time.
    pub lines: Vec<Line>,
    /// How many lines of context were left out after the last one.
    pub omitted: u64,
    /// When the recording was cut short, in virtual microseconds.
    pub cut_us: Option<u64>,
}

/// Explains a subject.
///
/// A key's events are its writes, deletes, flushes, reads, acknowledgements, the messages that carried it, what watchers saw of it, and
/// its records on the disks; its context are crashes, starts, links, clocks and faults of the nodes it touched. A message's events
/// are its sending and its end; its context is everything on its two nodes. Of the context, at most `around` lines are
/// kept between two events of the subject, before the first and after the last.
///
/// # Errors
/// When the subject does not occur in the recording.
pub fn explain(
    recording: &Recording,
    subject: &Subject,
    around: usize,
) -> Result<Explanation, NotThere> {
    let items = match subject {
        Subject::Key { table, key } => recording
            .key(table, key)
            .map(|key| around_key(recording, key)),
        Subject::Message(number) => recording
            .flight(*number)
            .map(|flight| around_message(recording, flight)),
    };
    let Some(mut items) = items else {
        return Err(NotThere {
            subject: subject.clone(),
            cut_us: recording.cut_us(),
            messages: recording.flights().last().map_or(0, |last| last.number),
        });
    };
    items.sort_by_key(Item::order);
    let (lines, omitted) = thin(items, around);
    Ok(Explanation {
        subject: subject.clone(),
        lines,
        omitted,
        cut_us: recording.cut_us(),
    })
}

#[derive(Clone, Copy)]
enum What<'a> {
    Event(&'a Recorded),
    Send(&'a Flight),
    Span(&'a Span, Edge),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Begins,
    Ends(u64),
}

struct Item<'a> {
    what: What<'a>,
    touches: bool,
    note: String,
}

impl Item<'_> {
    /// Time, then the order of the trace. A message leaves after the event numbered in it; a fault acts first.
    fn order(&self) -> (u64, u64, u64) {
        match self.what {
            What::Event(event) => (event.at_us, event.seq, 0),
            What::Send(flight) => (flight.sent_us, flight.sent_after, flight.number),
            What::Span(span, Edge::Begins) => (span.from_us, 0, 1),
            What::Span(_, Edge::Ends(at_us)) => (at_us, 0, 0),
        }
    }

    fn line(&self, omitted: u64) -> Line {
        let (at_us, _, _) = self.order();
        let (seq, node, message, mut text) = match self.what {
            What::Event(event) => (
                Some(event.seq),
                event.node,
                event.message,
                event.to_string(),
            ),
            What::Send(flight) => {
                let text = format!("sends {} to n{}", flight.kind, flight.to);
                (None, Some(flight.from), Some(flight.number), text)
            }
            What::Span(span, edge) => {
                let word = match edge {
                    Edge::Begins => "begins",
                    Edge::Ends(_) => "ends",
                };
                (None, None, None, format!("{word}: {}", span.text))
            }
        };
        text.push_str(&self.note);
        Line {
            at_us,
            seq,
            node,
            text,
            message,
            touches: self.touches,
            omitted,
        }
    }
}

fn around_key(recording: &Recording, key: KeyIndex) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut nodes = BTreeSet::new();
    for flight in carriers(recording, key) {
        nodes.extend([flight.from, flight.to]);
        items.push(sending(flight));
    }
    let carried: BTreeSet<u64> = carriers(recording, key)
        .map(|flight| flight.number)
        .collect();
    for event in recording.events() {
        let by_message = event
            .message
            .is_some_and(|number| carried.contains(&number));
        let note = match (event.keys.contains(&key), event.removed.contains(&key)) {
            (_, true) => "  [takes its record off the disk]",
            (true, _) if event.verb == "store" => "  [writes its record]",
            (true, _) => "",
            _ if by_message || flushes(recording, event, key) => "",
            _ => continue,
        };
        nodes.extend(event.node);
        items.push(Item {
            what: What::Event(event),
            touches: true,
            note: format!("{note}{}", travelled(recording, event)),
        });
    }
    let context = recording.events().iter().filter(|event| {
        let peer = match event.field("peer") {
            Some(FieldValue::Node(peer)) => *peer,
            _ => None,
        };
        let here = event.node.is_none_or(|node| nodes.contains(&node));
        is_context(event.verb) && here && peer.is_none_or(|peer| nodes.contains(&peer))
    });
    items.extend(context.map(background));
    items.extend(spans(recording, &nodes));
    items
}

/// Whether the event removes all rows of the key's table.
fn flushes(recording: &Recording, event: &Recorded, key: KeyIndex) -> bool {
    let table = recording.keys().get(key as usize).map(|(table, _)| table);
    match event.field("table") {
        Some(FieldValue::Word(own)) => {
            event.verb == "flush" && table.is_some_and(|table| table == own)
        }
        _ => false,
    }
}

fn carriers(recording: &Recording, key: KeyIndex) -> impl Iterator<Item = &Flight> {
    let flights = recording.flights().iter();
    flights.filter(move |flight| flight.keys.contains(&key))
}

/// Events that explain why a row did or did not travel; begins and ends of faults come from the spans.
fn is_context(verb: &str) -> bool {
    matches!(
        verb,
        "start"
            | "crash"
            | "halt"
            | "up"
            | "down"
            | "clock"
            | "joined"
            | "rejoined"
            | "member_down"
            | "member_evicted"
            | "evicted"
            | "eviction_outranked"
            | "at_rest"
    )
}

fn around_message<'a>(recording: &'a Recording, flight: &'a Flight) -> Vec<Item<'a>> {
    let nodes = BTreeSet::from([flight.from, flight.to]);
    let mut items = vec![sending(flight)];
    for event in recording.events() {
        if event.message == Some(flight.number) {
            items.push(Item {
                what: What::Event(event),
                touches: true,
                note: travelled(recording, event),
            });
        } else if event.node.is_some_and(|node| nodes.contains(&node)) {
            items.push(background(event));
        }
    }
    items.extend(spans(recording, &nodes));
    items
}

fn sending(flight: &Flight) -> Item<'_> {
    let note = match flight.outcome {
        Outcome::Arrived if flight.arrivals.len() > 1 => "  [arrives twice]".to_string(),
        Outcome::Arrived => String::new(),
        other => format!("  [{}]", other.name()),
    };
    Item {
        what: What::Send(flight),
        touches: true,
        note,
    }
}

fn background(event: &Recorded) -> Item<'_> {
    Item {
        what: What::Event(event),
        touches: false,
        note: String::new(),
    }
}

fn spans<'a>(recording: &'a Recording, nodes: &BTreeSet<usize>) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for span in recording.spans() {
        let mut struck = span.nodes.iter().chain(&span.others);
        // Crashes and clocks have events of their own.
        let told = matches!(span.kind, "crash" | "skew");
        if told || !(span.nodes.is_empty() || struck.any(|node| nodes.contains(node))) {
            continue;
        }
        let ends = span.until_us.map(Edge::Ends);
        items.extend(
            [Some(Edge::Begins), ends]
                .into_iter()
                .flatten()
                .map(|edge| Item {
                    what: What::Span(span, edge),
                    touches: false,
                    note: String::new(),
                }),
        );
    }
    items
}

/// How long the message of an event was on its way.
fn travelled(recording: &Recording, event: &Recorded) -> String {
    let flight = event.message.and_then(|number| recording.flight(number));
    match flight.filter(|flight| flight.outcome == Outcome::Arrived) {
        Some(flight) => format!(
            "  [sent {} us before]",
            event.at_us.saturating_sub(flight.sent_us)
        ),
        None => String::new(),
    }
}

/// Keeps of each stretch of context the `around` lines nearest to what follows; of the last one, those nearest to what
/// went before. Returns the lines and how many were left out at the end.
fn thin(items: Vec<Item<'_>>, around: usize) -> (Vec<Line>, u64) {
    let mut lines = Vec::new();
    let mut waiting: Vec<Item<'_>> = Vec::new();
    for item in items {
        if !item.touches {
            waiting.push(item);
            continue;
        }
        let mut omitted = waiting.len().saturating_sub(around) as u64;
        for kept in waiting.drain(..).skip(omitted as usize) {
            lines.push(kept.line(std::mem::take(&mut omitted)));
        }
        lines.push(item.line(omitted));
    }
    let omitted = waiting.len().saturating_sub(around) as u64;
    lines.extend(waiting.iter().take(around).map(|item| item.line(0)));
    (lines, omitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_is_not_there_is_named_with_the_end_of_what_is() {
        let key = Subject::Key {
            table: "default".to_string(),
            key: Bytes::from("k\n"),
        };
        let said = |subject, cut_us| {
            let why = NotThere {
                subject,
                cut_us,
                messages: 7,
            };
            why.to_string()
        };
        assert_eq!(
            [
                said(key.clone(), None),
                said(key, Some(5)),
                said(Subject::Message(9), None),
                said(Subject::Message(9), Some(5))
            ],
            [
                "default/k\\n does not occur in the run",
                "default/k\\n does not occur in the run (recorded until 5 us only)",
                "message #9 does not occur in the run, whose last message is #7",
                "message #9 does not occur in the run, whose last message is #7 (recorded until 5 us only)"
            ]
        );
    }
}
