//! The type of sources of images.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::fit::{Fit, Form};
use super::{Channels, Dataset, Error, Findings, ImageSet, Rotations, SplitRule};

/// A source of images for few-shot learning. Each is a static in a file of its own, listed in the
/// [`registry`](super::registry); everything else asks it.
pub struct Source {
    /// The name in the configuration (`data.source`), in messages and on the command line.
    pub name: &'static str,
    /// A short description.
    pub summary: &'static str,
    /// Where its files are.
    pub location: Location,
    /// The splits it offers, the default first.
    pub splits: &'static [Offer],
    /// The defaults of the split and of the number of validation classes.
    pub defaults: Defaults,
    /// The channels that its images can have, the default first; empty if they can have any, and the images decide.
    pub channels: &'static [Channels],
    /// Whether its images are the user's own: of any shape, and dark on light or light on dark, so that `data.fit` and
    /// `data.invert` apply.
    pub own_images: bool,
    /// Loads the images.
    pub loader: fn(&LoadOptions) -> Result<Loaded, Error>,
    /// The dataset that `metaburn data fetch` downloads, if the source can be downloaded.
    pub dataset: Option<&'static Dataset>,
}

/// Where a source's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// There are none: the program draws the images.
    Generated,
    /// In this folder, relative to the working directory, unless the configuration names another.
    Default(&'static str),
    /// In a folder that the configuration must name.
    Required,
}

/// A split that a source offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// How classes are divided.
    pub rule: SplitRule,
    /// How training classes are rotated by default.
    pub rotations: Rotations,
}

/// Which split and how many validation classes a source has by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defaults {
    /// The first of its splits.
    Fixed {
        /// Validation classes taken from the training classes.
        validation: usize,
    },
    /// The images decide once they are loaded: the split is [`SplitRule::for_images`], and the number of validation
    /// classes follows from the number of classes.
    FromImages,
}

/// How to load a source's images.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// The folder of its files; ignored by a source that is [`Location::Generated`].
    pub path: &'a Path,
    /// Height and width of the loaded images, in pixels.
    pub size: usize,
    /// Values of a pixel, among [`Source::channels`]; `None` for the source's default.
    pub channels: Option<Channels>,
    /// How images that are not square become squares; ignored unless [`Source::own_images`].
    pub fit: Fit,
    /// Seed of generated images; ignored by the other sources.
    pub seed: u64,
    /// Whether dark is ink, as in [`folder::load`](super::folder::load); ignored unless [`Source::own_images`].
    pub invert: Option<bool>,
    /// Whether images that cannot be decoded are left out, rather than refused; ignored unless [`Source::own_images`].
    pub skip_damaged: bool,
    /// A table of images and their classes below the folder; see [`split_list`](super::split_list).
    pub list: Option<&'a Path>,
    /// The folder in which decoded images are cached until the files change; `None` for no cache.
    pub cache: Option<&'a Path>,
    /// Told how many image files are decoded.
    pub progress: Progress<'a>,
}

impl<'a> LoadOptions<'a> {
    /// Images of `size`² pixels from the folder `path`, everything else by default, without a cache.
    pub fn new(path: &'a Path, size: usize) -> Self {
        Self {
            path,
            size,
            channels: None,
            fit: Fit::Stretch,
            seed: 0,
            invert: None,
            skip_damaged: false,
            list: None,
            cache: None,
            progress: Progress::NONE,
        }
    }

    /// The form of images of these `channels`.
    pub(super) fn form(&self, channels: Channels) -> Form {
        Form { size: self.size, channels, fit: self.fit }
    }
}

/// Receives the progress of loading.
#[derive(Clone, Copy)]
pub struct Progress<'a>(Option<&'a dyn Fn(usize, usize)>);

impl<'a> Progress<'a> {
    /// Nobody.
    pub const NONE: Progress<'static> = Progress(None);

    /// Calls `report` with the number of images that are done, and of all.
    pub fn to(report: &'a dyn Fn(usize, usize)) -> Self {
        Self(Some(report))
    }

    pub(super) fn report(self, done: usize, all: usize) {
        if let Some(report) = self.0 {
            report(done, all);
        }
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Loaded images.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The images.
    pub set: ImageSet,
    /// What was found out while reading them.
    pub findings: Findings,
    /// Why the decoded images could not be cached, if they could not.
    pub warning: Option<String>,
}

impl Source {
    /// Loads the images.
    ///
    /// # Errors
    /// Returns an error if files are missing, incomplete or damaged. A failing cache is a [`Loaded::warning`].
    ///
    /// # Example
    /// ```
    /// use metaburn::data::{LoadOptions, glyphs};
    /// use std::path::Path;
    ///
    /// let options = LoadOptions::new(Path::new(""), 14);
    /// let loaded = glyphs::SOURCE.load(&options)?;
    /// assert_eq!(loaded.set.classes().len(), 1200);
    /// # Ok::<(), metaburn::data::Error>(())
    /// ```
    pub fn load(&self, options: &LoadOptions) -> Result<Loaded, Error> {
        (self.loader)(options)
    }

    /// The rules of its splits, the default first.
    pub fn rules(&self) -> impl Iterator<Item = SplitRule> {
        self.splits.iter().map(|offer| offer.rule)
    }

    /// The channels of its images where the configuration does not say; `None` where the images decide.
    pub fn default_channels(&self) -> Option<Channels> {
        self.channels.first().copied()
    }

    /// Whether its images can have these `channels`.
    pub fn offers(&self, channels: Channels) -> bool {
        self.channels.is_empty() || self.channels.contains(&channels)
    }

    /// The split used where the configuration sets none; `None` where the images decide.
    pub fn default_split(&self) -> Option<SplitRule> {
        match self.defaults {
            Defaults::Fixed { .. } => self.rules().next(),
            Defaults::FromImages => None,
        }
    }

    /// The number of validation classes where the configuration sets none; `None` where the images decide.
    pub fn default_validation(&self) -> Option<usize> {
        match self.defaults {
            Defaults::Fixed { validation } => Some(validation),
            Defaults::FromImages => None,
        }
    }

    /// How training classes are rotated where the configuration does not say; `rule` is the split, `None` where the
    /// images decide it.
    pub fn default_rotations(&self, rule: Option<SplitRule>) -> Rotations {
        let offer = self.splits.iter().find(|offer| Some(offer.rule) == rule);
        offer.map_or(Rotations::None, |offer| offer.rotations)
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name)
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{folder, omniglot};

    #[test]
    fn load_names_a_missing_folder_with_or_without_a_cache() {
        for cache in [None, Some(Path::new("cache"))] {
            for source in [&omniglot::SOURCE, &folder::SOURCE] {
                let path = Path::new("no/such/place");
                let options = LoadOptions { cache, ..LoadOptions::new(path, 28) };
                let error = source.load(&options).expect_err("missing").to_string();
                assert!(error.contains("no/such/place"), "{error}");
            }
        }
    }
}
