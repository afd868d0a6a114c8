//! Options shared by several commands, and the configuration built from them.

use super::CommandError;
use bilevel::device::Backend;
use clap::{Args, ValueEnum};
use metaburn::config::{self, Config, Purpose, RawConfig};
use metaburn::data::{KeptSplit, Part};
use metaburn::run::{self, RunDir, quoted};
use metaburn::support::paths::absolute;
use std::path::{Path, PathBuf};

/// Keys to which [`changed`] gives the run's own values back after it has checked an evaluation without validations.
const GIVEN_BACK: [&str; 2] = ["eval.every", "checkpoint.keep_best"];

/// A configuration file and overrides from the command line.
#[derive(Args)]
pub struct Setup {
    /// Configuration file (TOML), or a run directory whose configuration is used [default: built-in characters with
    /// default settings]
    config: Option<PathBuf>,
    /// Override a configuration key, for example `--set inner.steps=5`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    resources: Resources,
}

/// The device and the data folder.
#[derive(Args)]
pub struct Resources {
    #[command(flatten)]
    machine: Machine,
    /// Data folder: Omniglot's archives, or one subfolder of images per class
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

/// The compute backend and its threads.
#[derive(Args)]
pub struct Machine {
    /// Compute backend: auto, flex, ndarray, wgpu, vulkan or cuda
    #[arg(long)]
    backend: Option<Backend>,
    /// Number of CPU threads; results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Give bit-identical results when a run is repeated on the same machine; may be slower
    #[arg(long)]
    deterministic: bool,
}

/// The split whose classes episodes are drawn from.
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
    /// The configuration file that the user named, directly or by the run that it belongs to.
    fn file(&self) -> Option<PathBuf> {
        let given = self.config.as_deref()?;
        Some(RunDir::find(given).map_or_else(|_| given.into(), |run| run.config_file()))
    }

    /// The split of the run whose configuration the user named, if it is a run's.
    ///
    /// # Errors
    /// Returns an error if the run's split is damaged.
    pub fn split(&self) -> Result<Option<KeptSplit>, run::Error> {
        let Some(file) = self.file() else { return Ok(None) };
        let run = RunDir::at(file.parent().unwrap_or(Path::new("")));
        if run.config_file() == file { run.split() } else { Ok(None) }
    }

    /// The checked configuration, with the assignments `more` applied after the user's.
    ///
    /// # Errors
    /// Returns an error if a key or a value is invalid.
    pub fn config(&self, more: &[String]) -> Result<Config, config::Error> {
        self.config_from(&[], more)
    }

    /// Like [`Setup::config`], with the assignments `usual` applied first if the user named no configuration file.
    ///
    /// # Errors
    /// Returns an error if a key or a value is invalid.
    pub fn config_from(&self, usual: &[String], more: &[String]) -> Result<Config, config::Error> {
        let mut assignments = if self.config.is_none() { usual.to_vec() } else { Vec::new() };
        assignments.extend_from_slice(&self.set);
        assignments.extend(self.resources.assignments());
        assignments.extend_from_slice(more);
        Config::load(self.file().as_deref(), &assignments)
    }

    /// Like [`Setup::config`], with `base` in place of the built-in configuration if the user named no configuration file.
    ///
    /// # Errors
    /// Returns an error if a key or a value is invalid.
    pub fn config_over(&self, base: Option<RawConfig>, more: &[String]) -> Result<Config, config::Error> {
        let mut raw = match (self.file(), base) {
            (None, Some(base)) => base,
            (file, _) => RawConfig::read(file.as_deref())?,
        };
        for assignment in self.set.iter().chain(&self.resources.assignments()).chain(more) {
            raw.set(assignment)?;
        }
        raw.check()
    }

    /// Whether the user named a configuration file.
    pub fn names_file(&self) -> bool {
        self.config.is_some()
    }

    /// Whether the user set keys.
    pub fn sets_keys(&self) -> bool {
        !self.set.is_empty()
    }

    /// The device and the data folder.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }
}

impl Resources {
    /// Whether the user named a data folder.
    pub fn names_data(&self) -> bool {
        self.data.is_some()
    }

    /// The options as assignments of configuration keys.
    pub fn assignments(&self) -> Vec<String> {
        // The run may be resumed from another folder, so it stores the absolute path.
        let data = self.data.as_ref().map(|path| assignment("data.path", &absolute(path).to_string_lossy()));
        self.machine.assignments().into_iter().chain(data).collect()
    }

    /// The options as command-line flags.
    pub fn flags(&self) -> String {
        let data = self.data.as_ref().map(|path| format!(" --data {}", quoted(path)));
        self.machine.flags() + &data.unwrap_or_default()
    }

    /// The configuration of a run, with these options applied over it.
    ///
    /// # Errors
    /// Returns an error if a value is invalid.
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

    /// The configuration of a run for prediction, with these options applied over it. Settings of the run that contradict them
    /// and matter only in training give way: measured costs to `--deterministic`, and `deterministic` to `--backend`.
    ///
    /// # Errors
    /// Returns an error if a value is invalid.
    pub fn over_for_prediction(&self, config: &Config) -> Result<Config, config::Error> {
        let described = config.described();
        let measures = described.pointer("/estimator/costs").is_some_and(|costs| costs == "measured");
        let counted = (self.deterministic && measures).then(|| "estimator.costs=counted".to_string());
        let free = self.backend.is_some() && !self.deterministic;
        let free = free.then(|| "deterministic=false".to_string());
        let assignments = self.assignments().into_iter().chain(counted).chain(free);
        over(config, &assignments.collect::<Vec<_>>())
    }
}

/// The configuration of a run with `assignments` applied over it, each `KEY=VALUE`, for `command`.
///
/// # Errors
/// Returns an error if a value is invalid, or a setting would change that must not for this purpose; it names the ones that
/// may.
pub fn changed(
    config: &Config,
    assignments: &[String],
    purpose: Purpose,
    command: &str,
) -> Result<Config, CommandError> {
    if assignments.is_empty() {
        return Ok(config.clone());
    }
    let changed = match purpose {
        Purpose::Training => over(config, assignments),
        Purpose::Evaluation => {
            // Episodes of an evaluation need not suit the validations during training.
            let no_validation = ["eval.every=0".to_string()];
            over(config, &[&no_validation, assignments].concat()).map(|mut changed| {
                changed.eval.every = config.eval.every;
                changed.checkpoint.keep_best = config.checkpoint.keep_best;
                changed
            })
        }
    };
    let assigned = assignments.iter().filter_map(|assignment| assignment.split('=').next()).map(str::trim);
    let refused: Vec<(String, String)> = match &changed {
        Ok(changed) => {
            let (_, refused) = changed.changes(&config.described(), purpose);
            let refused = refused.into_iter().map(|change| (change.key, change.first));
            // What the command line gave these keys is not in `changed` any more.
            let given_back =
                assigned.filter(|key| purpose == Purpose::Evaluation && GIVEN_BACK.contains(key));
            refused.chain(config.fixed(given_back, purpose)).collect()
        }
        // A setting that cannot change may contradict another one as well; that it cannot change comes first.
        Err(_) => config.fixed(assigned, purpose),
    };
    if refused.is_empty() {
        return Ok(changed?);
    }
    let refused: Vec<String> =
        refused.iter().map(|(key, value)| format!("`{key}` (which is {value})")).collect();
    let keys: Vec<String> = purpose
        .keys()
        .into_iter()
        .map(|key| if key.ends_with('.') { format!("{key}*") } else { key.to_string() })
        .collect();
    let refused = refused.join(" and ");
    Err(format!(
        "{refused} cannot change after training has begun; `{command} --set` can change {}",
        keys.join(", ")
    )
    .into())
}

fn assignment(key: &str, value: &str) -> String {
    format!("{key}={}", toml::Value::String(value.into()))
}

fn over(config: &Config, assignments: &[String]) -> Result<Config, config::Error> {
    let mut raw = RawConfig::parse("the run's config.toml", &config.to_toml()?)?.without_data();
    for assignment in assignments {
        raw.set(assignment)?;
    }
    raw.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_training_do_not_keep_a_prediction_from_its_machine() {
        let load = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(ToString::to_string).collect();
            Config::load(None, &set).unwrap()
        };
        let machine = |backend, deterministic| Machine { backend, threads: None, deterministic };
        for estimator in ["estimator.name=adaptive", "estimator.name=exact"] {
            let config = machine(None, true).over_for_prediction(&load(&[estimator])).unwrap();
            assert!(config.deterministic, "{estimator}");
        }
        let config = load(&["deterministic=true"]);
        let moved = machine(Some(Backend::Wgpu), false).over_for_prediction(&config).unwrap();
        assert_eq!((moved.backend, moved.deterministic), (Backend::Wgpu, false));
        assert!(machine(None, false).over_for_prediction(&config).unwrap().deterministic);
        assert!(machine(Some(Backend::Wgpu), true).over_for_prediction(&config).is_err());
    }
}
