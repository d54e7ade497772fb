//! From text to a plan: the head, then the entries.

use std::str::FromStr;

use super::action::action;
use super::error::{PlanError, PlanErrorKind as Kind};
use super::fields::Fields;
use super::value::{Bad, Time};
use super::words::{Line, Word};
use crate::plan::{Caps, Entry, MAX_NODES, Machine, Plan};

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
