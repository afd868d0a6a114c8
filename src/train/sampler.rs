//! The sampler of episodes that a configuration describes: its images, split and seed.

use super::{Error, Watcher};
use crate::config::Config;
use crate::data::{
    Augmentation, EpisodeShape, ImageSet, LoadOptions, Loaded, Location, Part, RotatedClass, Rotations,
    Sampler, Split, SplitRule, TRAINING_FRACTION,
};
use crate::run::TrainingState;
use std::path::Path;
use std::sync::Arc;

/// Fraction of the training classes used for validation if neither the configuration nor the source sets a number.
const VALIDATION_FRACTION: f64 = 0.1;
/// Folder of the cache of decoded images.
const CACHE: &str = "datasets/.cache";

/// The shape of a training episode.
pub fn training_shape(config: &Config) -> EpisodeShape {
    let task = &config.task;
    EpisodeShape { ways: task.ways, shots: task.shots, queries: task.queries }
}

/// The shape of a validation or test episode.
pub fn evaluation_shape(config: &Config) -> EpisodeShape {
    EpisodeShape { queries: config.eval.queries, ..training_shape(config) }
}

/// Loads the images and splits their classes. Checks that every part that the configuration uses has enough classes and images.
///
/// # Errors
/// Returns an error if images are missing or damaged, or a part has too few classes or images.
pub fn sampler(config: &Config, watcher: &mut dyn Watcher) -> Result<Sampler, Error> {
    sampler_of(config, images(config, watcher)?)
}

/// The sampler of these images, which are those of `config`. Checks the same.
///
/// # Errors
/// Returns an error if a part has too few classes or images.
pub fn sampler_of(config: &Config, set: ImageSet) -> Result<Sampler, Error> {
    let sampler = sampler_of_split(config, set)?.with_augmentation(augmentation(config));
    sampler.check(Part::Train, &training_shape(config))?;
    if config.eval.every > 0 {
        sampler.check(Part::Validation, &evaluation_shape(config))?;
    }
    sampler.check(Part::Test, &evaluation_shape(config))?;
    Ok(sampler)
}

/// The sampler of images that the run was not trained on, split as `config` says. Nothing is checked, since only one part is
/// used.
///
/// # Errors
/// Returns an error if the images cannot be split so.
pub fn sampler_of_split(config: &Config, set: ImageSet) -> Result<Sampler, Error> {
    let split = split(config, &set)?;
    Ok(Sampler::new(Arc::new(set), split, config.seed))
}

/// The sampler of images that the run was not trained on: all their classes are test classes.
pub fn sampler_of_all(config: &Config, set: ImageSet) -> Sampler {
    let all = (0..set.classes().len()).map(|class| RotatedClass { class, quarter_turns: 0 });
    let split = Split { train: Vec::new(), validation: Vec::new(), test: all.collect() };
    Sampler::new(Arc::new(set), split, config.seed)
}

/// Loads the images of `config`.
///
/// # Errors
/// Returns an error if images are missing or damaged.
pub fn images(config: &Config, watcher: &mut dyn Watcher) -> Result<ImageSet, Error> {
    let data = &config.data;
    if data.path.is_none() && data.source.location != Location::Generated {
        return Err(Error::NoData { of: data.source });
    }
    let Loaded { set, warning } = data.source.load(&LoadOptions {
        path: data.path.as_deref().unwrap_or(Path::new("")),
        size: data.image_size,
        seed: config.seed,
        invert: data.invert,
        cache: Some(Path::new(CACHE)),
    })?;
    if let Some(warning) = warning {
        watcher.warning(&warning);
    }
    Ok(set)
}

fn split(config: &Config, set: &ImageSet) -> Result<Split, Error> {
    let data = &config.data;
    let rule = data.split.unwrap_or_else(|| SplitRule::for_images(set));
    let share = TRAINING_FRACTION * VALIDATION_FRACTION * set.classes().len() as f64;
    let few = (share.round() as usize).max(config.task.ways);
    let validation = data.validation.unwrap_or(if config.eval.every > 0 { few } else { 0 });
    Ok(Split::new(set, rule, validation, data.rotations == Rotations::Classes, config.seed)?)
}

fn augmentation(config: &Config) -> Augmentation {
    let data = &config.data;
    Augmentation { turns: data.rotations == Rotations::Episode, flips: data.flips, shift: data.shift }
}

/// Checks that a resumed run uses the images that it started with, if it is known which these were.
///
/// # Errors
/// Returns an error if the images differ.
pub fn check_data(sampler: &Sampler, training_state: &TrainingState) -> Result<(), Error> {
    let found = sampler.set().digest();
    if found == training_state.data || training_state.data.is_empty() {
        return Ok(());
    }
    Err(Error::OtherData { found, expected: training_state.data.clone() })
}
