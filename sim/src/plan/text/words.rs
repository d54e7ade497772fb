//! The words of a line, each with its place.

use super::error::{PlanError, PlanErrorKind as Kind};
use super::value::{Bad, Time, numbered};

const A_TIME: &str = "a time such as 250ms, 3s or 1.5s";

/// A word and where it begins, in characters from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Word<'a> {
    pub(super) fn error(self, kind: Kind, expected: impl Into<String>) -> PlanError {
        PlanError {
            line: self.line,
            column: self.column,
            kind,
            found: self.text.to_string(),
            expected: expected.into(),
        }
    }

    pub(super) fn split(self, separator: char) -> Option<(Word<'a>, Word<'a>)> {
        let (head, tail) = self.text.split_once(separator)?;
        let after = Word {
            text: tail,
            column: self.column + head.chars().count() + 1,
            ..self
        };
        Some((Word { text: head, ..self }, after))
    }

    pub(super) fn value<T>(
        self,
        read: Result<T, Bad>,
        form: &str,
        range: &str,
    ) -> Result<T, PlanError> {
        read.map_err(|bad| match bad {
            Bad::Form => self.error(Kind::BadWord, form),
            Bad::Range => self.error(Kind::OutOfRange, range),
        })
    }

    pub(super) fn time(self) -> Result<u64, PlanError> {
        let Time(us) = self.value(self.text.parse(), A_TIME, "at most a year, 8760h")?;
        Ok(us)
    }

    pub(super) fn numbered(self, letter: char) -> Result<u32, PlanError> {
        let form = format!("{letter} and a number");
        self.value(
            numbered(self.text, letter),
            &form,
            "a number of at most 32 bits",
        )
    }

    pub(super) fn one_of<T: Copy>(self, words: &[(&'static str, T)]) -> Result<T, PlanError> {
        let found = words.iter().find(|(name, _)| *name == self.text);
        let expected = || list(words.iter().map(|(name, _)| *name));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.error(Kind::BadWord, expected()))
    }
}

/// The words of a line without its comment.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) words: Vec<Word<'a>>,
    number: usize,
    /// The column after the last character.
    end: usize,
}

impl<'a> Line<'a> {
    pub(super) fn read(number: usize, text: &'a str) -> Self {
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

    pub(super) fn missing(&self, expected: impl Into<String>) -> PlanError {
        PlanError {
            line: self.number,
            column: self.end,
            kind: Kind::Missing,
            found: "the end of the line".to_string(),
            expected: expected.into(),
        }
    }

    /// The only word after the verb.
    pub(super) fn only(&self, what: &str) -> Result<Word<'a>, PlanError> {
        match self.words.as_slice() {
            [_, word] => Ok(*word),
            [_, _, more, ..] => Err(more.error(Kind::BadWord, "the end of the line")),
            _ => Err(self.missing(what)),
        }
    }
}

/// Describes the words that were expected: one of these.
pub(super) fn list(words: impl Iterator<Item = &'static str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.as_slice() {
        [one] => (*one).to_string(),
        _ => format!("one of {}", words.join(", ")),
    }
}
