//! Loads a trained run for `eval` and `report`.

use super::CommandError;
use super::progress::Terminal;
use super::setup::{PartName, Resources, changed};
use bilevel::Params;
use bilevel::device::{self, Opened};
use clap::Args;
use metaburn::config::{Config, Data, Purpose, Task};
use metaburn::data::{self, Defaults, EpisodeShape, Location, Part, Sampler};
use metaburn::run::{CheckpointSelector, OtherData, OtherSplit, RunDir, Saved, TrainingState, quoted};
use metaburn::train::{self, Earlier, EpisodeLoader, Episodes, Evaluation, Learner, RunData, Watcher};
use std::path::{Path, PathBuf};

/// Arguments that choose a run, a checkpoint and episodes.
#[derive(Args)]
pub struct Selection {
    /// Run directory
    run_dir: PathBuf,
    /// Split whose classes the episodes are drawn from [default: test; on other data, all classes]
    #[arg(long, value_enum)]
    split: Option<PartName>,
    /// Number of episodes [default: the run's eval.test_episodes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    episodes: Option<u32>,
    /// Checkpoint: latest, best (highest validation accuracy or lowest error) or the number of an outer step
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    pub checkpoint: CheckpointSelector,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    resources: Resources,
}

/// Arguments that replace what the run's configuration says about evaluated episodes.
#[derive(Args, Clone)]
struct Overrides {
    /// Number of inner steps [default: the run's inner.eval_steps]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Number of classes in an episode [default: the run's eval.ways]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    ways: Option<u32>,
    /// Support images per class [default: the run's eval.shots]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shots: Option<u32>,
    /// Query images per class [default: the run's eval.queries]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    queries: Option<u32>,
    /// Set a configuration key for this evaluation, for example `--set data.source=folder`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A run, ready to be evaluated.
pub struct Trained {
    pub run: RunDir,
    /// Its configuration, with what the command line replaced.
    pub config: Config,
    pub evaluation: Evaluation,
    /// The data, if it is not what the run was trained on.
    pub data: Option<OtherData>,
    pub learner: Learner,
    pub episodes: Episodes,
    /// At least one; the members of an ensemble, best first.
    pub checkpoints: Vec<Checkpoint>,
}

/// A checkpoint of a run.
pub struct Checkpoint {
    pub theta: Params,
    pub training_state: TrainingState,
}

impl Selection {
    /// Loads the run, with the device, the data and the episodes of the command line: at its `ensemble` best checkpoints, or
    /// at the selected one.
    ///
    /// # Errors
    /// Returns an error if there is no such run or checkpoint, its data or backend is unavailable, or it cannot be evaluated
    /// so.
    pub fn read(&self, ensemble: Option<u32>, terminal: &mut Terminal) -> Result<Trained, CommandError> {
        let (run, own) = RunDir::open(&self.run_dir)?;
        let saved = match ensemble {
            Some(count) => run.best_checkpoints(count as usize, own.checkpoint.keep_best)?,
            None => vec![run.saved(self.checkpoint, |warning| terminal.warning(warning))?],
        };
        for saved in &saved {
            saved.check_settings(&own, Purpose::Evaluation, run.path())?;
        }
        let config = self.config(&own)?;
        // The last layer may depend on the number of classes trained on; the episodes have that of `config`.
        let built = Config { task: Task { ways: own.task.ways, ..config.task.clone() }, ..config.clone() };
        let learner = Learner::new(&built, device::open(config.backend)?.with_threads(config.threads));
        if config.task.ways != own.task.ways && !learner.any_ways() {
            return Err(other_ways(config.task.ways, own.task.ways).into());
        }
        let (episodes, data) = self.source(&run, &own, &config, &saved[0], &learner.opened, terminal)?;
        let count = self.episodes.map_or(config.eval.test_episodes, |episodes| episodes as usize);
        let part = self.split.map_or(Part::Test, Part::from);
        let evaluation = Evaluation::new(&config, part, count);
        check(&episodes, &evaluation, learner.any_ways())?;
        let checkpoints = saved.into_iter().map(|saved| {
            let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
            Ok(Checkpoint { theta, training_state: saved.training_state })
        });
        let checkpoints = checkpoints.collect::<Result<Vec<_>, train::Error>>()?;
        Ok(Trained { run, config, evaluation, data, learner, episodes, checkpoints })
    }

    /// The options that choose this evaluation of checkpoint `checkpoint`, for a command line.
    pub fn flags(&self, evaluation: &Evaluation, checkpoint: CheckpointSelector) -> String {
        let Overrides { steps, ways, shots, queries, set } = &self.overrides;
        let numbers = [("steps", steps), ("ways", ways), ("shots", shots), ("queries", queries)];
        let split =
            self.split.map_or_else(String::new, |part| format!(" --split {}", Part::from(part).name()));
        let mut flags = format!("{split} --episodes {}", evaluation.episodes);
        for (name, value) in numbers {
            flags += &value.map_or_else(String::new, |value| format!(" --{name} {value}"));
        }
        for assignment in set {
            flags += &format!(" --set {}", quoted(Path::new(assignment)));
        }
        flags += &self.resources.flags();
        match checkpoint {
            CheckpointSelector::Latest => flags,
            other => flags + &format!(" --checkpoint {other}"),
        }
    }

    /// The run's `own` configuration with what the command line replaces.
    fn config(&self, own: &Config) -> Result<Config, CommandError> {
        let Overrides { steps, ways, shots, queries, set } = &self.overrides;
        let mut assignments = Vec::new();
        let is_generated = own.data.as_ref().is_some_and(|data| data.source.location == Location::Generated);
        if self.resources.names_data() && is_generated && !self.sets("data.source") {
            // The run's images have no folder, so this one holds images of another kind.
            assignments.push("data.source=folder".to_string());
        }
        assignments.extend(self.resources.assignments());
        assignments.extend(set.iter().cloned());
        let ways_key = self.size_key("ways", own.eval.ways)?;
        let shots_key = self.size_key("shots", own.eval.shots)?;
        let numbers =
            [("inner.eval_steps", steps), (&ways_key, ways), (&shots_key, shots), ("eval.queries", queries)];
        let numbers =
            numbers.iter().filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")));
        assignments.extend(numbers);
        changed(own, &assignments, Purpose::Evaluation, "metaburn eval")
    }

    /// The key that sets the `name`d size, "ways" or "shots", of the episodes that the run is measured on: that in `[eval]` if the
    /// run has a value there, otherwise that in `[task]`.
    fn size_key(&self, name: &str, in_eval: Option<usize>) -> Result<String, CommandError> {
        let in_task = format!("task.{name}");
        match in_eval {
            None => Ok(in_task),
            Some(_) if self.sets(&in_task) => Err(format!(
                "--set {in_task}: eval.{name} sets the {name} of the episodes that this run is measured on; use --{name} instead"
            )
            .into()),
            Some(_) => Ok(format!("eval.{name}")),
        }
    }

    /// Where the episodes come from, and the data if it is not what the run was trained on.
    fn source(
        &self,
        run: &RunDir,
        own: &Config,
        config: &Config,
        saved: &Saved,
        opened: &Opened,
        terminal: &mut Terminal,
    ) -> Result<(Episodes, Option<OtherData>), CommandError> {
        if config.data.is_none() {
            let (episodes, _) = Episodes::new(config, opened, None, terminal)?;
            episodes.check_data(&saved.training_state)?;
            return Ok((episodes, None));
        }
        let (sampler, data) = self.sampler(run, own, config, saved, terminal)?;
        Ok((Episodes::Images(Box::new(EpisodeLoader::new(sampler, opened))), data))
    }

    /// `config` without the split that was found for the run's own images, unless the command line names one.
    fn split_anew(&self, config: &Config) -> Config {
        let mut config = config.clone();
        if let Some(data) = &mut config.data
            && data.source.defaults == Defaults::FromImages
        {
            data.split = data.split.filter(|_| self.sets("data.split"));
            data.validation = data.validation.filter(|_| self.sets("data.validation"));
        }
        config
    }

    /// Whether the command line sets `key`.
    fn sets(&self, key: &str) -> bool {
        self.overrides.set.iter().any(|set| set.split('=').next().is_some_and(|name| name.trim() == key))
    }

    /// The sampler of images, and the data if it is not what the run was trained on.
    fn sampler(
        &self,
        run: &RunDir,
        own: &Config,
        config: &Config,
        saved: &Saved,
        terminal: &mut Terminal,
    ) -> Result<(Sampler, Option<OtherData>), CommandError> {
        let (was, is) = (own.images()?, config.images()?);
        let is_own_folder = are_in_one_folder(was, is);
        if is_own_folder && was.invert != is.invert {
            // With other pixels, they would not be known as the images that the run was trained on.
            return Err(fixed_keys().into());
        }
        if is_own_folder && was.list.is_some() != is.list.is_some() {
            return Err(fixed_list().into());
        }
        let loaded = train::images(config, terminal)?;
        let split = run.split()?;
        let (digest, known) = (loaded.set.digest(), &saved.training_state.data);
        let names_data = self.resources.names_data() || is.source != was.source;
        if digest == *known || known.is_empty() && !names_data {
            let fixed = |data: &Data| (data.split, data.validation, data.rotations, data.invert);
            if fixed(was) != fixed(is) {
                return Err(fixed_keys().into());
            }
            let earlier = split.as_ref().map(Earlier::Run);
            // One part is used, and only that one is checked.
            let data = RunData::unchecked(config, loaded, earlier, terminal)?;
            return Ok((data.sampler.for_evaluation(), None));
        }
        if !names_data {
            return Err(train::Error::OtherData { found: digest, expected: known.clone() }.into());
        }
        if let Some(contradiction) =
            loaded.findings.ink.and_then(|ink| ink.contradiction("--set data.invert="))
        {
            terminal.warning(&contradiction);
        }
        let all_classes = self.split.is_none();
        let part = self.split.map_or(Part::Test, Part::from);
        let (sampler, divided) = match all_classes {
            true => (train::sampler_of_all(config, loaded.set)?, None),
            false => {
                let config = self.split_anew(config);
                let sampler = train::sampler_of_split(&config, loaded.set)?;
                let divided = division(config.images()?, &sampler);
                (sampler, Some(divided))
            }
        };
        if let Some(split) = split {
            match is_own_folder {
                true => split.check_changed(sampler.set(), sampler.split())?,
                false => split.check(sampler.set(), sampler.split())?,
            }
            if let Some(warning) = split.same_names(sampler.set(), sampler.split()) {
                terminal.warning(&warning);
            }
        }
        let data = OtherData {
            source: is.source.to_string(),
            path: is.path.clone(),
            digest,
            all_classes,
            classes: sampler.split().part(part).len(),
            split: divided,
        };
        terminal.warning(&format!(
            "{} is not the data that this run was trained on; episodes are drawn from {} {} classes. The run must not have \
             been trained on any of them",
            data.title(),
            if all_classes { "all its" } else { "its" },
            if all_classes { data.classes.to_string() } else { format!("{} {}", data.classes, part.name()) },
        ));
        Ok((sampler, Some(data)))
    }
}

/// How `sampler` divides the classes of images that `data` describes.
fn division(data: &Data, sampler: &Sampler) -> OtherSplit {
    let rule = data.rule_for(sampler.set());
    OtherSplit {
        rule: rule.to_string(),
        validation: sampler.split().validation.len(),
        rotations: data.rotations,
    }
}

/// Whether `data` are in the folder of a run's `own`. Of a relative path it is not known where the run was started.
fn are_in_one_folder(own: &Data, data: &Data) -> bool {
    let folder = |data: &Data| data.path.as_ref().and_then(|path| path.canonicalize().ok());
    let is_absolute = own.path.as_ref().is_some_and(|path| path.is_absolute());
    is_absolute && folder(own).is_some_and(|own| folder(data) == Some(own))
}

/// The message that keys which decide what is in the test are fixed for the run's own data.
fn fixed_keys() -> String {
    "data.split, data.validation, data.rotations and data.invert are fixed for the data that this run was trained on: with other \
     values, the test could include classes that it was trained on; leave these keys out"
        .into()
}

/// The message that the images of the run's own folder are read as the run read them.
fn fixed_list() -> String {
    "the images in the run's own folder are read as the run read them, with or without data.list: otherwise the classes that it was \
     trained on would not be known again"
        .into()
}

/// Checks that the evaluated part suffices for the episodes of `evaluation`. Their number of classes may change if `any_ways`.
///
/// # Errors
/// Returns an error that says what is missing, and which options would do.
fn check(episodes: &Episodes, evaluation: &Evaluation, any_ways: bool) -> Result<(), CommandError> {
    let Err(error) = episodes.check(evaluation.part, &evaluation.shape) else { return Ok(()) };
    let advice = match &error {
        train::Error::Data(error) => advice(error, &evaluation.shape, any_ways),
        _ => None,
    };
    Err(match advice {
        Some(advice) => format!("{error}; {advice}").into(),
        None => error.into(),
    })
}

/// What to do if a part lacks classes or images for episodes of `shape`; `None` for other errors.
fn advice(error: &data::Error, shape: &EpisodeShape, any_ways: bool) -> Option<String> {
    const ANOTHER: &str = "choose another --split, or other images with --data";
    Some(match error {
        data::Error::TooFewClasses { found, .. } if any_ways && *found >= 2 => {
            format!("give a smaller --ways, at most {found}, or {ANOTHER}")
        }
        data::Error::TooFewExamples { small, .. } => {
            let fewest = small.iter().map(|(_, images)| *images).min().unwrap_or_default();
            match fewest {
                // An image to adapt to and one to classify.
                2.. => format!(
                    "give smaller --shots and --queries, together at most {fewest} instead of {}, or {ANOTHER}",
                    shape.shots.saturating_add(shape.queries)
                ),
                _ => ANOTHER.into(),
            }
        }
        data::Error::EmptyPart { .. } | data::Error::TooFewClasses { .. } => ANOTHER.into(),
        _ => return None,
    })
}

/// The message that a network with an output for each of `own` classes cannot classify `ways`.
fn other_ways(ways: usize, own: usize) -> String {
    format!(
        "--ways {ways}: the last layer of this run's network has an output for each of task.ways = {own} classes, so its \
         episodes cannot have {ways}; leave --ways out, or train a run with --set task.ways={ways}, or one for any number of \
         classes with --set inner.head=prototype"
    )
}
