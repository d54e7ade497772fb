//! The words of a plan: times, rates, nodes. Each prints in one form and reads back from it; integers throughout.

use std::fmt;
use std::str::FromStr;

use crate::plan::{MAX_STEP_US, MAX_TIME_US};

/// The units of times, largest first; microseconds in each.
const UNITS: [(&str, u64); 5] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// A time in microseconds, printed in the largest of `us`, `ms` and `s` that makes it at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{}us", self.0),
            1_000..1_000_000 => write!(f, "{}ms", Decimal(self.0, 3)),
            _ => write!(f, "{}s", Decimal(self.0, 6)),
        }
    }
}

/// The number divided by so many powers of ten, without zeros at its end.
struct Decimal(u64, u32);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decimal(number, places) = *self;
        let scale = 10_u64.pow(places);
        write!(f, "{}", number / scale)?;
        if number % scale != 0 {
            let digits = format!("{:0width$}", number % scale, width = places as usize);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// Why a word is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Form,
    Range,
}

/// A decimal number times `unit`; [`Bad::Form`] where that is no whole number.
fn scaled(number: &str, unit: u64) -> Result<u64, Bad> {
    let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 9 {
        return Err(Bad::Form);
    }
    let scale = 10_u64.pow(rest.len() as u32);
    let parts = (
        whole.parse::<u64>().ok(),
        rest.parse::<u64>()
            .ok()
            .and_then(|part| part.checked_mul(unit)),
    );
    let (Some(whole), Some(part)) = parts else {
        return Err(Bad::Range);
    };
    if part % scale != 0 {
        return Err(Bad::Form);
    }
    let whole = whole.checked_mul(unit).ok_or(Bad::Range)?;
    whole.checked_add(part / scale).ok_or(Bad::Range)
}

impl FromStr for Time {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        micros(text, MAX_TIME_US).map(Time)
    }
}

/// Reads a time of at most `max_us`, in microseconds.
fn micros(text: &str, max_us: u64) -> Result<u64, Bad> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or(Bad::Form)?;
    let (number, unit) = text.split_at(split);
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    let us = scaled(number, unit.ok_or(Bad::Form)?.1)?;
    if us > max_us {
        return Err(Bad::Range);
    }
    Ok(us)
}

/// A time in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Millis(pub(super) u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Time(self.0.saturating_mul(1_000)).fmt(f)
    }
}

impl FromStr for Millis {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        millis(text, MAX_TIME_US).map(Millis)
    }
}

/// Reads a time of whole milliseconds that is at most `max_us`.
fn millis(text: &str, max_us: u64) -> Result<u64, Bad> {
    let us = micros(text, max_us)?;
    if us % 1_000 != 0 {
        return Err(Bad::Form);
    }
    Ok(us / 1_000)
}

/// Whole milliseconds with a sign, `+` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset(pub(super) i64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", Millis(self.0.unsigned_abs()))
    }
}

impl FromStr for Offset {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let (negative, rest) = sign(text);
        let ms = millis(rest, MAX_STEP_US)?;
        let ms = i64::try_from(ms).map_err(|_| Bad::Range)?;
        Ok(Offset(if negative { -ms } else { ms }))
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// The gain of a clock, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drift(pub(super) i64);

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+}ppm", self.0)
    }
}

impl FromStr for Drift {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let (negative, rest) = sign(text.strip_suffix("ppm").ok_or(Bad::Form)?);
        let ppm = scaled(rest, 1)?;
        if ppm > crate::clock::MAX_DRIFT_PPM as u64 {
            return Err(Bad::Range);
        }
        let ppm = ppm as i64;
        Ok(Drift(if negative { -ppm } else { ppm }))
    }
}

/// Parts per million, printed as a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u32);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", Decimal(u64::from(self.0), 4))
    }
}

impl FromStr for Rate {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let ppm = scaled(text.strip_suffix('%').ok_or(Bad::Form)?, 10_000)?;
        match u32::try_from(ppm) {
            Ok(ppm) if ppm <= crate::rng::CERTAIN => Ok(Rate(ppm)),
            _ => Err(Bad::Range),
        }
    }
}

/// A number after a letter that says what it is of, as in `k3`.
pub(super) fn numbered(text: &str, letter: char) -> Result<u32, Bad> {
    let number = text.strip_prefix(letter).ok_or(Bad::Form)?;
    u32::try_from(scaled(number, 1)?).map_err(|_| Bad::Range)
}

/// Nodes with commas between them.
pub(super) struct Nodes<'a>(pub(super) &'a [usize]);

impl fmt::Display for Nodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.0.iter().enumerate() {
            write!(f, "{}n{node}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
