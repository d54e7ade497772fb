//! Histories as JSON lines:
//! `{"process","type":"invoke|ok|fail|info","f":"read|write|cas","key","value","time"}`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Answer, Call, Completion, History, Misuse, Outcome, Place, Scalar};

/// The longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// A file that is no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {text}")]
pub struct HistoryError {
    /// The line, from 1.
    pub line: u64,
    /// The byte in the line, from 1.
    pub column: u64,
    /// The fault there, and the expected form.
    pub text: String,
}

/// One line. Fields other than these are ignored, as recorders add their own.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    process: &'a RawValue,
    #[serde(borrow, rename = "type")]
    kind: &'a RawValue,
    #[serde(borrow)]
    f: &'a RawValue,
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    time: &'a RawValue,
}

/// A field that is there, even when it is null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A fault, and the text within the line where it is.
struct Wrong<'a>(&'a str, String);

fn expected<'a>(raw: &'a RawValue, what: &str) -> Wrong<'a> {
    Wrong(raw.get(), format!("expected {what}"))
}

impl History {
    /// Reads a history. Empty lines are skipped. Time and memory are linear in the input, which the caller bounds.
    ///
    /// # Errors
    /// [`HistoryError`] for the first line that is not as it must be.
    pub fn parse(bytes: &[u8]) -> Result<History, HistoryError> {
        let mut history = History::new();
        for (number, line) in (1_u64..).zip(bytes.split(|byte| *byte == b'\n')) {
            let error = |column: usize, text: String| HistoryError {
                line: number,
                column: column as u64 + 1,
                text,
            };
            if line.len() > MAX_LINE_BYTES {
                let text = format!("expected a line of at most {MAX_LINE_BYTES} bytes");
                return Err(error(MAX_LINE_BYTES, text));
            }
            let line = std::str::from_utf8(line)
                .map_err(|bad| error(bad.valid_up_to(), "expected UTF-8".to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let fields = fields(line).map_err(|(column, text)| error(column, text))?;
            let place = |wrong: Wrong<'_>| error(offset(line, wrong.0), wrong.1);
            record(&mut history, number, &fields).map_err(place)?;
        }
        Ok(history)
    }
}

/// The fields of a line, or the column from 0 and what is wrong there.
fn fields(line: &str) -> Result<Line<'_>, (usize, String)> {
    let begin = line.trim_start();
    if !begin.starts_with('{') {
        return Err((offset(line, begin), format!("expected {SHAPE}")));
    }
    serde_json::from_str(line).map_err(|bad| {
        // The position in the text is ours to say. A column counts from 1, and is 0 where nothing was read.
        let full = bad.to_string();
        let text = full
            .rsplit_once(" at line ")
            .map_or(&*full, |(text, _)| text);
        (
            bad.column().saturating_sub(1),
            format!("{text}; expected {SHAPE}"),
        )
    })
}

const SHAPE: &str = r#"one object {"process","type","f","key","value","time"}"#;

/// Where `part`, a slice of `line`, begins.
fn offset(line: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize)
}

fn record<'a>(history: &mut History, line: u64, fields: &Line<'a>) -> Result<(), Wrong<'a>> {
    let at = Place {
        line,
        time: time(fields.time)?,
    };
    let process = name(fields.process)?;
    let key = name(fields.key)?;
    let result = match outcome(fields.kind)? {
        None => history.invoke(at, process, key, call(fields)?),
        Some(outcome) => {
            let answer = answer(fields, outcome)?;
            let completion = Completion {
                process,
                key,
                outcome,
                answer,
            };
            history.complete(at, completion)
        }
    };
    result.map_err(|misuse| {
        let part = match &misuse {
            Misuse::StillOpen { .. } | Misuse::NotOpen => fields.kind,
            Misuse::OtherCall { .. } => fields.f,
            Misuse::OtherKey { .. } => fields.key,
            Misuse::OtherValue | Misuse::NothingSeen => fields.value.unwrap_or(fields.kind),
            Misuse::TimeGoesBack { .. } => fields.time,
        };
        Wrong(part.get(), misuse.to_string())
    })
}

fn time(raw: &RawValue) -> Result<u64, Wrong<'_>> {
    serde_json::from_str(raw.get())
        .map_err(|_| expected(raw, "a time, a whole number that is not negative"))
}

/// A process or a key.
fn name(raw: &RawValue) -> Result<Scalar, Wrong<'_>> {
    let what = "a string or a number";
    match raw.get().as_bytes().first() {
        Some(b'n' | b't' | b'f') => Err(expected(raw, what)),
        _ => scalar(raw, what),
    }
}

/// `None` for an invoke.
fn outcome(raw: &RawValue) -> Result<Option<Outcome>, Wrong<'_>> {
    match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) if text == "invoke" => Ok(None),
        Ok(Value::String(text)) if text == "ok" => Ok(Some(Outcome::Ok)),
        Ok(Value::String(text)) if text == "fail" => Ok(Some(Outcome::Fail)),
        Ok(Value::String(text)) if text == "info" => Ok(Some(Outcome::Info)),
        _ => Err(expected(raw, r#""invoke", "ok", "fail" or "info""#)),
    }
}

enum Verb {
    Read,
    Write,
    Cas,
}

fn verb(raw: &RawValue) -> Result<Verb, Wrong<'_>> {
    match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) if text == "read" => Ok(Verb::Read),
        Ok(Value::String(text)) if text == "write" => Ok(Verb::Write),
        Ok(Value::String(text)) if text == "cas" => Ok(Verb::Cas),
        _ => Err(expected(raw, r#""read", "write" or "cas""#)),
    }
}

fn call<'a>(fields: &Line<'a>) -> Result<Call, Wrong<'a>> {
    let verb = verb(fields.f)?;
    match (verb, fields.value) {
        (Verb::Read, None) => Ok(Call::Read),
        (Verb::Read, Some(raw)) if raw.get() == "null" => Ok(Call::Read),
        (Verb::Read, Some(raw)) => Err(expected(raw, "null, for a read is yet to see a value")),
        (Verb::Write, Some(raw)) => Ok(Call::Write(value(raw)?)),
        (Verb::Cas, Some(raw)) => {
            let (old, new) = pair(raw)?;
            Ok(Call::Cas { old, new })
        }
        (Verb::Write | Verb::Cas, None) => Err(Wrong(
            fields.f.get(),
            "expected a value with this call".to_string(),
        )),
    }
}

fn answer<'a>(fields: &Line<'a>, outcome: Outcome) -> Result<Answer, Wrong<'a>> {
    let verb = verb(fields.f)?;
    // The value of a call that is not ok tells nothing about the register.
    let given = fields.value.filter(|_| outcome == Outcome::Ok);
    Ok(match verb {
        Verb::Read => Answer::Read(given.map(value).transpose()?),
        // Many recorders leave null where they do not repeat what was written.
        Verb::Write => Answer::Write(given.filter(not_null).map(value).transpose()?),
        Verb::Cas => Answer::Cas(given.filter(not_null).map(pair).transpose()?),
    })
}

fn not_null(raw: &&RawValue) -> bool {
    raw.get() != "null"
}

fn value(raw: &RawValue) -> Result<Scalar, Wrong<'_>> {
    scalar(raw, "a string, a number, true, false or null")
}

fn pair(raw: &RawValue) -> Result<(Scalar, Scalar), Wrong<'_>> {
    let what = "[old,new], two scalars";
    match serde_json::from_str::<Vec<&RawValue>>(raw.get()).as_deref() {
        Ok([old, new]) => Ok((scalar(old, what)?, scalar(new, what)?)),
        _ => Err(expected(raw, what)),
    }
}

/// The canonical form. A number that only a float could hold would be rounded, and two different ones become equal.
fn scalar<'a>(raw: &'a RawValue, what: &str) -> Result<Scalar, Wrong<'a>> {
    match serde_json::from_str(raw.get()) {
        Ok(Value::Number(number)) if number.is_f64() && !raw.get().contains(['.', 'e', 'E']) => {
            Err(expected(
                raw,
                "whole numbers within 64 bits; write larger ones as strings",
            ))
        }
        Ok(scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            Ok(Scalar(scalar.to_string()))
        }
        _ => Err(expected(raw, what)),
    }
}
