//! Why a command failed, and the exit code that tells a script.

use std::io;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The thing asked for is not there, or does not hold. Exit code 1. May be silent.
    #[error("{0}")]
    Not(String),
    /// The command was called wrongly. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The server said no. Exit code 3.
    #[error("{0}")]
    Refused(String),
    /// The server could not be reached, or went away. Exit code 4.
    #[error("{0}")]
    Unreachable(String),
    /// The reader of the output has stopped: nothing is wrong.
    #[error("")]
    ClosedPipe,
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Not(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Refused(_) => 3,
            Failure::Unreachable(_) => 4,
            Failure::ClosedPipe => 0,
        }
    }

    /// The same failure, with more words.
    pub(crate) fn with(self, more: &str) -> Self {
        let words = |text: String| format!("{text}; {more}");
        match self {
            Failure::Not(text) => Failure::Not(words(text)),
            Failure::Usage(text) => Failure::Usage(words(text)),
            Failure::Refused(text) => Failure::Refused(words(text)),
            Failure::Unreachable(text) => Failure::Unreachable(words(text)),
            Failure::ClosedPipe => Failure::ClosedPipe,
        }
    }

    /// A failure to write output.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Not(format!("cannot write the output: {error}")),
        }
    }
}
