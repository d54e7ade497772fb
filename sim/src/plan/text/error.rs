//! Faults of a plan's text, and their places.

/// A message shows so many characters of the text: it must not carry a megabyte of a binary file.
const MAX_SHOWN: usize = 40;

/// Why text is no plan. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}, column {column}: {} {:?}, expected {expected}",
    .kind.words(),
    .found.chars().take(MAX_SHOWN).collect::<String>()
)]
pub struct PlanError {
    /// The line.
    pub line: usize,
    /// The column at which the fault begins, or the end of the line where something is missing.
    pub column: usize,
    /// The kind of the fault.
    pub kind: PlanErrorKind,
    /// The text found there.
    pub found: String,
    /// The text that was expected.
    pub expected: String,
}

/// A fault of a plan's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanErrorKind {
    /// No such line in a plan.
    UnknownVerb,
    /// No such field in this line.
    UnknownField,
    /// A field, a word or a line of the head is missing.
    Missing,
    /// A field or a line of the head is there twice.
    Repeated,
    /// A word is not of the form that is wanted.
    BadWord,
    /// The entry is earlier than the one before it.
    TimeGoesBack,
    /// The plan has no node of this number.
    NoSuchNode,
    /// A number is too small or too large.
    OutOfRange,
}

impl PlanErrorKind {
    const fn words(self) -> &'static str {
        match self {
            PlanErrorKind::UnknownVerb => "unknown verb",
            PlanErrorKind::UnknownField => "unknown field",
            PlanErrorKind::Missing => "something is missing at",
            PlanErrorKind::Repeated => "repeated",
            PlanErrorKind::BadWord => "cannot read",
            PlanErrorKind::TimeGoesBack => "the time goes backwards at",
            PlanErrorKind::NoSuchNode => "no such node",
            PlanErrorKind::OutOfRange => "out of range",
        }
    }
}
