//! The fields of a line: `name=value`, in any order.

use super::error::{PlanError, PlanErrorKind as Kind};
use super::value::{Bad, Drift, Offset, Rate};
use super::words::{Line, Word, list};
use crate::plan::MAX_STRUCK;

/// The fields of a line. `known` names all that it may have.
pub(super) struct Fields<'a> {
    line: &'a Line<'a>,
    fields: Vec<(Word<'a>, Word<'a>)>,
    nodes: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn read(
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

    pub(super) fn find(&self, name: &str) -> Option<Word<'a>> {
        let found = self.fields.iter().find(|(field, _)| field.text == name);
        found.map(|(_, value)| *value)
    }

    pub(super) fn need(&self, name: &str) -> Result<Word<'a>, PlanError> {
        let expected = || self.line.missing(format!("the field {name}="));
        self.find(name).ok_or_else(expected)
    }

    pub(super) fn time(&self, name: &str) -> Result<u64, PlanError> {
        self.need(name)?.time()
    }

    pub(super) fn number(&self, name: &str, letter: char) -> Result<u32, PlanError> {
        self.need(name)?.numbered(letter)
    }

    pub(super) fn node(&self, name: &str) -> Result<usize, PlanError> {
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

    pub(super) fn nodes(&self, name: &str) -> Result<Vec<usize>, PlanError> {
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

    pub(super) fn rate(&self) -> Result<u32, PlanError> {
        let word = self.need("rate")?;
        let Rate(ppm) = word.value(
            word.text.parse(),
            "a percentage such as 12.5%, of at most four decimals",
            "0% to 100%",
        )?;
        Ok(ppm)
    }

    pub(super) fn offset(&self, name: &str) -> Result<i64, PlanError> {
        let word = self.need(name)?;
        let form = "whole milliseconds with a sign, such as +250ms or -3s";
        let Offset(ms) = word.value(word.text.parse(), form, "at most ten years, 87600h")?;
        Ok(ms)
    }

    pub(super) fn drift(&self, name: &str) -> Result<i64, PlanError> {
        let word = self.need(name)?;
        let form = "parts per million with a sign, such as +300ppm";
        let Drift(ppm) = word.value(word.text.parse(), form, "-500000ppm to +500000ppm")?;
        Ok(ppm)
    }

    /// How much of a disk is struck.
    pub(super) fn count(&self, name: &str) -> Result<u32, PlanError> {
        let word = self.need(name)?;
        let read = word.text.parse().map_err(|_| Bad::Form);
        let count = word.value(read, "a number", "")?;
        match count {
            1..=MAX_STRUCK => Ok(count),
            _ => Err(word.error(Kind::OutOfRange, format!("1 to {MAX_STRUCK}"))),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, PlanError> {
        self.need(name)?.one_of(&[("yes", true), ("no", false)])
    }
}
