//! Standard output, which is for results only, and messages on standard error.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// The most pixels of a picture that a command draws.
pub const LARGEST_PICTURE: u64 = 400_000_000;

/// Whether messages are left to another process.
static SILENT: AtomicBool = AtomicBool::new(false);

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
    if !SILENT.load(Ordering::Relaxed) {
        say_anyway(message);
    }
}

/// Suppresses this process's messages; another process reports for it.
#[cfg_attr(not(feature = "mpi"), allow(dead_code))]
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// As [`say`], also after [`silence`].
pub fn say_anyway(message: impl Display) {
    let line = format!("{message}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}
