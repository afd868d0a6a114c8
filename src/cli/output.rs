//! Standard output, which is for results only.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints one line.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn print(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}
