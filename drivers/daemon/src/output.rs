//! Standard output.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// Prints one line on standard output.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}

/// Writes a value. Redirected, a value that is no text comes byte for byte.
pub(crate) fn write_value(out: &mut (impl Write + IsTerminal), value: &[u8]) -> io::Result<()> {
    let end: &[u8] = if out.is_terminal() || std::str::from_utf8(value).is_ok() {
        b"\n"
    } else {
        b""
    };
    out.write_all(value).and_then(|()| out.write_all(end))
}
