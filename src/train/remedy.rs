//! What to change so that images suffice for the episodes of a configuration. Each change is tried before it is named.

use super::sampler::{divide, evaluation_shape, training_shape};
use crate::config::Config;
use crate::data::{Class, EpisodeShape, Error, ImageSet, Part, Sampler, Split, SplitRule};
use std::sync::Arc;

/// The most classes with which it is tried how many would suffice.
const MOST_CLASSES: usize = 4000;

/// A change of settings: the flags that make it, and what they do.
struct Change {
    flags: String,
    effect: &'static str,
    config: Config,
}

/// Why the images do not suffice, and what to do about it: settings that would do, or the number of classes or images that
/// are needed.
pub fn remedy(config: &Config, set: &ImageSet, error: &Error) -> String {
    let is_of_images = matches!(error, Error::TooFewExamples { .. });
    let mut ways = vec![];
    let changes = if is_of_images { fewer_images(config) } else { fewer_classes(config) };
    // Of changes with one effect, which are in order, the first that suffices is the smallest.
    for change in changes {
        let is_new = ways.iter().all(|(_, effect): &(String, &str)| *effect != change.effect);
        if is_new && suffices(&change.config, set) {
            ways.push((change.flags, change.effect));
        }
    }
    let mut texts: Vec<String> =
        ways.into_iter().map(|(flags, effect)| format!("give `{flags}`, for {effect}")).collect();
    texts.push(match error {
        Error::TooFewExamples { .. } => "add images to these classes, or move their folders away".into(),
        _ => more_classes(config, set),
    });
    format!("to continue, {}", texts.join(", or "))
}

/// Fewer classes in an episode, no validation, or both; those with the smallest change first.
fn fewer_classes(config: &Config) -> Vec<Change> {
    let change = |ways: usize, validates: bool, effect: &'static str| {
        let mut config = config.clone();
        let mut flags = vec![];
        lower("task.ways", Some(&mut config.task.ways), ways, &mut flags);
        lower("eval.ways", config.eval.ways.as_mut(), ways, &mut flags);
        if !validates {
            config.data.iter_mut().for_each(|data| data.validation = Some(0));
            config.eval.every = 0;
            flags.extend(["data.validation=0", "eval.every=0"].map(|set| format!("--set {set}")));
        }
        Change { flags: flags.join(" "), effect, config }
    };
    let most = config.task.ways.max(evaluation_shape(config).ways);
    let fewer = || (2..most).rev();
    let validates = config.eval.every > 0;
    let mut changes: Vec<Change> =
        fewer().map(|ways| change(ways, validates, "fewer classes per episode")).collect();
    if validates {
        changes.push(change(most, false, "training without validation"));
        changes
            .extend(fewer().map(|ways| change(ways, false, "fewer classes per episode and no validation")));
    }
    changes
}

/// Fewer query images, or fewer images of both kinds.
fn fewer_images(config: &Config) -> Vec<Change> {
    let change = |shots: usize, queries: usize, effect: &'static str| {
        let mut config = config.clone();
        let mut flags = vec![];
        lower("task.shots", Some(&mut config.task.shots), shots, &mut flags);
        lower("eval.shots", config.eval.shots.as_mut(), shots, &mut flags);
        lower("task.queries", Some(&mut config.task.queries), queries, &mut flags);
        lower("eval.queries", Some(&mut config.eval.queries), queries, &mut flags);
        Change { flags: flags.join(" "), effect, config }
    };
    let most = config.task.queries.max(config.eval.queries);
    let shots = config.task.shots.max(evaluation_shape(config).shots);
    let queries = (1..most).rev().map(|queries| change(shots, queries, "fewer queries"));
    let both = (1..shots).rev().map(|shots| change(shots, 1, "fewer shots"));
    queries.chain(both).collect()
}

/// Lowers the `value` of `key` to `most` if it is set and larger, and adds the flag that does so.
fn lower(key: &str, value: Option<&mut usize>, most: usize, flags: &mut Vec<String>) {
    if let Some(value) = value.filter(|value| **value > most) {
        *value = most;
        flags.push(format!("--set {key}={most}"));
    }
}

/// Whether the images suffice for `config`.
fn suffices(config: &Config, set: &ImageSet) -> bool {
    let Some(Ok((split, _))) = config.data.as_ref().map(|data| divide(config, data, set)) else {
        return false;
    };
    check(config, &Sampler::new(Arc::new(set.outline()), split, 0)).is_ok()
}

/// Checks that every part that `config` uses has enough classes and images.
///
/// # Errors
/// Returns an error that says what is missing.
pub fn check(config: &Config, sampler: &Sampler) -> Result<(), Error> {
    sampler.check(Part::Train, &training_shape(config))?;
    if config.eval.every > 0 {
        sampler.check(Part::Validation, &evaluation_shape(config))?;
    }
    sampler.check(Part::Test, &evaluation_shape(config))
}

/// How many classes are needed.
fn more_classes(config: &Config, set: &ImageSet) -> String {
    let (trained, measured) = (config.task.ways, evaluation_shape(config).ways);
    let least = |part: Part| if part == Part::Train { trained } else { measured };
    let mut keys = format!("task.ways = {trained}");
    if let Some(ways) = config.eval.ways {
        keys += &format!(" and eval.ways = {ways}");
    }
    let rule = config.data.as_ref().and_then(|data| data.split).unwrap_or_else(|| SplitRule::for_images(set));
    if rule == SplitRule::Listed {
        let split = Split::listed(set).unwrap_or_default();
        let used = [(Part::Train, "train"), (Part::Validation, "validation"), (Part::Test, "test")];
        let lacking: Vec<String> = used
            .into_iter()
            // Validation classes can be taken from training classes.
            .filter(|(part, _)| {
                *part != Part::Validation || !split.validation.is_empty() && config.eval.every > 0
            })
            .filter(|(part, _)| split.part(*part).len() < least(*part))
            .map(|(part, folder)| {
                format!("{} class folders in {folder}/", least(part).max(split.part(part).len()))
            })
            .collect();
        let listed = if lacking.is_empty() {
            format!("more class folders in train/, from which {measured} or more are taken for validation")
        } else {
            lacking.join(" and ")
        };
        return format!("have at least {listed} ({keys})");
    }
    let needed =
        |config: &Config| (2..MOST_CLASSES).find(|classes| suffices(config, &outline(config, *classes)));
    match needed(config) {
        Some(classes) => {
            let found = set.classes().len();
            format!("have at least {classes} class folders instead of {found}, enough for {keys}")
        }
        None => "have more class folders".into(),
    }
}

/// Classes with as many images as an episode of `config` needs, without the images.
fn outline(config: &Config, classes: usize) -> ImageSet {
    let images = |shape: EpisodeShape| shape.shots + shape.queries;
    let examples = images(training_shape(config)).max(images(evaluation_shape(config)));
    ImageSet::without_pixels(
        (0..classes).map(|class| Class::new(class.to_string(), "", None, examples)).collect(),
    )
}
