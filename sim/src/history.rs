//! Histories of calls on registers: the callers, their calls, the answers, and the order of these.
//!
//! An operation is a call and, perhaps, its completion. `ok` means that it took effect between the two, `fail` that it never
//! did, and `info`, like no completion at all, that the outcome is unknown: it may have taken effect at any time after the call, or may
//! do so later, or never. The order of events is the order in which they are recorded; times only describe them.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use parse::{HistoryError, MAX_LINE_BYTES};

/// A JSON scalar in its canonical text: `null`, `true`, `7`, `"seven"`. Two are equal when their texts are, so `1`, `1.0` and
/// `"1"` are three values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scalar(String);

impl Scalar {
    /// Returns the reading of an absent row, and the first value of every register.
    pub fn null() -> Self {
        Scalar("null".to_string())
    }

    /// A whole number.
    pub fn number(number: i64) -> Self {
        Scalar(number.to_string())
    }

    /// Text.
    pub fn text(text: &str) -> Self {
        Scalar(serde_json::Value::from(text).to_string())
    }

    /// The canonical JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The operation of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Asks for the value.
    Read,
    /// Replaces the value.
    Write(Scalar),
    /// Replaces the value if it is `old`.
    Cas {
        /// The value that it must have.
        old: Scalar,
        /// The value that it gets.
        new: Scalar,
    },
}

impl Call {
    /// Its name in the form of files.
    pub const fn name(&self) -> &'static str {
        match self {
            Call::Read => "read",
            Call::Write(_) => "write",
            Call::Cas { .. } => "cas",
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect between the call and now.
    Ok,
    /// It did not and will not take effect.
    Fail,
    /// Unknown: it may have taken effect, may do so at any later time, or never.
    Info,
}

/// Where in a recording an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line of the file, or the number of the event. Events are recorded with growing lines.
    pub line: u64,
    /// The recorder's own time, in its own unit.
    pub time: u64,
}

/// A call and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The caller.
    pub process: Scalar,
    /// The register.
    pub key: Scalar,
    /// The call.
    pub call: Call,
    /// When it was called.
    pub called: Place,
    /// How it ended and when; `None` while it is open.
    pub ended: Option<(Outcome, Place)>,
    /// The value that an ok read gave.
    pub seen: Option<Scalar>,
}

/// An event that cannot follow those recorded before. The history is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// The process has a call that has not ended.
    #[error("expected the end of the call that this process made in line {}, not another call", since.line)]
    StillOpen {
        /// Where that call stands.
        since: Place,
    },
    /// The process has no call that could end.
    #[error("expected an invoke, for this process has no open call")]
    NotOpen,
    /// The call that ended is of another kind.
    #[error("expected the end of the open {open}")]
    OtherCall {
        /// The open call's kind.
        open: &'static str,
    },
    /// The call that ended is on another register.
    #[error("expected the key of the open call, {open}")]
    OtherKey {
        /// The open call's register.
        open: Scalar,
    },
    /// A write or cas ended with another value than it was called with.
    #[error("expected the value of the open call, or none")]
    OtherValue,
    /// A read is ok without saying what it gave.
    #[error("expected the value that was read, null for none")]
    NothingSeen,
    /// The time is before that of the last event.
    #[error("expected a time not before that of the last event, {last}")]
    TimeGoesBack {
        /// The time of the last event.
        last: u64,
    },
}

/// How a call ended, as its caller reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The caller.
    pub process: Scalar,
    /// The register.
    pub key: Scalar,
    /// How it ended.
    pub outcome: Outcome,
    /// The answer.
    pub answer: Answer,
}

/// The answer at the end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A read, and what it gave.
    Read(Option<Scalar>),
    /// A write, and its value again if it is given.
    Write(Option<Scalar>),
    /// A cas, and its values again if they are given.
    Cas(Option<(Scalar, Scalar)>),
}

impl Answer {
    const fn name(&self) -> &'static str {
        match self {
            Answer::Read(_) => "read",
            Answer::Write(_) => "write",
            Answer::Cas(_) => "cas",
        }
    }

    /// Whether it can be the answer to this call.
    fn fits(&self, call: &Call) -> bool {
        match (self, call) {
            (Answer::Write(Some(value)), Call::Write(called)) => value == called,
            (Answer::Cas(Some((from, to))), Call::Cas { old, new }) => from == old && to == new,
            _ => true,
        }
    }
}

/// A recording of operations. Each process has at most one open call; after an `info` it may go on calling, and what it had
/// called stays open for good.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    open: BTreeMap<Scalar, usize>,
    last_time: u64,
}

impl History {
    /// Nothing recorded yet.
    pub fn new() -> Self {
        History::default()
    }

    /// Records a call.
    ///
    /// # Errors
    /// [`Misuse`]; nothing was recorded.
    pub fn invoke(
        &mut self,
        at: Place,
        process: Scalar,
        key: Scalar,
        call: Call,
    ) -> Result<(), Misuse> {
        self.admit_time(at)?;
        if let Some(open) = self.open.get(&process) {
            let since = self.operations[*open].called;
            return Err(Misuse::StillOpen { since });
        }
        self.last_time = at.time;
        self.open.insert(process.clone(), self.operations.len());
        self.operations.push(Operation {
            process,
            key,
            call,
            called: at,
            ended: None,
            seen: None,
        });
        Ok(())
    }

    /// Records the end of a process's open call.
    ///
    /// # Errors
    /// [`Misuse`]; nothing was recorded.
    pub fn complete(&mut self, at: Place, completion: Completion) -> Result<(), Misuse> {
        self.admit_time(at)?;
        let Completion {
            process,
            key,
            outcome,
            answer,
        } = completion;
        let index = *self.open.get(&process).ok_or(Misuse::NotOpen)?;
        let operation = &mut self.operations[index];
        if operation.call.name() != answer.name() {
            let open = operation.call.name();
            return Err(Misuse::OtherCall { open });
        }
        if operation.key != key {
            let open = operation.key.clone();
            return Err(Misuse::OtherKey { open });
        }
        if !answer.fits(&operation.call) {
            return Err(Misuse::OtherValue);
        }
        if let (Answer::Read(seen), Outcome::Ok) = (answer, outcome) {
            operation.seen = Some(seen.ok_or(Misuse::NothingSeen)?);
        }
        operation.ended = Some((outcome, at));
        self.open.remove(&process);
        self.last_time = at.time;
        Ok(())
    }

    fn admit_time(&self, at: Place) -> Result<(), Misuse> {
        let last = self.last_time;
        match at.time < last {
            true => Err(Misuse::TimeGoesBack { last }),
            false => Ok(()),
        }
    }

    /// The operations in the order of their calls.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Counts the calls that are ok. A history without one shows nothing: any store could have made it.
    pub fn answered(&self) -> usize {
        let is_ok = |call: &&Operation| matches!(call.ended, Some((Outcome::Ok, _)));
        self.operations.iter().filter(is_ok).count()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ", self.process)?;
        match (&self.call, &self.seen) {
            (Call::Read, Some(seen)) => write!(f, "read {seen}")?,
            (Call::Read, None) => f.write_str("read")?,
            (Call::Write(value), _) => write!(f, "write {value}")?,
            (Call::Cas { old, new }, _) => write!(f, "cas {old} to {new}")?,
        }
        match self.ended {
            Some((Outcome::Ok, end)) => write!(f, " (lines {} to {})", self.called.line, end.line),
            Some((Outcome::Fail, _)) => write!(f, " (line {}, failed)", self.called.line),
            Some((Outcome::Info, _)) | None => {
                write!(f, " (line {}, outcome unknown)", self.called.line)
            }
        }
    }
}
