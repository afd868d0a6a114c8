//! Options that several commands share, and the configuration they make.

use clap::{Args, ValueEnum};
use metaburn::config::{self, Backend, Config, RawConfig};
use metaburn::data::Part;
use metaburn::trainer::quoted;
use std::path::PathBuf;

/// A configuration file and what the command line says over it.
#[derive(Args)]
pub struct Setup {
    /// Configuration file (TOML); without one, the built-in characters are learned
    config: Option<PathBuf>,
    /// Sets one key over the file, as in `--set inner.steps=5`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Where to compute, and where the data lies.
#[derive(Args)]
pub struct Place {
    #[command(flatten)]
    machine: Machine,
    /// Folder of the data (Omniglot's archives, or class folders of images)
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

/// Where to compute, and on how many threads.
#[derive(Args)]
pub struct Machine {
    /// Where to compute: auto, flex, ndarray, wgpu, vulkan or cuda
    #[arg(long)]
    backend: Option<Backend>,
    /// Threads of a CPU that compute; without it, one for each core. No result depends on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Give the same bits whenever the same run is made on the same machine, at the price of a faster path
    #[arg(long)]
    deterministic: bool,
}

/// Whose classes episodes are made of.
#[derive(Clone, Copy, ValueEnum)]
pub enum PartName {
    Train,
    Validation,
    Test,
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Train => Self::Train,
            PartName::Validation => Self::Validation,
            PartName::Test => Self::Test,
        }
    }
}

impl Setup {
    /// The checked configuration, with `more` assignments after the user's own.
    ///
    /// # Errors
    /// If a key or a value is impossible.
    pub fn config(&self, more: &[String]) -> Result<Config, config::Error> {
        self.config_from(&[], more)
    }

    /// The same, where `usual` assignments stand in for a configuration file that the user did not name.
    ///
    /// # Errors
    /// If a key or a value is impossible.
    pub fn config_from(&self, usual: &[String], more: &[String]) -> Result<Config, config::Error> {
        let mut assignments = if self.config.is_none() { usual.to_vec() } else { Vec::new() };
        assignments.extend_from_slice(&self.set);
        assignments.extend(self.place.assignments());
        assignments.extend_from_slice(more);
        Config::load(self.config.as_deref(), &assignments)
    }

    /// The same, where `given` stands in for a configuration file that the user did not name.
    ///
    /// # Errors
    /// If a key or a value is impossible.
    pub fn config_over(&self, given: Option<RawConfig>) -> Result<Config, config::Error> {
        let mut raw = match (&self.config, given) {
            (None, Some(given)) => given,
            (file, _) => RawConfig::read(file.as_deref())?,
        };
        for assignment in self.set.iter().chain(&self.place.assignments()) {
            raw.set(assignment)?;
        }
        raw.check()
    }

    /// Whether it names a configuration file.
    pub fn names_file(&self) -> bool {
        self.config.is_some()
    }

    /// Where to compute, and where the data lies.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Place {
    /// Whether it says where the data lies.
    pub fn names_data(&self) -> bool {
        self.data.is_some()
    }

    /// As assignments of configuration keys.
    pub fn assignments(&self) -> Vec<String> {
        // The run may be resumed from elsewhere, so what it keeps is the whole path.
        let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let data = self.data.as_ref().map(|path| assignment("data.path", &whole(path).to_string_lossy()));
        self.machine.assignments().into_iter().chain(data).collect()
    }

    /// As flags, to be typed again.
    pub fn flags(&self) -> String {
        let data = self.data.as_ref().map(|path| format!(" --data {}", quoted(path)));
        self.machine.flags() + &data.unwrap_or_default()
    }

    /// `config`, a run's own, with these said over it.
    ///
    /// # Errors
    /// If a value is impossible.
    pub fn over(&self, config: &Config) -> Result<Config, config::Error> {
        over(config, &self.assignments())
    }
}

impl Machine {
    fn assignments(&self) -> Vec<String> {
        let backend = self.backend.map(|backend| assignment("backend", &backend.to_string()));
        let threads = self.threads.map(|threads| format!("threads={threads}"));
        let deterministic = self.deterministic.then(|| "deterministic=true".to_string());
        backend.into_iter().chain(threads).chain(deterministic).collect()
    }

    fn flags(&self) -> String {
        let backend = self.backend.map(|backend| format!(" --backend {backend}"));
        let threads = self.threads.map(|threads| format!(" --threads {threads}"));
        let deterministic = self.deterministic.then(|| " --deterministic".to_string());
        backend.into_iter().chain(threads).chain(deterministic).collect()
    }

    /// As [`Place::over`].
    ///
    /// # Errors
    /// If a value is impossible.
    pub fn over(&self, config: &Config) -> Result<Config, config::Error> {
        over(config, &self.assignments())
    }
}

fn assignment(key: &str, value: &str) -> String {
    format!("{key}={}", toml::Value::String(value.into()))
}

fn over(config: &Config, assignments: &[String]) -> Result<Config, config::Error> {
    let mut raw = RawConfig::parse("the run's config.toml", &config.to_toml()?)?;
    for assignment in assignments {
        raw.set(assignment)?;
    }
    raw.check()
}
