//! Values of settings: integers of a kind, and their text.

use alloc::string::{String, ToString};

/// The kind of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingKind {
    /// A time. Inside it is in microseconds; as text it is a whole number of us, ms, s, m or h.
    Duration,
    /// A whole number.
    Count,
    /// A size; as text it is a whole number of bytes (the unit may be left out), KiB, MiB or GiB.
    Bytes,
}

type Units = &'static [(&'static str, u64)];

/// From the largest.
const TIMES: Units = &[
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The last unit is not printed.
const SIZES: Units = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl SettingKind {
    /// `duration`, `count` or `bytes`.
    pub const fn name(self) -> &'static str {
        match self {
            SettingKind::Duration => "duration",
            SettingKind::Count => "count",
            SettingKind::Bytes => "bytes",
        }
    }

    /// Describes the form that a text has to have, for people.
    pub const fn expected(self) -> &'static str {
        match self {
            SettingKind::Duration => "a duration such as 200ms, 3s or 5m",
            SettingKind::Count => "a whole number",
            SettingKind::Bytes => "a size in bytes such as 65536, 64KiB or 1MiB",
        }
    }

    /// The value of a text, in microseconds, bytes or pieces; one too large for 64 bits counts as the largest.
    pub fn parse(self, text: &str) -> Option<u64> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        if digits.is_empty() {
            return None;
        }
        let number: u64 = digits.parse().unwrap_or(u64::MAX);
        Some(number.saturating_mul(self.unit(unit.trim_start())?))
    }

    fn unit(self, text: &str) -> Option<u64> {
        let named = |units: Units| {
            let mut units = units.iter();
            let unit = units.find(|(name, _)| name.eq_ignore_ascii_case(text));
            unit.map(|(_, factor)| *factor)
        };
        match self {
            SettingKind::Duration => named(TIMES),
            SettingKind::Count => text.is_empty().then_some(1),
            SettingKind::Bytes if text.is_empty() || text.eq_ignore_ascii_case("b") => Some(1),
            SettingKind::Bytes => named(SIZES),
        }
    }

    /// The one text of such a value: in the largest unit that takes no fraction.
    pub fn print(self, value: u64) -> String {
        let units = match self {
            SettingKind::Duration => TIMES,
            SettingKind::Count => &[],
            SettingKind::Bytes => SIZES,
        };
        let exact = |unit: &&(&str, u64)| value != 0 && value.is_multiple_of(unit.1);
        match units.iter().find(exact) {
            Some((name, factor)) => alloc::format!("{}{name}", value / factor),
            None if self == SettingKind::Duration => "0ms".to_string(),
            None => value.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SettingKind::{Bytes, Count, Duration};

    #[test]
    fn the_text_of_a_value_is_the_shortest_exact_one() {
        for (kind, value, text) in [
            (Duration, 0, "0ms"),
            (Duration, 1, "1us"),
            (Duration, 200_000, "200ms"),
            (Duration, 1_000_000, "1s"),
            (Duration, 1_500_000, "1500ms"),
            (Duration, 300_000_000, "5m"),
            (Duration, 86_400_000_000, "24h"),
            (Count, 4_096, "4096"),
            (Bytes, 0, "0"),
            (Bytes, 1_000, "1000"),
            (Bytes, 65_536, "64KiB"),
            (Bytes, 1 << 20, "1MiB"),
        ] {
            assert_eq!(kind.print(value), text);
            assert_eq!(kind.parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn other_ways_to_write_a_value_are_read() {
        assert_eq!(Duration.parse(" 1000 ms "), Some(1_000_000));
        assert_eq!(Bytes.parse("2 kib"), Some(2_048));
        assert_eq!(Bytes.parse("12B"), Some(12));
        assert_eq!(Count.parse("99999999999999999999"), Some(u64::MAX));
        assert_eq!(Duration.parse("9999999999999999999h"), Some(u64::MAX));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in ["", "ms", "-1s", "1.5s", "200", "1 day", "1s 2s", "\u{661}s"] {
            assert_eq!(Duration.parse(text), None, "{text}");
        }
        for text in ["", "1s", "0x10", "+1", "1 2"] {
            assert_eq!(Count.parse(text), None, "{text}");
        }
        assert_eq!(Bytes.parse("1TB"), None);
    }
}
