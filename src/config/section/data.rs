//! `[data]`: the images and the split of their classes.

use crate::config::checker::Checker;
use crate::config::key::{Computed, Fixed, Is, Key, Open, Otherwise, keys};
use crate::config::kind::{self, Count, Flag, OneOf, at_least, between, one_of};
use crate::data::registry::SOURCES;
use crate::data::{Location, Source, SplitRule};
use bilevel::Choice;
use serde::Serialize;
use std::path::PathBuf;

keys! {
    /// The source of the images.
    SOURCE: Fixed<OneOf<&'static Source>> = "data.source", one_of(), Is(|| SOURCES[0]);
    /// Folder of the images, relative to the working directory. Sources that generate images have none.
    PATH: Key<kind::Location, Computed> = "data.path", kind::Location, Computed(default_paths);
    /// How classes are divided into training and test classes.
    SPLIT: Key<OneOf<SplitRule>, Computed> = "data.split", one_of(), Computed(default_splits);
    /// Number of validation classes, taken from the training classes; 0 for none.
    VALIDATION: Open<Count> = "data.validation", at_least(0),
        Otherwise("100; for a folder, depends on its number of classes");
    /// Whether training classes rotated by 90°, 180° and 270° are added as further classes.
    ROTATIONS: Open<Flag> = "data.rotations", Flag, Otherwise("true for split random-1200, else false");
    /// Height and width of the images, in pixels.
    IMAGE_SIZE: Fixed<Count> = "data.image_size", between(8, 128), Is(|| 28);
    /// Whether a folder's images are dark on a light background and must be inverted.
    INVERT: Open<Flag> = "data.invert", Flag, Otherwise("detected from the images");
}

impl Choice for &'static Source {
    const ALL: &'static [Self] = SOURCES;

    fn name(self) -> &'static str {
        self.name
    }
}

/// The default of `data.path` for each source that has files.
fn default_paths() -> String {
    of_each_source(|source| match source.location {
        Location::Generated => None,
        Location::Default(folder) => Some(format!("{folder} for {source}")),
        Location::Required => Some(format!("required for {source}")),
    })
}

/// The default of `data.split` for each source.
fn default_splits() -> String {
    of_each_source(|source| match source.default_split() {
        Some(rule) => Some(format!("{rule} for {source}")),
        None => Some(format!("detected from the images for {source}")),
    })
}

fn of_each_source(phrase: impl Fn(&Source) -> Option<String>) -> String {
    SOURCES.iter().filter_map(|source| phrase(source)).collect::<Vec<_>>().join(", ")
}

/// The images and the split of their classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// The source of the images.
    pub source: &'static Source,
    /// Folder of the images, relative to the working directory; `None` only for generated images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How classes are divided into training and test classes; `None` to choose by the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitRule>,
    /// Number of validation classes, taken from the training classes; `None` to choose by the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// Whether training classes rotated by 90°, 180° and 270° are added as further classes.
    pub rotations: bool,
    /// Height and width of the images in pixels, 8 to 128.
    pub image_size: usize,
    /// Whether images are dark on a light background and must be inverted; `None` to detect it from the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invert: Option<bool>,
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Data {
    let source = checker.get(&SOURCE);
    if !source.may_invert {
        checker.unused(&INVERT, &SOURCE, source, "the background of its images is known");
    }
    let (path, split) = (path(checker, source), split(checker, source));
    Data {
        source,
        path,
        split,
        validation: checker.find(&VALIDATION).or(source.default_validation()),
        rotations: checker.find(&ROTATIONS).unwrap_or_else(|| source.default_rotations(split)),
        image_size: checker.get(&IMAGE_SIZE),
        invert: checker.find(&INVERT),
    }
}

fn path(checker: &mut Checker, source: &Source) -> Option<PathBuf> {
    match source.location {
        Location::Generated => {
            checker.unused(&PATH, &SOURCE, source, "its images are generated, not read");
            None
        }
        Location::Default(folder) => checker.find(&PATH).or_else(|| Some(folder.into())),
        Location::Required => {
            if !checker.is_set(&PATH) {
                let name = source.name;
                let reason =
                    format!("`data.path` is missing: data.source = {name:?} needs a folder of images");
                checker.contradicts(&PATH, &SOURCE, reason);
            }
            checker.find(&PATH)
        }
    }
}

fn split(checker: &mut Checker, source: &Source) -> Option<SplitRule> {
    let is_offered = |rule: &SplitRule| source.rules().any(|offered| offered == *rule);
    let written = checker.find(&SPLIT);
    if let Some(wrong) = written.filter(|rule| !is_offered(rule)) {
        let names: Vec<_> = source.rules().map(|rule| format!("{:?}", rule.name())).collect();
        let (source, names, wrong) = (source.name, names.join(" or "), wrong.name());
        let reason = format!("`data.split` must be {names} for data.source = {source:?}, got {wrong:?}");
        checker.unfit(&SPLIT, &SOURCE, reason);
    }
    written.filter(is_offered).or(source.default_split())
}
