//! `[data]`: which images, and how their classes are split.

use crate::config::checker::Checker;
use crate::config::choice::{Choice, choice};
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Flag, Location, OneOf, at_least, between, one_of};
use serde::Serialize;
use std::path::PathBuf;

keys! {
    /// Where the images come from.
    SOURCE: Fixed<OneOf<Source>> = "data.source", one_of(), Is(|| Source::Glyphs);
    /// Directory of the images, from the working directory; not for "glyphs", which are drawn.
    PATH: Open<Location> = "data.path", Location, Otherwise("datasets/omniglot; a folder needs one");
    /// How classes are divided between training and test.
    SPLIT: Open<OneOf<Split>> = "data.split", one_of(),
        Otherwise("fraction for glyphs, random-1200 for omniglot; a folder's layout decides");
    /// Classes carved from the training classes for validation; 0 for none.
    VALIDATION: Open<Count> = "data.validation", at_least(0),
        Otherwise("100; for a folder, its number of classes decides");
    /// Whether a training class turned by 90°, 180° and 270° makes three more classes.
    ROTATIONS: Open<Flag> = "data.rotations", Flag, Otherwise("true for split random-1200, else false");
    /// Height and width of the images, in pixels.
    IMAGE_SIZE: Fixed<Count> = "data.image_size", between(8, 128), Is(|| 28);
    /// Whether a folder's images are dark on light, to be turned into ink 1 on paper 0.
    INVERT: Open<Flag> = "data.invert", Flag, Otherwise("the images decide");
}

choice! {
    /// Where the images come from.
    pub enum Source {
        /// Characters drawn by this program; nothing to download.
        Glyphs = "glyphs",
        /// 1623 handwritten characters of 50 alphabets, 20 drawings each (Lake et al. 2015).
        Omniglot = "omniglot",
        /// One directory a class.
        Folder = "folder",
    }
}

choice! {
    /// How classes are divided between training and test.
    pub enum Split {
        /// Omniglot: 1200 random characters for training, the other 423 for test.
        Random1200 = "random-1200",
        /// Omniglot's older split: 964 characters of the background alphabets for training, 659 for test.
        Alphabets = "alphabets",
        /// A folder's own `train` and `test` directories.
        Listed = "listed",
        /// A random fraction of the classes for training.
        Fraction = "fraction",
    }
}

/// Which images, and how their classes are split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// Where the images come from.
    pub source: Source,
    /// Directory of the images, from the working directory; `None` exactly for glyphs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How classes are divided between training and test; `None`, for a folder only, leaves it to the
    /// folder: [`Split::Listed`] where it has `train` and `test`, else [`Split::Fraction`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Classes carved from the training classes for validation; `None`, for a folder only, leaves it to
    /// the number of classes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// Whether a training class turned by 90°, 180° and 270° makes three more classes.
    pub rotations: bool,
    /// Height and width of the images, in pixels: 8 to 128.
    pub image_size: usize,
    /// Whether a folder's images are dark on light; `None` leaves it to the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invert: Option<bool>,
}

/// The splits that a source has, its default first.
fn splits(source: Source) -> &'static [Split] {
    match source {
        Source::Glyphs => &[Split::Fraction],
        Source::Omniglot => &[Split::Random1200, Split::Alphabets],
        Source::Folder => &[Split::Fraction, Split::Listed],
    }
}

/// The section, checked.
pub fn check(checker: &mut Checker) -> Data {
    let source = checker.get(&SOURCE);
    if source != Source::Folder {
        checker.unused(&INVERT, &SOURCE, source, "only a folder's images may be dark on light");
    }
    let (path, split) = (path(checker, source), split(checker, source));
    let is_folder = source == Source::Folder;
    Data {
        source,
        path,
        split,
        validation: checker.find(&VALIDATION).or((!is_folder).then_some(100)),
        rotations: checker.find(&ROTATIONS).unwrap_or(split == Some(Split::Random1200)),
        image_size: checker.get(&IMAGE_SIZE),
        invert: checker.find(&INVERT),
    }
}

fn path(checker: &mut Checker, source: Source) -> Option<PathBuf> {
    match source {
        Source::Glyphs => {
            checker.unused(&PATH, &SOURCE, source, "glyphs are drawn, not read");
            None
        }
        Source::Omniglot => checker.find(&PATH).or_else(|| Some("datasets/omniglot".into())),
        Source::Folder => {
            if !checker.is_set(&PATH) {
                let reason = "`data.path` is missing: data.source = \"folder\" needs a directory of images";
                checker.contradicts(&PATH, &SOURCE, reason.into());
            }
            checker.find(&PATH)
        }
    }
}

fn split(checker: &mut Checker, source: Source) -> Option<Split> {
    let possible = splits(source);
    let written = checker.find(&SPLIT);
    if let Some(wrong) = written.filter(|split| !possible.contains(split)) {
        let names: Vec<_> = possible.iter().map(|split| format!("{:?}", split.name())).collect();
        let (source, names, wrong) = (source.name(), names.join(" or "), wrong.name());
        let reason = format!("`data.split` must be {names} for data.source = {source:?}, got {wrong:?}");
        checker.unfit(&SPLIT, &SOURCE, reason);
    }
    let default = possible.first().copied().filter(|_| source != Source::Folder);
    written.filter(|split| possible.contains(split)).or(default)
}
