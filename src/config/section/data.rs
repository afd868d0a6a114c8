//! `[data]`: the images and the split of their classes.

use super::task::{self, TaskKind};
use crate::config::checker::Checker;
use crate::config::key::{Computed, Fixed, Is, Key, Open, Otherwise, keys};
use crate::config::kind::{
    self, ChannelCount, Count, Flag, Kind, Number, OneOf, PerChannel, at_least, between, less_than_half,
    one_of, positive, share,
};
use crate::data::registry::SOURCES;
use crate::data::{Channels, Error, Fit, ImageSet, Location, Normalisation, Rotations, Source, SplitRule};
use bilevel::Choice;
use serde::Serialize;
use std::path::PathBuf;
use toml::Value;

keys! {
    /// Source of the images.
    SOURCE: Fixed<OneOf<&'static Source>> = "data.source", one_of(), Is(|| SOURCES[0]);
    /// Folder that holds the images, relative to the working directory. Sources that generate their images have none.
    PATH: Key<kind::Location, Computed> = "data.path", kind::Location, Computed(default_paths);
    /// A list of the images in data.path with their classes: a CSV file with the columns `filename` and `label`, or a
    /// folder with `train.csv`, `val.csv` and `test.csv`. Without a list, or with "", each class is a folder.
    LIST: Open<kind::MaybeLocation> = "data.list", kind::MaybeLocation, Otherwise("none");
    /// How classes are divided into training and test classes.
    SPLIT: Key<OneOf<SplitRule>, Computed> = "data.split", one_of(), Computed(default_splits);
    /// Number of validation classes, taken from the training classes; 0 for none.
    VALIDATION: Open<Count> = "data.validation", at_least(0),
        Otherwise("100; 16 for cifar100; for a folder, depends on its number of classes");
    /// How training classes are rotated: not at all ("none"); by 90°, 180° and 270°, each rotation being an additional
    /// class ("classes"); or randomly in each episode, all images of a class by the same multiple of 90° ("episode").
    ROTATIONS: Open<RotationsOrFlag> = "data.rotations", RotationsOrFlag,
        Otherwise("\"classes\" for split random-1200, else \"none\"");
    /// Whether each image of a training episode is flipped horizontally with probability ½.
    FLIPS: Fixed<Flag> = "data.flips", Flag, Is(|| false);
    /// Maximum random shift of the images of a training episode, in pixels. Each image is moved vertically and horizontally
    /// by two whole numbers drawn uniformly from −shift to shift; the pixels that this exposes are filled with the
    /// background.
    SHIFT: Fixed<Count> = "data.shift", at_least(0), Is(|| 0);
    /// Maximum random warp of the images of a training episode: each is slightly rotated, stretched and sheared. The image
    /// is sampled through a linear map about its centre, the identity matrix plus four entries drawn uniformly from −warp
    /// to warp; pixels outside the image are filled with the background. The CPU computes these images, even if a GPU
    /// trains on them.
    WARP: Fixed<Number> = "data.warp", less_than_half(), Is(|| 0.0);
    /// Height and width of the images, in pixels.
    IMAGE_SIZE: Fixed<Count> = "data.image_size", between(8, 256), Is(|| 28);
    /// Number of channels: 1 for grey, 3 for colour, "auto" for the default.
    CHANNELS: Key<ChannelCount, Computed> = "data.channels", ChannelCount, Computed(default_channels);
    /// How images that are not square are made square: "stretch" scales width and height independently, "crop" keeps the
    /// central square, "pad" adds bars in the mean colour of the image's border.
    FIT: Open<OneOf<Fit>> = "data.fit", one_of(), Otherwise("\"stretch\"");
    /// Whether a folder's grey images are dark on a light background and must be inverted. Colour images are never
    /// inverted.
    INVERT: Open<Flag> = "data.invert", Flag, Otherwise("detected from the images");
    /// Whether to leave out a folder's images that cannot be decoded, with a warning that gives their number. Otherwise
    /// training does not start, and the error lists them.
    SKIP_DAMAGED: Fixed<Flag> = "data.skip_damaged", Flag, Is(|| false);
    /// Folder in which decoded images are cached, relative to the working directory. The cache can be deleted at any time.
    CACHE: Fixed<kind::Location> = "data.cache", kind::Location, Is(|| "datasets/.cache".into());
    /// Mean of each channel, for pixel values from 0 to 1: the network's input is (value − mean)/deviation.
    MEAN: Open<PerChannel> = "data.mean", PerChannel(share()),
        Otherwise("computed from the training images; 0 for grey images");
    /// Standard deviation of each channel.
    DEVIATION: Open<PerChannel> = "data.deviation", PerChannel(positive()),
        Otherwise("computed from the training images; 1 for grey images");
}

/// One of the names of [`Rotations`], or a flag as written by earlier versions: true for `classes`, false for `none`.
pub struct RotationsOrFlag;

impl Kind for RotationsOrFlag {
    type Value = Rotations;

    fn describe(&self) -> String {
        one_of::<Rotations>().describe()
    }

    fn read(&self, value: &Value) -> Option<Rotations> {
        match value {
            Value::Boolean(true) => Some(Rotations::Classes),
            Value::Boolean(false) => Some(Rotations::None),
            other => one_of().read(other),
        }
    }
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

/// The default of `data.channels` for each source.
fn default_channels() -> String {
    of_each_source(|source| match source.default_channels() {
        Some(channels) => Some(format!("{} for {source}", channels.count())),
        None => Some(format!("3 for {source} if more than 1 in 20 images is in colour, else 1")),
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
    /// Folder of the images, relative to the working directory; `None` for generated images, and for a run whose images are not
    /// here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A CSV file of images and their classes, or a folder with one for each part; `None` for class folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<PathBuf>,
    /// How classes are divided into training and test classes; `None` to choose by the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitRule>,
    /// Number of validation classes, taken from the training classes; `None` to choose by the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// How training classes are rotated.
    pub rotations: Rotations,
    /// Whether each image of a training episode is mirrored with probability ½.
    pub flips: bool,
    /// Largest shift of the images of training episodes, in pixels; less than `image_size`.
    pub shift: usize,
    /// Largest entry of the random linear map by which each image of a training episode is warped; less than ½.
    pub warp: f64,
    /// Height and width of the images in pixels, 8 to 256.
    pub image_size: usize,
    /// Values of a pixel; `None` to choose by the images. A run's own configuration has the choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// How images that are not square become squares; `None` if all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// Whether images are dark on a light background and must be inverted; `None` to detect it from the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invert: Option<bool>,
    /// Whether images that cannot be decoded are left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_damaged: bool,
    /// Folder in which decoded images are cached, relative to the working directory.
    pub cache: PathBuf,
    /// Mean of each channel; `None` to take it from the training images, or 0 for grey images. A run's own configuration has
    /// what was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// Standard deviation of each channel, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Vec<f64>>,
}

impl Data {
    /// How images are normalised, if that is decided: grey ones, and those in colour without mean and deviation, not at all.
    ///
    /// # Errors
    /// Returns an error if mean or deviation is for another number of channels.
    pub fn normalisation(&self) -> Result<Normalisation, Error> {
        let channels = self.channels.unwrap_or(Channels::Grey);
        let none = Normalisation::none(channels);
        let mean = self.mean.as_deref().unwrap_or(none.mean());
        let deviation = self.deviation.as_deref().unwrap_or(none.deviation());
        Normalisation::new(channels, mean, deviation)
    }

    /// The rule by which the classes of `set` are split: the one that is set, or else the one that suits them.
    pub fn rule_for(&self, set: &ImageSet) -> SplitRule {
        self.split.unwrap_or_else(|| SplitRule::for_images(set))
    }
}

/// Refuses every key of the section: a task of this `kind` has no images.
pub fn refuse(checker: &mut Checker, kind: TaskKind) {
    for key in KEYS {
        checker.unused(*key, &task::KIND, kind, "its episodes are computed, not made of images");
    }
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Data {
    let source = checker.get(&SOURCE);
    if !source.own_images {
        checker.unused(&INVERT, &SOURCE, source, "the background of its images is known");
        checker.unused(&SKIP_DAMAGED, &SOURCE, source, "its images are checked against what was published");
        checker.unused(&FIT, &SOURCE, source, "all its images are square");
        checker.unused(&LIST, &SOURCE, source, "the classes of its images are known");
    }
    let (path, split) = (path(checker, source), split(checker, source));
    let channels = channels(checker, source);
    let invert = checker.find(&INVERT);
    if channels == Some(Channels::Colour) && invert == Some(true) {
        let reason = "`data.invert` = true inverts grey images, and data.channels = 3 keeps their colours; leave one out";
        checker.contradicts(&INVERT, &CHANNELS, reason.into());
    }
    let image_size = checker.get(&IMAGE_SIZE);
    Data {
        source,
        path,
        list: checker.find(&LIST).flatten(),
        split,
        validation: validation(checker, source, split),
        rotations: checker.find(&ROTATIONS).unwrap_or_else(|| source.default_rotations(split)),
        flips: checker.get(&FLIPS),
        shift: shift(checker, image_size),
        warp: checker.get(&WARP),
        image_size,
        skip_damaged: checker.get(&SKIP_DAMAGED),
        cache: checker.get(&CACHE),
        channels,
        fit: source.own_images.then(|| checker.find(&FIT).unwrap_or(Fit::Stretch)),
        invert,
        mean: per_channel(checker, &MEAN, channels),
        deviation: per_channel(checker, &DEVIATION, channels),
    }
}

/// The channels, which the source must offer.
fn channels(checker: &mut Checker, source: &Source) -> Option<Channels> {
    let written = checker.find(&CHANNELS).flatten();
    let Some(wrong) = written.filter(|channels| !source.offers(*channels)) else {
        return written.or(source.default_channels());
    };
    let wrong = wrong.count();
    let reason = format!(
        "`data.channels` must be 1 for data.source = {:?}, whose images are grey, got {wrong}",
        source.name
    );
    checker.unfit(&CHANNELS, &SOURCE, reason);
    source.default_channels()
}

/// A number for each of the `channels`, if they are known.
fn per_channel(
    checker: &mut Checker,
    key: &Open<PerChannel>,
    channels: Option<Channels>,
) -> Option<Vec<f64>> {
    let numbers = checker.find(key)?;
    let (name, given) = (key.name, numbers.len());
    if let Some(channels) = channels.map(Channels::count).filter(|channels| *channels != given) {
        let reason = format!(
            "`{name}` must have a number for each channel: {given} were given for data.channels = {channels}"
        );
        checker.unfit(key, &CHANNELS, reason);
        return None;
    }
    Some(numbers)
}

fn path(checker: &mut Checker, source: &Source) -> Option<PathBuf> {
    match source.location {
        Location::Generated => {
            let why = "its images are generated, not read; for images of your own, set data.source=folder";
            checker.unused(&PATH, &SOURCE, source, why);
            None
        }
        Location::Default(folder) => checker.find(&PATH).or_else(|| Some(folder.into())),
        Location::Required => {
            if !checker.is_set(&PATH) && checker.needs_data() {
                let name = source.name;
                let reason = format!(
                    "`data.path` is missing: data.source = {name:?} needs a folder of images; give it with --data PATH"
                );
                checker.contradicts(&PATH, &SOURCE, reason);
            }
            checker.find(&PATH)
        }
    }
}

/// The number of validation classes. A published table has validation classes of its own; a number that was written for another
/// split, which an override replaces, does not apply to them.
fn validation(checker: &mut Checker, source: &Source, split: Option<SplitRule>) -> Option<usize> {
    let written = checker.find(&VALIDATION);
    if !matches!(split, Some(SplitRule::Table(_))) {
        return written.or(source.default_validation());
    }
    let is_replaced = checker.overrides(&SOURCE, &VALIDATION) || checker.overrides(&SPLIT, &VALIDATION);
    written.filter(|_| !is_replaced)
}

/// The shift, which must leave something of every image in sight.
fn shift(checker: &mut Checker, image_size: usize) -> usize {
    let shift = checker.get(&SHIFT);
    if shift >= image_size {
        let reason = format!(
            "`data.shift` (= {shift}) must be less than data.image_size = {image_size}: a larger shift could move an \
             image entirely out of the frame"
        );
        checker.contradicts(&SHIFT, &IMAGE_SIZE, reason);
    }
    shift
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
