//! The sampler of episodes that a configuration describes: its images, split and seed.

use super::{Error, Watcher};
use crate::config::{Config, Data};
use crate::data::{
    Augmentation, EpisodeShape, ImageSet, LoadOptions, Loaded, Part, Rotations, Sampler, Split, SplitRule,
    TRAINING_FRACTION,
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
/// Returns an error if the task has no images, images are missing or damaged, or a part has too few classes or images.
pub fn sampler(config: &Config, watcher: &mut dyn Watcher) -> Result<Sampler, Error> {
    let set = images(config, watcher)?;
    let split = split(config, &set)?;
    let sampler =
        Sampler::new(Arc::new(set), split, config.seed).with_augmentation(augmentation(config.images()?));
    sampler.check(Part::Train, &training_shape(config))?;
    if config.eval.every > 0 {
        sampler.check(Part::Validation, &evaluation_shape(config))?;
    }
    sampler.check(Part::Test, &evaluation_shape(config))?;
    Ok(sampler)
}

fn images(config: &Config, watcher: &mut dyn Watcher) -> Result<ImageSet, Error> {
    let data = config.images()?;
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
    let data = config.images()?;
    let rule = data.split.unwrap_or_else(|| SplitRule::for_images(set));
    let share = TRAINING_FRACTION * VALIDATION_FRACTION * set.classes().len() as f64;
    let few = (share.round() as usize).max(config.task.ways);
    let validation = data.validation.unwrap_or(if config.eval.every > 0 { few } else { 0 });
    Ok(Split::new(set, rule, validation, data.rotations == Rotations::Classes, config.seed)?)
}

fn augmentation(data: &Data) -> Augmentation {
    Augmentation { turns: data.rotations == Rotations::Episode, flips: data.flips, shift: data.shift }
}

/// Checks that a resumed run uses the images that it started with.
///
/// # Errors
/// Returns an error if the images differ.
pub fn check_data(sampler: &Sampler, training_state: &TrainingState) -> Result<(), Error> {
    check_digest(&sampler.set().digest(), training_state)
}

/// The same for data with this `digest`.
pub(super) fn check_digest(digest: &str, training_state: &TrainingState) -> Result<(), Error> {
    if digest == training_state.data {
        return Ok(());
    }
    Err(Error::OtherData { found: digest.into(), expected: training_state.data.clone() })
}
