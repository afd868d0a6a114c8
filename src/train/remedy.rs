//! What to change so that images suffice for the episodes of a configuration. Each change is tried before it is named.

use super::sampler::{divide, evaluation_shape, training_shape};
use crate::config::Config;
use crate::data::{Class, EpisodeShape, Error, ImageSet, Part, Sampler, Split, SplitRule};
use std::ops::Range;
use std::sync::Arc;

/// The most classes with which it is tried how many would suffice.
const MOST_CLASSES: usize = 4000;
/// The most training classes that one class gives: one for each quarter turn.
const TURNS: usize = 4;

/// Settings with changes, and the flags that make these.
struct Change {
    config: Config,
    flags: Vec<String>,
}

/// Why the images do not suffice, and what to do about it: settings that would do, or the number of classes or images that
/// are needed.
pub fn remedy(config: &Config, set: &ImageSet, error: &Error) -> String {
    let is_of_images = matches!(error, Error::TooFewExamples { .. });
    let changes = if is_of_images { fewer_images(config, set) } else { fewer_classes(config, set) };
    let named = changes.into_iter().filter_map(|(action, change)| Some((action, change?.flags.join(" "))));
    let mut texts: Vec<String> = named.map(|(action, flags)| format!("{action} (`{flags}`)")).collect();
    texts.push(match error {
        Error::TooFewExamples { .. } => "add images to these classes, or move their folders away".into(),
        _ => more_classes(config, set),
    });
    format!("to continue, {}", texts.join(", or "))
}

/// Fewer classes in an episode, no validation, or both, where that suffices; each with the smallest change. Where nothing of this
/// does, the images are too few as well: then both, with fewer queries.
fn fewer_classes(config: &Config, set: &ImageSet) -> Vec<(&'static str, Option<Change>)> {
    let most = config.task.ways.max(evaluation_shape(config).ways);
    let ways = |most| Change::of(config).ways(most);
    let unvalidated = largest(2..most, |most| ways(most).no_validation().if_enough(set));
    let mut changes = if config.eval.every > 0 {
        vec![
            ("use fewer classes per episode", largest(2..most, |most| ways(most).if_enough(set))),
            ("train without validation", Change::of(config).no_validation().if_enough(set)),
            ("use fewer classes per episode and no validation", unvalidated),
        ]
    } else {
        vec![("use fewer classes per episode", unvalidated)]
    };
    if changes.iter().all(|(_, change)| change.is_none()) {
        let smallest = largest(2..most + 1, |most| ways(most).no_validation().queries(1).if_enough(set));
        changes.push(("use fewer classes and queries, and no validation", smallest));
    }
    changes
}

/// Fewer query images, or fewer images of both kinds, where that suffices.
fn fewer_images(config: &Config, set: &ImageSet) -> Vec<(&'static str, Option<Change>)> {
    let queries = config.task.queries.max(config.eval.queries);
    let shots = config.task.shots.max(evaluation_shape(config).shots);
    let change = || Change::of(config);
    vec![
        ("use fewer queries", largest(1..queries, |most| change().queries(most).if_enough(set))),
        ("use fewer shots", largest(1..shots, |most| change().shots(most).queries(1).if_enough(set))),
    ]
}

impl Change {
    /// No change of `config`.
    fn of(config: &Config) -> Self {
        Self { config: config.clone(), flags: Vec::new() }
    }

    /// At most so many classes in an episode.
    fn ways(mut self, most: usize) -> Self {
        lower("task.ways", Some(&mut self.config.task.ways), most, &mut self.flags);
        lower("eval.ways", self.config.eval.ways.as_mut(), most, &mut self.flags);
        self
    }

    /// At most so many support images of each class.
    fn shots(mut self, most: usize) -> Self {
        lower("task.shots", Some(&mut self.config.task.shots), most, &mut self.flags);
        lower("eval.shots", self.config.eval.shots.as_mut(), most, &mut self.flags);
        self
    }

    /// At most so many query images of each class.
    fn queries(mut self, most: usize) -> Self {
        lower("task.queries", Some(&mut self.config.task.queries), most, &mut self.flags);
        lower("eval.queries", Some(&mut self.config.eval.queries), most, &mut self.flags);
        self
    }

    /// No validation, and no classes set aside for it.
    fn no_validation(mut self) -> Self {
        let Config { data, eval, .. } = &mut self.config;
        for data in data.iter_mut().filter(|data| eval.every > 0 || data.validation > Some(0)) {
            data.validation = Some(0);
            self.flags.push("--set data.validation=0".into());
        }
        if eval.every > 0 {
            eval.every = 0;
            self.flags.push("--set eval.every=0".into());
        }
        self
    }

    /// This change if the images suffice after it.
    fn if_enough(self, set: &ImageSet) -> Option<Self> {
        suffices(&self.config, set).then_some(self)
    }
}

/// What `make` makes of the largest of `numbers` for which it makes anything, if it does so for all smaller ones too. Halves the
/// range again and again, since a configuration may ask for any number.
fn largest<T>(numbers: Range<usize>, make: impl Fn(usize) -> Option<T>) -> Option<T> {
    let Range { start: mut least, end: mut too_many } = numbers;
    let mut made = if least < too_many { make(least) } else { None };
    while made.is_some() && too_many - least > 1 {
        let middle = least + (too_many - least) / 2;
        match make(middle) {
            None => too_many = middle,
            larger => (least, made) = (middle, larger),
        }
    }
    made
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
    let rule = config.data.as_ref().map(|data| data.rule_for(set));
    if rule == Some(SplitRule::Listed) {
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
    let fewest = measured.saturating_add(trained.div_ceil(TURNS));
    match (fewest..MOST_CLASSES).find(|classes| suffices(config, &outline(config, *classes))) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_largest_number_that_suffices_is_found_without_trying_all() {
        let tries = Cell::new(0);
        let find = |numbers: Range<usize>, most: usize| {
            tries.set(0);
            largest(numbers, |number| {
                tries.set(tries.get() + 1);
                (number <= most).then_some(number)
            })
        };
        for most in 2..10 {
            assert_eq!(find(2..10, most), Some(most));
        }
        assert_eq!(find(2..10, 1), None);
        assert_eq!(find(2..10, 50), Some(9));
        assert_eq!(find(2..2, 50), None);
        assert_eq!(find(2..1_000_000, 7), Some(7));
        assert!(tries.get() < 30, "{}", tries.get());
    }
}
