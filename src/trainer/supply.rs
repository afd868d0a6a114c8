//! The episodes that a configuration asks for: images, split, sampler.

use super::{Error, Standing, Watcher};
use crate::config::{self, Config};
use crate::data::{EpisodeShape, Glyphs, ImageSet, Loaded, Part, Sampler, Source, Split, SplitRule};
use std::path::Path;
use std::sync::Arc;

/// Share of the classes that a split by fraction trains on.
const TRAINING_FRACTION: f64 = 0.75;
/// Share of a folder's training classes that become its validation part by default.
const VALIDATION_FRACTION: f64 = 0.1;

/// The size of a training episode.
pub fn training_shape(config: &Config) -> EpisodeShape {
    let task = &config.task;
    EpisodeShape { ways: task.ways, shots: task.shots, queries: task.queries }
}

/// The size of a validation or test episode.
pub fn evaluation_shape(config: &Config) -> EpisodeShape {
    EpisodeShape { queries: config.eval.queries, ..training_shape(config) }
}

/// The images that `config` asks for.
///
/// # Errors
/// If they are missing or damaged.
fn images(config: &Config, watcher: &mut dyn Watcher) -> Result<ImageSet, Error> {
    let dir = || config.data.path.clone().unwrap_or_default();
    let source = match config.data.source {
        config::Source::Glyphs => Source::Glyphs(Glyphs { seed: config.seed, ..Glyphs::default() }),
        config::Source::Omniglot => Source::Omniglot { dir: dir() },
        config::Source::Folder => Source::Folder { dir: dir(), invert: config.data.invert },
    };
    let Loaded { set, warning } = source.load(config.data.image_size, Some(Path::new("datasets/.cache")))?;
    if let Some(warning) = warning {
        watcher.warning(&warning);
    }
    Ok(set)
}

/// The episodes that `config` asks for, with every part that it uses checked.
///
/// # Errors
/// If the images or their classes do not suffice.
pub fn sampler(config: &Config, watcher: &mut dyn Watcher) -> Result<Sampler, Error> {
    let set = images(config, watcher)?;
    let split = split(config, &set)?;
    let sampler = Sampler::new(Arc::new(set), split, config.seed);
    sampler.check(Part::Train, &training_shape(config))?;
    if config.eval.every > 0 {
        sampler.check(Part::Validation, &evaluation_shape(config))?;
    }
    sampler.check(Part::Test, &evaluation_shape(config))?;
    Ok(sampler)
}

fn split(config: &Config, set: &ImageSet) -> Result<Split, Error> {
    let data = &config.data;
    let listed = set.classes().iter().any(|class| class.part.is_some());
    let rule = match data.split {
        Some(config::Split::Random1200) => SplitRule::Random { train: 1200 },
        Some(config::Split::Alphabets) => SplitRule::Alphabets,
        Some(config::Split::Listed) => SplitRule::Listed,
        None if listed => SplitRule::Listed,
        Some(config::Split::Fraction) | None => SplitRule::Fraction { train: TRAINING_FRACTION },
    };
    let share = TRAINING_FRACTION * VALIDATION_FRACTION * set.classes().len() as f64;
    let few = (share.round() as usize).max(config.task.ways);
    let validation = data.validation.unwrap_or(if config.eval.every > 0 { few } else { 0 });
    Ok(Split::new(set, rule, validation, data.rotations, config.seed)?)
}

/// That a run goes on with the images it began with.
///
/// # Errors
/// If they are others.
pub fn check_data(sampler: &Sampler, standing: &Standing) -> Result<(), Error> {
    let found = sampler.set().digest();
    if found == standing.data {
        return Ok(());
    }
    Err(Error::OtherData { found, expected: standing.data.clone() })
}
