//! Standard output, which is for results only, and messages on standard error.

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

/// Writes a message to standard error. If nobody reads it any more, as after `| head` or a closed terminal, it is dropped:
/// the work matters more than its messages. (`eprintln!` would panic.)
pub fn say(message: impl Display) {
    let line = format!("{message}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}
