//! `metaburn init`: writes a commented configuration file.

use super::{Outcome, output};
use bilevel::Choice;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use metaburn::config::{RawConfig, TaskKind, template};
use metaburn::data::registry::SOURCES;
use metaburn::data::{Location, Source};
use metaburn::run::quoted;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

/// Write a commented configuration file
///
/// Comments give the meaning, the accepted values and the default of each key. The values written are the defaults. An
/// existing file is not overwritten.
///
/// Example: metaburn init mine.toml --source omniglot
///
/// Example: metaburn init all-keys.toml --full
#[derive(Args)]
pub struct Init {
    /// File to write
    #[arg(value_name = "FILE", default_value = "metaburn.toml")]
    file: PathBuf,
    /// Source of the images, or `sinusoid`, which has no images; for `folder`, edit the path `my-images` in the file
    #[arg(long, value_enum, default_value = SOURCES[0].name)]
    source: SourceName,
    /// Include every key; keys without a value are commented out
    #[arg(long)]
    full: bool,
}

/// A source of episodes on the command line.
#[derive(Clone, Copy)]
enum SourceName {
    Images(&'static Source),
    Sinusoid,
}

impl ValueEnum for SourceName {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<SourceName>> = LazyLock::new(|| {
            SOURCES.iter().copied().map(SourceName::Images).chain([SourceName::Sinusoid]).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Images(source) => PossibleValue::new(source.name).help(source.summary),
            Self::Sinusoid => PossibleValue::new(TaskKind::Sinusoid.name())
                .help("curves to predict from a few points; computed, nothing to download"),
        })
    }
}

impl SourceName {
    /// The kind of task whose built-in configuration has the source, or can have it.
    fn task(self) -> TaskKind {
        match self {
            Self::Images(_) => TaskKind::Classification,
            Self::Sinusoid => TaskKind::Sinusoid,
        }
    }

    /// The assignments that choose the source. The built-in configuration has the default source.
    fn assignments(self) -> Vec<String> {
        let Self::Images(source) = self else { return Vec::new() };
        let is_default = source == SOURCES[0];
        let name = (!is_default).then(|| format!("data.source={source}"));
        let path = (source.location == Location::Required).then(|| "data.path=my-images".to_string());
        name.into_iter().chain(path).collect()
    }
}

impl Init {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let base = RawConfig::built_in(self.source.task())?;
        let text = template(base, &self.source.assignments(), self.full)?;
        let path = self.file.display();
        let mut file = File::create_new(&self.file).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("{path} already exists and is not overwritten; choose another file")
            }
            _ => format!("cannot create {path}: {error}; choose a file in an existing folder"),
        })?;
        file.write_all(text.as_bytes()).map_err(|error| format!("cannot write {path}: {error}"))?;
        output::print(format!("wrote {path}; next: metaburn train {}", quoted(&self.file)))?;
        Ok(ExitCode::SUCCESS)
    }
}
