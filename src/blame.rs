//! Who can mend an error: whoever asked, by another path, key or file, or nobody, since something failed.
//! Programs tell the two apart by the exit code: 2 and 1.

use crate::{archive, backend, bench, case, config, data, deploy, report, study, tensorboard, trainer};
use std::io::{self, ErrorKind};

/// An error that knows whose it is.
pub trait Blame {
    /// Whether it lies in what was asked for or given, and so is to be mended before another try.
    fn is_input(&self) -> bool;
}

impl Blame for io::Error {
    fn is_input(&self) -> bool {
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

impl Blame for config::Error {
    fn is_input(&self) -> bool {
        true
    }
}

impl Blame for backend::Error {
    fn is_input(&self) -> bool {
        true
    }
}

impl Blame for data::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.is_input(),
            Self::Connection { .. }
            | Self::Interrupted { .. }
            | Self::Status { .. }
            | Self::Checksum { .. } => false,
            _ => true,
        }
    }
}

impl Blame for archive::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => source.is_input(),
            _ => true,
        }
    }
}

impl Blame for case::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Archive(error) => error.is_input(),
            Self::Missing { .. } | Self::Unusable { .. } => true,
        }
    }
}

impl Blame for trainer::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Config(error) => error.is_input(),
            Self::Data(error) => error.is_input(),
            Self::Backend(error) => error.is_input(),
            Self::Archive(error) => error.is_input(),
            Self::Io { source, .. } => source.is_input(),
            Self::NoRun { .. }
            | Self::Occupied { .. }
            | Self::InUse { .. }
            | Self::NoCheckpoint { .. }
            | Self::NoBest { .. }
            | Self::NoStep { .. }
            | Self::Checkpoint { .. }
            | Self::NoSoundCheckpoint { .. }
            | Self::OtherData { .. } => true,
            Self::Diverged { .. } | Self::Unsaved { .. } | Self::Computing { .. } => false,
        }
    }
}

impl Blame for deploy::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Config(error) => error.is_input(),
            Self::Data(error) => error.is_input(),
            Self::Backend(error) => error.is_input(),
            Self::Trainer(error) => error.is_input(),
            Self::Archive(error) | Self::Unfit(error) => error.is_input(),
            Self::Ways { .. }
            | Self::Size { .. }
            | Self::Alone
            | Self::NotFinite { .. }
            | Self::Checkpoint { .. }
            | Self::Header { .. }
            | Self::Extra { .. }
            | Self::Values { .. } => true,
        }
    }
}

impl Blame for bench::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Backend(error) => error.is_input(),
            Self::Trainer(error) => error.is_input(),
            Self::Device(_) => false,
        }
    }
}

impl Blame for report::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Extension { .. } => true,
            Self::Write { source, .. } => source.is_input(),
            Self::Encode { .. } => false,
        }
    }
}

impl Blame for report::RunError {
    fn is_input(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.is_input(),
            Self::NoRun { .. } | Self::Config { .. } | Self::Empty { .. } => true,
        }
    }
}

impl Blame for tensorboard::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Run(error) => error.is_input(),
            Self::Read { source, .. } | Self::Write { source, .. } => source.is_input(),
        }
    }
}

impl Blame for study::Error {
    fn is_input(&self) -> bool {
        match self {
            Self::Config(error) => error.is_input(),
            Self::Backend(error) => error.is_input(),
            Self::Data(error) => error.is_input(),
            Self::Trainer(error) => error.is_input(),
            Self::Figure(error) => error.is_input(),
            Self::Curves(error) => error.is_input(),
            Self::Io { source, .. } => source.is_input(),
            Self::InUse { .. } | Self::OtherSettings { .. } | Self::Record { .. } | Self::Unfit(_) => true,
        }
    }
}
