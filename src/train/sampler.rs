//! The images that a configuration describes, their split, and the sampler of episodes.

use super::remedy::{check, remedy};
use super::{Error, Watcher};
use crate::config::{Config, Data};
use crate::data::{
    Augmentation, Channels, EpisodeShape, Findings, Fit, ImageSet, KeptSplit, LoadOptions, Loaded, Location,
    Normalisation, RotatedClass, Rotations, Sampler, Split, SplitRule, TRAINING_FRACTION,
};
use crate::run::TrainingState;
use crate::support::paths::absolute;
use bilevel::Choice;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

/// Fraction of the training classes used for validation if neither the configuration nor the source sets a number.
const VALIDATION_FRACTION: f64 = 0.1;

/// The shape of a training episode.
pub fn training_shape(config: &Config) -> EpisodeShape {
    let task = &config.task;
    EpisodeShape { ways: task.ways, shots: task.shots, queries: task.queries }
}

/// The shape of a validation or test episode.
pub fn evaluation_shape(config: &Config) -> EpisodeShape {
    let (task, eval) = (&config.task, &config.eval);
    EpisodeShape {
        ways: eval.ways.unwrap_or(task.ways),
        shots: eval.shots.unwrap_or(task.shots),
        queries: eval.queries,
    }
}

/// The data of a run: images, split, and what was decided when they were read.
pub struct RunData {
    /// Draws episodes.
    pub sampler: Sampler,
    /// What was found out while reading the images.
    pub findings: Findings,
    /// The configuration with every decision that the images left open: the split, the number of validation classes, whether
    /// images are in colour and how these are normalised, and whether grey ones are inverted.
    pub config: Config,
    /// The split by names and contents of classes.
    pub split: KeptSplit,
}

/// A split that was made earlier.
#[derive(Clone, Copy)]
pub enum Earlier<'a> {
    /// That of the run that goes on.
    Run(&'a KeptSplit),
    /// That of the run from which the weights come.
    Weights(&'a KeptSplit),
}

/// Loads the images and splits their classes. Checks that every part that the configuration uses has enough classes and images.
///
/// # Errors
/// Returns an error if the task has no images, images are missing or damaged, or a part has too few classes or images.
pub fn sampler(config: &Config, watcher: &mut dyn Watcher) -> Result<Sampler, Error> {
    Ok(RunData::load(config, None, watcher)?.sampler)
}

/// The sampler of images that the run was not trained on, split as `config` says. Nothing is checked, since only one part is
/// used.
///
/// # Errors
/// Returns an error if the images cannot be split so.
pub fn sampler_of_split(config: &Config, set: ImageSet) -> Result<Sampler, Error> {
    let data = config.images()?;
    let (split, _) = divide(config, data, &set)?;
    Ok(Sampler::new(Arc::new(set), split, config.seed).with_normalisation(data.normalisation()?))
}

/// The sampler of images that the run was not trained on: all their classes are test classes.
///
/// # Errors
/// Returns an error if `config` normalises other channels than it has.
pub fn sampler_of_all(config: &Config, set: ImageSet) -> Result<Sampler, Error> {
    let all = (0..set.classes().len()).map(|class| RotatedClass { class, quarter_turns: 0 });
    let split = Split { train: Vec::new(), validation: Vec::new(), test: all.collect() };
    Ok(Sampler::new(Arc::new(set), split, config.seed).with_normalisation(config.images()?.normalisation()?))
}

impl RunData {
    /// Loads the [`images`], and splits their classes as it was done `earlier` if they are the same classes.
    ///
    /// # Errors
    /// As for [`images`] and [`Self::of`].
    pub fn load(config: &Config, earlier: Option<Earlier>, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        Self::of(config, images(config, watcher)?, earlier, watcher)
    }

    /// The data of a run of `config` on `loaded` images, split as it was done `earlier` if they are the same classes.
    ///
    /// # Errors
    /// Returns an error if a part has too few classes or images, or classes that were trained on earlier would be tested on.
    pub fn of(
        config: &Config,
        loaded: Loaded,
        earlier: Option<Earlier>,
        watcher: &mut dyn Watcher,
    ) -> Result<Self, Error> {
        let data = Self::unchecked(config, loaded, earlier, watcher)?;
        check(config, &data.sampler).map_err(|error| insufficient(config, data.sampler.set(), error))?;
        if let Some(Earlier::Run(before) | Earlier::Weights(before)) = earlier
            && let Some(warning) = before.same_names(data.sampler.set(), data.sampler.split())
        {
            watcher.warning(&warning);
        }
        Ok(data)
    }

    /// The same, whether or not the parts have enough classes and images; see [`Sampler::check`].
    ///
    /// # Errors
    /// Returns an error if the images cannot be split so, or classes that were trained on earlier would be tested on.
    pub fn unchecked(
        config: &Config,
        loaded: Loaded,
        earlier: Option<Earlier>,
        watcher: &mut dyn Watcher,
    ) -> Result<Self, Error> {
        let Loaded { set, findings, .. } = loaded;
        let data = config.images()?;
        let (split, rule) = match split_as_earlier(data, &set, earlier, watcher) {
            Some(split) => split,
            None => {
                let divided =
                    divide(config, data, &set).map_err(|error| insufficient(config, &set, error))?;
                if let Some(Earlier::Run(before) | Earlier::Weights(before)) = earlier {
                    before.check(&set, &divided.0)?;
                }
                divided
            }
        };
        let mut kept = KeptSplit::new(&set, &split, rule);
        if let Some(Earlier::Run(before) | Earlier::Weights(before)) = earlier {
            kept = kept.after(before);
        }
        let mut resolved = config.clone();
        let mut decided = Data {
            split: Some(rule),
            validation: Some(split.validation.len()),
            invert: findings.ink.map(|ink| ink.inverted).or(data.invert),
            // The run may be resumed from another folder.
            path: match data.source.location {
                Location::Required => data.path.as_deref().map(absolute),
                _ => data.path.clone(),
            },
            list: data.list.as_deref().map(absolute),
            channels: Some(set.channels()),
            ..data.clone()
        };
        if set.channels() == Channels::Colour {
            let measured = Normalisation::measured(&set, &split.train);
            decided.mean.get_or_insert_with(|| measured.mean().to_vec());
            decided.deviation.get_or_insert_with(|| measured.deviation().to_vec());
        }
        let sampler = Sampler::new(Arc::new(set), split, config.seed)
            .with_normalisation(decided.normalisation()?)
            .with_augmentation(augmentation(data));
        resolved.data = Some(decided);
        Ok(Self { sampler, findings, config: resolved, split: kept })
    }

    /// The split and the decision about colour and ink, in a line.
    pub fn describe(&self) -> String {
        let split = &self.split;
        let [train, validation, test] = [&split.train, &split.validation, &split.test].map(Vec::len);
        let ink = match self.sampler.set().channels() {
            Channels::Colour => "; images in colour".into(),
            Channels::Grey => self.findings.ink.map_or(String::new(), |ink| format!("; {}", ink.describe())),
        };
        format!(
            "split {}: {train} training, {validation} validation and {test} test classes{ink}",
            split.rule
        )
    }
}

/// Loads the images of `config`, and says what is missing from them.
///
/// # Errors
/// Returns an error if images are missing or damaged.
pub fn images(config: &Config, watcher: &mut dyn Watcher) -> Result<Loaded, Error> {
    let data = config.images()?;
    if data.path.is_none() && data.source.location != Location::Generated {
        return Err(Error::NoData { of: data.source });
    }
    let path = data.path.as_deref().unwrap_or(Path::new(""));
    let watching = RefCell::new(&mut *watcher);
    let report = |done, all| watching.borrow_mut().loading(done, all);
    let loaded = data.source.load(&LoadOptions {
        channels: data.channels,
        fit: data.fit.unwrap_or(Fit::Stretch),
        seed: config.seed,
        invert: data.invert,
        skip_damaged: data.skip_damaged,
        list: data.list.as_deref(),
        cache: Some(&data.cache),
        progress: crate::data::Progress::to(&report),
        ..LoadOptions::new(path, data.image_size)
    })?;
    loaded.findings.warnings().iter().chain(&loaded.warning).for_each(|warning| watcher.warning(warning));
    let coloured = loaded.findings.coloured;
    if coloured > 0 && loaded.set.channels() == Channels::Grey {
        let choice = if data.channels.is_none() { "; data.channels=3 keeps colours" } else { "" };
        let are =
            if coloured == 1 { "image is in colour; only its" } else { "images are in colour; only their" };
        watcher.note(&format!("{coloured} {are} brightness is used{choice}"));
    }
    Ok(loaded)
}

/// The split that was made earlier, if these are its classes; `None` for a new split.
fn split_as_earlier(
    data: &Data,
    set: &ImageSet,
    earlier: Option<Earlier>,
    watcher: &mut dyn Watcher,
) -> Option<(Split, SplitRule)> {
    let (before, is_run) = match earlier? {
        Earlier::Run(before) => (before, true),
        Earlier::Weights(before) => (before, false),
    };
    let split = before.of(set, data.rotations == Rotations::Classes)?;
    let rule = SplitRule::ALL.iter().copied().find(|rule| rule.name() == before.rule)?;
    let asked = data.split.unwrap_or(rule);
    let validation = data.validation.unwrap_or(split.validation.len());
    let is_same = asked == rule && (rule == SplitRule::Listed || validation == split.validation.len());
    if !is_same && !is_run {
        return None;
    }
    if !is_same {
        watcher.warning(
            "data.split or data.validation is not what this run began with; the run keeps its split, which is in split.json",
        );
    }
    Some((split, rule))
}

/// The split of `set` that `data` describes, part of `config`, and its rule.
///
/// # Errors
/// Returns an error if the rule does not suit the images, or lists another number of validation classes than `data` asks for.
pub(super) fn divide(
    config: &Config,
    data: &Data,
    set: &ImageSet,
) -> Result<(Split, SplitRule), crate::data::Error> {
    let rule = data.rule_for(set);
    let share = TRAINING_FRACTION * VALIDATION_FRACTION * set.classes().len() as f64;
    let few = (share.round() as usize).max(evaluation_shape(config).ways);
    let validation = data.validation.unwrap_or(if config.eval.every > 0 { few } else { 0 });
    let split = Split::new(set, rule, validation, data.rotations == Rotations::Classes, config.seed)?;
    // Classes that are taken from the training classes are as many as were asked for. With 0, none are taken and none are used.
    let found = split.validation.len();
    match data.validation {
        Some(asked @ 1..) if asked != found => Err(crate::data::Error::ListedValidation { asked, found }),
        _ => Ok((split, rule)),
    }
}

/// `error` with advice, if the images do not suffice for the configuration.
fn insufficient(config: &Config, set: &ImageSet, error: crate::data::Error) -> Error {
    use crate::data::Error::{EmptyPart, TooFewClasses, TooFewExamples, TrainClasses, ValidationClasses};
    match error {
        EmptyPart { .. }
        | TooFewClasses { .. }
        | TooFewExamples { .. }
        | TrainClasses { .. }
        | ValidationClasses { .. } => Error::Insufficient { advice: remedy(config, set, &error), error },
        other => other.into(),
    }
}

fn augmentation(data: &Data) -> Augmentation {
    Augmentation {
        turns: data.rotations == Rotations::Episode,
        flips: data.flips,
        shift: data.shift,
        warp: data.warp,
    }
}

/// Checks that a resumed run uses the images that it started with, if it is known which these were.
///
/// # Errors
/// Returns an error if the images differ.
pub fn check_data(sampler: &Sampler, training_state: &TrainingState) -> Result<(), Error> {
    check_digest(&sampler.set().digest(), training_state)
}

/// The same for data with this `digest`.
pub(super) fn check_digest(digest: &str, training_state: &TrainingState) -> Result<(), Error> {
    if digest == training_state.data || training_state.data.is_empty() {
        return Ok(());
    }
    Err(Error::OtherData { found: digest.into(), expected: training_state.data.clone() })
}
