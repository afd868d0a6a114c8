//! The sampler of episodes that a configuration describes: its images, split and seed.

use super::{Error, Watcher};
use crate::config::Config;
use crate::data::{
    self, Augmentation, Channels, EpisodeShape, Fit, ImageSet, LoadOptions, Loaded, Normalisation, Part,
    Rotations, Sampler, Split, SplitRule, TRAINING_FRACTION,
};
use crate::run::TrainingState;
use std::cell::RefCell;
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
    let set = images(config, watcher)?;
    let split = split(config, &set)?;
    let normalisation = normalisation(config, &set, &split)?;
    let sampler = Sampler::new(Arc::new(set), split, config.seed)
        .with_normalisation(normalisation)
        .with_augmentation(augmentation(config));
    sampler.check(Part::Train, &training_shape(config))?;
    if config.eval.every > 0 {
        sampler.check(Part::Validation, &evaluation_shape(config))?;
    }
    sampler.check(Part::Test, &evaluation_shape(config))?;
    Ok(sampler)
}

/// The configuration with what the images have decided: their channels, and how these are normalised.
pub fn resolved(config: &Config, sampler: &Sampler) -> Config {
    let mut config = config.clone();
    config.data.channels = Some(sampler.set().channels());
    let normalisation = sampler.normalisation();
    if *normalisation != Normalisation::none(sampler.set().channels()) {
        config.data.mean = Some(normalisation.mean().to_vec());
        config.data.deviation = Some(normalisation.deviation().to_vec());
    }
    config
}

/// How the images are normalised: as the configuration says, else those in colour by the training images, and grey ones not.
fn normalisation(config: &Config, set: &ImageSet, split: &Split) -> Result<Normalisation, Error> {
    let (data, channels) = (&config.data, set.channels());
    let usual = || match channels {
        Channels::Grey => Normalisation::none(channels),
        Channels::Colour => Normalisation::measured(set, &split.train),
    };
    let usual =
        if data.mean.is_some() && data.deviation.is_some() { Normalisation::none(channels) } else { usual() };
    let mean = data.mean.as_deref().unwrap_or(usual.mean());
    let deviation = data.deviation.as_deref().unwrap_or(usual.deviation());
    Ok(Normalisation::new(channels, mean, deviation)?)
}

fn images(config: &Config, watcher: &mut dyn Watcher) -> Result<ImageSet, Error> {
    let data = &config.data;
    let path = data.path.as_deref().unwrap_or(Path::new(""));
    let watching = RefCell::new(&mut *watcher);
    let report = |done, all| watching.borrow_mut().loading(done, all);
    let Loaded { set, warning } = data.source.load(&LoadOptions {
        channels: data.channels,
        fit: data.fit.unwrap_or(Fit::Stretch),
        seed: config.seed,
        invert: data.invert,
        list: data.list.as_deref(),
        cache: Some(Path::new(CACHE)),
        progress: data::Progress::to(&report),
        ..LoadOptions::new(path, data.image_size)
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

/// Checks that a resumed run uses the images that it started with.
///
/// # Errors
/// Returns an error if the images differ.
pub fn check_data(sampler: &Sampler, training_state: &TrainingState) -> Result<(), Error> {
    let found = sampler.set().digest();
    if found == training_state.data {
        return Ok(());
    }
    Err(Error::OtherData { found, expected: training_state.data.clone() })
}
