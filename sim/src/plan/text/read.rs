//! From text to a plan.

use std::str::FromStr;

use super::error::{PlanError, PlanErrorKind as Kind};
use super::value::{Bad, Drift, Millis, Offset, Rate, Time, numbered};
use crate::faults::FaultKind;
use crate::plan::{
    Action, Caps, Entry, Fault, FaultWhat, MAX_NODES, MAX_ROT_BITS, MIN_FLAP_US, Machine, Op,
    OpVerb, Plan, Table,
};

const A_TIME: &str = "a time such as 250ms, 3s or 1.5s";

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut draft = Draft::default();
        let mut last = Line::read(1, "");
        for (index, text) in text.lines().enumerate() {
            let line = Line::read(index + 1, text);
            if !line.words.is_empty() {
                draft.line(&line)?;
                last = line;
            }
        }
        draft.finish(&last)
    }
}

/// A word and where it begins, in characters from 1.
#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    text: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Word<'a> {
    fn error(self, kind: Kind, expected: impl Into<String>) -> PlanError {
        PlanError {
            line: self.line,
            column: self.column,
            kind,
            found: self.text.to_string(),
            expected: expected.into(),
        }
    }

    fn split(self, separator: char) -> Option<(Word<'a>, Word<'a>)> {
        let (head, tail) = self.text.split_once(separator)?;
        let after = Word {
            text: tail,
            column: self.column + head.chars().count() + 1,
            ..self
        };
        Some((Word { text: head, ..self }, after))
    }

    fn value<T>(self, read: Result<T, Bad>, form: &str, range: &str) -> Result<T, PlanError> {
        read.map_err(|bad| match bad {
            Bad::Form => self.error(Kind::BadWord, form),
            Bad::Range => self.error(Kind::OutOfRange, range),
        })
    }

    fn time(self) -> Result<u64, PlanError> {
        let Time(us) = self.value(self.text.parse(), A_TIME, "at most a year, 8760h")?;
        Ok(us)
    }

    fn numbered(self, letter: char) -> Result<u32, PlanError> {
        let form = format!("{letter} and a number");
        self.value(
            numbered(self.text, letter),
            &form,
            "a number of at most 32 bits",
        )
    }

    fn one_of<T: Copy>(self, words: &[(&'static str, T)]) -> Result<T, PlanError> {
        let found = words.iter().find(|(name, _)| *name == self.text);
        let expected = || list(words.iter().map(|(name, _)| *name));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.error(Kind::BadWord, expected()))
    }
}

/// The words of a line without its comment.
#[derive(Debug)]
struct Line<'a> {
    words: Vec<Word<'a>>,
    number: usize,
    /// The column after the last character.
    end: usize,
}

impl<'a> Line<'a> {
    fn read(number: usize, text: &'a str) -> Self {
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let text = text.trim_end();
        let mut words = Vec::new();
        let (mut column, mut rest) = (1, text);
        loop {
            let word = rest.trim_start();
            column += rest[..rest.len() - word.len()].chars().count();
            if word.is_empty() {
                break;
            }
            let len = word.find(char::is_whitespace).unwrap_or(word.len());
            words.push(Word {
                text: &word[..len],
                line: number,
                column,
            });
            column += word[..len].chars().count();
            rest = &word[len..];
        }
        let end = column;
        Line { words, number, end }
    }

    fn missing(&self, expected: impl Into<String>) -> PlanError {
        PlanError {
            line: self.number,
            column: self.end,
            kind: Kind::Missing,
            found: "the end of the line".to_string(),
            expected: expected.into(),
        }
    }

    /// The only word after the verb.
    fn only(&self, what: &str) -> Result<Word<'a>, PlanError> {
        match self.words.as_slice() {
            [_, word] => Ok(*word),
            [_, _, more, ..] => Err(more.error(Kind::BadWord, "the end of the line")),
            _ => Err(self.missing(what)),
        }
    }
}

/// The fields of a line. `known` names all that it may have.
struct Fields<'a> {
    line: &'a Line<'a>,
    fields: Vec<(Word<'a>, Word<'a>)>,
    nodes: usize,
}

impl<'a> Fields<'a> {
    fn read(
        line: &'a Line<'a>,
        skip: usize,
        known: &[&'static str],
        nodes: usize,
    ) -> Result<Self, PlanError> {
        let mut fields: Vec<(Word<'a>, Word<'a>)> = Vec::new();
        for word in line.words.iter().skip(skip) {
            let Some((name, value)) = word.split('=') else {
                let expected = format!("a field: {}", list(known.iter().copied()));
                return Err(word.error(Kind::BadWord, expected));
            };
            if !known.contains(&name.text) {
                return Err(name.error(Kind::UnknownField, list(known.iter().copied())));
            }
            if fields.iter().any(|(other, _)| other.text == name.text) {
                return Err(name.error(Kind::Repeated, "each field once"));
            }
            fields.push((name, value));
        }
        Ok(Fields {
            line,
            fields,
            nodes,
        })
    }

    fn find(&self, name: &str) -> Option<Word<'a>> {
        let found = self.fields.iter().find(|(field, _)| field.text == name);
        found.map(|(_, value)| *value)
    }

    fn need(&self, name: &str) -> Result<Word<'a>, PlanError> {
        let expected = || self.line.missing(format!("the field {name}="));
        self.find(name).ok_or_else(expected)
    }

    fn time(&self, name: &str) -> Result<u64, PlanError> {
        self.need(name)?.time()
    }

    fn number(&self, name: &str, letter: char) -> Result<u32, PlanError> {
        self.need(name)?.numbered(letter)
    }

    fn node(&self, name: &str) -> Result<usize, PlanError> {
        self.as_node(self.need(name)?)
    }

    fn as_node(&self, word: Word<'a>) -> Result<usize, PlanError> {
        let node = word.numbered('n')? as usize;
        if node >= self.nodes {
            let expected = match self.nodes {
                0 => "a line `node n0 start=0s` before it".to_string(),
                1 => "n0, the only one".to_string(),
                nodes => format!("one of n0 to n{}", nodes - 1),
            };
            return Err(word.error(Kind::NoSuchNode, expected));
        }
        Ok(node)
    }

    fn nodes(&self, name: &str) -> Result<Vec<usize>, PlanError> {
        let mut rest = self.need(name)?;
        let mut out = Vec::new();
        loop {
            let (word, more) = match rest.split(',') {
                Some((word, more)) => (word, Some(more)),
                None => (rest, None),
            };
            let node = self.as_node(word)?;
            if out.contains(&node) {
                return Err(word.error(Kind::Repeated, "each node once"));
            }
            out.push(node);
            match more {
                Some(more) => rest = more,
                None => return Ok(out),
            }
        }
    }

    fn rate(&self) -> Result<u32, PlanError> {
        let word = self.need("rate")?;
        let Rate(ppm) = word.value(
            word.text.parse(),
            "a percentage such as 12.5%, of at most four decimals",
            "0% to 100%",
        )?;
        Ok(ppm)
    }

    fn offset(&self, name: &str) -> Result<i64, PlanError> {
        let word = self.need(name)?;
        let form = "whole milliseconds with a sign, such as +250ms or -3s";
        let Offset(ms) = word.value(word.text.parse(), form, "at most a year, 8760h")?;
        Ok(ms)
    }

    fn drift(&self, name: &str) -> Result<i64, PlanError> {
        let word = self.need(name)?;
        let form = "parts per million with a sign, such as +300ppm";
        let Drift(ppm) = word.value(word.text.parse(), form, "-500000ppm to +500000ppm")?;
        Ok(ppm)
    }

    fn bits(&self) -> Result<u32, PlanError> {
        let word = self.need("bits")?;
        let read = word.text.parse().map_err(|_| Bad::Form);
        let bits = word.value(read, "a number of bits", "")?;
        match bits {
            1..=MAX_ROT_BITS => Ok(bits),
            _ => Err(word.error(Kind::OutOfRange, format!("1 to {MAX_ROT_BITS}"))),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, PlanError> {
        self.need(name)?.one_of(&[("yes", true), ("no", false)])
    }
}

/// A plan that is being read.
#[derive(Default)]
struct Draft {
    seed: Option<u64>,
    codec: Option<bool>,
    resident_value: Option<u32>,
    caps: Caps,
    machines: Vec<Machine>,
    stop_us: Option<u64>,
    entries: Vec<Entry>,
}

impl Draft {
    fn line(&mut self, line: &Line<'_>) -> Result<(), PlanError> {
        let first = line.words[0];
        if first.text.starts_with(|c: char| c.is_ascii_digit()) {
            return self.entry(line, first);
        }
        let in_head = matches!(
            first.text,
            "seed" | "codec" | "resident_value" | "node" | "stop"
        ) || Caps::NAMES.contains(&first.text);
        if in_head && !self.entries.is_empty() {
            return Err(first.error(
                Kind::BadWord,
                "an entry: the head comes before the first one",
            ));
        }
        match first.text {
            "seed" => {
                let word = line.only("a seed, a number of 64 bits")?;
                let read = word.text.parse().map_err(|_| Bad::Form);
                let seed = word.value(read, "a number of 64 bits", "")?;
                once(&mut self.seed, seed, first)
            }
            "codec" => {
                let word = line.only("on or off")?;
                let on = word.one_of(&[("on", true), ("off", false)])?;
                once(&mut self.codec, on, first)
            }
            "resident_value" => {
                let word = line.only("a number of bytes")?;
                let read = word.text.parse().map_err(|_| Bad::Form);
                let bytes = word.value(read, "a number of 32 bits", "")?;
                once(&mut self.resident_value, bytes, first)
            }
            "stop" => {
                let at_us = line.only("when clients and faults stop")?.time()?;
                once(&mut self.stop_us, at_us, first)
            }
            "node" => self.machine(line),
            _ => self.cap(line, first),
        }
    }

    fn cap(&mut self, line: &Line<'_>, first: Word<'_>) -> Result<(), PlanError> {
        let Some(slot) = self.caps.named(first.text) else {
            let caps = Caps::NAMES.join(", ");
            return Err(first.error(
                Kind::UnknownVerb,
                format!("seed, codec, resident_value, {caps}, node, stop, or the time of an entry"),
            ));
        };
        let word = line.only("a limit")?;
        let cap: u32 = word.value(
            word.text.parse().map_err(|_| Bad::Form),
            "a number of 32 bits",
            "",
        )?;
        if cap == 0 {
            return Err(word.error(Kind::OutOfRange, "at least 1"));
        }
        once(slot, cap, first)
    }

    fn machine(&mut self, line: &Line<'_>) -> Result<(), PlanError> {
        let next = self.machines.len();
        let Some(name) = line.words.get(1) else {
            return Err(line.missing(format!("n{next}")));
        };
        if name.numbered('n')? as usize != next {
            return Err(name.error(Kind::BadWord, format!("n{next}, the next number")));
        }
        if next == MAX_NODES {
            return Err(name.error(Kind::OutOfRange, format!("at most {MAX_NODES} nodes")));
        }
        let fields = Fields::read(line, 2, &["start", "disk"], next)?;
        self.machines.push(Machine {
            start_us: fields.time("start")?,
            disk: fields.find("disk").is_none() || fields.flag("disk")?,
        });
        Ok(())
    }

    fn entry(&mut self, line: &Line<'_>, time: Word<'_>) -> Result<(), PlanError> {
        let at_us = time.time()?;
        let Some(stop_us) = self.stop_us else {
            let expected = "the head with a line `stop` before the first entry";
            return Err(time.error(Kind::Missing, expected));
        };
        let last_us = self.entries.last().map_or(0, |entry| entry.at_us);
        if at_us < last_us {
            let expected = format!("{} or later", Time(last_us));
            return Err(time.error(Kind::TimeGoesBack, expected));
        }
        if at_us >= stop_us {
            let expected = format!("a time before the stop at {}", Time(stop_us));
            return Err(time.error(Kind::OutOfRange, expected));
        }
        let Some(verb) = line.words.get(1) else {
            return Err(line.missing("a verb"));
        };
        let action = action(line, *verb, self.machines.len())?;
        self.entries.push(Entry { at_us, action });
        Ok(())
    }

    fn finish(self, last: &Line<'_>) -> Result<Plan, PlanError> {
        let lacks = |what: &str| PlanError {
            found: "the end of the plan".to_string(),
            ..last.missing(format!("a line `{what}`"))
        };
        if self.machines.is_empty() {
            return Err(lacks("node n0 start=0s"));
        }
        Ok(Plan {
            seed: self.seed.ok_or_else(|| lacks("seed 1"))?,
            codec: self.codec.unwrap_or(false),
            resident_value: self.resident_value,
            caps: self.caps,
            machines: self.machines,
            stop_us: self.stop_us.ok_or_else(|| lacks("stop 20s"))?,
            entries: self.entries,
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T, verb: Word<'_>) -> Result<(), PlanError> {
    if slot.replace(value).is_some() {
        return Err(verb.error(Kind::Repeated, "this line once"));
    }
    Ok(())
}

/// The verbs of clients with their fields.
const CLIENT_VERBS: [(&str, &[&str]); 5] = [
    ("put", &["client", "table", "key", "ttl"]),
    ("delete", &["client", "table", "key"]),
    ("get", &["client", "table", "key"]),
    ("flush", &["client", "table"]),
    ("move", &["client", "node"]),
];

/// The fields of a fault besides how long it lasts.
const fn fault_fields(kind: FaultKind) -> &'static [&'static str] {
    match kind {
        FaultKind::Loss | FaultKind::Dup | FaultKind::Corrupt => &["for", "rate"],
        FaultKind::Reorder => &["for", "rate", "by"],
        FaultKind::Delay | FaultKind::Slow | FaultKind::SlowDisk => &["for", "node", "by"],
        FaultKind::Congest | FaultKind::Wipe | FaultKind::Pause | FaultKind::Leave => {
            &["for", "node"]
        }
        FaultKind::FailDisk | FaultKind::FullDisk => &["for", "node"],
        FaultKind::Rot => &["for", "node", "bits"],
        FaultKind::Partition | FaultKind::Partial | FaultKind::Bridge => &["for", "left", "right"],
        FaultKind::Flap => &["for", "left", "right", "every"],
        FaultKind::OneWay => &["for", "from", "to"],
        FaultKind::Crash => &["for", "node", "clean"],
        FaultKind::Skew => &["for", "node", "by", "drift"],
    }
}

fn action(line: &Line<'_>, verb: Word<'_>, nodes: usize) -> Result<Action, PlanError> {
    let clients = CLIENT_VERBS.iter().find(|(name, _)| *name == verb.text);
    if let Some((name, known)) = clients {
        return client_action(name, &Fields::read(line, 2, known, nodes)?);
    }
    let kinds = FaultKind::ALL.into_iter();
    let Some(kind) = kinds.clone().find(|kind| kind.name() == verb.text) else {
        let clients = CLIENT_VERBS.iter().map(|(name, _)| *name);
        let expected = list(clients.chain(kinds.map(FaultKind::name)));
        return Err(verb.error(Kind::UnknownVerb, expected));
    };
    let fields = Fields::read(line, 2, fault_fields(kind), nodes)?;
    Ok(Action::Fault(Fault {
        for_us: fields.time("for")?,
        what: fault(kind, &fields)?,
    }))
}

fn client_action(verb: &str, fields: &Fields<'_>) -> Result<Action, PlanError> {
    let client = fields.number("client", 'c')?;
    if verb == "move" {
        let node = fields.node("node")?;
        return Ok(Action::Move { client, node });
    }
    let table = fields.need("table")?;
    let table = table.one_of(&Table::ALL.map(|table| (table.name(), table)))?;
    let key = || fields.number("key", 'k');
    let verb = match (verb, fields.find("ttl")) {
        ("put", None) => OpVerb::Put { key: key()? },
        ("put", Some(ttl)) => {
            let form = "whole milliseconds, such as 250ms or 3s";
            let Millis(ttl_ms) = ttl.value(ttl.text.parse(), form, "at most a year, 8760h")?;
            OpVerb::PutFor {
                key: key()?,
                ttl_ms,
            }
        }
        ("delete", _) => OpVerb::Delete { key: key()? },
        ("get", _) => OpVerb::Get { key: key()? },
        _ => OpVerb::Flush,
    };
    Ok(Action::Op(Op {
        client,
        table,
        verb,
    }))
}

fn fault(kind: FaultKind, fields: &Fields<'_>) -> Result<FaultWhat, PlanError> {
    let node = || fields.node("node");
    let by_us = || fields.time("by");
    Ok(match kind {
        FaultKind::Loss => FaultWhat::Loss {
            ppm: fields.rate()?,
        },
        FaultKind::Dup => FaultWhat::Dup {
            ppm: fields.rate()?,
        },
        FaultKind::Corrupt => FaultWhat::Corrupt {
            ppm: fields.rate()?,
        },
        FaultKind::Reorder => FaultWhat::Reorder {
            ppm: fields.rate()?,
            by_us: by_us()?,
        },
        FaultKind::Delay => FaultWhat::Delay {
            node: node()?,
            by_us: by_us()?,
        },
        FaultKind::Slow => FaultWhat::Slow {
            node: node()?,
            by_us: by_us()?,
        },
        FaultKind::SlowDisk => FaultWhat::SlowDisk {
            node: node()?,
            by_us: by_us()?,
        },
        FaultKind::Congest => FaultWhat::Congest { node: node()? },
        FaultKind::Wipe => FaultWhat::Wipe { node: node()? },
        FaultKind::Pause => FaultWhat::Pause { node: node()? },
        FaultKind::Leave => FaultWhat::Leave { node: node()? },
        FaultKind::FailDisk => FaultWhat::FailDisk { node: node()? },
        FaultKind::FullDisk => FaultWhat::FullDisk { node: node()? },
        FaultKind::Rot => FaultWhat::Rot {
            node: node()?,
            bits: fields.bits()?,
        },
        FaultKind::Crash => FaultWhat::Crash {
            node: node()?,
            clean: fields.flag("clean")?,
        },
        FaultKind::Skew => FaultWhat::Skew {
            node: node()?,
            by_ms: fields.offset("by")?,
            ppm: fields.drift("drift")?,
        },
        FaultKind::Partition
        | FaultKind::OneWay
        | FaultKind::Partial
        | FaultKind::Bridge
        | FaultKind::Flap => cut(kind, fields)?,
    })
}

/// A fault of two groups of nodes.
fn cut(kind: FaultKind, fields: &Fields<'_>) -> Result<FaultWhat, PlanError> {
    if kind == FaultKind::OneWay {
        let (from, to) = (fields.nodes("from")?, fields.nodes("to")?);
        return Ok(FaultWhat::OneWay { from, to });
    }
    let (left, right) = (fields.nodes("left")?, fields.nodes("right")?);
    Ok(match kind {
        FaultKind::Partial => FaultWhat::Partial { left, right },
        FaultKind::Bridge => FaultWhat::Bridge { left, right },
        FaultKind::Flap => {
            let word = fields.need("every")?;
            let every_us = word.time()?;
            if every_us < MIN_FLAP_US {
                let least = format!("at least {}", Time(MIN_FLAP_US));
                return Err(word.error(Kind::OutOfRange, least));
            }
            FaultWhat::Flap {
                left,
                right,
                every_us,
            }
        }
        _ => FaultWhat::Partition { left, right },
    })
}

fn list(words: impl Iterator<Item = &'static str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.as_slice() {
        [one] => (*one).to_string(),
        _ => format!("one of {}", words.join(", ")),
    }
}
