//! Standard output, where results go and nothing else.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints one line.
///
/// # Errors
/// If standard output takes no more.
pub fn print(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

/// Whether `error` only says that the reader of our output has seen enough, as `head` has.
pub fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
