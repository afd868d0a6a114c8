//! Errors of commands, and exit codes: 0 for success, 1 for a failure, 2 for an error that the user can correct (such as
//! a mistyped flag), 130 for a run that was stopped by a signal and saved.

use super::advice::advice;
use metaburn::support::classified::Classified;
use std::any::Any;
use std::fmt::{Debug, Display, Formatter};
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// Exit code of a failure.
pub const FAILED: u8 = 1;
/// Exit code of an error that the user can correct.
pub const USER_ERROR: u8 = 2;
/// Exit code of a program ended by SIGINT (128 + 2).
pub const INTERRUPTED: u8 = 130;

/// What a command returns: an exit code, or an error with advice.
pub type Outcome = Result<ExitCode, CommandError>;

/// The error of a command.
pub struct CommandError(Box<dyn Classified>);

impl<E: Classified> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl CommandError {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// The same as a number.
    pub fn number(&self) -> u8 {
        if self.0.is_user_error() { USER_ERROR } else { FAILED }
    }

    /// Whether the error is a broken pipe on standard output, as after `| head`.
    pub fn is_closed_output(&self) -> bool {
        let error: &dyn Any = &*self.0;
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    }
}

impl Display for CommandError {
    /// Writes the message, followed by the advice if there is any.
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0)?;
        match advice(&*self.0) {
            Some(advice) => write!(out, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl Debug for CommandError {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, out)
    }
}
