//! The writes to a key, and which of them a node has to have after it was killed.

use std::time::Instant;

/// A value, told by its number. Its bytes follow from it, so that one that was never written is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) writer: usize,
    pub(super) number: u64,
    pub(super) len: usize,
}

impl Value {
    /// Returns its bytes, at least as many as name it.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = format!("{}.{}.{}.", self.writer, self.number, self.len).into_bytes();
        let filler = b'a' + (self.number % 26) as u8;
        bytes.resize(self.len.max(bytes.len()), filler);
        bytes
    }

    /// Reads a value; nothing if no writer writes such bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Value> {
        let named = bytes.get(..bytes.len().min(64))?;
        let mut parts = named.split(|byte| *byte == b'.');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
        let value = Value {
            writer: usize::try_from(number()?).ok()?,
            number: number()?,
            len: usize::try_from(number()?).ok()?,
        };
        (value.len <= bytes.len().max(64) && value.to_bytes() == bytes).then_some(value)
    }
}

/// The answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// None came.
    Open,
    /// It was acknowledged at this time.
    Acknowledged(Instant),
    /// It was refused, or a delete that found nothing: no write was made. Guarantees, "Deletes": deleting a row that is not there is no write.
    NoWrite,
}

/// A write, and the value that it leaves; none after a delete.
#[derive(Clone, Copy, Debug)]
struct Write {
    leaves: Option<Value>,
    /// Whether it is acknowledged once it is synced, and not before.
    is_sync: bool,
    answer: Answer,
}

/// The writes to a key since it was last read.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// The value that was read last.
    read: Option<Value>,
    writes: Vec<Write>,
}

/// The judgement of what was found under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All that was acknowledged is there.
    Whole,
    /// Acknowledged writes are gone whose durability was not promised yet.
    Unpromised,
    /// An acknowledged write is gone, or one is there that was never made.
    Lost,
}

impl History {
    /// Adds a write that is about to be sent, and returns its place.
    pub(super) fn send(&mut self, leaves: Option<Value>, is_sync: bool) -> usize {
        self.writes.push(Write {
            leaves,
            is_sync,
            answer: Answer::Open,
        });
        self.writes.len() - 1
    }

    /// Notes the answer to a write.
    pub(super) fn answer(&mut self, place: usize, answer: Answer) {
        if let Some(write) = self.writes.get_mut(place) {
            write.answer = answer;
        }
    }

    /// Judges what was found after a kill, and goes on from there: a write without an answer is there from now on, or not. Writes that are
    /// synced first have to be there if they were acknowledged, others if that was by `promised`.
    pub(super) fn judge(&mut self, found: Option<Value>, promised: Instant) -> Verdict {
        let made = |write: &&Write| write.answer != Answer::NoWrite;
        let writes: Vec<Write> = self.writes.drain(..).filter(|write| made(&write)).collect();
        let before = std::mem::replace(&mut self.read, found);
        let since = |is: &dyn Fn(&Write) -> bool| {
            let last = writes.iter().rposition(is);
            let mut left = writes.iter().skip(last.unwrap_or(0));
            let any = left.any(|write| write.leaves == found);
            any || last.is_none() && before == found
        };
        let acknowledged = |write: &Write| matches!(write.answer, Answer::Acknowledged(_));
        let is_promised = |write: &Write| match write.answer {
            Answer::Acknowledged(at) => write.is_sync || at <= promised,
            _ => false,
        };
        match (since(&acknowledged), since(&is_promised)) {
            (true, _) => Verdict::Whole,
            (false, true) => Verdict::Unpromised,
            (false, false) => Verdict::Lost,
        }
    }

    /// Describes what could be there, for a report.
    pub(super) fn describe(&self) -> String {
        let name = |value: &Option<Value>| match value {
            Some(value) => format!("{}.{}", value.writer, value.number),
            None => "none".into(),
        };
        let writes = self.writes.iter().rev().take(8).rev().map(|write| {
            let answer = match write.answer {
                Answer::Open => "?",
                Answer::Acknowledged(_) => "",
                Answer::NoWrite => "!",
            };
            name(&write.leaves) + answer
        });
        let writes: Vec<String> = writes.collect();
        format!("{}, then {}", name(&self.read), writes.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn value(number: u64) -> Option<Value> {
        Some(Value {
            writer: 1,
            number,
            len: 40,
        })
    }

    #[test]
    fn a_value_is_known_by_its_bytes() {
        for len in [0, 10, 100, 10_000] {
            let value = Value {
                writer: 3,
                number: 77,
                len,
            };
            let mut bytes = value.to_bytes();
            assert_eq!(Value::from_bytes(&bytes), Some(value));
            *bytes.last_mut().unwrap() ^= 1;
            assert_eq!(Value::from_bytes(&bytes), None);
        }
        assert_eq!(Value::from_bytes(b""), None);
    }

    #[test]
    fn what_was_acknowledged_is_there_or_overwritten() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut history = History::default();
        let mut judge = |found, promised, is_sync| {
            history.send(value(1), false);
            history.answer(0, Answer::Acknowledged(now));
            history.send(value(2), is_sync);
            history.answer(1, Answer::Acknowledged(later));
            history.send(value(9), false);
            history.answer(2, Answer::NoWrite);
            history.send(None, false);
            let verdict = history.judge(found, promised);
            history.read = None;
            verdict
        };
        for is_sync in [false, true] {
            assert_eq!(judge(value(2), later, is_sync), Verdict::Whole);
            let open = judge(None, later, is_sync);
            assert_eq!(open, Verdict::Whole, "the delete is open");
            assert_eq!(judge(value(1), later, is_sync), Verdict::Lost);
            let refused = judge(value(9), later, is_sync);
            assert_eq!(refused, Verdict::Lost, "it was refused");
            let stranger = judge(value(3), now, is_sync);
            assert_eq!(stranger, Verdict::Lost, "it was never written");
        }
        assert_eq!(judge(value(1), now, false), Verdict::Unpromised);
        assert_eq!(judge(value(1), now, true), Verdict::Lost);
    }

    #[test]
    fn an_open_write_is_there_from_now_on_or_not() {
        let now = Instant::now();
        for (first, again, verdict) in [
            (value(1), value(1), Verdict::Whole),
            (None, None, Verdict::Whole),
            (value(1), None, Verdict::Lost),
            (None, value(1), Verdict::Lost),
        ] {
            let mut history = History::default();
            history.send(value(1), true);
            assert_eq!(history.judge(first, now), Verdict::Whole);
            assert_eq!(history.judge(again, now), verdict);
        }
    }
}
