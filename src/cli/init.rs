//! `metaburn init`: a commented configuration to begin from.

use super::{Outcome, output};
use clap::{Args, ValueEnum};
use metaburn::config::template;
use metaburn::trainer::quoted;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a commented configuration to begin from
///
/// Every key comes with what it means, takes and falls back on. As it is written, it is the default. Nothing
/// that exists is overwritten.
///
/// Example: metaburn init mine.toml --source omniglot
///
/// Example: metaburn init all-keys.toml --full
#[derive(Args)]
pub struct Init {
    /// The file to write
    #[arg(value_name = "FILE", default_value = "metaburn.toml")]
    file: PathBuf,
    /// Where the images come from; a folder is `my-images` until you write another
    #[arg(long, value_enum, default_value = "glyphs")]
    source: Source,
    /// Name every key; those that are not set are comments
    #[arg(long)]
    full: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Source {
    Glyphs,
    Omniglot,
    Folder,
}

impl Source {
    fn assignments(self) -> Vec<String> {
        let assignments: &[&str] = match self {
            Self::Glyphs => &[],
            Self::Omniglot => &["data.source=omniglot"],
            Self::Folder => &["data.source=folder", "data.path=my-images"],
        };
        assignments.iter().map(ToString::to_string).collect()
    }
}

impl Init {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let text = template(&self.source.assignments(), self.full)?;
        let path = self.file.display();
        let mut file = File::create_new(&self.file).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => format!("{path} exists and is not overwritten; name another file"),
            _ => format!("cannot create {path}: {error}; name a file in a folder that exists"),
        })?;
        file.write_all(text.as_bytes()).map_err(|error| format!("cannot write {path}: {error}"))?;
        output::print(format!("wrote {path}; next: metaburn train {}", quoted(&self.file)))?;
        Ok(ExitCode::SUCCESS)
    }
}
