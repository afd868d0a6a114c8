//! Classifies errors by whether the user can correct them.

use std::any::Any;
use std::fmt::Display;
use std::io::{self, ErrorKind};

/// An error of this crate. The program's exit code is 2 if the user can correct it, otherwise 1.
pub trait Classified: Display + Any {
    /// Whether the error is caused by the user's input, so that another path, key or file would avoid it.
    fn is_user_error(&self) -> bool;

    /// The error of another module, if this error only passes it on.
    fn wrapped(&self) -> Option<&dyn Classified> {
        None
    }
}

impl Classified for io::Error {
    fn is_user_error(&self) -> bool {
        use ErrorKind::{
            AlreadyExists, DirectoryNotEmpty, FileTooLarge, InvalidData, InvalidFilename, InvalidInput,
            IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported,
        };
        matches!(
            self.kind(),
            AlreadyExists
                | DirectoryNotEmpty
                | FileTooLarge
                | InvalidData
                | InvalidFilename
                | InvalidInput
                | IsADirectory
                | NotADirectory
                | NotFound
                | PermissionDenied
                | ReadOnlyFilesystem
                | Unsupported
        )
    }
}

impl Classified for bilevel::device::Error {
    fn is_user_error(&self) -> bool {
        true
    }
}

impl Classified for serde_json::Error {
    fn is_user_error(&self) -> bool {
        false
    }
}

impl Classified for std::string::FromUtf8Error {
    fn is_user_error(&self) -> bool {
        false
    }
}

/// A command's own message about invalid input.
impl Classified for String {
    fn is_user_error(&self) -> bool {
        true
    }
}
